"""One run at a time on an archive: a lock that dies with the process that holds it."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fluxhero.archive.layout import Layout
from fluxhero.durable import storage_errors
from fluxhero.errors import AlreadyRunningError
from fluxhero.locks import locked


@contextmanager
def archive_lock(layout: Layout, purpose: str) -> Iterator[None]:
    """Hold the archive for the duration of the block.

    Args:
        layout: the archive.
        purpose: what for, shown to whoever comes second ("archive_trades").

    Raises:
        AlreadyRunningError: another run holds it; the message says which.
    """
    with locked(layout.lock, lambda: _in_use(layout)):
        with storage_errors("lock", layout.root):
            _announce(layout, purpose)
        yield
        layout.lock_holder.unlink(missing_ok=True)


def _in_use(layout: Layout) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"the archive {layout.root} is in use by {_holder(layout)}",
        next_step="wait for it to end; whatever is due then is taken by the next run",
    )


def _announce(layout: Layout, purpose: str) -> None:
    holder = {
        "purpose": purpose,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    layout.lock_holder.write_text(json.dumps(holder), encoding="utf-8")


def _holder(layout: Layout) -> str:
    try:
        holder = json.loads(layout.lock_holder.read_text(encoding="utf-8"))
        return "{purpose} (process {pid} on {host}, since {since})".format(**holder)
    except (OSError, ValueError, KeyError):
        return "another run that has just started"
