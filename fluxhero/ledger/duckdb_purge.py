"""Removing archived rows from a DuckDB hot store: compare and delete in one transaction.

DuckDB raises nothing when a row that one connection deletes was changed by another after it was
read, so both happen on one connection, under the file's exclusive lock.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from fluxhero.engine import identifier, scalar
from fluxhero.errors import VerificationError
from fluxhero.ledger.duckdb_archiving import compare, equal_rows_sql, register_superseded
from fluxhero.ledger.duckdb_catalog import is_pristine, is_there
from fluxhero.ledger.schema import Table
from fluxhero.ledger.store import ArchivedFile, Progress, PurgeOutcome

# Deleting a row from a table with a primary key costs about as much as inserting eight (measured by
# benchmarks/purge.py): where most rows go, the survivors are copied into a new table instead.
_DELETE_COSTS_INSERTS = 8


def purge(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    files: Sequence[ArchivedFile],
    held: frozenset[str],
    progress: Progress,
) -> list[PurgeOutcome]:
    """Remove the hot rows that equal their archived copy, for all files in one transaction."""
    con.register("held", pa.table({"key": pa.array(sorted(held), pa.string())}))
    con.execute("CREATE TEMP TABLE purging (id BIGINT)")
    con.execute("BEGIN")
    try:
        outcomes = []
        for number, file in enumerate(files, start=1):
            outcomes.append(_mark(con, table, file, held))
            progress(number, len(files))
        _delete_marked(con, table)
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")
    con.execute("DROP TABLE purging")
    return outcomes


def _mark(
    con: duckdb.DuckDBPyConnection, table: Table, file: ArchivedFile, held: frozenset[str]
) -> PurgeOutcome:
    """Add a file's equal rows to `purging`, less those on hold."""
    register_superseded(con, file)
    if not held:
        purged = scalar(con, f"INSERT INTO purging SELECT id FROM ({equal_rows_sql(table, file)})")
        kept: list[tuple[str]] = []
    else:
        con.execute(f"CREATE OR REPLACE TEMP TABLE equal AS {equal_rows_sql(table, file)}")
        kept = con.execute(
            "SELECT key FROM equal SEMI JOIN held USING (key) ORDER BY key"
        ).fetchall()
        purged = scalar(con, "INSERT INTO purging SELECT id FROM equal ANTI JOIN held USING (key)")
    concerned = file.rows - (0 if file.superseded is None else file.superseded.num_rows)
    changed = () if purged + len(kept) == concerned else compare(con, table, file).changed
    return PurgeOutcome(file.batch_id, purged, changed, tuple(key for (key,) in kept))


def _delete_marked(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    name = f"hot.{table.name}"
    going = scalar(con, "SELECT count(*) FROM purging")
    if not going:
        return
    present = scalar(con, f"SELECT count(*) FROM {name}")
    if going * _DELETE_COSTS_INSERTS > present - going and _can_be_replaced(con, table):
        _replace_by_survivors(con, table)
    else:
        con.execute(f"DELETE FROM {name} WHERE rowid IN (SELECT id FROM purging)")
    gone = present - scalar(con, f"SELECT count(*) FROM {name}")
    if gone != going:  # of a row that equals its version in several files there is but one
        going = scalar(con, "SELECT count(DISTINCT id) FROM purging")
    if gone != going:
        raise VerificationError(
            f"{gone} rows would have gone from {table.name} where {going} were proven to be archived",
            next_step="nothing was purged; run again, and report it if it comes back",
        )


def _can_be_replaced(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether nothing of a user's own would be lost with the table."""
    return is_pristine(con, table) and not is_there(con, _survivors(table))


def _survivors(table: Table) -> str:
    return f"{table.name}_survivors"


def _replace_by_survivors(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Put a new table with the rows that stay in the table's place."""
    survivors = f"hot.{identifier(_survivors(table))}"
    con.execute(table.create_sql(survivors))
    # Narrow first: only the survivors' wide columns are read.
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE staying AS SELECT rowid AS id FROM hot.{table.name} "
        f"WHERE rowid NOT IN (SELECT id FROM purging)"
    )
    con.execute(
        f"INSERT INTO {survivors} SELECT * FROM hot.{table.name} "
        f"WHERE rowid IN (SELECT id FROM staying)",
    )
    con.execute(f"DROP TABLE hot.{table.name}")
    con.execute(f"ALTER TABLE {survivors} RENAME TO {identifier(table.name)}")
