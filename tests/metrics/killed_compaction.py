"""Compactions killed with SIGKILL between any two steps: `python -m tests.metrics.killed_compaction FOLDER EVERY`.

Each run is a process forked from this one, which itself never opens anything, and dies before its n-th call
of those that change the disk, for every so many n. Prints what is wrong as JSON.
"""

import json
import shutil
import signal
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import pandas as pd  # noqa: F401 - here, so that no child takes the time
import pyarrow.dataset as ds  # noqa: F401

from config.settings import Settings
from fluxhero.integrity import recorded_scrub
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.recorded_scrub import scrub_recorded
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scope import Scope
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.snapshots import latest_snapshot, series
from tests.killed import dying_before, in_child
from tests.metrics.measured import NOON, snapshot, write_several

CHANGING = ("fsync", "replace", "unlink", "rmdir")
HOUR = timedelta(hours=1)
NOW = NOON + 24 * HOUR


def build(data: Path) -> None:
    """A day that has to be compacted, and one that has been, with a late run and parts to be removed."""
    write_several(data, NOON - 24 * HOUR, HOUR, 2)
    compact_snapshots(data, NOW - 24 * HOUR)
    write_several(data, NOON - 22 * HOUR, HOUR, 1)
    write_several(data, NOON, HOUR, 2)


def work(data: Path, kill_at: int | None, counted: Path | None = None) -> None:
    """Compact at once, and again when the parts may go; die before so many changes."""
    calls = dying_before(kill_at, CHANGING)
    compact_snapshots(data, NOW)
    compact_snapshots(data, NOW + HOUR)
    if counted:
        counted.write_text(str(calls()))


def judge(data: Path, *, finished: bool) -> list[str]:
    """What a reader and the storage check find wrong."""
    wrong = []
    rows = series(data, ["trading_equity_usd"], NOON - 48 * HOUR, NOW)
    hours = [round((value - NOON.timestamp()) / 3600) for value in rows["value"].to_pylist()]
    if sorted(hours) != [-24, -23, -22, 0, 1]:
        wrong.append(f"readers see {sorted(hours)}")
    newest = latest_snapshot(data, NOW)
    if newest.snapshot != snapshot(NOON + HOUR) or newest.unreadable:
        wrong.append(f"the newest is {newest}")
    scope = Scope.of(Settings(data_dir=data), now=NOW, deep=True)
    for result in scrub_recorded(scope, Passed(data / "passed.json")):
        explained = result.rule.name == "recorded.unfinished" and not finished
        if result.outcome is not Outcome.PASSED and not explained:
            wrong.append(f"the check finds {result.rule.name}: {result.observed}")
    names = {path.name for path in (data / "snapshots").glob("2*")}
    days = ("2026-11-19", "2026-11-19.2", "2026-11-20")
    expected = {f"{day}.parquet{suffix}" for day in days for suffix in ("", ".json")}
    if finished and names != expected:
        wrong.append(f"there is {sorted(names)}")
    return wrong


def go_on(data: Path, said: Path) -> None:
    """Look at what a killed compaction left, compact, look again, and write down what is wrong."""
    wrong = judge(data, finished=False)
    for half in (data / "snapshots").rglob(".*.partial"):
        half.unlink()  # as a repair does, so that the folder can go
    work(data, None)
    said.write_text(json.dumps(wrong + judge(data, finished=True)))


def main() -> None:
    recorded_scrub._SETTLING_SECONDS = 0.0  # nobody is writing any more
    folder, every = Path(sys.argv[1]), int(sys.argv[2])
    saved, data, said, count = (folder / name for name in ("saved", "data", "said", "count"))
    in_child(partial(build, saved))
    shutil.copytree(saved, data)
    wrong: list[str] = []
    if in_child(partial(work, data, None, count)) != 0:
        wrong.append("a compaction that nobody killed failed")
    kills = 0
    for kill_at in range(0, int(count.read_text()), every):
        shutil.rmtree(data)
        shutil.copytree(saved, data)
        kills += in_child(partial(work, data, kill_at)) == -signal.SIGKILL
        said.write_text('["going on failed"]')
        in_child(partial(go_on, data, said))
        wrong += [f"killed before {kill_at}: {each}" for each in json.loads(said.read_text())]
    print(json.dumps({"kills": kills, "wrong": wrong}))  # noqa: T201


if __name__ == "__main__":
    main()
