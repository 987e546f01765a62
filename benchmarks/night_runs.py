"""What orchestration costs a nightly run: a whole night shift, few trades due and many.

The run's own report says what its steps took; all the rest of its process, from the interpreter's start to
its end, and what server and worker used from the moment the run was asked for, is orchestration. What the
server would have used anyway is measured before, and shown apart.
"""

import re
import time
from pathlib import Path

from benchmarks.night_shift import Shift, night_shift, say

_IDLE_SECONDS = 120
_AFTER_SECONDS = 5  # the server writes events a moment after they happened
Measured = dict[str, float]


def measure(folder: Path, trades: int) -> tuple[Measured, str]:
    """CPU seconds of a night with so many trades due, and the line of its report."""
    with night_shift(folder, rows=trades) as shift:
        return _night(shift)


def measure_snapshot_and_idle(folder: Path) -> tuple[Measured, Measured]:
    """CPU seconds of one snapshot in all, the second of two; and those an hour of each part at rest."""
    with night_shift(folder, rows=500) as shift:
        deployment = shift.deployment_of("snapshot-metrics")
        shift.run(deployment)
        began, before = time.monotonic(), shift.cpu()
        shift.run(deployment)
        snapshot = _used(shift, before) | {"wall": time.monotonic() - began}
        before = shift.cpu()
        time.sleep(_IDLE_SECONDS)
        after = shift.cpu()
    idle = {name: (after[name] - before[name]) / _IDLE_SECONDS * 3600 for name in after}
    return snapshot, idle


def _night(shift: Shift) -> tuple[Measured, str]:
    began, before = time.monotonic(), shift.cpu()
    run = shift.run("nightly/nightly")
    used = _used(shift, before)
    line = _cost_line(shift, run["id"])
    used["wall"] = time.monotonic() - began
    used["work"] = float(re.findall(r"work ([\d.]+) s", line)[0])
    used["orchestration"] = used["run"] - used["work"] + used["server"] + used["worker"]
    used["tasks"] = sum(1 for _ in shift.api.every("/task_runs/filter", {"sort": "ID_DESC"}))
    say(f"nightly: {run['state_name']} {run['state']['message']}: {used} {line}")
    if run["state_type"] != "COMPLETED":
        raise RuntimeError(f"the night ended {run['state_name']}: {run['state']['message']}")
    return used, line


def _used(shift: Shift, before: Measured) -> Measured:
    time.sleep(_AFTER_SECONDS)
    return {name: now - before[name] for name, now in shift.cpu().items()}


def _cost_line(shift: Shift, run: str) -> str:
    """The sentence in the artifact that the run left on its page."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["markdown"]}}}
    text = "\n".join(one["data"] for one in shift.api.post("/artifacts/filter", wanted))
    found = re.search(r"CPU [\d.]+ s: [^)]*\)", text)
    if found is None:
        raise RuntimeError(f"run {run} does not say what it cost: {text}")
    return found.group()
