"""The wall clock of a night shift jumps, as when a laptop slept or somebody sets it."""

import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.night.shift import Shift
from tests.samples import write_sample

COMPILER = shutil.which("cc")
pytestmark = [pytest.mark.timeout(900), pytest.mark.server]


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, to shift the clock of processes")
def test_after_a_jump_of_the_clock_what_was_missed_is_run_once(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    shift = Shift(
        tmp_path, **clock.variables, FLUXHERO_STORE_URL=f"duckdb:///{tmp_path}/ledger.duckdb"
    )
    write_sample("duckdb", tmp_path / "ledger.duckdb")
    try:
        shift.up("--only", "server", "--only", "worker")
        before = datetime.now(UTC)
        shift.wait(lambda: len(scheduled(shift)) >= 3, 180, "schedules")
        clock.set(hours=10)

        def caught_up() -> bool:
            runs = missed(shift, before)
            return len(runs) >= 3 and all(run["state"]["type"] in ENDED for run in runs)

        shift.wait(caught_up, 300, "the missed runs")
        went = [run["state"]["type"] for run in missed(shift, before)]
        assert went.count("COMPLETED") == 1, went
        assert went.count("CANCELLED") == len(went) - 1, went
        clock.set(hours=9)
        run = shift.start("snapshot-metrics/hourly")
        shift.wait(lambda: shift.state(run) in ENDED, 120, "a run after the clock went back")
        assert shift.state(run) == "COMPLETED"
    finally:
        shift.stop()


class Clock:
    """The wall clock of processes that have its variables, which a test may set as it goes."""

    def __init__(self, folder: Path) -> None:
        self._shift = folder / "clock-shift"
        self._shift.write_bytes(struct.pack("q", 0))
        library = folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        command = [str(COMPILER), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True)
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(self._shift)}

    def set(self, *, hours: int) -> None:
        """So many hours ahead of the machine's."""
        with self._shift.open("r+b") as file:
            file.write(struct.pack("q", hours * 3600))


ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
_HOURLY = {"name": {"any_": ["hourly"]}}


def scheduled(shift: Shift) -> list[dict[str, Any]]:
    """Hourly snapshots that are to come."""
    wanted = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    runs: list[dict[str, Any]] = shift.ask(
        "/flow_runs/filter", flow_runs=wanted, deployments=_HOURLY
    )
    return runs


def missed(shift: Shift, before: datetime) -> list[dict[str, Any]]:
    """Hourly snapshots that were due within the hours that the clock left out."""
    during = {
        "after_": before.isoformat(),
        "before_": (before + timedelta(hours=10)).isoformat(),
    }
    runs: list[dict[str, Any]] = shift.ask(
        "/flow_runs/filter", flow_runs={"expected_start_time": during}, deployments=_HOURLY
    )
    return runs
