"""The chain of manifests, the archive's identity, and what is refused because of them."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fluxhero.archive.identity import HEAD_FILE, read_identity
from fluxhero.errors import (
    ForeignArchiveError,
    ManifestError,
    MissingArchiveError,
    SchemaVersionError,
)
from fluxhero.ledger.query import run_query
from fluxhero.status import collect_status
from tests import samples
from tests.archive.conftest import make_house
from tests.house import House


def three_batches(house: House) -> list[Path]:
    """Three batches of a trade each; returns their manifests."""
    for number in (1, 2, 3):
        house.add(number)
        house.archive()
    return [house.workspace.layout.manifest(m.batch_id) for m in house.chain.manifests]


def remove(paths: list[Path]) -> Path:
    paths[1].unlink()
    return paths[2]


def edit(paths: list[Path]) -> Path:
    paths[1].write_text(paths[1].read_text().replace('"rows": 1', '"rows": 2'))
    return paths[2]


def swap(paths: list[Path]) -> Path:
    first, second = paths[0].read_bytes(), paths[1].read_bytes()
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)
    return paths[0]


def reformat(paths: list[Path]) -> Path:
    paths[1].write_text(json.dumps(json.loads(paths[1].read_bytes())))
    return paths[1]


def truncate(paths: list[Path]) -> Path:
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    return paths[2]


def add_a_field(paths: list[Path]) -> Path:
    content = json.loads(paths[0].read_bytes()) | {"note": "harmless"}
    paths[0].write_text(json.dumps(content, indent=1) + "\n")
    return paths[0]


def of_no_format(paths: list[Path]) -> Path:
    paths[2].write_text(paths[2].read_text().replace('"format_version": 1', '"format_version": 0'))
    return paths[2]


@pytest.mark.parametrize(
    "damage", [remove, edit, swap, reformat, truncate, add_a_field, of_no_format]
)
def test_a_damaged_chain_stops_everything(
    duckdb_house: House, damage: Callable[[list[Path]], Path]
) -> None:
    house = duckdb_house
    named = damage(three_batches(house))
    house.add(4)
    with pytest.raises(ManifestError) as caught:
        house.archive()
    assert str(named) in caught.value.what
    assert "backup" in caught.value.next_step
    assert caught.value.exit_status == 3
    with pytest.raises(ManifestError):
        house.restore(trade_ids=["t-00001"])
    assert house.numbers_hot == {4}, "nothing was archived or restored"


@pytest.mark.parametrize("what", ["manifest", "archive.json"])
@pytest.mark.parametrize("field", ["", ' "something_new": [1],'])
def test_what_a_newer_release_wrote_is_not_called_damaged(
    duckdb_house: House, what: str, field: str
) -> None:
    house = duckdb_house
    path = three_batches(house)[2]
    path = path if what == "manifest" else house.workspace.layout.identity
    newer = path.read_text().replace('"format_version": 1,', f'"format_version": 2,{field}')
    path.write_text(newer)
    house.add(4)
    for run in (
        house.archive,
        lambda: house.restore(trade_ids=["t-00001"]),
        lambda: collect_status(house.workspace, 30),
    ):
        with pytest.raises(SchemaVersionError) as caught:
            run()
        assert str(path) in caught.value.what
        assert "version 2" in caught.value.what
        assert "upgrade" in caught.value.next_step
        assert caught.value.exit_status == 2
    assert (house.numbers_hot, path.read_text()) == ({4}, newer)


def test_a_missing_event_is_only_done_again(duckdb_house: House) -> None:
    three_batches(duckdb_house)
    before = duckdb_house.look().view
    for path in (duckdb_house.archive_dir / "manifests").glob("*.purged.json"):
        path.unlink()
    duckdb_house.archive()
    assert not duckdb_house.chain.unpurged()
    assert duckdb_house.look().view == before


def test_an_edited_event_is_an_error(duckdb_house: House) -> None:
    paths = three_batches(duckdb_house)
    event = paths[0].with_name(paths[0].name.replace(".json", ".purged.json"))
    event.write_text(event.read_text().replace('"rows": 1', '"rows": 7'))
    duckdb_house.archive()  # a count in an event proves nothing and endangers nothing
    other = json.loads(event.read_bytes()) | {"manifest_sha256": "f" * 64}
    event.write_text(json.dumps(other, indent=1) + "\n")
    with pytest.raises(ManifestError, match="purged event"):
        duckdb_house.archive()


def test_the_newest_batches_missing_is_noticed(house: House) -> None:
    """Nothing follows the newest manifest, so that only the data folder knows of it."""
    paths = three_batches(house)
    for path in (house.archive_dir / "manifests").glob(f"{paths[2].stem}*"):
        path.unlink()
    with pytest.raises(MissingArchiveError, match="held 3 batches and now holds 2"):
        house.archive()


@pytest.mark.parametrize("emptied", [False, True], ids=["deleted", "an empty folder in its place"])
def test_an_archive_that_is_gone_is_no_new_beginning(house: House, *, emptied: bool) -> None:
    three_batches(house)
    house.add(4)
    shutil.rmtree(house.archive_dir)
    if emptied:
        house.archive_dir.mkdir()
    for run in (house.archive, lambda: house.restore(trade_ids=[house.key(1)])):
        with pytest.raises(MissingArchiveError) as caught:
            run()
        assert str(house.archive_dir) in caught.value.what
        assert HEAD_FILE in caught.value.next_step
        assert caught.value.exit_status == 2
    assert house.hot == {4}
    assert not house.workspace.layout.identity.exists(), "nothing is begun in its place"


def test_an_archive_that_comes_back_is_taken_up_again(house: House, tmp_path: Path) -> None:
    three_batches(house)
    before = house.look().view
    away = house.archive_dir.rename(tmp_path / "away")
    with pytest.raises(MissingArchiveError):
        house.archive()
    shutil.rmtree(house.archive_dir, ignore_errors=True)
    away.rename(house.archive_dir)
    house.archive()
    assert house.look().view == before


def test_an_archive_given_up_on_purpose_can_be_begun_anew(house: House) -> None:
    three_batches(house)
    shutil.rmtree(house.archive_dir)
    (house.data / HEAD_FILE).unlink()
    house.add(4)
    assert house.archive().purged == 1


def other_store(house: House) -> Path:
    """A store of the same kind at another place, with a trade that is due."""
    other = House(house.kind, house.data, house.store.with_name("other" + house.store.suffix))
    create = (
        samples.create_duckdb_store if house.kind == "duckdb" else samples.create_fluxhero_store
    )
    create(other.store)
    other.add(9)
    return other.store


def test_an_archive_of_another_store_is_refused_by_name(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_batches(house)
    other = other_store(house)
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{house.kind}:///{other}")
    for run in (house.archive, lambda: house.restore(trade_ids=[house.key(1)])):
        with pytest.raises(ForeignArchiveError) as caught:
            run()
        assert str(house.store) in caught.value.what
        assert str(other) in caught.value.what
        assert caught.value.next_step.startswith("another bot: give it a FLUXHERO_DATA_DIR")
        assert "`fluxhero archive --adopt --dry-run`" in caught.value.next_step
        assert "FLUXHERO_ARCHIVE_DIR" not in caught.value.next_step, "it led to the other error"
        assert caught.value.exit_status == 2
    assert House(house.kind, house.data, other).hot == {9}


def test_a_moved_store_can_adopt_its_archive(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    three_batches(house)
    other = other_store(house)
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{house.kind}:///{other}")
    report = house.archive(adopt=True)
    assert report.purged == 1
    assert (report.store_copy is not None) == (house.kind == "sqlite"), "another file, another copy"
    assert house.archive().purged == 0, "it is this store's archive from now on"
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{house.kind}:///{house.store}")
    with pytest.raises(ForeignArchiveError):
        house.archive()


def test_without_its_record_an_archive_is_still_its_stores(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest manifest names the store too."""
    three_batches(house)
    house.workspace.layout.identity.unlink()
    other = other_store(house)
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{house.kind}:///{other}")
    mine = house.chain.manifests[-1].store_id
    for run in (
        house.archive,
        lambda: house.archive(dry_run=True),
        lambda: house.restore(trade_ids=[house.key(1)]),
        lambda: run_query(house.workspace, "SELECT count(*) FROM trades"),
        lambda: collect_status(house.workspace, 30),
    ):
        with pytest.raises(ForeignArchiveError) as caught:
            run()
        assert mine in caught.value.what
        assert "--adopt" in caught.value.next_step
    assert not house.workspace.layout.identity.exists()
    assert House(house.kind, house.data, other).hot == {9}
    house.archive(adopt=True)
    record = read_identity(house.workspace.layout)
    assert record is not None
    assert record.formerly == (mine,)


def test_a_record_that_is_gone_is_made_again_for_the_same_store(house: House) -> None:
    three_batches(house)
    before = house.look().view
    house.workspace.layout.identity.unlink()
    house.restore(trade_ids=[house.key(1)], hold_days=0)
    assert house.archive().purged == 1
    record = read_identity(house.workspace.layout)
    assert record is not None
    assert (record.store_path, record.formerly) == (str(house.store), ())
    assert house.look().view == before


@pytest.mark.parametrize("missing", ["all of it", "its end", "other batches"])
def test_another_place_without_the_known_batches_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    three_batches(house)
    house.add(4)
    place = house.data / "archvie"
    if missing == "its end":
        shutil.copytree(house.archive_dir, place)
        for path in (place / "manifests").glob("00000003-*"):
            path.unlink()
    elif missing == "other batches":
        head = (house.data / HEAD_FILE).read_bytes()
        (house.data / HEAD_FILE).unlink()
        monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", str(place))
        house.add(5, 6, **closed_in_march(house))
        house.archive(limit=1)
        (house.data / HEAD_FILE).write_bytes(head)
    monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", str(place))
    hot = house.numbers_hot
    for run in (
        house.archive,
        lambda: house.archive(dry_run=True),
        lambda: house.restore(trade_ids=[house.key(1)]),
        lambda: run_query(house.workspace, "SELECT count(*) FROM trades"),
        lambda: collect_status(house.workspace, 30),
    ):
        with pytest.raises(MissingArchiveError) as caught:
            run()
        assert f"{house.archive_dir}, with 3 batches" in caught.value.what
        assert str(place) in caught.value.what
        assert f"FLUXHERO_ARCHIVE_DIR={house.archive_dir}" in caught.value.next_step
        assert caught.value.next_step.startswith("give another store its own FLUXHERO_DATA_DIR")
        assert "`fluxhero archive --adopt --dry-run`" in caught.value.next_step
    assert house.numbers_hot == hot
    assert not list(place.rglob("archive.json")) or missing != "all of it"


def closed_in_march(house: House) -> dict[str, object]:
    if house.kind == "duckdb":
        return {"exit_time": datetime(2025, 3, 1, tzinfo=UTC)}
    return {"exit_time": "2025-03-01T00:00:00"}


def test_another_place_is_taken_on_purpose(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    three_batches(house)
    first = house.archive_dir
    monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", str(house.data / "second"))
    house.archive(adopt=True)  # nothing is due, and it counts all the same
    house.archive()
    house.add(4)
    assert house.archive(adopt=True, dry_run=True).rows == 1
    house.archive()
    assert len(house.chain) == 1
    monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", str(first))
    with pytest.raises(MissingArchiveError, match="second, with 1 batch;"):
        house.archive()
    assert house.archive(adopt=True, dry_run=True).rows == 0
    with pytest.raises(MissingArchiveError):
        house.archive()
    house.archive(adopt=True)
    house.archive()


def test_an_archive_that_was_moved_whole_is_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_batches(house)
    moved = house.archive_dir.rename(house.data / "moved")
    monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", str(moved))
    assert run_query(house.workspace, "SELECT count(*) FROM trades").rows == ((3,),)
    house.archive()
    shutil.rmtree(moved)
    with pytest.raises(MissingArchiveError, match="moved held 3 batches and now holds 0"):
        house.archive()


def test_adopting_is_no_way_round_a_disk_that_is_not_there(house: House) -> None:
    three_batches(house)
    shutil.rmtree(house.archive_dir)
    with pytest.raises(MissingArchiveError, match=HEAD_FILE):
        house.archive(adopt=True)


def test_a_store_of_another_kind_cannot_adopt(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_house("duckdb", clean_environment, monkeypatch)
    samples.create_duckdb_store(first.store)
    first.add(1)
    first.archive()
    second = make_house("sqlite", clean_environment, monkeypatch)
    samples.create_fluxhero_store(second.store)
    with pytest.raises(ForeignArchiveError):
        second.archive(adopt=True)


@pytest.mark.parametrize("name", ["archive.json", HEAD_FILE, "holds.json"])
def test_a_damaged_record_is_named(house: House, name: str) -> None:
    house.add(1, 2)
    house.hold(house.key(2))
    house.archive()
    house.add(3)
    path = house.data / name if name == HEAD_FILE else house.archive_dir / name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ManifestError) as caught:
        house.archive()
    assert str(path) in caught.value.what
    assert house.hot == {2, 3}
