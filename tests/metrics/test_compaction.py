"""One file a day: whatever is damaged, late, killed or done twice, each run is there and counts once."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from config.settings import Settings
from fluxhero import recorded
from fluxhero.errors import AlreadyRunningError, DamagedFileError
from fluxhero.integrity import recorded_scrub
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.recorded_scrub import scrub_recorded, unfinished_in
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scope import Scope
from fluxhero.locks import locked
from fluxhero.metrics import compaction, snapshot_files, snapshots
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.snapshot_files import Day, day_folder, days
from fluxhero.metrics.snapshots import (
    Latest,
    latest_snapshot,
    rows_of,
    series,
    write_snapshot,
)
from fluxhero.recorded import read_record, record_path, write_recorded
from tests.integrity.archives import put_back
from tests.metrics.measured import NOON, one_of_each, snapshot, write_several
from tests.metrics.test_snapshots import damage

HOUR = timedelta(hours=1)
TOMORROW = NOON + 24 * HOUR
AT_ONCE = timedelta()


def runs(data_dir: Path, now: datetime = TOMORROW) -> list[float]:
    """The times of all snapshots, as often as readers see them."""
    found = series(data_dir, ["trading_equity_usd"], NOON - 1000 * HOUR, now + 1000 * HOUR)
    listed: Counter[str] = Counter()
    for path in snapshot_files.snapshot_files(data_dir):
        listed.update(
            set(pq.read_table(path, columns=["run"], partitioning=None)["run"].to_pylist())
        )
    assert sorted(listed.elements()) == sorted(found["run"].to_pylist())
    return sorted((value - NOON.timestamp()) / 3600 for value in found["value"].to_pylist())


def names(data_dir: Path) -> list[str]:
    root = data_dir / "snapshots"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.parquet"))


def test_a_past_day_becomes_one_file_with_every_number(tmp_path: Path) -> None:
    kept = snapshot(NOON + 9 * HOUR, *one_of_each(0.1))
    write_snapshot(tmp_path, kept)
    write_several(tmp_path, NOON + 3 * HOUR, HOUR, 3)
    write_several(tmp_path, TOMORROW, HOUR, 2)
    before = runs(tmp_path)
    (day,) = compact_snapshots(tmp_path, TOMORROW)
    assert day == tmp_path / "snapshots" / "2026-11-20.parquet"
    assert pq.read_metadata(day).num_rows == len(kept.samples) + 3
    # The parts stay for a while, for whoever listed them, and count once.
    assert len(names(tmp_path)) == 7
    assert runs(tmp_path) == before
    assert compact_snapshots(tmp_path, TOMORROW + HOUR / 2) == []
    assert len(names(tmp_path)) == 7
    assert compact_snapshots(tmp_path, TOMORROW + HOUR) == []
    assert len(names(tmp_path)) == 3
    assert not (tmp_path / "snapshots" / "2026-11-20").exists()
    assert runs(tmp_path) == before
    back = latest_snapshot(tmp_path, NOON + 9 * HOUR).snapshot
    assert back
    assert sorted(back.samples, key=repr) == sorted(kept.samples, key=repr)
    assert compact_snapshots(tmp_path, TOMORROW + 2 * HOUR) == []
    assert compact_snapshots(tmp_path / "none", TOMORROW) == []


def test_what_comes_late_joins_its_day(tmp_path: Path) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    write_several(tmp_path, NOON + 2 * HOUR, HOUR, 2)
    assert runs(tmp_path) == [0, 1, 2, 3]
    (late,) = compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    assert names(tmp_path) == ["2026-11-20.2.parquet", "2026-11-20.parquet"]
    assert late.name == "2026-11-20.2.parquet"
    assert runs(tmp_path) == [0, 1, 2, 3]
    # A part that a backup brought back is the same run, and goes again.
    write_several(tmp_path, NOON, HOUR, 1)
    assert runs(tmp_path) == [0, 1, 2, 3]
    assert compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE) == []
    assert len(names(tmp_path)) == 2
    # Another run of the same name is not what the day holds: both stay.
    other = snapshot(NOON, *one_of_each())
    write_snapshot(tmp_path, other)
    assert compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE) == []
    assert len(names(tmp_path)) == 3


def test_a_run_that_arrives_while_its_day_is_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    plain = recorded.write_recorded

    def and_meanwhile(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(compaction, "write_recorded", plain)
        write_several(tmp_path, NOON + 2 * HOUR, HOUR, 1)
        return plain(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(compaction, "write_recorded", and_meanwhile)
    compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    assert runs(tmp_path) == [0, 1, 2]
    assert len(names(tmp_path)) == 2
    compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    assert runs(tmp_path) == [0, 1, 2]
    assert names(tmp_path) == ["2026-11-20.2.parquet", "2026-11-20.parquet"]


def test_a_damaged_part_is_left_alone_and_its_day_stays_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three, four = write_several(tmp_path, NOON, HOUR, 4)
    sound = one.read_bytes()
    damage(one)
    record_path(two).write_text("{")
    swapped = three.read_bytes()
    three.write_bytes(four.read_bytes())  # a sound file, but not this one
    with caplog.at_level(logging.WARNING):
        (day,) = compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    assert caplog.text.count("its day stays open for it") >= 3
    assert pq.read_metadata(day).num_rows == 1
    assert len(names(tmp_path)) == 4
    one.write_bytes(sound)  # restored from a backup
    three.write_bytes(swapped)
    compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    assert runs(tmp_path) == [0, 1, 2, 3]
    assert names(tmp_path) == [
        "2026-11-20.2.parquet",
        "2026-11-20.parquet",
        f"2026-11-20/{two.name}",
    ]


def test_no_part_goes_while_its_day_is_not_sound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    write_several(tmp_path, NOON - 24 * HOUR, HOUR, 1)
    _, day = compact_snapshots(tmp_path, TOMORROW)
    sound = day.read_bytes()
    damage(day)
    later = TOMORROW + 5 * HOUR
    compact_snapshots(tmp_path, later)
    assert "2026-11-20 stays as it is" in caplog.text
    assert len(names(tmp_path)) == 4  # of the other day, only one
    with pytest.raises(DamagedFileError, match="2026-11-20"):
        runs(tmp_path)
    assert latest_snapshot(tmp_path, later).snapshot == snapshot(NOON + HOUR)

    day.unlink()  # gone, but known: a new one in its place would hide what is missing
    assert compact_snapshots(tmp_path, later) == []
    assert "is gone" in caplog.text
    assert runs(tmp_path) == [-24, 0, 1]
    day.write_bytes(sound)
    assert compact_snapshots(tmp_path, later) == []
    assert names(tmp_path) == ["2026-11-19.parquet", "2026-11-20.parquet"]
    assert runs(tmp_path) == [-24, 0, 1]


def test_a_disk_that_does_not_keep_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    plain = snapshot_files.read_file

    def losing(path: Path) -> object:
        rows = plain(path)
        return rows.slice(1) if path.name.endswith(".partial") else rows

    monkeypatch.setattr(compaction, "read_file", losing)
    assert compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE) == []
    assert "read back is not what was written" in caplog.text
    assert len(names(tmp_path)) == 2
    assert not unfinished_in(tmp_path / "snapshots")
    assert runs(tmp_path) == [0, 1]


def test_one_compaction_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    monkeypatch.setattr(compaction, "_WAIT_SECONDS", 0.0)
    with (
        locked(tmp_path / "snapshots" / ".lock", lambda: AlreadyRunningError("", next_step="")),
        pytest.raises(AlreadyRunningError, match="another run is compacting"),
    ):
        compact_snapshots(tmp_path, TOMORROW)
    assert len(names(tmp_path)) == 2


def test_readers_at_work_while_days_are_compacted_see_every_run_once(tmp_path: Path) -> None:
    count = 6
    for number in range(count):
        write_several(tmp_path, NOON + 24 * HOUR * number, HOUR, 2)
    expected = sorted(24.0 * number + hour for number in range(count) for hour in (0, 1))
    end = NOON + 24 * HOUR * count
    stop = threading.Event()
    seen: list[list[float]] = []
    wrong: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                found = series(tmp_path, ["trading_equity_usd"], NOON, end)["value"].to_pylist()
                seen.append(sorted((value - NOON.timestamp()) / 3600 for value in found))
                newest = latest_snapshot(tmp_path, end)
                assert not newest.unreadable
                assert newest.snapshot
                assert newest.snapshot.at == end - 23 * HOUR
            except BaseException as error:  # noqa: BLE001 - told below
                wrong.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(count):  # one day after the other, and nothing is spared for readers
        compact_snapshots(tmp_path, NOON + 24 * HOUR * (number + 1), grace=AT_ONCE)
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert seen
    assert all(found == expected for found in seen)
    assert len(names(tmp_path)) == count


def test_who_listed_a_day_before_it_was_compacted_reads_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_several(tmp_path, NOON, HOUR, 2)
    (listed,) = days(tmp_path)
    compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
    retried = [False, True]
    monkeypatch.setattr(snapshots, "days", lambda *_: [listed] if retried.pop() else days(tmp_path))
    assert series(tmp_path, ["trading_equity_usd"], NOON, TOMORROW).num_rows == 2
    monkeypatch.setattr(snapshots, "days_back", lambda *_: [listed])
    assert latest_snapshot(tmp_path, TOMORROW) == Latest(None), "gone is not damaged"

    write_several(tmp_path, NOON - 24 * HOUR, HOUR, 1)
    is_dir = Path.is_dir

    def then_compacted(path: Path) -> bool:
        there = is_dir(path)
        if path.name == "2026-11-19":
            monkeypatch.setattr(Path, "is_dir", is_dir)
            compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
        return there

    monkeypatch.setattr(Path, "is_dir", then_compacted)
    assert [len(day.compacted) for day in days(tmp_path)] == [1, 1]
    assert is_dir(tmp_path / "snapshots")
    assert not is_dir(tmp_path / "snapshots" / "2026-11-19")


def test_a_file_that_holds_another_run_than_its_name_says_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = day_folder(tmp_path, NOON.date()) / "20261120T090000Z-0000.parquet"
    write_recorded(path, rows_of(snapshot(NOON)), NOON)
    assert compact_snapshots(tmp_path, TOMORROW) == []
    assert "something else than its run" in caplog.text
    assert path.exists()


def test_a_day_that_vanishes_for_good_has_nothing(tmp_path: Path) -> None:
    (path,) = write_several(tmp_path, NOON, HOUR, 1)
    day = Day(date(2026, 11, 20), (), (path,))
    assert days(tmp_path) == [day]
    path.unlink()
    record = read_record(path)
    assert record
    assert not record.writing
    assert days(tmp_path) == [Day(day.day, (), ())]
    assert not series(tmp_path, ["trading_equity_usd"], NOON, NOON).num_rows


@pytest.mark.timeout(240)
def test_a_killed_compaction_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.metrics.killed_compaction", str(tmp_path), "4"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if "FLUXHERO" not in name},
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["wrong"] == [], done.stderr
    assert said["kills"] >= 15


def test_the_storage_check_knows_snapshots_for_its_own(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = put_back("duckdb", monkeypatch)
    data = archive.house.data
    now = datetime.now(UTC)
    parts = write_several(data, now - 48 * HOUR, HOUR, 2)
    write_recorded(
        data / "metrics" / "equity.parquet", pq.read_table(parts[0], partitioning=None), now
    )
    assert archive.faults() == {}
    compact_snapshots(data, now)
    assert archive.faults() == {}
    damage(parts[0])
    parts[1].unlink()
    damage(data / "metrics" / "equity.parquet")
    found = archive.faults()
    assert found["recorded.sha256"] == {parts[0].name, "equity.parquet"}
    assert found["recorded.present"] == {parts[1].name}


def test_a_check_while_snapshots_are_written_and_compacted_finds_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_several(tmp_path, NOON, HOUR, 3)
    scope = Scope.of(Settings(data_dir=tmp_path), now=TOMORROW, deep=True)

    def faults() -> list[str]:
        results = scrub_recorded(scope, Passed(tmp_path / "passed.json"))
        return [result.rule.name for result in results if result.outcome is not Outcome.PASSED]

    partial = tmp_path / "snapshots" / "2026-11-20" / ".x.parquet.partial"
    partial.write_bytes(b"half")
    monkeypatch.setattr(time, "sleep", lambda _seconds: partial.write_bytes(b"half, and"))
    assert faults() == []
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    assert faults() == ["recorded.unfinished"]
    monkeypatch.setattr(time, "sleep", lambda _seconds: partial.unlink())
    assert faults() == []

    # The parts go while the check is at its n-th step.
    for step in ("read_record", "read_footer", "due", "read_all"):
        with monkeypatch.context() as patch:
            plain = getattr(recorded_scrub, step)

            def with_compaction(
                *given: object, _plain: Callable[..., object] = plain, _step: str = step
            ) -> object:
                before = _plain(*given) if _step == "read_record" else None
                compact_snapshots(tmp_path, TOMORROW, grace=AT_ONCE)
                return before or _plain(*given)

            patch.setattr(recorded_scrub, step, with_compaction)
            assert faults() == []
        assert names(tmp_path) == ["2026-11-20.parquet"]
        for path in (tmp_path / "snapshots").glob("2026-11-20.*"):
            path.unlink()
        write_several(tmp_path, NOON, HOUR, 3)
