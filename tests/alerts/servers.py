"""A Prefect server of a test's own, in processes that can be killed, with a worker and flows to run."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from config.prefect_env import DEFAULTS
from fluxhero.alerts.automations import automations
from fluxhero.alerts.dead_runs import RUN_VARIABLE
from fluxhero.alerts.outbox import Outbox
from fluxhero.night.server_api import ServerApi
from tests.ports import free_port
from tests.prefect_server import START_SECONDS
from tests.waiting import wait_for

POOL = "killed"
_FLOWS = """
import time
from prefect import flow

@flow(name="archive-trades")
def child(seconds: float = 600):
    time.sleep(seconds)

@flow(name="nightly")
def parent(seconds: float = 600):
    child(seconds)

@flow(name="archive-trades")
def alone(seconds: float = 600):
    time.sleep(seconds)


@flow(name="archive-trades")
def failing(seconds: float = 0):
    raise ValueError("it always fails")
"""
_WATCH = """
import logging, sys
from pathlib import Path
from config.settings import Settings
from fluxhero.alerts.courier import watch
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
watch(Settings(_env_file=None, data_dir=Path(sys.argv[1])))
"""


class Night:
    """A server, and a worker of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.api = ServerApi(self.url, patience_seconds=60)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
        } | {
            **DEFAULTS,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.courier: subprocess.Popen[bytes] | None = None
        (folder / "killed_flows.py").write_text(_FLOWS)

    def start_server(self) -> None:
        """Start it and wait until it is well."""
        at = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.server = self._started("server", "server", "start", *at)
        wait_for(self.api.healthy, START_SECONDS)

    def apply_automations(self) -> None:
        """Create ours."""
        for body in automations():
            self.api.post("/automations/", body)

    def start_worker(self) -> None:
        """Start it; runs are taken once it has come up."""
        if self.api.find(f"/work_pools/{POOL}") is None:
            self.api.post("/work_pools/", {"name": POOL, "type": "process"})
        self.worker = self._started(
            "worker", "worker", "start", "--pool", POOL, "--type", "process"
        )

    def deployment(self, entrypoint: str, **more: Any) -> str:
        """Create one of a flow; returns its id."""
        flow_name = "nightly" if entrypoint == "parent" else "archive-trades"
        flow = self.api.post("/flows/", {"name": flow_name})
        body = {
            "name": entrypoint,
            "flow_id": flow["id"],
            "entrypoint": f"killed_flows.py:{entrypoint}",
            "path": str(self.folder),
            "pull_steps": [
                {"prefect.deployments.steps.set_working_directory": {"directory": str(self.folder)}}
            ],
            "work_pool_name": POOL,
            "tags": ["fluxhero"],
            "job_variables": {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}},
            "enforce_parameter_schema": False,
            **more,
        }
        made: dict[str, Any] = self.api.post("/deployments/", body)
        return str(made["id"])

    def run(self, deployment: str, **parameters: Any) -> str:
        """Ask for a run; returns its id."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = self.api.post(f"/deployments/{deployment}/create_flow_run", body)
        return str(made["id"])

    def state(self, run: str) -> str:
        """The name of a run's state."""
        return str(self.api.get(f"/flow_runs/{run}")["state"]["name"])

    def states(self) -> dict[str, tuple[str, str]]:
        """State and message of every run, by its id."""
        rows = self.api.every("/flow_runs/filter", {"sort": "ID_DESC"})
        return {row["id"]: (row["state_name"], row["state"]["message"] or "") for row in rows}

    def processes_of(self, run: str) -> list[psutil.Process]:
        """Every process that works for a run, what it started too."""
        return [one for one in psutil.process_iter() if _variable(one, RUN_VARIABLE) == run]

    def kill_run(self, run: str) -> None:
        """SIGKILL the worker, and what works for one run."""
        assert self.worker is not None
        processes = self.processes_of(run)
        assert processes
        self.worker.kill()
        self.worker.wait()
        for process in processes:
            process.kill()

    def kill_server(self) -> None:
        """SIGKILL it."""
        assert self.server is not None
        kill_tree(self.server)

    def start_courier(self) -> None:
        """Start it on a data folder of its own."""
        command = [sys.executable, "-c", _WATCH, str(self.data)]
        with (self.folder / "courier.log").open("ab") as log:
            self.courier = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def data(self) -> Path:
        """The courier's data folder."""
        return self.folder / "data"

    def alerts(self) -> list[str]:
        """The keys of what was told."""
        return [entry.incident.key for entry in Outbox(self.data).entries()]

    def stop(self) -> None:
        """End everything, runs that outlived their worker too."""
        for process in (self.courier, self.worker, self.server):
            if process is not None:
                kill_tree(process)
        self.api.__exit__(None, None, None)
        for orphan in psutil.process_iter():
            if _variable(orphan, "PREFECT_API_URL") == self.url:
                orphan.kill()

    def _started(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )


@contextmanager
def night(folder: Path) -> Iterator[Night]:
    """A server with our automations and a worker; all of it ends with the block."""
    made = Night(folder)
    try:
        made.start_server()
        made.apply_automations()
        made.start_worker()
        yield made
    finally:
        made.stop()


def kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a process and all it started."""
    try:
        tree = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    for one in [*tree]:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.kill()
    process.wait()
    psutil.wait_procs(tree, timeout=30)


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        value: str | None = process.environ().get(name)
    except psutil.Error:
        return None
    return value
