"""A night shift in trouble: parts killed, the server's database locked, its disk full, the clock set."""

import os
import random
import shutil
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.night.chaos import Chaos, Round
from tests.night.shift import Shift
from tests.samples import write_sample

LOCKED_SECONDS = 20.0
HOME_MEGABYTES = 160
COMPILER = shutil.which("cc")

pytestmark = [pytest.mark.timeout(900), pytest.mark.server]


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """A night shift that is up; where this user may mount one, Prefect's home is a small disk."""
    folder = tmp_path_factory.mktemp("chaos")
    chaos = Chaos(folder, random.Random(6))
    home = prefect_home(chaos)
    small = mount_small(home)
    try:
        chaos.shift.up()
        yield chaos
    finally:
        chaos.close()
        if small:
            subprocess.run(["umount", "-l", str(home)], check=True)


def prefect_home(chaos: Chaos) -> Path:
    return chaos.shift.data / "night" / "prefect"


def mount_small(folder: Path) -> bool:
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        return False
    options = ["-t", "tmpfs", "-o", f"size={HOME_MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run([mount, *options], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("victims", [("server", "worker", "run"), ("worker",), ("api", "run")])
def test_after_a_kill_the_next_run_completes_and_nothing_is_lost_or_doubled(
    chaos: Chaos, victims: tuple[str, ...]
) -> None:
    assert chaos.play(victims).violations == []


def test_the_server_dies_while_a_flow_starts(chaos: Chaos) -> None:
    def kill(run: str) -> bool:
        chaos.shift.wait(lambda: chaos.shift.state(run) == "PENDING", 60, "a run to be taken")
        chaos.kill(["server"], run)
        return False

    assert chaos.through(kill, Round(("server",), 0)).violations == []


def test_the_server_s_database_is_locked_for_a_while(chaos: Chaos) -> None:
    (database,) = prefect_home(chaos).glob("*.db")

    def lock(run: str) -> bool:
        with sqlite3.connect(database, timeout=30, isolation_level=None) as held:
            held.execute("BEGIN EXCLUSIVE")
            time.sleep(LOCKED_SECONDS)
            held.execute("ROLLBACK")
        held.close()
        return False

    assert chaos.through(lock, Round((), 0)).violations == []


def test_the_disk_of_the_server_is_full_for_a_while(chaos: Chaos) -> None:
    home = prefect_home(chaos)
    if not home.is_mount():
        pytest.skip("needs root, to mount a small file system")
    filler = home / "filler"

    def fill(run: str) -> bool:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 65_536):
                pass
        time.sleep(LOCKED_SECONDS)
        filler.unlink()
        return False

    assert chaos.through(fill, Round((), 0)).violations == []


def test_each_crashed_run_was_told_of_once(chaos: Chaos) -> None:
    """Last: of all the runs above."""
    assert chaos.crashed
    assert chaos.alerts() == []


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
