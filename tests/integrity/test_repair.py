"""Every planted fault is mended where something proves the mended bytes, and undoing brings it back."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluxhero.errors import BadInputError
from fluxhero.integrity.repair import undo_repair
from fluxhero.integrity.repair_log import LOG_FILE, read_log
from tests.integrity.archives import Archive, put_back
from tests.integrity.test_scrub import FAULTS, cut, flip, flip_in_text, rewrite, swap

NOT_OURS = {"foreign file", "no document"}


@pytest.fixture
def archive(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return put_back("duckdb", monkeypatch, mirrored=True)


@pytest.fixture
def alone(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive without its mirror."""
    monkeypatch.delenv("FLUXHERO_ARCHIVE_MIRROR_DIR")
    return archive


def state(archive: Archive) -> dict[str, bytes]:
    """Everything in the archive, and what the data folder remembers of it."""
    files = [
        path for path in archive.root.rglob("*") if path.is_file() and ".lock" not in path.name
    ]
    files.append(archive.house.data / "archive-head.json")
    return {str(path): path.read_bytes() for path in files if path.exists()}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_mended_from_the_mirror(archive: Archive, fault: str) -> None:
    before = state(archive)
    hot = archive.house.look_hot
    FAULTS[fault][0](archive)
    planted = state(archive)
    done = archive.mend()
    if fault in NOT_OURS:
        assert [repair.ok for repair in done] == [False]
        assert state(archive) == planted
        return
    assert done
    assert all(repair.ok for repair in done)
    assert archive.faults() == {}
    assert state(archive) == before
    assert archive.house.look_hot == hot
    for logged in reversed(read_log(archive.scope().home)):
        assert undo_repair(archive.scope(), logged.number).ok
    if fault not in {"staging", "half-written manifest"}:  # swept, for it was never anything
        assert state(archive) == planted


def test_faults_of_a_fluxhero_stores_archive_are_mended(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = put_back("sqlite", monkeypatch)
    before = state(archive)
    for fault in ("swapped", "edited last manifest", "archive.json damaged", "head gone"):
        FAULTS[fault][0](archive)
    assert all(repair.ok for repair in archive.mend()), "without a mirror"
    identity = str(archive.root / "archive.json")  # made again, so of another moment
    before[identity] = state(archive)[identity]
    assert state(archive) == before
    monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(archive.mirror))
    for fault in ("older version", "removed", "holds damaged", "last manifest removed"):
        FAULTS[fault][0](archive)
    assert all(repair.ok for repair in archive.mend())
    assert (state(archive), archive.faults()) == (before, {})


MENDED_ALONE = (
    "swapped", "renamed", "renamed to no data file", "copy of a data file", "foreign Parquet", "staging",
    "bit in a manifest's structure", "edited manifest", "edited last manifest", "manifest of another name",
    "first manifest removed", "manifest removed from the middle", "last manifest removed", "head damaged",
    "head gone", "archive.json gone", "archive.json damaged", "edited event",
)  # fmt: skip
LOST_ALONE = (
    "bit in a page",
    "empty",
    "removed",
    "older version",
    "last batch gone",
    "holds damaged",
)


@pytest.mark.parametrize("fault", MENDED_ALONE)
def test_without_a_mirror_the_archive_itself_mends(alone: Archive, fault: str) -> None:
    FAULTS[fault][0](alone)
    assert all(repair.ok for repair in alone.mend())
    assert alone.faults() == {}


@pytest.mark.parametrize("fault", LOST_ALONE)
def test_what_cannot_be_mended_is_told_and_stays_as_it_is(alone: Archive, fault: str) -> None:
    FAULTS[fault][0](alone)
    planted = state(alone)
    done = alone.mend()
    assert done
    assert {repair.ok for repair in done} == {False}
    assert all("restore it from a backup" in repair.action for repair in done)
    assert state(alone) == planted
    assert set(alone.faults()) == FAULTS[fault][1]
    assert read_log(alone.scope().home) == []


def test_a_damaged_file_is_copied_to_the_quarantine_once(alone: Archive) -> None:
    path = alone.data_file(0)
    flip(path, 0.02)
    damaged = path.read_bytes()
    alone.mend()
    alone.mend()
    folder = alone.house.workspace.quarantined_files
    (copy,) = folder.glob("*.parquet")
    note = json.loads(copy.with_name(copy.name + ".json").read_text())
    assert (copy.read_bytes(), path.read_bytes()) == (damaged, damaged)
    assert note["path"] == str(path)
    assert "files.sha256" in {broken["rule"] for broken in note["broken"]}


def test_two_manifests_lost_in_a_row_are_made_again_from_their_data_files(alone: Archive) -> None:
    before = state(alone)
    for number in (1, 0):
        alone.manifest(number).unlink()
    done = alone.mend()
    assert [repair.source.startswith("the metadata and rows") for repair in done] == [True, True]
    assert state(alone) == before
    assert alone.faults() == {}


def test_a_manifest_without_a_data_file_to_tell_is_not_made_up(alone: Archive) -> None:
    alone.manifest(1).unlink()
    rewrite(alone.data_file(1), lambda table: table.slice(1))
    done = alone.mend()
    assert {repair.ok for repair in done} == {False}


def test_a_lost_purge_event_is_written_anew_by_completing_the_purge(alone: Archive) -> None:
    alone.check()
    event = alone.event("purged", 1)
    content = json.loads(event.read_text())
    event.unlink()
    done = alone.mend()
    assert all(repair.ok for repair in done)
    assert json.loads(event.read_text()) | {"rows": 4, "at": "", "checksum": ""} == content | {
        "at": "",
        "checksum": "",
    }
    assert alone.faults() == {}


def test_a_purge_event_that_nobody_can_read_gives_way_to_a_new_one(alone: Archive) -> None:
    event = alone.event("purged", 1)
    cut(event, 50)
    assert all(repair.ok for repair in alone.mend())
    assert alone.faults() == {}
    assert alone.house.archive().ok


def test_a_lost_restore_event_cannot_be_made_up(alone: Archive) -> None:
    alone.check()
    alone.event("restored").unlink()
    assert [repair.ok for repair in alone.mend()] == [False]


def test_swapped_and_damaged_files_are_each_put_right(archive: Archive) -> None:
    before = state(archive)
    swap(archive.data_file(0), archive.data_file(1))
    flip(archive.data_file(1), 0.02)
    flip_in_text(archive.manifest(2), '"rows": 3', '"rows": 1')
    cut(archive.event("restored"), 9)
    assert all(repair.ok for repair in archive.mend())
    assert state(archive) == before
    assert archive.mend() == [], "a second time there is nothing to mend"
    assert archive.faults() == {}


def test_an_archive_that_is_gone_comes_back_from_its_mirror(archive: Archive) -> None:
    before = state(archive)
    shutil.rmtree(archive.root)
    archive.mend()
    archive.mend()
    assert state(archive) == before
    assert archive.faults() == {}


def test_a_damaged_mirror_is_mended_from_the_archive(archive: Archive) -> None:
    mirror = archive.mirror
    name = archive.data_file(0).relative_to(archive.root)
    sound = (mirror / name).read_bytes()
    flip(mirror / name, 0.02)
    (mirror / archive.manifest(0).relative_to(archive.root)).unlink()
    assert set(archive.faults()) == {"mirror.sha256", "mirror.complete"}
    done = archive.mend()
    assert [repair.ok for repair in done] == [True, True]
    assert (mirror / name).read_bytes() == sound
    assert archive.faults() == {}
    assert any(repair.kept and repair.kept.is_file() for repair in done)


def test_a_damaged_mirror_mends_nothing(archive: Archive) -> None:
    path = archive.data_file(0)
    flip(archive.mirror / path.relative_to(archive.root), 0.03)
    flip(path, 0.02)
    damaged = path.read_bytes()
    assert not any(repair.ok for repair in archive.mend())
    assert path.read_bytes() == damaged
    (archive.mirror / "mirror.json").unlink()
    assert not any(repair.ok for repair in archive.mend())


def test_an_undo_is_refused_once_the_file_has_changed_again(archive: Archive) -> None:
    path = archive.data_file(0)
    flip(path, 0.02)
    (done,) = archive.mend()
    assert (done.number, done.undo) == (1, "undo repair 1")
    flip(path, 0.03)
    with pytest.raises(BadInputError, match="changed since repair 1"):
        undo_repair(archive.scope(), 1)
    with pytest.raises(BadInputError, match="no repair 7"):
        undo_repair(archive.scope(), 7)
    archive.mend()
    assert undo_repair(archive.scope(), 2).ok
    assert undo_repair(archive.scope(), 2).action == "repair 2 is undone already"


def test_an_undo_in_a_copy_leaves_the_original_alone(archive: Archive, tmp_path: Path) -> None:
    path = archive.data_file(0)
    flip(path, 0.02)
    archive.mend()
    mended = path.read_bytes()
    scope = archive.scope()
    copy = shutil.copytree(scope.data_dir, tmp_path / "copy of it")
    elsewhere = replace(scope, workspace=replace(scope.workspace, data_dir=copy))
    with pytest.raises(BadInputError, match="in another folder"):
        undo_repair(elsewhere, 1)
    assert path.read_bytes() == mended


def test_a_half_written_line_of_the_log_is_passed_over(archive: Archive) -> None:
    home = archive.scope().home
    flip(archive.data_file(0), 0.02)
    archive.mend()
    with (home / LOG_FILE).open("ab") as log:
        log.write(b'{"number": 2, "at')
    flip(archive.data_file(1), 0.02)
    archive.mend()
    assert [logged.number for logged in read_log(home)] == [1, 2]


def test_an_interrupted_purge_is_completed_and_a_copy_is_left_a_copy(alone: Archive) -> None:
    house = alone.house
    house.add(80, 81)
    house.archive(purge=False)
    later = datetime.now(UTC) + timedelta(hours=1)  # the archive runs by the real clock
    copied = house.check(now=later, repair=True)
    assert [line.rule for line in copied.findings if line.state.counts] == ["ledger.purge-complete"]
    assert {80, 81} <= house.hot
    house.execute(f"DELETE FROM {house.table} WHERE {house.where(80)}")
    mended = house.check(now=later, repair=True)
    assert [(one.rule, one.mended) for one in mended.repairs] == [
        ("ledger.purge-interrupted", True)
    ]
    assert "1 row" in mended.repairs[0].what
    assert mended.ok
    assert 81 not in house.hot


def test_half_written_recorded_files_are_removed_and_damaged_ones_told(alone: Archive) -> None:
    from tests.integrity.test_scrub_schedule import recorded, rot

    path = recorded(alone)
    left = path.with_name(f".{path.name}.partial")
    left.write_bytes(b"half")
    rot(path)
    done = alone.mend()
    assert sorted(repair.ok for repair in done) == [False, True]
    assert not left.exists()
    assert path.exists()
