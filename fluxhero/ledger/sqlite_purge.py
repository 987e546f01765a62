"""Removing archived rows from a FluxHero SQLite store while its bot goes on writing.

At most 500 rows a transaction, BEGIN IMMEDIATE only around the comparison and the delete, and a pause
after each transaction when somebody else is writing. Who runs several waits for the disk at their end:
deletes that a power cut takes back are made again, and a purge is on record only after they are on disk.
"""

import time

import duckdb
import pyarrow as pa

from fluxhero.engine import identifier, literal, moment
from fluxhero.errors import SourceChangedError
from fluxhero.ledger.rows import CLOSED_AT, ROW_HASH, TABLE, row_hash_sql
from fluxhero.ledger.sqlite_archiving import read_by_id, rowid_tail
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_meaning import key_sql
from fluxhero.ledger.sqlite_schema import OWN_SCHEMA, PROBLEM, ROWID, SourceTable
from fluxhero.ledger.store import ArchivedFile, PurgeOutcome

CHUNK_ROWS = 500
# While somebody else writes, rows are compared under the lock: fewer of them, so that it is short.
LIVE_CHUNK_ROWS = 100
_SHORTEST_PAUSE = 0.01  # seconds left to a writer between two transactions


class ChunkedPurge:
    """The purge of one batch."""

    def __init__(
        self,
        connection: SqliteConnection,
        engine: duckdb.DuckDBPyConnection,
        table: SourceTable,
        unchanged_since: int | None,
    ) -> None:
        """Prepare a purge.

        Args:
            connection: read-write, and the one that `unchanged_since` was taken on.
            engine: DuckDB for hashing.
            table: where the rows are.
            unchanged_since: change token at which every row of the batch was proven equal to its
                archived copy; while the token stays the same, so do the rows. None: not proven.
        """
        self._connection = connection
        self._engine = engine
        self._table = table
        self._proven = unchanged_since if table.unique_id else None
        self._seen = connection.change_token
        self._live = False
        self._differing: list[int] = []

    def run(self, file: ArchivedFile, held: frozenset[str]) -> PurgeOutcome:
        """Remove the rows that equal their archived copy, less those on hold."""
        scan = self._scan(file)
        stored = ROW_HASH if file.hash_is_current else row_hash_sql(OWN_SCHEMA)
        due = f"{CLOSED_AT} < {moment(file.cutoff)}"
        kept = self._due_and_held(scan, due, held)
        self._engine.register("kept", pa.table({"key": pa.array(kept, pa.string())}))
        free = f"{key_sql()} NOT IN (SELECT key FROM kept)" if kept else "true"
        archived = self._engine.sql(
            f"SELECT id, {stored} AS hash FROM {scan} WHERE {due} AND {free} ORDER BY id"
        ).to_arrow_table()
        purged = self._purge_chunks(archived)
        return PurgeOutcome(file.batch_id, purged, self._changed(scan), kept)

    def _scan(self, file: ArchivedFile) -> str:
        """The file's rows, less those of which a later file has a newer version."""
        rows = f"read_parquet({literal(str(file.path))}, hive_partitioning = false)"
        if file.superseded is None:
            return rows
        self._engine.register("superseded", file.superseded)
        return f"(SELECT * FROM {rows} WHERE {key_sql()} NOT IN (SELECT key FROM superseded))"

    def _due_and_held(self, scan: str, due: str, held: frozenset[str]) -> tuple[str, ...]:
        """Keys of the batch's due rows that are on hold."""
        if not held:
            return ()
        self._engine.register("held", pa.table({"key": pa.array(sorted(held), pa.string())}))
        rows = self._engine.execute(
            f"SELECT {key_sql()} FROM {scan} WHERE {due} AND {key_sql()} IN (SELECT key FROM held) ORDER BY 1"
        ).fetchall()
        return tuple(str(key) for (key,) in rows)

    def _purge_chunks(self, archived: pa.Table) -> int:
        purged = start = 0
        while start < archived.num_rows:
            size = LIVE_CHUNK_ROWS if self._live else CHUNK_ROWS
            purged += self._purge_chunk(archived.slice(start, size))
            start += size
        return purged

    def _purge_chunk(self, wanted: pa.Table) -> int:
        ids = wanted["id"].combine_chunks()
        purged = self._delete_proven(ids)
        if purged == len(ids):
            return purged
        self._proven = None
        return purged + self._delete_compared(wanted, ids)

    def _delete_proven(self, ids: pa.Int64Array) -> int:
        """Delete rows unless anybody has written since they were proven; returns how many went.

        One statement, which is a transaction of its own, asks for the change token and deletes.
        """
        if self._proven is None:
            return 0
        token = f"(SELECT data_version FROM pragma_data_version) = {self._proven}"
        return self._connection.execute(
            f"DELETE FROM {identifier(self._table.name)} {rowid_tail(self._table, ids)} AND {token}"
        )

    def _delete_compared(self, wanted: pa.Table, ids: pa.Int64Array) -> int:
        """Compare rows under the write lock and delete the equal ones; returns how many went."""
        began = time.monotonic()
        with self._connection.write_transaction():
            token = self._connection.change_token
            going = self._equal_rowids(wanted, ids)
            if len(going):
                name = identifier(self._table.name)
                deleted = self._connection.execute(
                    f"DELETE FROM {name} {rowid_tail(self._table, going)}"
                )
                if deleted != len(going):
                    raise SourceChangedError(
                        f"{self._table.name} in {self._connection.path}: {deleted} rows would go where "
                        f"{len(going)} were found equal",
                        next_step="this chunk was rolled back; the next run completes the purge",
                    )
        self._live = token != self._seen
        if self._live:
            time.sleep(max(_SHORTEST_PAUSE, 2 * (time.monotonic() - began)))
        self._seen = token
        return len(going)

    def _equal_rowids(self, wanted: pa.Table, ids: pa.Int64Array) -> pa.Int64Array:
        """Rowids, ascending, of the rows whose values (the id is one of them) are the archived ones."""
        found = read_by_id(self._connection, self._table, ids)
        self._engine.register("wanted", wanted)
        self._engine.register("found", found)
        equal = self._engine.sql(
            f"SELECT f.{ROWID} AS rowid_, w.id FROM wanted w JOIN found f "
            f"ON f.id = w.id AND {row_hash_sql(OWN_SCHEMA, 'f.')} = w.hash "
            f"WHERE f.{PROBLEM} IS NULL ORDER BY 1"
        ).to_arrow_table()
        self._engine.unregister("found")
        self._differing += set(found["id"].to_pylist()) - set(equal["id"].to_pylist())
        return equal["rowid_"].combine_chunks()

    def _changed(self, scan: str) -> tuple[str, ...]:
        """Keys of the batch's rows that are there and differ; another row with the same id is not."""
        if not self._differing:
            return ()
        ids = pa.array(self._differing, pa.int64())
        self._engine.register("found", read_by_id(self._connection, self._table, ids))
        rows = self._engine.execute(
            f"SELECT {key_sql('a.')} FROM {scan} a JOIN "
            f"(SELECT *, {literal(self._table.name)} AS {TABLE} FROM found) f "
            f"ON {key_sql('a.')} = {key_sql('f.')} ORDER BY 1"
        ).fetchall()
        self._engine.unregister("found")
        return tuple(str(key) for (key,) in rows)
