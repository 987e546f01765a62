"""The embedded hot store: the canonical ledger in one DuckDB file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from fluxhero.durable import storage_errors
from fluxhero.engine import identifier, new_instance, scalar
from fluxhero.errors import AlteredStoreError, ForeignStoreError
from fluxhero.ledger import duckdb_archiving as archiving
from fluxhero.ledger import duckdb_planning as planning
from fluxhero.ledger.duckdb_catalog import check_tables
from fluxhero.ledger.duckdb_file import change_token, opened
from fluxhero.ledger.duckdb_purge import purge
from fluxhero.ledger.duckdb_soundness import read_duckdb
from fluxhero.ledger.duckdb_transaction import Transaction, committed, room_for_rows
from fluxhero.ledger.migrations import (
    META,
    SCHEMA_VERSION,
    migrate,
    store_exists,
    stored_version,
)
from fluxhero.ledger.partial import partial_sql
from fluxhero.ledger.proof import ProvenRows
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import ROW_HASH, TABLE, row_hash_sql
from fluxhero.ledger.schema import ALL_TABLES, LEDGER_TABLES, QUARANTINE, Table
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchRows,
    BatchSpec,
    Comparison,
    HotStore,
    PlanRequest,
    Progress,
    PurgeOutcome,
    StoreStatistics,
    TablePlan,
)

_LOAD_ROWS = 65_536  # rows that are on their way from the file to a connection at one time


class DuckDBStore(HotStore):
    """A DuckDB file: one process at a time has it open, so every open here is brief."""

    kind: Literal["duckdb", "sqlite"] = "duckdb"
    archived_tables = ("trades", "orders")

    def __init__(self, path: Path, *, lock_timeout: float, temp_dir: Path | None = None) -> None:
        """Name a store; nothing is opened yet.

        Args:
            path: the database file.
            lock_timeout: seconds to wait for another process that has it open.
            temp_dir: where large queries may spill.
        """
        self.path = path
        self._timeout = lock_timeout
        self._temp_dir = temp_dir
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._proven = ProvenRows[tuple[int, ...]]()

    def close(self) -> None:
        """See `HotStore.close`."""
        if self._instance:
            self._instance.close()
        self._instance = None
        self._proven.clear()

    @contextmanager
    def _open(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self.path.exists():
            raise self._missing()
        if self._instance is None:
            self._instance = new_instance(self._temp_dir)
        with opened(
            self.path, read_only=read_only, timeout=self._timeout, instance=self._instance
        ) as connection:
            yield connection

    @contextmanager
    def _open_whole(self, table: Table, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open for a step that moves whole rows of a table: it must have our columns and no others.

        Raises:
            AlteredStoreError: it has not.
        """
        with self._open(read_only=read_only) as connection:
            check_tables(connection, [table], self.path)
            yield connection

    def _missing(self) -> ForeignStoreError:
        return ForeignStoreError(
            f"there is no store at {self.path} yet",
            next_step="bring trades in with `fluxhero ingest PATH`, or set FLUXHERO_STORE_URL",
        )

    def ensure(self) -> list[Path]:
        """Create the store or bring it to the newest schema; returns the copies made before."""
        with storage_errors("make the folder of", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        return migrate(self.path, timeout=self._timeout)

    def check_there(self) -> None:
        """See `HotStore.check_there`."""
        if not store_exists(self.path):
            raise self._missing()

    def identity(self) -> str:
        """See `HotStore.identity`; also makes sure of the schema version."""
        if (
            stored_version(self.path, timeout=self._timeout) != SCHEMA_VERSION
            and self.path.exists()
        ):
            migrate(self.path, timeout=self._timeout)
        with self._open(read_only=True) as connection:
            names = connection.execute(
                f"SELECT value FROM hot.{META} WHERE key = 'store_id'"
            ).fetchall()
        if not names:
            raise AlteredStoreError(
                f"the store {self.path} has lost its name: {META} has no store_id",
                next_step="restore the store from a backup; the archive is not affected",
            )
        return str(names[0][0])

    def own_schema(self, table: str) -> pa.Schema:
        """See `HotStore.own_schema`."""
        return LEDGER_TABLES[table].arrow

    def key_sql(self, table: str, prefix: str = "") -> str:
        """See `HotStore.key_sql`."""
        return f"{prefix}{LEDGER_TABLES[table].key[0]}"

    def key_range_sql(self, table: str) -> tuple[str, str]:
        """See `HotStore.key_range_sql`."""
        key = self.key_sql(table)
        return f"min({key})", f"max({key})"

    def canonical_sql(self, table: str, relation: str, *, carried: Sequence[str] = ()) -> str:
        """See `HotStore.canonical_sql`."""
        columns = [
            f'"{c.name}"::JSON AS "{c.name}"' if c.kind == "JSON" else f'"{c.name}"'
            for c in ALL_TABLES[table].columns
        ]
        return f"SELECT {', '.join([*columns, *carried])} FROM {relation}"

    def plan(self, table: str, request: PlanRequest, archived: Sequence[ArchivedFile]) -> TablePlan:
        """See `HotStore.plan`."""
        with self._open_whole(LEDGER_TABLES[table], read_only=True) as connection:
            return planning.plan(connection, LEDGER_TABLES[table], request, archived)

    def first_row(self, spec: BatchSpec) -> tuple[datetime, str] | None:
        """See `HotStore.first_row`."""
        table, first = LEDGER_TABLES[spec.partition.table], spec.selection.first
        if first is None or first[1] is not None:
            return None if first is None else (first[0], str(first[1]))
        with self._open(read_only=True) as connection:
            rows = connection.execute(
                f"SELECT min({table.key[0]}) FROM hot.{table.name} "
                f"WHERE {table.closed_at_sql} = ? AND mode = ? GROUP BY ALL",
                [first[0], spec.partition.mode],
            ).fetchall()
        return (first[0], str(rows[0][0])) if rows else None

    def read(self, spec: BatchSpec, archived_at: datetime) -> BatchRows:
        """See `HotStore.read`; remembers at which change token the rows were these."""
        table = LEDGER_TABLES[spec.partition.table]
        with self._open_whole(table, read_only=True) as connection:
            rows = archiving.read(connection, table, spec, archived_at)
            self._proven.remember(spec.partition.mode, rows, change_token(self.path))
        return BatchRows(rows)

    def compare(self, file: ArchivedFile) -> Comparison:
        """See `HotStore.compare`; rows that nobody can have changed since are not read again."""
        token = self._proven.token(file)
        if token is not None and token == change_token(self.path):
            return Comparison(file.rows, (), ())
        with self._open(read_only=True) as connection:
            return archiving.compare(connection, LEDGER_TABLES[file.table], file)

    def purge(
        self,
        files: Sequence[ArchivedFile],
        held: Mapping[str, frozenset[str]],
        progress: Progress,
    ) -> list[PurgeOutcome]:
        """See `HotStore.purge`; one transaction for each table."""
        outcomes: list[PurgeOutcome] = []
        for name in self.archived_tables:
            if chosen := [file for file in files if file.table == name]:
                with self._open_whole(LEDGER_TABLES[name], read_only=False) as connection:
                    outcomes += purge(
                        connection,
                        LEDGER_TABLES[name],
                        chosen,
                        held.get(name, frozenset()),
                        progress,
                    )
        return outcomes

    def fetch(self, table: str, keys: Sequence[str]) -> pa.Table:
        """See `HotStore.fetch`."""
        schema = LEDGER_TABLES[table].arrow
        with self._open_whole(LEDGER_TABLES[table], read_only=True) as connection:
            connection.register("keys", pa.table({"key": pa.array(keys, pa.string())}))
            rows = connection.sql(
                f"SELECT {', '.join(schema.names)}, '{table}' AS {TABLE}, "
                f"{row_hash_sql(schema)} AS {ROW_HASH} FROM hot.{table} "
                f"WHERE {self.key_sql(table)} IN (SELECT key FROM keys)"
            ).to_arrow_table()
        return rows.cast(
            pa.schema([*schema, pa.field(TABLE, pa.string()), pa.field(ROW_HASH, pa.uint64())])
        )

    def insert(self, table: str, rows: pa.Table) -> None:
        """See `HotStore.insert`."""
        whole = LEDGER_TABLES[table]
        with self._open_whole(whole, read_only=False) as connection, committed(connection):
            Transaction(connection).insert(whole, rows.select(whole.names))

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        target: str,
        columns: Collection[str] | None = None,
    ) -> None:
        """See `HotStore.load`; of a store that does not exist yet, every table is empty."""
        shape = ALL_TABLES[table]
        if not self.path.exists():
            connection.execute(shape.create_sql(target))
            return
        whole = {column.name: column.kind.value for column in shape.columns}
        wanted = list(whole)
        if columns is not None and shape.key:
            wanted = [name for name in whole if name in columns or name in shape.key]
        names = ", ".join(map(identifier, wanted))
        values = ", ".join(f"{identifier(n)}::{whole[n]} AS {identifier(n)}" for n in wanted)
        with self._open(read_only=True) as source:
            check_tables(source, [shape], self.path, others_too=False)
            rows = source.sql(f"SELECT {names} FROM hot.{table}").to_arrow_reader(_LOAD_ROWS)
            connection.register("loading", rows)
            connection.execute(f"CREATE TABLE {target}_loaded AS SELECT {values} FROM loading")
            connection.unregister("loading")
        connection.execute(
            f"CREATE VIEW {target} AS {partial_sql(f'{target}_loaded', whole, wanted)}"
        )

    def statistics(self) -> StoreStatistics:
        """See `HotStore.statistics`."""
        with self._open(read_only=True) as connection:
            rows = {
                name: scalar(connection, f"SELECT count(*) FROM hot.{name}")
                for name in LEDGER_TABLES
            }
            quarantined = scalar(
                connection, f"SELECT count(*) FROM hot.{QUARANTINE.name} WHERE resolved_at IS NULL"
            )
        return StoreStatistics(rows, self.path.stat().st_size, quarantined)

    def read_all(self) -> str:
        """See `HotStore.read_all`."""
        with self._open(read_only=True) as connection:
            read_duckdb(connection)
        return ""

    def quarantine(self, source: str, rejected: Sequence[Rejected]) -> int:
        """See `HotStore.quarantine`."""
        if not rejected:
            return 0
        with self.transaction() as transaction:
            return transaction.quarantine(source, rejected).new

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One transaction for ingest: commits at the end, rolls back on any exception.

        A column of the user's own is no hindrance here, since nothing is taken out of it.

        Raises:
            AlteredStoreError: a table lacks a column, or has it in another type.
        """
        with self._open(read_only=False) as connection:
            check_tables(connection, ALL_TABLES.values(), self.path, others_too=False)
            with room_for_rows(connection), committed(connection):
                yield Transaction(connection)

    def copy_before_first_purge(self, folder: Path) -> Path | None:
        """See `HotStore.copy_before_first_purge`: this store is ours, and needs none."""
        return None
