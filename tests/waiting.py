"""Waiting for what other processes and threads do."""

import time
from collections.abc import Callable
from typing import TypeVar

_Found = TypeVar("_Found")


def wait_for(
    happened: Callable[[], _Found], seconds: float, what: str = "it", every: float = 0.1
) -> _Found:
    """What `happened` returns as soon as that is true.

    Raises:
        AssertionError: it is not within `seconds`; `what` says what has been waited for.
    """
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, f"{what} has not happened within {seconds:g} s"
        time.sleep(every)
    return found
