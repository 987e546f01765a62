"""The folder that an evaluation works in: gone when it ends, or when the next one finds that it was killed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from fluxhero.durable import make_folder, storage_errors
from fluxhero.errors import AlreadyRunningError
from fluxhero.locks import locked

PREFIX: Final = "evaluation-"
_LOCK: Final = ".lock"


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Have the folder for the duration of the block, and remove its like that nobody works in.

    Args:
        folder: beside those of other runs; its name begins with `PREFIX`.

    Raises:
        AlreadyRunningError: somebody works in it.
        StorageIOError: the disk is full or refuses.
    """
    with _held(folder):
        with storage_errors("write", folder):
            make_folder(folder)
        _clear_beside(folder)
        yield


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which dies with its process; both are removed at the end."""
    lock = folder.with_name(f"{folder.name}{_LOCK}")
    busy = AlreadyRunningError(
        f"another evaluation works in {folder}", next_step="wait for it to end, then run again"
    )
    with locked(lock, lambda: busy):
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _clear_beside(folder: Path) -> None:
    with storage_errors("list", folder.parent):
        names = {path.name.removesuffix(_LOCK) for path in folder.parent.glob(f"{PREFIX}*")}
    for name in sorted(names - {folder.name}):
        with suppress(AlreadyRunningError), _held(folder.with_name(name)):
            pass
