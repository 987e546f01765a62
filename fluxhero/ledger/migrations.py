"""The DuckDB store's schema versions: forward only, with a copy of the file before each step."""

import shutil
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from fluxhero.engine import scalar
from fluxhero.errors import ForeignStoreError, SchemaVersionError
from fluxhero.ledger.duckdb_file import opened
from fluxhero.ledger.schema import ALL_TABLES

META = "fluxhero_meta"
Step = Callable[[duckdb.DuckDBPyConnection], None]


def _version_1(connection: duckdb.DuckDBPyConnection) -> None:
    for table in ALL_TABLES.values():
        connection.execute(table.create_sql(f"hot.{table.name}"))


STEPS: tuple[Step, ...] = (_version_1,)
SCHEMA_VERSION = len(STEPS)


def migrate(path: Path, *, timeout: float, steps: Sequence[Step] = STEPS) -> list[Path]:
    """Bring a store to the newest version, creating it when there is none.

    Each step runs in one transaction, after a copy of the file as `NAME.v{version}.backup`.

    Returns:
        The copies made.

    Raises:
        SchemaVersionError: the store is newer than this release.
        ForeignStoreError: it is a DuckDB file of somebody else's.
    """
    copies: list[Path] = []
    while (version := stored_version(path, timeout=timeout)) < len(steps):
        if version:
            copies.append(_copy(path, version))
        with opened(path, read_only=False, timeout=timeout) as connection:
            connection.execute("BEGIN")
            if not version:
                connection.execute(
                    f"CREATE TABLE hot.{META} (key VARCHAR PRIMARY KEY, value VARCHAR)"
                )
                connection.execute(
                    f"INSERT INTO hot.{META} VALUES ('store_id', ?), ('created_at', ?)",
                    [uuid.uuid4().hex, datetime.now(UTC).isoformat()],
                )
            steps[version](connection)
            connection.execute(
                f"INSERT OR REPLACE INTO hot.{META} VALUES ('schema_version', ?)",
                [str(version + 1)],
            )
            connection.execute("COMMIT")
    if version > len(steps):
        raise SchemaVersionError(
            f"the store {path} has schema version {version}; this release knows up to {len(steps)}",
            next_step="upgrade fluxhero-pipeline; stores are never taken back to an older version",
        )
    return copies


def stored_version(path: Path, *, timeout: float) -> int:
    """Schema version of a store; 0 when there is no file or nothing in it.

    Raises:
        ForeignStoreError: it is a DuckDB file of somebody else's.
    """
    if not path.exists():
        return 0
    with opened(path, read_only=True, timeout=timeout) as connection:
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


def _copy(path: Path, version: int) -> Path:
    copy = path.with_name(f"{path.name}.v{version}.backup")
    shutil.copy2(path, copy)
    return copy
