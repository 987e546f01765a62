"""Holding the archive for the whole of a run."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from config.logging import log_context
from fluxhero.archive.lock import archive_lock
from fluxhero.archive.workspace import Workspace


@contextmanager
def exclusively(workspace: Workspace, purpose: str, *, reading: bool = False) -> Iterator[None]:
    """Hold the archive for the whole run, and let go of the store at its end.

    Args:
        workspace: the store and its archive.
        purpose: what for.
        reading: whether the run writes nothing; an archive that is not there is not made for it.

    Raises:
        AlreadyRunningError: another run holds it.
    """
    layout = workspace.layout
    unneeded = reading and not layout.root.exists()  # nothing else can be running on it
    try:
        with (
            log_context(store=str(workspace.store.path)),
            nullcontext() if unneeded else archive_lock(layout, purpose),
        ):
            yield
    finally:
        workspace.store.close()
