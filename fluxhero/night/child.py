"""`python -m fluxhero.night.child PARENT -- COMMAND …`: become a command that ends with its parent.

What belongs here: what a process has to be told before it becomes another program. Python's own way,
a function between fork and exec, is unsafe in a process that has threads; so this one comes between.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_ORPHANED: Final = 3  # exit status


def main(arguments: list[str]) -> None:
    """Become the command.

    Args:
        arguments: pid of the parent, `--`, then the command.
    """
    parent, _, *command = arguments
    _end_with_parent()
    if os.getppid() != int(parent):  # it died before the kernel was told
        sys.exit(_ORPHANED)
    _take_signals_again()
    os.execvp(command[0], command)  # noqa: S606 - no shell is what is wanted


def _end_with_parent() -> None:
    """Have Linux send SIGTERM as soon as the parent is gone; elsewhere leftovers are found later."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _take_signals_again() -> None:
    """Undo what the parent ignores or holds back.

    A process that a script started with `&` ignores SIGINT and hands that on; Prefect's worker stops by
    SIGINT, and would go on for ever.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    main(sys.argv[1:])
