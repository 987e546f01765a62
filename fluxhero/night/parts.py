"""The one place that knows how each part of a night shift is started: its command, its environment.

What belongs here: what a process is told. When it is started, and what happens when it ends, is in
`supervisor`.
"""

import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.handed_on import as_variables, inherited, of_env_file, unless_set
from config.night_shift import night_folder
from config.prefect_env import DEFAULTS
from config.settings import Settings
from config.variables import NIGHT_SHIFT
from fluxhero.night.deployments import POOL, checkout
from fluxhero.night.logs import log_file
from fluxhero.night.ports import url_of
from fluxhero.night.prefect_ui import ui_environment
from fluxhero.night.retention import retention_environment
from fluxhero.night.state import Part

_WORKER: Final = "night-shift"  # its name begins the log of every run that it starts
# Each would have a process look elsewhere than in the night shift's own home.
_ELSEWHERE = frozenset({"PREFECT_PROFILE", "PREFECT_PROFILES_PATH"})


@dataclass(frozen=True)
class Command:
    """How a process is started.

    Attributes:
        name: of the part or the step; its log has the same name.
        arguments: the program and its arguments.
        environment: all its variables.
        folder: where it runs.
        log: where its output goes.
        health_url: answers with status 200 while it is well; None where the process alone is looked at.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    health_url: str | None = None


@dataclass(frozen=True)
class Place:
    """Where a night shift works.

    Attributes:
        settings: by which.
        token: marks its processes.
        api_url: of Prefect's API, without a slash at its end.
        own_server: whether that server is one of its parts, and not somebody else's.
        prefect_port: on which the server listens, if it is.
        api_port: on which the operations API listens.
    """

    settings: Settings
    token: str
    api_url: str
    own_server: bool
    prefect_port: int
    api_port: int

    @property
    def ui_url(self) -> str:
        """Of the Prefect UI."""
        return self.settings.prefect_ui_url or self.api_url.removesuffix("/api")

    @property
    def page_url(self) -> str:
        """Of the operations page."""
        return url_of(self.settings.api_host, self.api_port) + "/"

    @property
    def prefect_home(self) -> Path:
        """Where Prefect keeps its database and everything else of its own."""
        return night_folder(self.settings.data_dir) / "prefect"

    def part(self, part: Part) -> Command:
        """How a part is started."""
        settings = self.settings
        if part is Part.SERVER:
            start = ("prefect", "server", "start")
            listening = ("--host", settings.prefect_host, "--port", str(self.prefect_port))
            health_url = f"{self.api_url}/health"
            return self._command(part, (*start, *listening), health_url, self._of_server())
        if part is Part.API:
            listening = ("--host", settings.api_host, "--port", str(self.api_port))
            return self._command(part, ("fluxhero", "serve", *listening), f"{self.page_url}livez")
        if part is Part.WORKER:
            pool = ("--pool", POOL, "--type", "process", "--install-policy", "never")
            name = _WORKER if self.own_server else f"{_WORKER}-{socket.gethostname()}"
            return self._command(part, ("prefect", "worker", "start", *pool, "--name", name))
        return self._command(part, ("fluxhero", "alert", "watch"))

    def apply(self) -> Command:
        """Brings deployments, queues and automations of the server up to date."""
        return self._command("apply", ("fluxhero.night.apply",))

    def catch_up(self) -> Command:
        """Has schedules that were missed run once."""
        return self._command("catch-up", ("fluxhero.night.catch_up",))

    def agenda(self) -> Command:
        """Tells the scheduled runs to come."""
        return self._command("agenda", ("fluxhero.night.agenda",))

    def _command(
        self,
        name: str,
        arguments: tuple[str, ...],
        health_url: str | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Command:
        return Command(
            name=str(name),
            arguments=(sys.executable, "-m", *arguments),
            environment={**self.environment(), **(more or {})},
            folder=checkout(),
            log=log_file(self.settings.data_dir, name),
            health_url=health_url,
        )

    def environment(self) -> dict[str, str]:
        """Variables of every process of the night shift."""
        given = inherited()
        mine = {
            **as_variables(self.settings),
            NIGHT_SHIFT: self.token,
            "PREFECT_API_URL": self.api_url,
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
        }
        if self.own_server:
            mine["PREFECT_HOME"] = str(self.prefect_home)
            given = {k: v for k, v in given.items() if k not in _ELSEWHERE}
        return {**DEFAULTS, **of_env_file(Path(".env")), **given, **mine}

    def _of_server(self) -> dict[str, str]:
        """What the server is told beside: how long it keeps things, and to call nobody."""
        wanted = {
            **retention_environment(self.settings.history_days),
            # Beside the database: the installation may not be writable, or serve two servers.
            **ui_environment(self.prefect_home / "ui", self.api_url),
            # The C library gives freed memory back sooner from few pools than from one a thread.
            "MALLOC_ARENA_MAX": "2",
        }
        return unless_set(wanted) | {
            "PREFECT_SERVER_API_HOST": self.settings.prefect_host,
            "PREFECT_SERVER_API_PORT": str(self.prefect_port),
        }
