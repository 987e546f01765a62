"""A Prefect server and a process worker for the benchmarks of the night shift, and what they use."""

import json
import os
import socket
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
from config.prefect_env import DEFAULTS, LOCAL_HOST
from fluxhero.night.retention import retention_environment
from fluxhero.night.server_api import ServerApi

ROOT = Path(__file__).parent.parent
HISTORY_DAYS = 7
POOL = "fluxhero"
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
_START_SECONDS, _RUN_SECONDS = 180, 600
_HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}


@dataclass(frozen=True)
class Shift:
    """One server, and a worker if there is one."""

    folder: Path
    environment: dict[str, str]
    api: ServerApi
    server: psutil.Process
    worker: psutil.Process | None = None

    @property
    def database(self) -> Path:
        """The server's SQLite file."""
        return self.folder / "prefect" / "prefect.db"

    def deployment_of(self, flow: str) -> str:
        """The first deployment of a flow, as flow/deployment."""
        wanted = {"flows": {"name": {"any_": [flow]}}, "sort": "NAME_ASC"}
        return f"{flow}/{self.api.post('/deployments/filter', wanted)[0]['name']}"

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        """Have a deployment run by the worker, and wait for its process to be gone."""
        if self.worker is None:
            raise RuntimeError("this shift has no worker")
        found = self.api.get(f"/deployments/name/{deployment}")
        asked = {
            "state": {"type": "SCHEDULED"},
            "parameters": {**found["parameters"], **parameters},
        }
        run = self.api.post(f"/deployments/{found['id']}/create_flow_run", asked)
        for _ in _waiting(f"the run of {deployment}", _RUN_SECONDS):
            run = self.api.get(f"/flow_runs/{run['id']}")
            if run["state_type"] in _ENDED and not self.worker.children():
                break
        return dict(run)


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def ended_children_cpu(process: psutil.Process) -> float:
    """CPU seconds of its children that have ended."""
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


@contextmanager
def night_shift(folder: Path, *, worker: bool, rows: int | None = None) -> Iterator[Shift]:
    """A server on a free port, with all deployments and a worker if wanted; stopped at the end.

    Args:
        folder: of everything; a database that is there is used.
        worker: whether runs are to be started.
        rows: how many trades are due in a new store.
    """
    store = folder / "data" / "ledger.duckdb"
    if rows is not None:
        store.parent.mkdir(parents=True, exist_ok=True)
        make_sound_store(store, rows)
    with socket.socket() as probe:
        probe.bind((LOCAL_HOST, 0))
        port = probe.getsockname()[1]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("FLUXHERO_", "PREFECT_"))},
        **DEFAULTS,
        **retention_environment(HISTORY_DAYS),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://{LOCAL_HOST}:{port}/api",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "FLUXHERO_DATA_DIR": str(folder / "data"),
        "FLUXHERO_STORE_URL": f"duckdb:///{store}",
        "PYTHONPATH": str(ROOT),
        **_HEARTBEAT,
    }
    server = ("server", "start", "--host", LOCAL_HOST, "--port", str(port))
    started = time.monotonic()
    with _running(folder, environment, *server) as process:
        with ServerApi(environment["PREFECT_API_URL"], patience_seconds=30) as api:
            for _ in _waiting("the server", _START_SECONDS):
                if api.healthy():
                    break
            say(f"server up after {time.monotonic() - started:.0f} s")
            if not worker:
                yield Shift(folder, environment, api, process)
                return
            _deploy(folder, environment, api)
            with _running(
                folder, environment, "worker", "start", "--pool", POOL, "--type", "process"
            ) as working:
                for _ in _waiting("the worker", _START_SECONDS):
                    if api.post(f"/work_pools/{POOL}/workers/filter"):
                        break
                yield Shift(folder, environment, api, process, working)


def _deploy(folder: Path, environment: dict[str, str], api: ServerApi) -> None:
    """The deployments of prefect.yaml, without their schedules: nothing else runs meanwhile."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    quiet = {"check": True, "env": environment, "stdout": subprocess.DEVNULL, "cwd": ROOT}
    subprocess.run([*prefect, "work-pool", "create", "--type", "process", POOL], **quiet)  # type: ignore[call-overload]
    subprocess.run([*prefect, "deploy", "--all"], **quiet)  # type: ignore[call-overload]
    for deployment in api.every("/deployments/filter", {"sort": "NAME_ASC"}):
        api.post(f"/deployments/{deployment['id']}/pause_deployment")


@contextmanager
def _running(
    folder: Path, environment: dict[str, str], *arguments: str
) -> Iterator[psutil.Process]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _waiting(what: str, seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield
        time.sleep(0.25)
    raise TimeoutError(f"{what} took more than {seconds} s")


def say(text: str) -> None:
    """Progress, for whoever waits."""
    sys.stderr.write(text + "\n")


def answer(measured: Any) -> None:
    """What a process of a benchmark measured, for the one that started it."""
    sys.stdout.write(json.dumps(measured) + "\n")
