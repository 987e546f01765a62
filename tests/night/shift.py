"""A night shift as tests run it: `fluxhero up` as a process of its own, in a folder of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from config.settings import PREFIX
from fluxhero.errors import ServerError
from fluxhero.night.server_api import ServerApi
from fluxhero.night.state import NightState, Part, Standing, read_state
from tests.ports import free_port

UP_SECONDS, DOWN_SECONDS, POLL_SECONDS = 240.0, 90.0, 0.5


class Shift:
    """`fluxhero up --no-screen` with a data folder under `folder`; settings as variables."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((PREFIX, "PREFECT_"))
        }
        self.environment = (
            inherited
            | {
                "FLUXHERO_DATA_DIR": str(self.data),
                "FLUXHERO_PREFECT_PORT": str(free_port()),
                "FLUXHERO_API_PORT": str(free_port()),
                "HOME": str(folder),
                "NO_COLOR": "1",
            }
            | variables
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fluxhero", *arguments]

    def run(self, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """A `fluxhero` command on the same data, to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it and wait for nothing."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command("up", "--no-screen", *arguments),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self._process

    def up(self, *arguments: str) -> "Shift":
        """Start it and wait until every part is up."""
        self.begin(*arguments)
        self.wait(self.is_up, UP_SECONDS, "the night shift")
        return self

    def is_up(self) -> bool:
        state = self.known()
        return state is not None and all(one.standing is Standing.UP for one in state.parts)

    def known(self) -> NightState | None:
        return read_state(self.data)

    def stop(self) -> int | None:
        """Interrupt it as Ctrl-C does; its exit status, None if it was never started."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    # ---- what runs

    def pid(self, part: str) -> int | None:
        """The process of a part; None while it has none."""
        state = self.known()
        parts = {} if state is None else {one.part: one for one in state.parts}
        return parts[Part(part)].pid if Part(part) in parts else None

    def run_pids(self, run: str) -> list[int]:
        """The processes of a flow run: its own, and those it has started."""
        return [
            process.pid
            for process in psutil.process_iter()
            if _variable(process, "PREFECT__FLOW_RUN_ID") == run
        ]

    # ---- the server

    def ask(self, path: str, **body: Any) -> Any:
        """What the server answers; asked again while it is away."""
        state = self.known()
        assert state is not None, self.log.read_text()
        with ServerApi(state.api_url, patience_seconds=90) as api:
            return api.post(path, body) if body else api.get(path)

    def start(self, deployment: str) -> str:
        """Ask for a run of a deployment, as the UI's quick run does; its id."""
        found = self.ask(f"/deployments/name/{deployment}")
        made = self.ask(f"/deployments/{found['id']}/create_flow_run", state={"type": "SCHEDULED"})
        run: str = made["id"]
        return run

    def state(self, run: str) -> str:
        """The type of a run's state; nothing while the server is away."""
        try:
            found = self.ask(f"/flow_runs/{run}")
        except ServerError:
            return ""
        kind: str = found["state"]["type"]
        return kind

    def ended_at(self, run: str) -> datetime:
        """When a run ended that has."""
        return datetime.fromisoformat(self.ask(f"/flow_runs/{run}")["end_time"])

    def wait(self, happened: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something has happened; what was logged is shown if it does not."""
        end = time.monotonic() + seconds
        while not happened():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > end:
                raise AssertionError(f"waited for {what}\n{self.log.read_text()[-4000:]}")
            time.sleep(POLL_SECONDS)


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        environment: dict[str, str] = process.environ()
    except psutil.Error:
        return None
    return environment.get(name)
