"""Reading all of a hot store's file, to find out whether it can be read."""

from typing import TYPE_CHECKING

import duckdb

from fluxhero.engine import identifier
from fluxhero.ledger.duckdb_file import HOT

if TYPE_CHECKING:  # its driver takes a second to import
    from fluxhero.ledger.sqlite_connection import SqliteConnection

_MOST_TOLD = 3
_FINE = "ok"


def read_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every value of every table, which makes DuckDB verify the checksum of every block in use."""
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?", [HOT]
    ).fetchall()
    for schema, table in tables:
        name = f"{HOT}.{identifier(schema)}.{identifier(table)}"
        connection.execute(f"SELECT bit_xor(hash(each)) FROM {name} AS each").fetchall()


def read_sqlite(connection: "SqliteConnection") -> str:
    """SQLite's own check of its pages and indices; what it finds first, empty if nothing.

    Where a reader does not disturb a writer (WAL) all of it is done at once. In any other mode a writer
    waits for whoever reads: then table by table, without the indices, so that none waits long.
    """
    if connection.value("PRAGMA journal_mode") == "wal":
        return _problems(connection, f"PRAGMA integrity_check({_MOST_TOLD})")
    names = [
        name for (name,) in connection.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    found = [_problems(connection, f"PRAGMA quick_check({identifier(name)})") for name in names]
    return "; ".join(filter(None, found))


def _problems(connection: "SqliteConnection", pragma: str) -> str:
    lines = [str(line) for (line,) in connection.rows(pragma) if line != _FINE]
    return "; ".join(lines[:_MOST_TOLD])
