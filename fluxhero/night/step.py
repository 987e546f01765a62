"""A step of a night shift that ends by itself: bringing deployments up to date, catching up."""

import logging
from typing import Final

from fluxhero.errors import FluxHeroError
from fluxhero.night.back_off import BackOff
from fluxhero.night.parts import Command
from fluxhero.night.process import Process

LONGEST_SECONDS: Final = 300.0

_log = logging.getLogger(__name__)


class Step:
    """A step; `ask` for it, and `tick` does what is due.

    Args:
        command: how it is started.
        what: what it does, for messages: "deployments are brought up to date".
        until_done: whether it is tried again, with back-off, until it succeeds.
    """

    def __init__(self, command: Command, what: str, *, until_done: bool) -> None:
        self._command = command
        self._what = what
        self._until_done = until_done
        self._back_off = BackOff()
        self._start_at: float | None = None
        self._began = 0.0
        self._process: Process | None = None
        self.problem: str | None = None
        self.attempted = False  # since it was asked for, it has ended once, well or not
        self.done = False

    def ask(self, now: float) -> None:
        """Have it run as soon as possible, unless it does already."""
        if self._process is None:
            self._start_at = now
            self.attempted = self.done = False

    def tick(self, now: float) -> None:
        """Start it if that is due; see whether it has ended, or takes too long."""
        if self._process is not None:
            self._look(self._process, now)
        elif self._start_at is not None and now >= self._start_at:
            self._start(now)

    def _start(self, now: float) -> None:
        self._start_at = None
        self._began = now
        command = self._command
        try:
            self._process = Process(
                command.arguments, command.environment, command.folder, command.log
            )
        except FluxHeroError as error:
            self._failed(now, error.what)

    def _look(self, process: Process, now: float) -> None:
        if process.status is None:
            if now - self._began > LONGEST_SECONDS:
                process.kill()
                self._process = None
                self._failed(now, f"took more than {LONGEST_SECONDS:.0f} s and was killed")
            return
        self._process = None
        if process.status == 0:
            self.problem = None
            self.attempted = self.done = True
            _log.info("%s: done", self._what)
        else:
            self._failed(now, process.ending)

    def _failed(self, now: float, problem: str) -> None:
        self.attempted = True
        self.problem = f"{self._what}: failed, {problem}"
        _log.warning("%s", self.problem)
        if self._until_done:
            self._start_at = now + self._back_off.after(0)

    def end(self, seconds: float) -> None:
        """End it, for good."""
        self._start_at = None
        if self._process is not None:
            self._process.end(seconds)
            self._process = None
