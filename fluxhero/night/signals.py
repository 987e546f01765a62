"""The signals that stop a night shift, taken one at a time where it suits."""

import os
import select
import signal
from collections import deque
from types import FrameType, TracebackType
from typing import Any, Final, Self

_STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MUCH: Final = 4_096


class StopSignals:
    """Within the block, SIGINT, SIGTERM and SIGHUP are kept until somebody looks.

    A SIGHUP that is ignored already (`nohup`) stays ignored. SIGCHLD wakes who waits. In the main
    thread alone, as Python has it.
    """

    def __init__(self) -> None:
        self._came: deque[int] = deque()
        self._before: dict[int, Any] = {}
        self._wake_before = -1
        self._reader, self._writer = os.pipe()

    def __enter__(self) -> Self:
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._wake_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _STOP:
            ignored = number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
            if not ignored:
                self._before[number] = signal.signal(number, self._note)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _nothing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wake_before)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> bool:
        """Wait until a signal comes or a child ends, so long at most; whether one came to stop."""
        if not self._came and select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, _MUCH)
        return bool(self._came)

    def take(self) -> str | None:
        """The name of the next that came; None if none did."""
        return signal.Signals(self._came.popleft()).name if self._came else None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up alone is what counts."""
