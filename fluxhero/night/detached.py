"""A night shift that goes on without the terminal it was started from."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fluxhero.errors import NightShiftError
from fluxhero.night.logs import last_lines, log_file, open_log
from fluxhero.night.state import NightState, read_state

UP_WITHIN_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.2
_SHOWN: Final = 5  # lines of its log


def start_detached(
    data_dir: Path, arguments: Sequence[str], *, up_within_seconds: float = UP_WITHIN_SECONDS
) -> NightState:
    """Start a night shift in a session of its own, and wait until all of it is up.

    Args:
        data_dir: its data folder.
        arguments: options of `fluxhero up`.
        up_within_seconds: how long that may take; it goes on after that.

    Raises:
        NightShiftError: it ended, or is not up in time.
        StorageIOError: its log cannot be written.
    """
    log = log_file(data_dir, "up")
    output = open_log(log)
    began = os.fstat(output).st_size
    try:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "fluxhero", "up", "--no-screen", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)
    try:
        return _once_up(process, data_dir, log, began, up_within_seconds)
    finally:
        process.poll()
        if process.returncode is None:
            process.returncode = 0  # it goes on without us, and that is no mistake


def _once_up(
    process: "subprocess.Popen[bytes]", data_dir: Path, log: Path, began: int, within_seconds: float
) -> NightState:
    deadline = time.monotonic() + within_seconds
    while process.poll() is None:
        state = read_state(data_dir)
        if state is not None and state.all_up:
            return state
        if time.monotonic() > deadline:
            raise NightShiftError(
                f"the night shift (pid {process.pid}) is not all up after {within_seconds:.0f} s;"
                f" it goes on trying. {_said(log, began)}",
                next_step=f"read {log.parent}; `fluxhero up` says what is missing, `fluxhero down` ends it",
            )
        time.sleep(_LOOK_SECONDS)
    if process.returncode == 0 and (state := read_state(data_dir)) is not None:
        return state  # another one was quicker
    raise NightShiftError(
        f"the night shift ended with status {process.returncode}. {_said(log, began)}",
        next_step=f"correct what it says; all of it is in {log}",
    )


def _said(log: Path, since: int) -> str:
    lines = last_lines(log, _SHOWN, since=since)
    return "It said last:\n  " + "\n  ".join(lines) + "\n" if lines else ""
