"""What the store's own catalogue says of a ledger table: is it as we made it, does anything hang on it.

A DuckDB ledger is its owner's too, who may have altered its tables with any DuckDB. What an archive
or a restore would lose without a word shows here. Nothing is read but the catalogue. The store is
attached as `hot`.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

import duckdb

from fluxhero.engine import identifier, one_row, scalar, scratch
from fluxhero.errors import AlteredStoreError
from fluxhero.ledger.schema import Column, Kind, Table

_SHOWN = {Kind.TIME: "TIMESTAMP WITH TIME ZONE"}  # kinds whose name DuckDB shows in other words


def check_tables(
    con: duckdb.DuckDBPyConnection,
    tables: Iterable[Table],
    path: Path,
    *,
    others_too: bool = True,
) -> None:
    """Make sure that tables have the ledger's columns and key.

    Args:
        con: a connection.
        tables: the tables.
        path: the store, for the message.
        others_too: whether a column that the ledger does not know is refused as well; whoever moves
            whole rows would lose its values.

    Raises:
        AlteredStoreError: one has not.
    """
    for table in tables:
        columns, key = _described(con, table, path)
        others = [name for name in columns if name not in table.names] if others_too else []
        wrong = [_wrong(column, columns) for column in table.columns]
        faults = [fault for fault in wrong if fault]
        if set(key) != set(table.key):
            faults.append(f"its primary key is {', '.join(key) or 'gone'}")
        if faults:
            raise AlteredStoreError(
                f"the table {table.name} of the store {path} was altered: {'; '.join(faults)}",
                next_step="nothing was changed; bring the table back to the columns and the key that "
                "docs/ledger.md lists, or restore the store from a backup",
            )
        if others:
            raise _unknown_columns(table, others, path)


def _described(
    con: duckdb.DuckDBPyConnection, table: Table, path: Path
) -> tuple[dict[str, str], list[str]]:
    """A table's columns with their types, and those of its primary key."""
    try:
        rows = con.execute(f"DESCRIBE hot.main.{identifier(table.name)}").fetchall()
    except duckdb.CatalogException as error:
        raise AlteredStoreError(
            f"the store {path} has no table {table.name} any more",
            next_step="restore the store from a backup; the archive is not affected",
        ) from error
    return {str(row[0]): str(row[1]) for row in rows}, [str(row[0]) for row in rows if row[3]]


def _wrong(column: Column, columns: dict[str, str]) -> str:
    """What is wrong with a column of the ledger; empty if nothing is."""
    due = _SHOWN.get(column.kind, column.kind.value)
    found = columns.get(column.name)
    if found is None:
        return f"it has no column {column.name}"
    return "" if found == due else f"{column.name} is {found}, not {due}"


def _unknown_columns(table: Table, names: list[str], path: Path) -> AlteredStoreError:
    listed = ", ".join(names)
    key = ", ".join(table.key)
    carrier = "into `extra` (JSON), or " if "extra" in table.names else ""
    drops = "; ".join(f"ALTER TABLE {table.name} DROP COLUMN {identifier(name)}" for name in names)
    return AlteredStoreError(
        f"the table {table.name} of the store {path} has columns that the ledger does not know and an "
        f"archive would lose: {listed}",
        next_step=f"nothing was changed; move their values {carrier}into a table of your own keyed by "
        f"{key}, then drop them: {drops}",
    )


def foreign_keys(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Tables of the user's own with a foreign key to another table of the store."""
    rows = con.execute(
        "SELECT DISTINCT table_name FROM duckdb_constraints() "
        "WHERE database_name = 'hot' AND constraint_type = 'FOREIGN KEY' ORDER BY 1"
    ).fetchall()
    return [str(name) for (name,) in rows]


_ATTACHED = """
    SELECT
        (SELECT count(*) FROM duckdb_indexes() WHERE database_name = 'hot' AND table_name = $name)
      + (SELECT count(*) FROM duckdb_triggers() WHERE database_name = 'hot' AND table_name = $name)
      + (SELECT count(*) FROM duckdb_constraints()
         WHERE database_name = 'hot' AND constraint_type = 'FOREIGN KEY'
           AND $name IN (table_name, referenced_table))
      + (SELECT count(*) FROM duckdb_tables() WHERE database_name = 'hot' AND table_name = $name
           AND (comment IS NOT NULL OR cardinality(tags) > 0))
      + (SELECT count(*) FROM duckdb_columns()
         WHERE database_name = 'hot' AND table_name = $name AND comment IS NOT NULL)
"""


def is_pristine(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether a table is exactly as we make it, so that dropping and making it anew loses nothing.

    Views and macros need no look: they name the table and find the new one.
    """
    attached = one_row(con, _ATTACHED, {"name": table.name})[0]
    return attached == 0 and _definition(con, "hot", table.name) == _our_definition(table)


def is_there(con: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the store has anything with this name in the place where our tables are."""
    return (
        scalar(
            con,
            "SELECT (SELECT count(*) FROM duckdb_tables() WHERE database_name = 'hot' "
            "AND schema_name = 'main' AND table_name = $name) + (SELECT count(*) FROM duckdb_views() "
            "WHERE database_name = 'hot' AND schema_name = 'main' AND view_name = $name)",
            {"name": name},
        )
        > 0
    )


def _definition(con: duckdb.DuckDBPyConnection, database: str, name: str) -> str:
    """What is between the brackets of a table's CREATE statement, in DuckDB's own words."""
    found = one_row(
        con,
        "SELECT sql FROM duckdb_tables() "
        "WHERE database_name = ? AND schema_name = 'main' AND table_name = ?",
        [database, name],
    )
    return str(found[0]).partition("(")[2]


@functools.cache
def _our_definition(table: Table) -> str:
    with scratch() as connection:
        connection.execute(table.create_sql(table.name).replace("CREATE", "CREATE TEMP", 1))
        return _definition(connection, "temp", table.name)
