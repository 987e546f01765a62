"""A night shift whose parts are small programs of the test's own: quick to start, made to misbehave."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import Settings
from config.variables import NIGHT_SHIFT
from fluxhero.night.logs import log_file
from fluxhero.night.parts import Command, Place
from fluxhero.night.signals import StopSignals
from fluxhero.night.state import NightState, Part
from fluxhero.night.supervisor import Supervisor
from tests.ports import free_port

# Answers on the port that it is given, until the file `hang` is there.
SERVER = """
import http.server, pathlib, sys, time
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while pathlib.Path("hang").exists():
            time.sleep(0.05)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.HTTPServer(("127.0.0.1", {port}), Health).serve_forever()
"""
SLEEPS = "import time\nwhile True: time.sleep(0.05)"
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
while True:
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class StandIn(Place):
    """A place whose parts are scripts; a part or step without one sleeps, or ends at once."""

    scripts: Mapping[str, str] = field(default_factory=dict)

    def part(self, part: Part) -> Command:
        health = f"http://127.0.0.1:{self.prefect_port}/" if part is Part.SERVER else None
        default = SERVER.format(port=self.prefect_port) if part is Part.SERVER else SLEEPS
        return self.script(str(part), default, health)

    def apply(self) -> Command:
        return self.script("apply", "")

    def catch_up(self) -> Command:
        return self.script("catch-up", "open('caught-up', 'a').write('x')")

    def agenda(self) -> Command:
        return self.script("agenda", "")

    def script(self, name: str, default: str, health_url: str | None = None) -> Command:
        return Command(
            name=name,
            arguments=(sys.executable, "-c", self.scripts.get(name, default)),
            environment={**os.environ, NIGHT_SHIFT: self.token},
            folder=self.settings.data_dir,
            log=log_file(self.settings.data_dir, name),
            health_url=health_url,
        )


def stand_in(folder: Path, *, own_server: bool = True, **scripts: str) -> StandIn:
    """A place under a folder, with these scripts; `catch_up` stands for `catch-up`."""
    data_dir = folder / "data"
    data_dir.mkdir(exist_ok=True)
    port = free_port()
    return StandIn(
        settings=Settings(data_dir=data_dir),
        token=f"test-{os.getpid()}-{port}",
        api_url=f"http://127.0.0.1:{port}/api",
        own_server=own_server,
        prefect_port=port,
        api_port=port,
        scripts={name.replace("_", "-"): script for name, script in scripts.items()},
    )


class Watched:
    """Supervises in this process until `enough` is true of a state, then stops it as a signal does."""

    def __init__(
        self,
        place: Place,
        parts: tuple[Part, ...],
        enough: Callable[[NightState], bool],
        told: Callable[[NightState], None] = lambda _state: None,
    ) -> None:
        self.states: list[NightState] = []
        self._enough = enough
        self._also_told = told
        self._stopped = False
        self.supervisor = Supervisor(place, parts, (), told=self._told, beat=self._beat)

    def run(self) -> "Watched":
        with StopSignals() as signals:
            assert self.supervisor.run(signals) == "SIGTERM"
        return self

    def _told(self, state: NightState) -> None:
        self.states.append(state)
        self._also_told(state)

    def _beat(self, state: NightState) -> None:
        if not self._stopped and self._enough(state):
            self._stopped = True
            os.kill(os.getpid(), signal.SIGTERM)

    def of(self, part: Part) -> list[str]:
        """The standings of a part, one after the other."""
        all_of_it = [str(one.standing) for s in self.states for one in s.parts if one.part is part]
        return [
            now for before, now in zip(["", *all_of_it], all_of_it, strict=False) if now != before
        ]
