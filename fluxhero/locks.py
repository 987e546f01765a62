"""Locks between processes: each dies with the process that holds it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fluxhero.durable import make_folder, storage_errors
from fluxhero.errors import AlreadyRunningError


@contextmanager
def locked(
    path: Path, busy: Callable[[], AlreadyRunningError], *, wait_seconds: float = 0
) -> Iterator[None]:
    """Hold a lock for the duration of the block; its folder is made when missing.

    Args:
        path: the lock's file.
        busy: what to say when another process holds it.
        wait_seconds: how long it may be waited for.

    Raises:
        AlreadyRunningError: another process holds it.
        StorageIOError: the operating system refuses.
    """
    with storage_errors("lock", path.parent):
        make_folder(path.parent)
        lock = FileLock(path, timeout=wait_seconds)
        try:
            lock.acquire()
        except Timeout as timeout:
            raise busy() from timeout
    try:
        yield
    finally:
        lock.release()
