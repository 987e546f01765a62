"""What orchestration costs a nightly run: a real server, a real worker, few trades due and many.

The run's own report says what its steps took; all the rest of its process, from the interpreter's start to
its end, and what server and worker used from the moment the run was asked for, is orchestration. What the
server would have used anyway is measured before and shown apart.
"""

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.night_shift import Shift, cpu, ended_children_cpu, night_shift, say
from fluxhero.night.state import NightState, Part, PartState, Standing, process_created, write_state

_IDLE_SECONDS = 60
_AFTER_SECONDS = 5  # the server writes events a moment after they happened
Measured = dict[str, float]


def measure(folder: Path, trades: int) -> tuple[Measured, str]:
    """CPU seconds of a nightly run with so many trades due, and what its report says of them."""
    with night_shift(folder, worker=True, rows=trades) as shift:
        _tell_state(shift)
        idle = idle_share(shift)
        found, line = _run(shift, "nightly/nightly")
        found["again"] = _run(shift, "nightly/nightly")[0]["orchestration"]
        return found | idle, line


def measure_snapshot(folder: Path) -> Measured:
    """CPU seconds of one snapshot in all, the second of two."""
    with night_shift(folder, worker=True, rows=500) as shift:
        deployment = shift.deployment_of("snapshot-metrics")
        shift.run(deployment)
        before = _now(shift)
        shift.run(deployment)
        time.sleep(_AFTER_SECONDS)
        return {name: used - before[name] for name, used in _now(shift).items()}


def idle_share(shift: Shift) -> Measured:
    """Seconds of CPU that server and worker use a second while nothing runs."""
    before = _now(shift)
    time.sleep(_IDLE_SECONDS)
    after = _now(shift)
    return {
        f"idle_{name}": (after[name] - before[name]) / _IDLE_SECONDS
        for name in ("server", "worker")
    }


def _run(shift: Shift, deployment: str) -> tuple[Measured, str]:
    before, began = _now(shift), time.monotonic()
    run = shift.run(deployment)
    time.sleep(_AFTER_SECONDS)
    used = {name: now - before[name] for name, now in _now(shift).items()}
    used["wall"] = time.monotonic() - began
    line = _cost_line(shift, run["id"])
    used["work"] = float(re.findall(r"work ([\d.]+) s", line)[0])
    used["orchestration"] = used["run"] - used["work"] + used["server"] + used["worker"]
    used["tasks"] = len(list(shift.api.every("/task_runs/filter", _since(run["created"]))))
    say(f"{deployment}: {run['state_name']}: {used} {line}")
    return used, line


def _since(created: str) -> dict[str, object]:
    return {
        "flow_runs": {"expected_start_time": {"after_": created}},
        "sort": "ID_DESC",
    }


def _now(shift: Shift) -> Measured:
    assert shift.worker is not None
    return {
        "run": ended_children_cpu(shift.worker),
        "server": cpu(shift.server),
        "worker": cpu(shift.worker),
    }


def _cost_line(shift: Shift, run: str) -> str:
    """The sentence in the artifact that the run left on its page."""
    wanted = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["markdown"]}}}
    text = "\n".join(one["data"] for one in shift.api.post("/artifacts/filter", wanted))
    found = re.search(r"CPU [\d.]+ s: .*\)", text)
    if found is None:
        raise RuntimeError(f"run {run} does not say what it cost: {text}")
    return found.group()


def _tell_state(shift: Shift) -> None:
    """Say where server and worker run, as the supervisor would."""
    assert shift.worker is not None
    now = datetime.now(UTC)
    pids = {Part.SERVER: shift.server.pid, Part.WORKER: shift.worker.pid}
    parts = tuple(
        PartState(part=part, standing=Standing.UP, since=now, pid=pid) for part, pid in pids.items()
    )
    state = NightState(
        token="benchmark",
        pid=os.getpid(),
        created=process_created(os.getpid()),
        started_at=now,
        api_url=shift.api.api_url,
        ui_url=shift.api.api_url,
        page_url=None,
        parts=parts,
    )
    write_state(shift.folder / "data", state)
