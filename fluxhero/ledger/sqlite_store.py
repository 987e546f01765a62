"""An existing FluxHero `system.db`, used in place while its bot goes on writing to it.

Never vacuumed, never switched to another journal mode, no table of ours in it, and nothing but its
trades tables is ever read.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute

from fluxhero.durable import make_folder, storage_errors
from fluxhero.engine import identifier, new_instance, one_row, scratch, session
from fluxhero.errors import (
    ConfigurationError,
    IntegrityError,
    SourceChangedError,
    VerificationError,
)
from fluxhero.ledger import sqlite_archiving as archiving
from fluxhero.ledger import sqlite_planning as planning
from fluxhero.ledger import sqlite_source as source
from fluxhero.ledger.partial import partial_sql
from fluxhero.ledger.proof import ProvenRows
from fluxhero.ledger.quarantine_list import QuarantineList
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import CLOSED_AT, ROW_HASH, TABLE, row_hash_sql
from fluxhero.ledger.schema import ALL_TABLES, LEDGER_TABLES, QUARANTINE, TRADES
from fluxhero.ledger.sqlite_connection import SqliteConnection, backup, check_there
from fluxhero.ledger.sqlite_insert import insert_rows
from fluxhero.ledger.sqlite_meaning import (
    canonical_sql,
    key_range_sql,
    key_sql,
    own_columns_of,
    split_key,
)
from fluxhero.ledger.sqlite_purge import CHUNK_ROWS, ChunkedPurge
from fluxhero.ledger.sqlite_schema import OWN_SCHEMA, PROBLEM, SourceTable, inspect
from fluxhero.ledger.sqlite_soundness import read_sqlite
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

_DUCKDB_TYPES = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR"}


class SqliteStore(HotStore):
    """A FluxHero SQLite file.

    One read-write connection is kept open between steps, idle and without a lock, because SQLite's
    change token is only comparable on one connection: it proves that nobody wrote in between.
    """

    kind: Literal["duckdb", "sqlite"] = "sqlite"
    archived_tables = ("trades",)

    def __init__(
        self,
        path: Path,
        *,
        timezone: str,
        lock_timeout: float,
        quarantine_dir: Path,
        temp_dir: Path | None = None,
    ) -> None:
        """Name a store; nothing is opened yet.

        Args:
            path: the bot's `system.db`.
            timezone: zone of its times without an offset.
            lock_timeout: seconds to wait for the bot to let go of its lock.
            quarantine_dir: where rows that cannot be used are listed.
            temp_dir: where large queries may spill.
        """
        self.path = path
        self.timezone = timezone
        self._timeout = lock_timeout
        self._quarantine = QuarantineList(quarantine_dir / f"{path.stem}.jsonl")
        self._temp_dir = temp_dir
        self._kept: tuple[SqliteConnection, tuple[int, int]] | None = None
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._proven = ProvenRows[int]()

    def close(self) -> None:
        """Let go of the file."""
        if self._kept:
            self._kept[0].close()
        self._kept = None
        self._proven.clear()
        if self._instance:
            self._instance.close()
        self._instance = None

    def _connection(self) -> SqliteConnection:
        inode = self._inode()
        if self._kept and self._kept[1] != inode:  # another file has taken its place
            self.close()
        if not self._kept:
            with SqliteConnection(self.path, read_only=True, busy_timeout=self._timeout) as first:
                inspect(first)
            connection = SqliteConnection(self.path, read_only=False, busy_timeout=self._timeout)
            self._kept = (connection, inode)
        return self._kept[0]

    def _inode(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    @contextmanager
    def _reading(self) -> Iterator[tuple[SqliteConnection, duckdb.DuckDBPyConnection]]:
        connection = self._connection()
        if self._instance is None:
            self._instance = new_instance(self._temp_dir)
        with session(self._instance) as engine:
            yield connection, engine

    def _table(self, connection: SqliteConnection, mode: str) -> SourceTable:
        for table in inspect(connection):
            if table.mode == mode:
                return table
        raise IntegrityError(
            f"{self.path} has no table for {mode} trades any more",
            next_step="put the bot's database back in place; the archive still has the trades",
        )

    def check_there(self) -> None:
        """See `HotStore.check_there`."""
        check_there(self.path)

    def identity(self) -> str:
        """See `HotStore.identity`: the file's place, since nothing may be written into it."""
        with SqliteConnection(self.path, read_only=True, busy_timeout=self._timeout) as connection:
            inspect(connection)
        return f"sqlite:{self.path}"

    def own_schema(self, table: str) -> pa.Schema:
        """See `HotStore.own_schema`."""
        return OWN_SCHEMA if table == TRADES.name else LEDGER_TABLES[table].arrow

    def key_sql(self, table: str, prefix: str = "") -> str:
        """See `HotStore.key_sql`."""
        return key_sql(prefix) if table == TRADES.name else f"{prefix}{LEDGER_TABLES[table].key[0]}"

    def key_range_sql(self, table: str) -> tuple[str, str]:
        """See `HotStore.key_range_sql`; keys are ordered by id."""
        return key_range_sql()

    def canonical_sql(self, table: str, relation: str, *, carried: Sequence[str] = ()) -> str:
        """See `HotStore.canonical_sql`."""
        return canonical_sql(relation, self.timezone, carried=carried)

    def plan(self, table: str, request: PlanRequest, archived: Sequence[ArchivedFile]) -> TablePlan:
        """See `HotStore.plan`."""
        with self._reading() as (connection, engine):
            tables = inspect(connection)
            return planning.plan(connection, engine, tables, request, archived, self.timezone)

    def first_row(self, spec: BatchSpec) -> tuple[datetime, str] | None:
        """See `HotStore.first_row`."""
        if spec.selection.oldest is None:
            return None
        alone = pa.array([spec.selection.oldest] * 2, pa.int64())
        only = replace(spec, rows=1, selection=replace(spec.selection, rowid_ranges=alone))
        rows = self.read(only, spec.cutoff).rows
        if not rows.num_rows:
            return None
        with scratch() as engine:
            engine.register("rows", rows)
            first = one_row(engine, f"SELECT {CLOSED_AT}, {self.key_sql(TRADES.name)} FROM rows")
        return first[0], str(first[1])

    def read(self, spec: BatchSpec, archived_at: datetime) -> BatchRows:
        """See `HotStore.read`; remembers at which change token the rows were these."""
        with self._reading() as (connection, engine):
            token = connection.change_token
            table = self._table(connection, spec.partition.mode)
            batch = archiving.read(connection, engine, table, spec, archived_at, self.timezone)
            unchanged = connection.change_token == token
            self._proven.remember(spec.partition.mode, batch.rows, token if unchanged else None)
            return batch

    def compare(self, file: ArchivedFile) -> Comparison:
        """See `HotStore.compare`; rows that nobody can have changed since are not read again."""
        with self._reading() as (connection, engine):
            before = connection.change_token
            if self._proven.token(file) == before:
                return Comparison(file.rows, (), ())
            table = self._table(connection, file.mode)
            comparison = archiving.compare(connection, engine, table, file, self.timezone)
            if comparison.equal == file.rows and connection.change_token == before:
                self._proven.remember_file(file, before)
            return comparison

    def purge(
        self,
        files: Sequence[ArchivedFile],
        held: Mapping[str, frozenset[str]],
        progress: Progress,
    ) -> list[PurgeOutcome]:
        """See `HotStore.purge`; in transactions of at most 500 rows, on disk when it returns."""
        outcomes = []
        with self._reading() as (connection, engine), connection.synced_at_the_end():
            for number, file in enumerate(files, start=1):
                table = self._table(connection, file.mode)
                self._refuse_triggers(table)
                proven = self._proven.token(file)
                chunks = ChunkedPurge(connection, engine, table, proven)
                outcomes.append(chunks.run(file, held.get(file.table, frozenset())))
                progress(number, len(files))
        return outcomes

    def _refuse_triggers(self, table: SourceTable) -> None:
        """Let no purge set off what its user has tied to the deletion of a trade.

        Raises:
            ConfigurationError: it would; what a trigger does to other rows could not be vouched for.
        """
        if table.delete_triggers:
            raise ConfigurationError(
                f"{table.name} in {self.path} has the trigger {', '.join(table.delete_triggers)}, which would "
                "run for every purged row and may change or remove others",
                next_step="nothing of it was purged; drop the trigger, or archive with --no-purge",
            )

    def fetch(self, table: str, keys: Sequence[str]) -> pa.Table:
        """See `HotStore.fetch`."""
        schema = pa.schema(
            [*OWN_SCHEMA, pa.field(TABLE, pa.string()), pa.field(ROW_HASH, pa.uint64())]
        )
        wanted = [parts for key in keys if (parts := split_key(key))]
        pieces = [schema.empty_table()]
        with self._reading() as (connection, engine):
            for found in inspect(connection):
                ids = [row_id for name, row_id, _ in wanted if name == found.name]
                for start in range(0, len(ids), source.PAGE_ROWS):
                    chosen = pa.array(ids[start : start + source.PAGE_ROWS], pa.int64())
                    engine.register(
                        "rows",
                        archiving.hashed_by_id(connection, engine, found, chosen, self.timezone),
                    )
                    engine.register("keys", pa.table({"key": pa.array(keys, pa.string())}))
                    piece = engine.sql(
                        f"SELECT {', '.join(schema.names)} FROM rows SEMI JOIN keys ON keys.key = {key_sql()}"
                    ).to_arrow_table()
                    pieces.append(piece.cast(schema))
        return pa.concat_tables(pieces)

    def insert(self, table: str, rows: pa.Table) -> None:
        """See `HotStore.insert`; in transactions of at most 500 rows, so all or none holds for each."""
        with self._reading() as (connection, engine):
            for found in inspect(connection):
                chosen = rows.filter(pa.compute.equal(rows[TABLE], found.name))
                for start in range(0, chosen.num_rows, CHUNK_ROWS):
                    chunk = chosen.slice(start, CHUNK_ROWS)
                    with connection.write_transaction():
                        insert_rows(connection, found, chunk)
                        self._check_inserted(connection, engine, found, chunk)

    def _check_inserted(
        self,
        connection: SqliteConnection,
        engine: duckdb.DuckDBPyConnection,
        table: SourceTable,
        rows: pa.Table,
    ) -> None:
        """Read inserted rows back before they are committed.

        Raises:
            VerificationError: the table holds them otherwise, for its columns have changed.
        """
        ids = rows["id"].combine_chunks().sort()
        found = archiving.hashed_by_id(connection, engine, table, ids, self.timezone)
        engine.register("inserted", rows)
        engine.register("found", found)
        wrong = engine.execute(
            f"SELECT id FROM inserted i WHERE NOT EXISTS (FROM found f "
            f"WHERE f.id = i.id AND f.{ROW_HASH} = {row_hash_sql(OWN_SCHEMA, 'i.')}) ORDER BY id"
        ).fetchall()
        engine.unregister("inserted")
        engine.unregister("found")
        if wrong:
            listed = ", ".join(str(row_id) for (row_id,) in wrong[:3])
            raise VerificationError(
                f"{table.name} in {self.path} cannot hold {len(wrong)} of the archived rows as they were, "
                f"among them those with id {listed}",
                next_step="nothing of them was restored; compare the table's columns with the archive's",
            )

    def occupied(self, table: str, keys: Sequence[str]) -> tuple[str, ...]:
        """See `HotStore.occupied`: ids start again in a new file, and an id can be used once."""
        wanted = {parts[:2]: key for key in keys if (parts := split_key(key))}
        taken: list[str] = []
        connection = self._connection()
        for found in inspect(connection):
            ids = [row_id for name, row_id in wanted if name == found.name]
            for start in range(0, len(ids), source.PAGE_ROWS):
                listed = ",".join(map(str, ids[start : start + source.PAGE_ROWS]))
                rows = connection.rows(
                    f"SELECT id FROM {identifier(found.name)} WHERE id IN ({listed})"
                )
                taken += [wanted[found.name, int(row_id)] for (row_id,) in rows]
        return tuple(taken)

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        target: str,
        columns: Collection[str] | None = None,
    ) -> None:
        """See `HotStore.load`; a FluxHero store has trades only.

        The rows are copied as they are, into `{target}_loaded`; what they mean in canonical columns is
        worked out as a query needs it, which takes most of the time. Of whole rows `PROBLEM` is there as
        well: which value was none of its column's type.
        """
        if table == TRADES.name:
            own = OWN_SCHEMA.names
            if columns is not None:
                own = own_columns_of(columns, self.timezone)
            self._load_own(connection, f"{target}_loaded", own)
            whole = {name: _DUCKDB_TYPES[OWN_SCHEMA.field(name).type] for name in OWN_SCHEMA.names}
            rows = partial_sql(f"{target}_loaded", {**whole, TABLE: "VARCHAR"}, {*own, TABLE})
            connection.execute(f"CREATE VIEW {target} AS {self.canonical_sql(table, f'({rows})')}")
            return
        connection.execute(ALL_TABLES[table].create_sql(target))
        if table == QUARANTINE.name:
            self._quarantine.load(connection, target)

    def _load_own(
        self, connection: duckdb.DuckDBPyConnection, target: str, names: Sequence[str]
    ) -> None:
        """Copy these columns and `TABLE`; of whole rows `PROBLEM` as well."""
        whole = list(names) == OWN_SCHEMA.names
        columns = ", ".join([*names, PROBLEM] if whole else names)
        empty = OWN_SCHEMA.append(pa.field(PROBLEM, pa.string())).empty_table()
        connection.register("page", empty)
        connection.execute(f"CREATE TABLE {target} AS SELECT {columns}, '' AS {TABLE} FROM page")
        with SqliteConnection(self.path, read_only=True, busy_timeout=self._timeout) as store:
            layout = store.layout_version
            for found in inspect(store):
                for page in source.pages(store, found, names):
                    connection.register("page", page)
                    connection.execute(
                        f"INSERT INTO {target} SELECT {columns}, '{found.name}' FROM page"
                    )
                if not found.unique_id and store.layout_version != layout:
                    raise SourceChangedError(
                        f"{self.path} was rebuilt while {found.name} was read",
                        next_step="run it again",
                    )
        connection.unregister("page")

    def statistics(self) -> StoreStatistics:
        """See `HotStore.statistics`."""
        with SqliteConnection(self.path, read_only=True, busy_timeout=self._timeout) as connection:
            trades = sum(
                int(connection.value(f"SELECT count(*) FROM {identifier(table.name)}"))
                for table in inspect(connection)
            )
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return StoreStatistics({TRADES.name: trades}, size, len(self._quarantine))

    def read_all(self) -> str:
        """See `HotStore.read_all`."""
        with self._reading() as (connection, _):
            return read_sqlite(connection)

    def quarantine(self, source: str, rejected: Sequence[Rejected]) -> int:
        """See `HotStore.quarantine`: a list beside the data; the rows themselves stay where they are."""
        return self._quarantine.add(source, rejected)

    def copy_before_first_purge(self, folder: Path) -> Path | None:
        """See `HotStore.copy_before_first_purge`, with SQLite's own online backup."""
        with storage_errors("write", folder):
            make_folder(folder)
            folder.chmod(0o700)
        copy = folder / f"{self.path.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
        backup(self.path, copy)
        return copy
