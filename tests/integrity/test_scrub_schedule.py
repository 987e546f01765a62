"""Which bytes a daily check reads, the pipeline's own recorded files, and the hot store's file."""

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import StoreLockedError
from fluxhero.integrity import file_scrub, schedule
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.reading import Wanted, Whole, read_all
from fluxhero.integrity.results import Outcome
from fluxhero.recorded import record_path, write_recorded
from tests.archive.conftest import KINDS
from tests.integrity.archives import NOW, Archive, put_back


@pytest.fixture
def archive(
    request: pytest.FixtureRequest, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    """Of a ledger, or of the kind that the test asks for."""
    return put_back(getattr(request, "param", "duckdb"), monkeypatch)


def rot(path: Path) -> None:
    """Change a bit as a disk does: neither size nor time tell."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def days_read(folder: Path, archive: Archive, days: int, count: int = 20) -> list[list[str]]:
    """Names of the files that are due in each of so many daily checks of equal files."""
    files = [folder / f"{number:02d}" for number in range(count)]
    for path in files:
        path.write_bytes(b"x" * 100)
    memory = Passed(folder / "memory.json")
    read = []
    for _ in range(days):
        chosen = schedule.due(archive.scope(deep=False), memory, files)
        for path in chosen:
            memory.record(schedule.BYTES, path, Stamp.of(path), archive.now)
        read.append([path.name for path in chosen])
        archive.now += timedelta(days=1)
    return read


def test_daily_checks_read_every_byte_within_the_period_and_about_the_same_each_day(
    archive: Archive, tmp_path: Path
) -> None:
    read = days_read(tmp_path, archive, 22)
    assert len(read[0]) == 20, "a file never read is due at once"
    assert all(2 <= len(day) <= 8 for day in read[1:])
    for start in range(1, 15):
        assert {name for day in read[start : start + 7] for name in day} == set(read[0])


def test_a_check_after_a_long_absence_catches_up_and_one_right_after_reads_nothing(
    archive: Archive, tmp_path: Path
) -> None:
    days_read(tmp_path, archive, 1)
    memory = Passed(tmp_path / "none.json")
    files = sorted(tmp_path.glob("[0-9]*"))
    for path in files:
        memory.record(schedule.BYTES, path, Stamp.of(path), NOW)
    archive.now = NOW
    assert schedule.due(archive.scope(deep=False), memory, files) == []
    assert schedule.due(archive.scope(deep=False), memory, files, files[:1]) == files[:1]
    assert schedule.due(archive.scope(deep=True), memory, files) == files
    archive.now = NOW + timedelta(days=90)
    assert schedule.due(archive.scope(deep=False), memory, files) == files


def test_rot_is_found_within_the_period_and_told_until_it_is_mended(archive: Archive) -> None:
    assert archive.faults(deep=False) == {}
    path = archive.data_file(0)
    sound = path.read_bytes()
    rot(path)
    assert archive.faults(deep=False) == {}, "it is not due and looks as it did"
    assert "files.sha256" in archive.faults(deep=False, days_later=6)
    assert "files.sha256" in archive.faults(deep=False)
    path.write_bytes(sound)
    assert archive.faults(deep=False) == {}


def test_files_that_are_not_due_are_not_read(archive: Archive) -> None:
    read: list[Path] = []

    def noted(wanted: list[Wanted]) -> list[Whole]:
        read.extend(each.path for each in wanted)
        return read_all(wanted)

    archive.check(deep=False)
    with patch.object(file_scrub, "read_all", noted):
        archive.check(deep=False)
        assert read == []
        archive.check(deep=True)
        assert len(read) == 3


def test_swapped_files_look_suspicious_at_once(archive: Archive) -> None:
    archive.check(deep=False)
    one, other = archive.data_file(0), archive.data_file(1)
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert archive.faults(deep=False) == {"files.misplaced": {one.name, other.name}}


# ---- the pipeline's own files


def recorded(archive: Archive, folder: str = "findings") -> Path:
    path = archive.house.data / folder / "one.parquet"
    rows = pa.table({"n": pa.array([1, 2, 3], pa.int64()), "t": ["a", "b", "c"]})
    write_recorded(path, rows, NOW)
    return path


def test_recorded_files_are_held_against_their_records(archive: Archive) -> None:
    path, bars = recorded(archive), recorded(archive, "cache")
    assert archive.faults() == {}
    older = path.read_bytes()
    write_recorded(path, pa.table({"n": [4]}), NOW)
    path.write_bytes(older)
    assert set(archive.faults()) == {"recorded.sha256", "recorded.columns"}
    rot(bars)
    assert archive.faults()["recorded.sha256"] == {path.name, bars.name}
    path.unlink()
    assert archive.faults()["recorded.present"] == {path.name}
    record_path(path).write_text("{")
    assert archive.faults()["recorded.record"] == {path.name}


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([1.0, 2.0, 3.0]), "n is double instead of int64"),
        (pa.nulls(3), "n is null instead of int64"),
        (pa.array([1, 2], pa.int64()), "2 rows instead of 3"),
        (None, "n is missing"),
    ],
)
def test_what_another_program_made_of_a_recorded_file_is_told(
    archive: Archive, column: pa.Array | None, words: str
) -> None:
    path = recorded(archive)
    rows = pa.table(
        {"x": [1]} if column is None else {"n": column, "t": ["a", "b", "c"][: len(column)]}
    )
    pq.write_table(rows, path)
    (found,) = [r for r in archive.check(deep=False) if r.rule.name == "recorded.columns"]
    assert found.outcome is Outcome.FAILED
    assert words in found.observed


def test_a_file_without_a_record_is_a_fault_only_where_nobody_else_writes(archive: Archive) -> None:
    for folder in ("cache", "profiles"):
        place = archive.house.data / folder
        place.mkdir()
        pq.write_table(pa.table({"n": [1]}), place / "mine.parquet")
    assert archive.faults() == {"recorded.record": {"mine.parquet"}}
    bars = recorded(archive, "cache")
    pq.write_table(pa.table({"n": [7]}), bars)  # a bot that shares the cache
    assert archive.faults() == {"recorded.record": {"mine.parquet"}}
    (archive.house.data / "cache" / "mine.parquet").write_bytes(b"no Parquet")
    assert archive.faults()["recorded.structure"] == {"mine.parquet"}


def test_a_killed_writer_of_a_recorded_file_leaves_no_fault_but_its_leftovers(
    archive: Archive,
) -> None:
    path = recorded(archive)
    before = path.read_bytes()
    with (
        patch.object(Path, "replace", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        write_recorded(path, pa.table({"n": [1]}), NOW)
    path.with_name(f".{path.name}.json.77.partial").write_bytes(b"{")
    assert path.read_bytes() == before
    assert archive.faults() == {
        "recorded.unfinished": {f".{path.name}.partial", f".{path.name}.json.77.partial"}
    }


# ---- the hot store


@pytest.mark.parametrize("archive", KINDS, indirect=True)
def test_a_damaged_store_is_found(archive: Archive) -> None:
    store = archive.house.store
    assert archive.faults() == {}
    for wal in store.parent.glob("*-wal"):
        wal.unlink()
    content = bytearray(store.read_bytes())
    start, end = (12_288 + 8, len(content)) if archive.house.kind == "duckdb" else (4096, 8192)
    content[start:end] = b"\xa5" * (end - start)
    store.write_bytes(content)
    assert "store.sound" in archive.faults()


@pytest.mark.parametrize("archive", KINDS, indirect=True)
def test_a_store_that_is_gone_or_no_store_cannot_be_told(archive: Archive) -> None:
    store = archive.house.store
    untold = {"store.sound", "archive.identity", "raw.present"}
    shutil.copy(archive.root / "archive.json", store)
    fills = (
        {"raw.present"} if archive.house.kind == "sqlite" else set()
    )  # which has none in any case
    assert set(archive.faults()) == untold - fills
    store.unlink()
    results = [r for r in archive.check() if r.outcome is not Outcome.PASSED]
    assert {r.rule.name for r in results} == untold
    assert {r.outcome for r in results} == {Outcome.ERRORED}


@pytest.mark.parametrize("archive", ["sqlite"], indirect=True)
def test_a_store_with_a_rollback_journal_is_read_table_by_table(archive: Archive) -> None:
    archive.house.execute("PRAGMA journal_mode = delete")
    assert archive.faults() == {}


def test_a_store_that_another_process_holds_is_tried_again(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0")
    program = (
        "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(archive.house.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        with pytest.raises(StoreLockedError):
            archive.check()
        holder.communicate("\n")
