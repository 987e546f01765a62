"""Processes that die by SIGKILL before a chosen change of the disk."""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a process of its own; its exit code, negative if a signal ended it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - told by the exit code, and on stderr
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying_before(call_number: int | None, names: Iterable[str]) -> Callable[[], int]:
    """From now on this process dies before so many calls of these functions of `os` (None: never).

    Returns:
        How many there have been.
    """
    calls = 0

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            if calls == call_number:
                os.kill(os.getpid(), signal.SIGKILL)
            calls += 1
            return call(*args, **kwargs)

        return counting

    for name in names:
        setattr(os, name, wrapped(getattr(os, name)))
    return lambda: calls
