"""Opening a DuckDB hot store: briefly, and waiting for whoever else has it open."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fluxhero.engine import connect, literal, session
from fluxhero.errors import DamagedStoreError, FluxHeroError, StorageIOError, StoreLockedError

HOT = "hot"  # the name a store is attached under
_LOCK_SIGNS = ("Could not set lock", "Unique file handle conflict", "already attached")
_DAMAGE_SIGNS = (
    "not a valid DuckDB database",
    "orrupt",
    "Checksum",
    "truncated",
    "Failed to load",
    "read enough bytes",
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds


@contextmanager
def opened(
    path: Path,
    *,
    read_only: bool,
    timeout: float,
    instance: duckdb.DuckDBPyConnection | None = None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an in-memory connection with the store attached as `hot`.

    Args:
        path: the database file; created when missing, unless read-only.
        read_only: whether to refuse writes; readers still exclude writers in other processes.
        timeout: seconds to wait for a process that has the file open.
        instance: a DuckDB to attach the file to, for callers that open it again and again.

    Raises:
        StoreLockedError: it was still open elsewhere after `timeout`.
        DamagedStoreError: DuckDB cannot read it.
    """
    with session(instance) if instance else connect() as connection:
        _attach(connection, path, read_only=read_only, timeout=timeout)
        try:
            yield connection
        except duckdb.Error as error:
            raise translate(error, path) from error
        finally:
            _detach(connection)


def _attach(
    connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool, timeout: float
) -> None:
    options = "READ_ONLY" if read_only else "STORAGE_VERSION 'v1.5.0'"
    deadline = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while True:
        try:
            connection.execute(f"ATTACH {literal(str(path))} AS {HOT} ({options})")
        except duckdb.Error as error:
            translated = translate(error, path)
            if not isinstance(translated, StoreLockedError) or time.monotonic() > deadline:
                raise translated from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return


def _detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Close the file, and with it drop whatever an exception left open."""
    with contextlib.suppress(duckdb.Error):
        connection.interrupt()
        connection.execute("ROLLBACK")
    connection.execute(f"DETACH {HOT}")


def translate(error: duckdb.Error, path: Path) -> FluxHeroError:
    """Say what a DuckDB error means for the store at `path`."""
    text = str(error).splitlines()[0]
    if any(sign in text for sign in _LOCK_SIGNS):
        return StoreLockedError(
            f"the store {path} is open in another process ({text})",
            next_step="nothing was changed; the step is tried again, or close what holds the file",
        )
    if any(sign in text for sign in _DAMAGE_SIGNS) or isinstance(
        error, duckdb.FatalException | duckdb.InternalException
    ):
        return DamagedStoreError(
            f"DuckDB cannot read the store {path}: {text}",
            next_step="restore the file from a backup; the archive is not affected",
        )
    return StorageIOError(
        f"a query on the store {path} failed: {text}",
        next_step="check the disk's room and permissions, then run again; nothing was lost",
    )
