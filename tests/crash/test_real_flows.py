"""The same kills on the real thing: Prefect's engine, a server that records the runs, SIGKILL at random."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import samples
from tests.archive.conftest import make_house
from tests.evidence import problems_of_archive
from tests.house import House

REPOSITORY = Path(__file__).parents[2]
PROGRAM = f"""
from datetime import datetime
from flows.archive_trades import archive_trades
from flows.restore_trades import restore_trades
import sys
if sys.argv[1] == "archive":
    archive_trades(as_of=datetime.fromisoformat("{samples.AS_OF.isoformat()}"), retention_days=30)
else:
    restore_trades(batch_id=sys.argv[2])
"""


def start(api: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PREFECT_API_URL": api, "FLUXHERO_LOG_LEVEL": "ERROR"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_while_it_works(house: House, process: subprocess.Popen[bytes], delay: float) -> None:
    """Wait until the run holds the archive, then `delay` seconds more."""
    holder = house.workspace.layout.lock_holder
    end = time.monotonic() + 90
    while not holder.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait(30)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_real_runs_killed_again_and_again(
    kind: str, prefect_harness: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(kind, clean_environment, monkeypatch)
    sample = samples.write_sample(kind, house.store)
    before = house.look().view
    rng = random.Random(f"real {kind}")
    for _ in range(4):
        process = start(prefect_harness, "archive")
        kill_while_it_works(house, process, rng.uniform(0, 2))
        house.workspace.layout.lock_holder.unlink(missing_ok=True)
        assert house.look().view == before
    assert start(prefect_harness, "archive").wait(120) == 0
    found = house.look()
    assert found.view == before
    assert found.hot.keys() == sample.staying
    assert not house.chain.unpurged()
    biggest = max(house.chain.manifests, key=lambda manifest: manifest.file.rows)
    for _ in range(2):
        process = start(prefect_harness, "restore", biggest.batch_id)
        kill_while_it_works(house, process, rng.uniform(0, 0.3))
        house.workspace.layout.lock_holder.unlink(missing_ok=True)
        assert house.look().view == before
    assert start(prefect_harness, "restore", biggest.batch_id).wait(120) == 0
    assert start(prefect_harness, "archive").wait(120) == 0
    found = house.look()
    assert found.view == before
    assert len(found.hot) == len(sample.staying) + biggest.file.rows
    assert problems_of_archive(house.archive_dir) == []
