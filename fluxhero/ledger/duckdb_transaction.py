"""Writes to the DuckDB store: what ingest and restore may do inside one transaction."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.engine import PROTOCOL_MEMORY, literal, scalar
from fluxhero.ledger.derived_orders import derived_orders
from fluxhero.ledger.rejected import Listed, Rejected
from fluxhero.ledger.schema import QUARANTINE, Table

_DIGITS = "0123456789"
_ROW_GROUP_MEMORY = "256MB"


class Transaction:
    """An open transaction on a store attached as `hot`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Wrap a connection on which BEGIN has been executed."""
        self._connection = connection

    def existing(self, table: Table, keys: pa.Table) -> pa.Table:
        """Read the hot rows that have these keys (a table of the key columns)."""
        self._connection.register("wanted", keys)
        names = ", ".join(f"t.{name}" for name in table.names)
        on = " AND ".join(f't."{name}" = w."{name}"' for name in table.key)
        rows = self._connection.sql(
            f"SELECT {names} FROM hot.{table.name} t SEMI JOIN wanted w ON {on}"
        ).to_arrow_table()
        self._connection.unregister("wanted")
        return rows.cast(table.arrow)

    def insert(self, table: Table, rows: pa.Table) -> None:
        """Insert rows; a row whose key is there already fails the whole transaction."""
        self._connection.register("incoming", rows)
        self._write(table, "incoming", "INSERT")
        self._connection.unregister("incoming")

    def upsert_file(self, table: Table, path: Path, *, new: bool = False) -> None:
        """Insert a Parquet file's rows, replacing those with the same key; none is kept in memory.

        Args:
            table: of the rows.
            path: the file.
            new: that the store has none of their keys, which halves the work.
        """
        verb = "INSERT" if new else "INSERT OR REPLACE"
        self._write(table, f"read_parquet({literal(str(path))})", verb)

    def derived_orders(self, written: Path, folder: Path) -> Iterator[pa.Table]:
        """Orders that fills belong to, given the Parquet file of those that are new."""
        return derived_orders(self._connection, written, folder)

    def _write(self, table: Table, relation: str, verb: str) -> None:
        names = ", ".join(f'"{name}"' for name in table.names)
        self._connection.execute(
            f"{verb} INTO hot.{table.name} ({names}) SELECT {names} FROM {relation}"
        )

    def quarantine(self, source: str, rejected: Sequence[Rejected]) -> Listed:
        """Add refused rows, each once.

        What makes a row one is its content, its rule and its source without the number at the end,
        which is the line it was found in. So a row that has moved in its file is not new, and equal
        rows of a file count once, as they do among the rows that are taken in. The first place
        where it was found stays listed. A row whose entry was settled is listed anew.
        """
        if not rejected:
            return Listed()
        found: dict[tuple[str, str, str], tuple[str, str]] = {}
        for refused in rejected:
            where = f"{source} {refused.position}"
            row = json.dumps(refused.row, ensure_ascii=False, default=str)
            place = where.rstrip(_DIGITS)
            found.setdefault((place, row, refused.rule), (where, refused.reason))
        incoming = pa.table(
            {
                "at": pa.array([datetime.now(UTC)] * len(found), pa.timestamp("us", tz="UTC")),
                "source": pa.array([where for where, _ in found.values()], pa.string()),
                "place": pa.array([place for place, _, _ in found], pa.string()),
                "row": pa.array([row for _, row, _ in found], pa.string()),
                "reason": pa.array([reason for _, reason in found.values()], pa.string()),
                "rule": pa.array([rule for _, _, rule in found], pa.string()),
            }
        )
        self._connection.register("refused", incoming)
        added = scalar(
            self._connection,
            f'INSERT INTO hot.{QUARANTINE.name} ("at", source, "row", reason, rule) '
            f'SELECT "at", source, "row", reason, rule FROM refused r WHERE NOT EXISTS ('
            f"FROM hot.{QUARANTINE.name} q WHERE rtrim(q.source, '{_DIGITS}') = r.place "
            f'AND q."row"::VARCHAR = r."row" AND q.rule = r.rule AND q.resolved_at IS NULL)',
        )
        self._connection.unregister("refused")
        return Listed(added, len(found) - added)


@contextmanager
def committed(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Within the block is one transaction: committed at its end, rolled back on any exception."""
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def room_for_rows(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Within the block DuckDB may hold a whole row group of the widest rows, as it does before writing them.

    That is 122,880 rows, with all that a broker says of an order in each.
    """
    connection.execute(f"SET memory_limit = '{_ROW_GROUP_MEMORY}'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = '{PROTOCOL_MEMORY}'")
