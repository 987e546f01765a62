"""What an interrupted run leaves, damaged files, and clocks."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest

from fluxhero.archive import batches
from fluxhero.errors import DamagedFileError
from tests.house import House


class InterruptedRunError(Exception):
    """Stands for whatever ends a run between two steps."""


def interrupt() -> None:
    raise InterruptedRunError


def stop_after(house: House, step: str) -> None:
    with pytest.raises(InterruptedRunError):
        house.archive(after={step: interrupt})


@pytest.mark.parametrize(
    "step", ["plan_batches", "stage_batches", "verify_batches", "publish_batches", "purge_batches"]
)
def test_a_run_that_ends_after_any_step_is_completed_by_the_next(house: House, step: str) -> None:
    house.add(*range(1, 8))
    before = house.look().view
    stop_after(house, step)
    assert house.look().view == before
    report = house.archive()
    assert (house.hot, house.archived) == (set(), set(range(1, 8)))
    assert house.look().view == before
    assert report.recovered_purges == (7 if step == "publish_batches" else 0)
    assert not list(house.archive_dir.rglob("*.partial"))


def test_what_a_killed_write_left_is_removed_under_exactly_the_names_it_has(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names are those that a real run gives its files before they are whole."""
    unfinished: set[Path] = set()
    replace = Path.replace

    def noted(path: Path, target: Path) -> Path:
        if path.suffix == ".partial":
            unfinished.add(path)
        return replace(path, target)

    house.add(1, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", noted)
        house.hold(house.key(1))
        house.archive()
    folders = {path.parent.name for path in unfinished}
    assert folders >= {"archive", "manifests", "data"}
    assert ("backups" in folders) == (house.kind == "sqlite")
    for path in unfinished:
        path.with_name(path.name.replace(str(os.getpid()), "999999")).write_bytes(b"half")
    house.archive()
    assert not list(house.data.rglob("*.partial"))


def test_a_users_own_file_is_never_removed(house: House) -> None:
    house.add(1)
    house.archive()
    backups = house.data / "backups"
    backups.mkdir(exist_ok=True)
    mine = [
        folder / name
        for folder in (house.data, house.archive_dir, house.archive_dir / "manifests", backups)
        for name in (
            "download.partial",
            ".download.partial",
            ".notes.json.7.partial",
            "archive.json.partial",
            "system.db.partial",
            "mine.partial.txt",
        )
    ]
    for path in mine:
        path.write_bytes(b"mine")
    house.archive()
    assert [path for path in mine if not path.exists()] == []


def orphan(house: House) -> Path:
    """Publish a batch, then take its manifest away as if it had never been written."""
    house.archive(purge=False)
    (manifest,) = house.chain.manifests
    for path in (house.archive_dir / "manifests").iterdir():
        path.unlink()
    (house.data / "archive-head.json").unlink()
    return house.archive_dir / manifest.file.path


def test_a_file_without_manifest_goes_when_all_its_rows_are_hot(house: House) -> None:
    house.add(1, 2)
    before = house.look().view
    path = orphan(house)
    report = house.archive(purge=False)
    assert report.discarded == (str(path),)
    assert not path.exists()
    assert house.look().view == before


@pytest.mark.parametrize("change", ["edited", "deleted", "damaged", "renamed"])
def test_a_file_without_manifest_is_kept_aside_when_it_may_hold_more(
    house: House, change: str
) -> None:
    house.add(1, 2)
    path = orphan(house)
    if change == "edited":
        house.edit(2, "signal_reason = 'edited'")
    elif change == "deleted":
        house.execute(f"DELETE FROM {house.table} WHERE {house.where(2)}")
    elif change == "damaged":
        flip_in_data(path)
    else:
        path = path.rename(path.with_name("mine.parquet"))
    content = path.read_bytes()
    before = house.look().view
    report = house.archive()
    (kept,) = report.quarantined_files
    assert Path(kept).read_bytes() == content
    assert not path.exists()
    assert house.look().view == before


def flip(path: Path, place: float = 0.4) -> None:
    """Flip one bit, as a disk does."""
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 4
    path.write_bytes(content)


def flip_in_data(path: Path) -> None:
    """Flip one bit of a value; elsewhere in a small file it may hit something that nobody reads."""
    column = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 1] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_bit_in_a_published_file_stops_purge_and_restore(
    duckdb_house: House, place: float
) -> None:
    refuse_damaged(duckdb_house, place)


def test_a_flipped_bit_stops_a_fluxhero_store_too(sqlite_house: House) -> None:
    refuse_damaged(sqlite_house, 0.4)


def refuse_damaged(house: House, place: float) -> None:
    house.add(*range(1, 50))
    before = house.look().hot
    house.archive(purge=False)
    (manifest,) = house.chain.manifests
    path = house.archive_dir / manifest.file.path
    flip(path, place)
    with pytest.raises(DamagedFileError) as caught:
        house.archive()
    assert str(path) in caught.value.what
    assert "backup" in caught.value.next_step
    assert house.look_hot == before, "nothing was purged"
    with pytest.raises(DamagedFileError) as caught:
        house.restore(batch_id=manifest.batch_id)
    assert str(path) in caught.value.what


def test_a_published_file_that_is_gone_is_named(house: House) -> None:
    house.add(1, 2)
    house.archive()
    (manifest,) = house.chain.manifests
    path = house.archive_dir / manifest.file.path
    path.unlink()
    house.add(1, signal_reason="corrected")
    for run in (house.archive, lambda: house.restore(trade_ids=[house.key(2)])):
        with pytest.raises(DamagedFileError) as caught:
            run()
        assert str(path) in caught.value.what
        assert caught.value.exit_status == 3
    assert house.numbers_hot == {1}


def test_a_damaged_old_file_is_named_or_not_needed(house: House) -> None:
    """A plan reads the archive only where due rows may be in it already."""
    house.add(1)
    house.archive()
    (manifest,) = house.chain.manifests
    path = house.archive_dir / manifest.file.path
    path.write_bytes(b"")
    house.add(100)
    if house.kind == "duckdb":
        assert house.archive().purged == 1
        return
    with pytest.raises(DamagedFileError) as caught:
        house.archive()
    assert str(path) in caught.value.what


def test_verification_notices_what_the_disk_did(house: House) -> None:
    house.add(*range(1, 50))

    def damage() -> None:
        (path,) = house.workspace.layout.staging.iterdir()
        flip(path)

    report = house.archive(after={"stage_batches": damage})
    (refused,) = report.refused
    assert (refused.rule, report.purged) == ("batch", 0)
    assert len(house.hot) == 49
    assert house.archive().purged == 49


def test_a_clock_set_back_changes_no_order(house: House) -> None:
    house.add(1)
    house.archive()
    now = datetime.now(UTC)
    for days, reason in ((2, "second"), (300, "third")):
        house.add(1, signal_reason=reason)
        with patch.object(batches, "utc_now", lambda days=days: now - timedelta(days=days)):
            house.archive()
    assert house.hot == set()
    at = [m.created_at for m in house.chain.manifests]
    assert at == sorted(set(at))
    assert "third" in str(house.look().view)
    stored = [
        pq.ParquetFile(house.archive_dir / m.file.path).read()["_archived_at"][0].as_py()
        for m in house.chain.manifests
    ]
    assert stored == at


def test_a_hold_outlives_a_clock_set_back(house: House) -> None:
    house.add(1, 2)
    house.archive()
    house.restore(trade_ids=[house.key(1)])
    back = datetime.now(UTC) - timedelta(days=90)
    with patch.object(batches, "utc_now", lambda: back):
        house.archive()
    assert house.hot == {1}


def test_the_hash_of_another_engine_release_is_not_trusted(house: House) -> None:
    """Stored row hashes are compared only while they are this engine's; else the values are."""
    from fluxhero.archive import workspace

    house.add(1, 2, 3)
    house.archive(purge=False)
    house.edit(3, "signal_reason = 'edited'")
    before = house.look().view
    with patch.object(workspace, "current_hash", lambda _algorithm: False):
        report = house.archive()
    assert report.recovered_purges == 2
    assert house.look().view == before
    with patch.object(workspace, "current_hash", lambda _algorithm: False):
        house.restore(trade_ids=[house.key(1)])
    assert house.look().view == before
