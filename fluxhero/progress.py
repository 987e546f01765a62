"""How far a long step is: told to the log now and then, and at once to whoever watches.

The command watches when it has a terminal to draw on. Under a worker nobody does, and the log tells.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

logger = logging.getLogger(__name__)

Watcher = Callable[[str, int, int | None, str], None]
_SECONDS_BETWEEN_LINES = 2.0
_watchers: list[Watcher] = []  # of the whole process: a step may run in any thread of it


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Within the block, call `watcher(name, done, in all if known, what is counted)` at every advance."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def rows_read(name: str) -> Callable[[int, int | None], None]:
    """Begin to read something; what is returned is told of each advance."""
    return begun(name, "read", "rows")


def begun(name: str, did: str, things: str) -> Callable[[int, int | None], None]:
    """Begin a long step; what is returned is told of each advance.

    Args:
        name: what the step works on.
        did: what is done to each thing, like read.
        things: what is counted, like rows.
    """
    last = monotonic()

    def report(done: int, total: int | None) -> None:
        nonlocal last
        for watcher in _watchers:
            watcher(name, done, total, things)
        if monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = monotonic()
            whole = "" if total is None else f" of {total:,} ({done / max(total, 1):.0%})"
            logger.info("%s: %s %s%s %s", name, did, f"{done:,}", whole, things)

    return report
