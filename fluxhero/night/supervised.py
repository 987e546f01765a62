"""One part of a night shift under supervision: started, looked at, started again, ended."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from fluxhero.errors import FluxHeroError
from fluxhero.night.back_off import BackOff
from fluxhero.night.health import Health
from fluxhero.night.logs import bound
from fluxhero.night.parts import Command
from fluxhero.night.process import Process
from fluxhero.night.state import Part, PartState, Standing

START_SECONDS: Final = 180.0  # a server on a loaded machine, making its database, takes most of it
HANGING_SECONDS: Final = 75.0
HANGING_FAILURES: Final = 5  # and so often: this process itself may have been held up
SETTLED_SECONDS: Final = 3.0  # a part that is not asked anything is up when it has run so long

_log = logging.getLogger(__name__)


class Supervised:
    """A part; `tick` does what is due.

    Args:
        part: which.
        command: how it is started.
        url: shown to people; None if it has none.
    """

    def __init__(self, part: Part, command: Command, url: str | None = None) -> None:
        self.part = part
        self.command = command
        self.url = url
        self.standing = Standing.STARTING
        self.since = datetime.now(UTC)
        self.restarts = 0
        self.problem: str | None = None
        self.failed_starts = 0  # in a row, without having been up
        self._back_off = BackOff()
        self._start_at = 0.0
        self._changed = time.monotonic()
        self.process: Process | None = None

    @property
    def state(self) -> PartState:
        """As others may read it."""
        return PartState(
            part=self.part,
            standing=self.standing,
            since=self.since,
            pid=self.process.pid if self.process else None,
            url=self.url,
            restarts=self.restarts,
            problem=self.problem,
        )

    @property
    def is_up(self) -> bool:
        """Whether it runs, and answers if it is asked."""
        return self.standing is Standing.UP

    def due(self, now: float) -> bool:
        """Whether it does not run, and has waited long enough."""
        return self.process is None and now >= self._start_at

    def start(self, now: float) -> None:
        """Start it; if that fails it waits as if it had ended."""
        self._stand(Standing.STARTING, now)
        try:
            self.process = Process(
                self.command.arguments,
                self.command.environment,
                self.command.folder,
                self.command.log,
            )
        except FluxHeroError as error:
            self._ended(now, error.what)

    def look(self, now: float, health: Health) -> None:
        """See whether it came up, ended, or hangs; ended or hanging, it is to start again."""
        process = self.process
        if process is None:
            return
        if process.status is not None:
            self._ended(now, process.ending)
        elif self.standing is Standing.STARTING:
            self._look_whether_up(process, now, health)
        elif self._hangs(now, health):
            process.kill()
            silent = now - (health.failing_since or now)
            self._ended(now, f"did not answer for {silent:.0f} s and was killed")

    def _look_whether_up(self, process: Process, now: float, health: Health) -> None:
        waited = now - self._changed
        if self.command.health_url is None:
            up = waited >= SETTLED_SECONDS
        else:
            up = health.answered is not None and health.answered > self._changed
        if up:
            self.failed_starts = 0
            self._stand(Standing.UP, now)
        elif waited > START_SECONDS:
            process.kill()
            line = f": {process.last_line}" if process.last_line else ""
            self._ended(now, f"was not ready after {START_SECONDS:.0f} s and was killed{line}")

    def _hangs(self, now: float, health: Health) -> bool:
        if health.failing_since is None or health.failures < HANGING_FAILURES:
            return False
        return now - max(health.failing_since, self._changed) > HANGING_SECONDS

    def _ended(self, now: float, problem: str) -> None:
        up_seconds = now - self._changed if self.is_up else 0.0
        self.failed_starts += 0 if self.is_up else 1
        self._start_at = now + self._back_off.after(up_seconds)
        self.process = None
        self.restarts += 1
        self.problem = problem
        self._stand(Standing.WAITING, now)

    def end(self, seconds: float, *, hurry: Callable[[], bool]) -> None:
        """End it, for good; see `Process.end`."""
        if self.process is not None and not self.process.end(seconds, hurry=hurry):
            _log.warning("the part %s did not end by itself and was killed", self.part)
        self.process = None
        self._stand(Standing.STOPPED, time.monotonic())

    def stopping(self) -> None:
        """It is about to be ended."""
        self._stand(Standing.STOPPING, time.monotonic())

    def bound_log(self) -> None:
        """Keep its log from growing without end."""
        try:
            bound(self.command.log)
        except FluxHeroError as error:
            _log.warning("%s", error)

    def _stand(self, standing: Standing, now: float) -> None:
        if standing is not self.standing:
            self.standing = standing
            self.since = datetime.now(UTC)
        self._changed = now
