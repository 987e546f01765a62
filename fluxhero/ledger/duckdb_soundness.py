"""Reading all of a DuckDB store's file, to find out whether it can be read."""

import duckdb

from fluxhero.engine import identifier
from fluxhero.ledger.duckdb_file import HOT


def read_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    """Read every value of every table, which makes DuckDB verify the checksum of every block in use."""
    tables = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?", [HOT]
    ).fetchall()
    for schema, table in tables:
        name = f"{HOT}.{identifier(schema)}.{identifier(table)}"
        connection.execute(f"SELECT bit_xor(hash(each)) FROM {name} AS each").fetchall()
