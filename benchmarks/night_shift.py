"""A night shift for the benchmarks, as `fluxhero up` starts it, and what its processes use."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.checks import make_sound_store
from fluxhero.night.server_api import ServerApi
from fluxhero.night.state import Part, Standing, read_state
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
HISTORY_DAYS = 7
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_START_SECONDS, _RUN_SECONDS, _STOP_SECONDS = 300, 600, 120
_POLL_SECONDS = 2.0  # what asks often is charged to the server


@dataclass(frozen=True)
class Shift:
    """One that is up, with every schedule paused: nothing runs but what is asked for."""

    data: Path
    environment: dict[str, str]
    api: ServerApi
    supervisor: psutil.Process
    parts: dict[Part, psutil.Process]

    @property
    def database(self) -> Path:
        """The server's SQLite file."""
        return database(self.data)

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process so far; `run` is the worker's children, which have ended."""
        found = {str(part): _cpu(process) for part, process in self.parts.items()}
        if Part.WORKER in self.parts:
            times = self.parts[Part.WORKER].cpu_times()
            found["run"] = float(times.children_user + times.children_system)
        return found | {"supervisor": _cpu(self.supervisor)}

    def deployment_of(self, flow: str) -> str:
        """The first deployment of a flow, as flow/deployment."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "NAME_ASC"}
        return f"{flow}/{self.api.post('/deployments/filter', wanted)[0]['name']}"

    def run(self, deployment: str) -> dict[str, Any]:
        """Have a deployment run by the worker, and wait for its process to be gone."""
        found = self.api.get(f"/deployments/name/{deployment}")
        asked = {"state": {"type": "SCHEDULED"}}
        run = self.api.post(f"/deployments/{found['id']}/create_flow_run", asked)
        for _ in _waiting(f"the run of {deployment}", _RUN_SECONDS):
            run = self.api.get(f"/flow_runs/{run['id']}")
            if run["state_type"] in _ENDED and not self.parts[Part.WORKER].children():
                break
        return dict(run)


def database(data: Path) -> Path:
    """The SQLite file of the night shift on a data folder."""
    return data / "night" / "prefect" / "prefect.db"


@contextmanager
def night_shift(folder: Path, *parts: Part, rows: int | None = None) -> Iterator[Shift]:
    """A night shift on a folder, stopped at the end; a server's database that is there is used.

    Args:
        folder: of everything.
        parts: only these; all when empty.
        rows: how many trades are due in a new store.
    """
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    store = data / "ledger.duckdb"
    if rows is not None:
        make_sound_store(store, rows)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("FLUXHERO_", "PREFECT_"))},
        "FLUXHERO_DATA_DIR": str(data),
        "FLUXHERO_STORE_URL": f"duckdb:///{store}",
        "FLUXHERO_HISTORY_DAYS": str(HISTORY_DAYS),
        "FLUXHERO_PREFECT_PORT": str(free_port()),
        "FLUXHERO_API_PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
    }
    only = [argument for part in parts for argument in ("--only", str(part))]
    with (folder / "up.log").open("ab") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "fluxhero", "up", "--no-screen", *only],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield from _up(data, environment, up)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(_STOP_SECONDS)


def _up(data: Path, environment: dict[str, str], up: "subprocess.Popen[bytes]") -> Iterator[Shift]:
    started = time.monotonic()
    for _ in _waiting("the night shift", _START_SECONDS):
        state = read_state(data)
        if state is not None and all(one.standing is Standing.UP for one in state.parts):
            break
        if up.poll() is not None:
            raise RuntimeError((data.parent / "up.log").read_text(encoding="utf-8"))
    assert state is not None
    say(f"up after {time.monotonic() - started:.0f} s")
    with ServerApi(state.api_url, patience_seconds=60) as api:
        for deployment in api.every("/deployments/filter", {"sort": "NAME_ASC"}):
            api.post(f"/deployments/{deployment['id']}/pause_deployment")
        yield Shift(
            data,
            environment | {"PREFECT_API_URL": state.api_url},
            api,
            psutil.Process(up.pid),
            {one.part: psutil.Process(one.pid) for one in state.parts if one.pid is not None},
        )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _waiting(what: str, seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"{what} took more than {seconds} s")


def say(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(text + "\n")


def answer(measured: Any) -> None:
    """What a process of a benchmark measured, at once, for the one that started it."""
    sys.stdout.write(json.dumps(measured) + "\n")
    sys.stdout.flush()
