"""The archive's second copy: kept by every run, proven by itself, never made worse by a damaged original."""

import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from fluxhero.archive.mirror import LIST_FILE, MIRROR_HEAD_FILE, keep_mirror, read_list
from fluxhero.errors import ConfigurationError, ForeignArchiveError, MissingArchiveError
from tests.archive.conftest import KINDS, make_house
from tests.integrity.archives import Archive, put_back


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def archive(mirror: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return begun("duckdb", mirror, monkeypatch)


def begun(kind: str, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive that is to have a mirror and has none yet."""
    archive = put_back(kind, monkeypatch)
    (archive.house.data / MIRROR_HEAD_FILE).unlink()
    monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(mirror))
    return archive


def contents(folder: Path, *less: str) -> dict[str, bytes]:
    """Every file in a folder, but for those that only one of the two has."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {LIST_FILE, ".lock", ".lock-holder.json", *less}
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_copies_what_the_mirror_lacks_and_only_that(
    kind: str, mirror: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = begun(kind, mirror, monkeypatch)
    report = archive.house.archive()
    assert (report.ok, report.mirrored) == (True, len(contents(archive.root)))
    assert contents(mirror) == contents(archive.root)
    assert archive.faults() == {}
    archive.house.add(50)
    report = archive.house.archive()
    assert report.mirrored == 3, "a data file, its manifest and its event"
    assert f"Mirror: {mirror}, 3 files copied" in report.details()
    assert archive.house.archive().mirrored == 0
    assert archive.house.restore(trade_ids=[archive.house.key(50)]).ok
    assert contents(mirror) == contents(archive.root), "the restore's event and hold, too"
    archive.house.archive(dry_run=True)
    assert archive.faults() == {}


def test_a_mirror_begun_by_a_killed_run_is_completed(archive: Archive, mirror: Path) -> None:
    archive.house.archive()
    (mirror / LIST_FILE).unlink()
    (archive.house.data / MIRROR_HEAD_FILE).write_text("{")
    (mirror / archive.data_file(0).relative_to(archive.root)).unlink()
    report = archive.house.archive()
    assert (report.ok, report.mirrored) == (True, 1)
    assert contents(mirror) == contents(archive.root)


def test_a_damaged_original_never_reaches_the_mirror(archive: Archive, mirror: Path) -> None:
    archive.house.archive()
    sound = contents(mirror)
    damaged = archive.data_file(0)
    damaged.write_bytes(damaged.read_bytes() + b"more")
    (archive.root / "holds.json").write_text("{")
    done = keep_mirror(archive.house.workspace, mirror, archive.house.chain)
    assert contents(mirror) == sound
    assert ["holds" in problem for problem in done.problems] == [True]
    shutil.rmtree(mirror)
    (archive.house.data / MIRROR_HEAD_FILE).unlink()
    done = keep_mirror(archive.house.workspace, mirror, archive.house.chain)
    assert len(done.problems) == 2
    assert damaged.name in "".join(done.problems)
    assert contents(mirror).keys() == sound.keys() - {
        "holds.json",
        damaged.relative_to(archive.root).as_posix(),
    }


def test_an_edited_event_is_not_mirrored(archive: Archive, mirror: Path) -> None:
    event = archive.event("purged")
    event.write_text(event.read_text().replace('"rows": 5', '"rows": 4'))
    report = archive.house.archive()
    assert not report.ok
    assert report.verdict.endswith("The mirror is not complete.")
    assert any(
        line.startswith("Not mirrored: ") and event.name in line for line in report.details()
    )
    assert not (mirror / "manifests" / event.name).exists()


def test_a_mirror_whose_disk_is_gone_is_told_and_the_archive_goes_on(
    archive: Archive, mirror: Path
) -> None:
    archive.house.archive()
    shutil.rmtree(mirror)
    mirror.mkdir()
    archive.house.add(60)
    report = archive.house.archive()
    assert (report.ok, report.purged) == (False, 1)
    assert "mount its disk" in report.mirror_problems[0]
    assert list(mirror.iterdir()) == []
    restored = archive.house.restore(trade_ids=[archive.house.key(60)])
    assert not restored.ok
    assert "Not mirrored" in restored.markdown()
    assert archive.faults() == {"mirror.complete": {LIST_FILE}}
    (archive.house.data / MIRROR_HEAD_FILE).unlink()
    assert archive.house.archive().ok
    assert archive.faults() == {}


def test_the_mirror_of_another_archive_is_refused(
    archive: Archive, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.house.archive()
    before = contents(mirror)
    shutil.rmtree(archive.root)
    for name in ("archive-head.json", MIRROR_HEAD_FILE):
        (archive.house.data / name).unlink()
    archive.house.add(70)
    report = archive.house.archive()
    assert "mirror of another archive" in report.mirror_problems[0]
    assert contents(mirror) == before
    assert archive.faults() == {"mirror.complete": {LIST_FILE}}
    (mirror / LIST_FILE).write_text("{")
    assert "is damaged" in archive.house.archive().mirror_problems[0]


@pytest.mark.parametrize("place", ["archive", "archive/mirror", "."])
def test_a_mirror_in_the_archive_or_round_it_is_refused(
    archive: Archive, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(archive.house.data / place))
    with pytest.raises(ConfigurationError, match="lie in one another"):
        archive.house.archive()


def test_a_damaged_list_is_made_again_from_the_copies(archive: Archive, mirror: Path) -> None:
    archive.house.archive()
    before = read_list(mirror)
    text = (mirror / LIST_FILE).read_text()
    (mirror / LIST_FILE).write_text(text.replace('"bytes": 1', '"bytes": 2', 1))
    assert archive.faults() == {"mirror.complete": {LIST_FILE}}
    assert archive.house.archive().mirrored == 0
    assert read_list(mirror) == before


def test_a_damaged_or_missing_copy_is_found(archive: Archive, mirror: Path) -> None:
    archive.house.archive()
    assert archive.faults(deep=False) == {}
    name = archive.data_file(0).relative_to(archive.root)
    content = bytearray((mirror / name).read_bytes())
    content[40] ^= 1
    (mirror / name).write_bytes(content)
    assert archive.faults(deep=False) == {"mirror.sha256": {name.name}}, "its time has changed"
    (mirror / name).unlink()
    assert archive.faults() == {"mirror.complete": {name.name}}
    assert archive.house.archive().mirrored == 1
    assert archive.faults() == {}


def test_a_copy_that_is_not_what_was_written_gets_no_name(archive: Archive, mirror: Path) -> None:
    def bad(source: object, target: object, length: int) -> None:
        target.write(b"other bytes")  # type: ignore[attr-defined]

    with patch("fluxhero.durable.shutil.copyfileobj", bad):
        report = archive.house.archive()
    assert "read back is not what was written" in report.mirror_problems[0]
    assert contents(mirror) == {}
    assert archive.house.archive().ok


def test_an_archive_without_batches_needs_no_mirror(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch, mirror: Path
) -> None:
    from tests import samples

    house = make_house("duckdb", clean_environment, monkeypatch)
    monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(mirror))
    samples.create_duckdb_store(house.store)
    assert house.archive().ok
    assert not mirror.exists()
    with pytest.raises((MissingArchiveError, ForeignArchiveError)):
        read_list(mirror)
