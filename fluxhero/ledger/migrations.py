"""The DuckDB store's schema versions: forward only, with a copy of the file before each step."""

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from fluxhero.durable import (
    copy_into_place,
    link_into_place,
    remove,
    storage_errors,
    sync_file,
)
from fluxhero.engine import scalar
from fluxhero.errors import DamagedStoreError, ForeignStoreError, SchemaVersionError
from fluxhero.ledger.duckdb_file import HOT, opened
from fluxhero.ledger.schema import ALL_TABLES, CASH_FLOWS, FILLS, Table

META = "fluxhero_meta"
Step = Callable[[duckdb.DuckDBPyConnection], None]


_LATER_TABLES = (FILLS,)
_LATER_COLUMNS = {CASH_FLOWS.name: ("account", "currency", "extra")}


def _as_at_first(table: Table) -> Table:
    later = _LATER_COLUMNS.get(table.name, ())
    columns = tuple(column for column in table.columns if column.name not in later)
    return dataclasses.replace(table, columns=columns)


FIRST = tuple(_as_at_first(table) for table in ALL_TABLES.values() if table not in _LATER_TABLES)


def _version_1(connection: duckdb.DuckDBPyConnection) -> None:
    for table in FIRST:
        connection.execute(table.create_sql(f"hot.{table.name}"))


def _version_2(connection: duckdb.DuckDBPyConnection) -> None:
    """What brokers' exports tell: fills, and whose money a flow of cash is in which currency."""
    for table in _LATER_TABLES:
        connection.execute(table.create_sql(f"hot.{table.name}"))
    for table_name, names in _LATER_COLUMNS.items():
        for column in ALL_TABLES[table_name].columns:
            if column.name in names:
                connection.execute(f"ALTER TABLE hot.{table_name} ADD COLUMN {column.ddl}")


STEPS: tuple[Step, ...] = (_version_1, _version_2)
SCHEMA_VERSION = len(STEPS)


def migrate(path: Path, *, timeout: float, steps: Sequence[Step] = STEPS) -> list[Path]:
    """Bring a store to the newest version, creating it when there is none.

    A new store gets its name once it is complete. Each later step runs in one transaction, after a
    copy of the file as `NAME.v{version}.backup`, which too is there whole or not at all.

    Returns:
        The copies made.

    Raises:
        SchemaVersionError: the store is newer than this release.
        DamagedStoreError: there was a store, and its content is lost.
        ForeignStoreError: it is a DuckDB file of somebody else's.
    """
    copies: list[Path] = []
    new = path.with_name(f".{path.name}.new.partial")
    for leftover in (new, _log_of(new)):
        if leftover.exists():
            remove(leftover)
    if not store_exists(path):
        _create(path, new, steps, timeout)
    while (version := stored_version(path, timeout=timeout)) < len(steps):
        copies += _upgrade(path, steps, timeout)
    if version > len(steps):
        raise SchemaVersionError(
            f"the store {path} has schema version {version}; this release knows up to {len(steps)}",
            next_step="upgrade fluxhero-pipeline; stores are never taken back to an older version",
        )
    return copies


def store_exists(path: Path) -> bool:
    """Whether there is a store. One that has lost its content is not taken for one yet to be made.

    Raises:
        DamagedStoreError: its file is empty, or gone while DuckDB's log of it is still there.
    """
    log = _log_of(path)
    if not path.exists():
        if log.exists():
            raise DamagedStoreError(
                f"the store {path} is gone, and what was committed to it last is still in {log}",
                next_step="put the store back, from a backup if need be; to begin a new one, move the log away",
            )
        return False
    if not path.stat().st_size:
        raise DamagedStoreError(
            f"the store {path} is an empty file",
            next_step="restore it from a backup; to begin a new store, remove the file",
        )
    return True


def _create(path: Path, new: Path, steps: Sequence[Step], timeout: float) -> None:
    with opened(new, read_only=False, timeout=timeout) as connection:
        for version in range(len(steps)):
            _take(connection, version, steps[version])
        connection.execute(f"CHECKPOINT {HOT}")
    sync_file(new)
    link_into_place(new, path)
    remove(new)


def _upgrade(path: Path, steps: Sequence[Step], timeout: float) -> list[Path]:
    """Take the next step; returns the copy made before it.

    The copy is made while nobody else can write, and after a checkpoint, since what a killed process
    committed last may be in the file beside the store only. It is read through a descriptor that is
    open for longer than the store is: closing one drops the locks this process has on the file.
    """
    copies: list[Path] = []
    with storage_errors("open", path):
        content = path.open("rb")
    with content, opened(path, read_only=False, timeout=timeout) as connection:
        version = _version(connection, path)
        if version < len(steps):
            if version:
                connection.execute(f"CHECKPOINT {HOT}")
                copies.append(path.with_name(f"{path.name}.v{version}.backup"))
                copy_into_place(content, copies[0])
            _take(connection, version, steps[version])
    return copies


def _take(connection: duckdb.DuckDBPyConnection, version: int, step: Step) -> None:
    """Take one step in one transaction."""
    connection.execute("BEGIN")
    if not version:
        connection.execute(f"CREATE TABLE hot.{META} (key VARCHAR PRIMARY KEY, value VARCHAR)")
        connection.execute(
            f"INSERT INTO hot.{META} VALUES ('store_id', ?), ('created_at', ?)",
            [uuid.uuid4().hex, datetime.now(UTC).isoformat()],
        )
    step(connection)
    connection.execute(
        f"INSERT OR REPLACE INTO hot.{META} VALUES ('schema_version', ?)", [str(version + 1)]
    )
    connection.execute("COMMIT")


def stored_version(path: Path, *, timeout: float) -> int:
    """Schema version of a store; 0 when there is no file or no table in it.

    Raises:
        DamagedStoreError: its content is lost.
        ForeignStoreError: it is a DuckDB file of somebody else's.
    """
    if not store_exists(path):
        return 0
    with opened(path, read_only=True, timeout=timeout) as connection:
        return _version(connection, path)


def _version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    tables = [
        str(row[0])
        for row in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'hot'"
        ).fetchall()
    ]
    if not tables:
        return 0
    if META not in tables:
        raise ForeignStoreError(
            f"{path} is a DuckDB file, but not a FluxHero store (it holds {', '.join(tables[:5])})",
            next_step="point FLUXHERO_STORE_URL at another file; this one was not touched",
        )
    return scalar(
        connection, f"SELECT max(value::INT) FROM hot.{META} WHERE key = 'schema_version'"
    )


def _log_of(path: Path) -> Path:
    """Where DuckDB keeps what is committed and not yet in the file."""
    return path.with_name(f"{path.name}.wal")
