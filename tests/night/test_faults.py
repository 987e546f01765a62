"""A night shift in trouble: parts killed, the server's database locked, its disk full."""

import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.night.chaos import Chaos, Round

LOCKED_SECONDS = 15.0
HOME_MEGABYTES = 160

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


def test_the_server_dies_while_a_flow_starts(chaos: Chaos) -> None:
    def kill(run: str) -> bool:
        chaos.shift.wait(lambda: chaos.shift.state(run) == "PENDING", 60, "a run to be taken")
        chaos.kill(["server"], run)
        return False

    assert chaos.through(kill, Round(("server",), 0)).violations == []


# A sample; `python -m tests.night.chaos` plays them all.
@pytest.mark.parametrize(
    "victims",
    [("server", "worker", "run"), pytest.param(("api", "run"), marks=pytest.mark.slow)],
)
def test_after_a_kill_the_next_run_completes_and_nothing_is_lost_or_doubled(
    chaos: Chaos, victims: tuple[str, ...]
) -> None:
    assert chaos.play(victims).violations == []


def test_each_crashed_run_was_told_of_once(chaos: Chaos) -> None:
    """Last: of all the runs above."""
    assert chaos.crashed
    assert chaos.alerts() == []
