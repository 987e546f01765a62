"""Schema versions as later releases may bring them, for tests of the migration to them."""

from pathlib import Path

import duckdb

from fluxhero.ledger.migrations import STEPS, migrate


def _add_a_column(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE hot.trades ADD COLUMN venue VARCHAR")
    connection.execute("UPDATE hot.trades SET venue = mode || ' venue'")


def _rewrite_a_table(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE hot.rewritten AS FROM hot.cash_flows")
    connection.execute("DROP TABLE hot.cash_flows")
    connection.execute("ALTER TABLE hot.rewritten RENAME TO cash_flows")


NEWER = (*STEPS, _add_a_column, _rewrite_a_table)


def migrate_to_newest(path: Path) -> list[Path]:
    """Take all the steps there are; returns the copies made before them."""
    return migrate(path, timeout=30, steps=NEWER)
