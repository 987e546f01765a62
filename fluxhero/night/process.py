"""One process of a night shift: started in a session of its own, its output in a log, ended for sure."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fluxhero.errors import NightShiftError
from fluxhero.night.logs import last_lines, open_log

_LOOK_SECONDS: Final = 0.05
_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM})
_LONGEST: Final = 300  # characters of a line that is shown


class Process:
    """A running process, the only one that may end it being whoever made this object.

    Args:
        command: program and arguments.
        environment: all its variables.
        folder: where it runs.
        log: where its output is appended.

    Raises:
        NightShiftError: it cannot be started.
        StorageIOError: the log cannot be written.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self._log = log
        output = open_log(log)
        self._log_began = os.fstat(output).st_size
        wrapped = [
            *(sys.executable, "-m", "fluxhero.night.child", str(os.getpid()), "--"),
            *command,
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - commands of ours alone
                wrapped,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise NightShiftError(
                f"{command[0]} cannot be started: {error.strerror or error}",
                next_step="end other programs if the machine has no room left, then try again",
            ) from error
        finally:
            os.close(output)

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative if a signal ended it; None while it runs."""
        return self._process.poll()

    @property
    def last_line(self) -> str:
        """What it wrote last; empty if it wrote nothing."""
        lines = self.last_lines(1)
        return lines[0][:_LONGEST] if lines else ""

    def last_lines(self, count: int) -> list[str]:
        """What it wrote last."""
        return last_lines(self._log, count, since=self._log_began)

    @property
    def ending(self) -> str:
        """How it ended, in one line."""
        status = self.status or 0
        if -status in _FROM_OUTSIDE:  # what it said last has nothing to do with that
            return f"ended by {_signal_name(-status)}"
        how = f"ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        return f"{how}: {self.last_line}" if self.last_line else how

    def ask_to_end(self) -> None:
        """SIGTERM to the process alone; what it started is its own to end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to it and its group, if it has not ended, and wait for it."""
        if self.status is None:  # until that is asked for, nothing else can have its pid
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.kill()  # it may not have its own group yet
            self._process.wait()

    def end(self, seconds: float, *, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Ask it to end, and kill it if it has not within so many seconds, or once `hurry` is true.

        Returns:
            Whether it ended by itself.
        """
        self.ask_to_end()
        deadline = time.monotonic() + seconds
        while self.status is None and time.monotonic() < deadline and not hurry():
            time.sleep(_LOOK_SECONDS)
        ended = self.status is not None
        self.kill()
        return ended


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
