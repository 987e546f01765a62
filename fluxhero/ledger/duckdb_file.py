"""A DuckDB hot store as a file: opened briefly, waiting for whoever else has it open."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fluxhero.engine import connect, literal, session
from fluxhero.errors import (
    AlteredStoreError,
    DamagedFileError,
    DamagedStoreError,
    FluxHeroError,
    StorageIOError,
    StoreLockedError,
    first_line,
)
from fluxhero.ledger.duckdb_catalog import foreign_keys
from fluxhero.ledger.mistaken import foreign_file

HOT = "hot"  # the name a store is attached under
_LOCK_SIGNS = ("Could not set lock", "Unique file handle conflict", "already attached")
_NOT_DUCKDB = "not a valid DuckDB database"
_OF_PARQUET = "Parquet"
_DAMAGE_SIGNS = (
    _NOT_DUCKDB,
    "orrupt",
    "Checksum",
    "truncated",
    "Failed to load",
    "read enough bytes",
)
_CLOCK_TICK_NS = 2_000_000_000  # far above any file system's resolution
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
        ForeignStoreError: it is a SQLite file, or no database at all.
        AlteredStoreError: a table or a constraint of the user's own stands in the way.
    """
    with session(instance) if instance else connect() as connection:
        _attach(connection, path, read_only=read_only, timeout=timeout)
        try:
            yield connection
        except duckdb.ConstraintException as error:
            raise _refused(error, path, connection) from error
        except duckdb.Error as error:
            raise translate(error, path) from error
        finally:
            _detach(connection, path)


def _attach(
    connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool, timeout: float
) -> None:
    options = "TYPE duckdb, " + ("READ_ONLY" if read_only else "STORAGE_VERSION 'v1.5.0'")
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


def change_token(path: Path) -> tuple[int, ...] | None:
    """What the file system says of a store's two files; whoever writes to them changes it.

    To be remembered while the store is open here, when nobody else can write. None while the last change
    is so recent that a later one could fall into the same tick of the file system's clock.
    """
    token: list[int] = []
    for part in (path, path.with_name(path.name + ".wal")):
        try:
            found = part.stat()
        except FileNotFoundError:  # whoever closes the store last removes the second one
            token.append(0)
            continue
        if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _CLOCK_TICK_NS:
            return None
        token += [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return tuple(token)


def _detach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Close the file, and with it drop whatever an exception left open."""
    _roll_back(connection)
    try:
        connection.execute(f"DETACH {HOT}")
    except duckdb.Error as error:
        raise translate(error, path) from error


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    with contextlib.suppress(duckdb.Error):
        connection.interrupt()
        connection.execute("ROLLBACK")


def _refused(
    error: duckdb.ConstraintException, path: Path, connection: duckdb.DuckDBPyConnection
) -> FluxHeroError:
    """Say which constraint refused a write, and whose it is: trying again helps only for a key."""
    text = first_line(error)
    if "foreign key" in text:
        _roll_back(connection)  # the catalogue answers no more in a transaction that failed
        tables = ", ".join(foreign_keys(connection))
        return AlteredStoreError(
            f"a foreign key of your table {tables} keeps rows of the store {path}: {text}",
            next_step="nothing was removed; make that table anew without REFERENCES (a plain column "
            "holds the same keys), or remove its rows for what is to move, then run again",
        )
    if "uplicate key" in text:
        return StorageIOError(
            f"the store {path} has a row with this key by now: {text}",
            next_step="nothing was changed; the step is tried again; if it comes back, see whether a "
            "unique index of your own refuses the row",
        )
    return AlteredStoreError(
        f"a constraint of the store {path} refuses a row: {text}",
        next_step="nothing was changed; drop the constraint if it is your own, then run again",
    )


def translate(error: duckdb.Error, path: Path) -> FluxHeroError:
    """Say what a DuckDB error means for the store at `path`."""
    text = first_line(error)
    if any(sign in text for sign in _LOCK_SIGNS):
        return StoreLockedError(
            f"the store {path} is open in another process ({text})",
            next_step="nothing was changed; the step is tried again, or close what holds the file",
        )
    if _NOT_DUCKDB in text and (foreign := foreign_file(path, "duckdb")):
        return foreign
    if _OF_PARQUET in text:
        return DamagedFileError(
            f"a Parquet file that was read together with the store {path} is damaged: {text}",
            next_step="nothing was changed; the store itself is not affected: check the archive's disk",
        )
    if any(sign in text for sign in _DAMAGE_SIGNS) or isinstance(
        error, duckdb.FatalException | duckdb.InternalException
    ):
        return DamagedStoreError(
            f"DuckDB cannot read the store {path}: {text}",
            next_step="restore the file from a backup; the archive is not affected",
        )
    if isinstance(error, duckdb.CatalogException):
        return AlteredStoreError(
            f"the store {path} is not as this release made it: {text}",
            next_step="nothing was changed; undo what was altered, or restore it from a backup",
        )
    return StorageIOError(
        f"a query on the store {path} failed: {text}",
        next_step="check the disk's room and permissions, then run again; nothing was lost",
    )
