"""Processes of a night shift whose supervisor is gone: found by their mark, ended, never anything else.

Every process of a night shift, and whatever those start, has `FLUXHERO_NIGHT_SHIFT=<token>` in its
environment, with a token that no other night shift ever had.
"""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import psutil

from config.variables import NIGHT_SHIFT

PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.1
_ROUNDS: Final = 3
_CLOCK_SECONDS: Final = 2.0


def find(token: str, *, since: float = 0, spared: Collection[int] = ()) -> list[psutil.Process]:
    """The processes that have a token in their environment, without the one that asks.

    Args:
        token: of the night shift.
        since: they were made then or later (seconds since 1970).
        spared: pids that do not count.
    """
    if not token:
        return []
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid in {os.getpid(), *spared}:
                continue
            if process.create_time() < since - _CLOCK_SECONDS:
                continue
            if process.environ().get(NIGHT_SHIFT) == token:
                found.append(process)
    return found


def end(
    token: str,
    *,
    since: float = 0,
    spared: Collection[int] = (),
    patience_seconds: float = PATIENCE_SECONDS,
) -> int:
    """End the processes that have a token; those that do not want to are killed.

    Args:
        token: of the night shift.
        since: they were made then or later (seconds since 1970).
        spared: pids that are left alone.
        patience_seconds: how long they may take before they are killed.

    Returns:
        How many there were.
    """
    found = find(token, since=since, spared=spared)
    ended = {process.pid for process in found}
    for process in found:
        with suppress(psutil.Error):
            process.terminate()  # psutil refuses when the pid has become another process
    _wait_for(found, patience_seconds)
    for _ in range(_ROUNDS):  # what is killed may have started something just before
        rest = find(token, since=since, spared=spared)
        for process in rest:
            with suppress(psutil.Error):
                process.kill()
        if not rest:
            break
        ended |= {process.pid for process in rest}
        _wait_for(rest, PATIENCE_SECONDS)
    return len(ended)


def _wait_for(processes: list[psutil.Process], seconds: float) -> None:
    """Until none of them runs, or the time is up; one that nobody has reaped runs no more."""
    deadline = time.monotonic() + seconds
    while any(map(_runs, processes)) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        status: str = process.status()
    except psutil.Error:
        return False
    return status != str(psutil.STATUS_ZOMBIE)
