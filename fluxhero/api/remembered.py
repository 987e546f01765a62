"""Answers that are kept for as long as the files they come from stay the same.

What says that a file is the same is its name, inode, size and time of change: every file of the pipeline is
replaced as a whole or only grows.
"""

import os
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from fluxhero.durable import storage_errors

T = TypeVar("T")


class Remembered(Generic[T]):
    """An answer that is made anew when its identity changes; safe to ask from several threads.

    While it is made everybody waits for it, so that many requests at once read a file once. An error is
    not remembered.
    """

    def __init__(self, identity: Callable[[], Hashable], make: Callable[[], T]) -> None:
        """Nothing is read yet.

        Args:
            identity: what the answer depends on; asked each time, so it has to be cheap.
            make: reads the files.
        """
        self._identity = identity
        self._make = make
        self._lock = threading.Lock()
        self._known: tuple[Hashable, T] | None = None

    def __call__(self) -> T:
        """The answer as of the files that are there now."""
        with self._lock:
            identity = self._identity()  # before reading: what changes meanwhile is read next time
            if self._known is None or self._known[0] != identity:
                self._known = (identity, self._make())
            return self._known[1]


def file_identity(path: Path) -> Hashable:
    """Which version of a file is there; the same as long as there is none.

    Raises:
        StorageIOError: the operating system refuses.
    """
    with storage_errors("look at", path):
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def folder_identity(folder: Path, *, newest: int | None = None) -> Hashable:
    """Which files are in a folder, and which versions of them.

    Args:
        folder: not what is below it.
        newest: look at the versions of so many with the last names only, where older ones never change.

    Raises:
        StorageIOError: the operating system refuses.
    """
    with storage_errors("list", folder):
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - names alone, and fast
        except (FileNotFoundError, NotADirectoryError):
            return None
    watched = names if newest is None else names[-newest:]
    return tuple(names), tuple(file_identity(folder / name) for name in watched)
