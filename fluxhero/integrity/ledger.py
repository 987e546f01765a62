"""The ledger opened for checking: hot rows in memory, archived versions read batch by batch.

Rules that compare versions, or only look at what is new, read single files of the archive; this
says which, and as what relation. What a rule finds is its own business.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.archive.identity import check_owner
from fluxhero.archive.manifest import Chain, Manifest
from fluxhero.engine import connect, literal
from fluxhero.errors import (
    ConfigurationError,
    IntegrityError,
    SourceChangedError,
    StorageIOError,
)
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.currencies import told_in
from fluxhero.ledger.rows import CLOSED_AT, row_hash_sql
from fluxhero.ledger.schema import CASH_FLOWS, EQUITY, LEDGER_TABLES, ORDERS, TRADES
from fluxhero.ledger.sqlite_schema import MODES
from fluxhero.ledger.store import HotStore
from fluxhero.ledger.view import BATCH_ID, latest_sql, scan_sql

_TABLES = (TRADES, ORDERS, CASH_FLOWS, EQUITY)
_WIDE = frozenset(
    {"signal_reason", "signal_explanation", "extra"}
)  # which no rule reads, but for a trade's currency
_COLUMNS = frozenset(name for table in _TABLES for name in table.names) - _WIDE
# What stands in the way of an answer. A store that is locked or changing is worth another attempt.
HINDRANCES = (IntegrityError, ConfigurationError, StorageIOError, duckdb.Error)
BOTH = "{} (hot and archive)"  # what a rule over all rows of a table is about
_ATTEMPTS = 3  # to read all tables of a store between two writes of another process
_RULES_VERSION = "1"  # of the rules whose passing is remembered


@dataclass
class Ledger:
    """Hot rows in memory as `hot.{table}`, and the archive as it stood right after they were read.

    Attributes:
        scope: what is checked.
        connection: has the hot rows.
        chain: the archive's manifests.
        memory: which batches passed before; None for a reader who skips none.
    """

    scope: Scope
    connection: duckdb.DuckDBPyConnection
    chain: Chain
    memory: Passed | None
    _stamps: dict[Path, Stamp] = field(default_factory=dict)
    _hot_batches: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that are archived."""
        return self.scope.workspace.store.archived_tables

    def path(self, manifest: Manifest) -> Path:
        """Where a batch's file is."""
        return self.scope.workspace.layout.root / manifest.file.path

    def key_sql(self, table: str, prefix: str = "") -> str:
        """SQL of the key of an archived row."""
        return self.scope.workspace.store.key_sql(table, prefix)

    def values_hash_sql(self, table: str) -> str:
        """SQL of the hash of an archived row's values, whatever DuckDB release archived it."""
        return row_hash_sql(self.scope.workspace.store.own_schema(table))

    def new(self, check: str, manifests: Iterable[Manifest]) -> list[Manifest]:
        """Those of the batches that did not pass a check before as they are; all in a deep check."""
        chosen = []
        for manifest in manifests:
            path = self.path(manifest)
            if (
                self.memory is None
                or self.scope.deep
                or self.memory.at(check, path, _RULES_VERSION) is None
            ):
                self._stamps[path] = Stamp.of(path)
                chosen.append(manifest)
        return chosen

    def passed(self, check: str, manifests: Iterable[Manifest]) -> None:
        """Remember that batches returned by `new` passed it."""
        for manifest in manifests:
            path = self.path(manifest)
            if self.memory:
                self.memory.record(check, path, self._stamps[path], self.scope.now, _RULES_VERSION)

    def scan(self, manifests: Sequence[Manifest]) -> str:
        """FROM clause of batches' rows as they are stored, with `_batch_id`; there is at least one."""
        return scan_sql(self.scope.workspace, manifests)

    def archived(self, table: str, manifests: Sequence[Manifest], *, hot_too: bool = False) -> str:
        """SELECT of these batches' rows as the view has them: the latest versions, not those that are hot.

        In the ledger's columns with `_closed_at` and `_batch_id`; with `hot_too` the hot rows as well,
        which have no batch.
        """
        shape = LEDGER_TABLES[table]
        names = ", ".join(shape.names)
        hot = (
            f"SELECT {names}, {shape.closed_at_sql} AS {CLOSED_AT}, NULL::VARCHAR AS {BATCH_ID} "
            f"FROM hot.{table}"
        )
        near = [m for m in manifests if m.batch_id in self._meeting_hot(table)]
        far = [m for m in manifests if m.batch_id not in self._meeting_hot(table)]
        parts = [hot] if hot_too else []
        parts += [self._latest(table, far)] if far else []
        if near:
            parts.append(
                f"{self._latest(table, near)} ANTI JOIN hot.{table} USING ({shape.key[0]})"
            )
        return " UNION ALL ".join(parts) if parts else f"{hot} WHERE false"

    def _meeting_hot(self, table: str) -> frozenset[str]:
        """Ids of the batches that may have a hot row's key; the others are spared the comparison."""
        if table not in self._hot_batches:
            found = self.holding_keys(
                table, f"SELECT {LEDGER_TABLES[table].key[0]} FROM hot.{table}"
            )
            self._hot_batches[table] = frozenset(manifest.batch_id for manifest in found)
        return self._hot_batches[table]

    def _latest(self, table: str, manifests: Sequence[Manifest]) -> str:
        """SELECT of these batches' rows less those that any batch has a later version of."""
        shape = LEDGER_TABLES[table]
        rows = latest_sql(
            self.scope.workspace,
            shape,
            manifests,
            among=self.chain.of_table(table),
            carried=(CLOSED_AT,),
        )
        return f"SELECT {', '.join(shape.names)}, {CLOSED_AT}, {BATCH_ID} FROM ({rows}) AS latest"

    def holding_keys(self, table: str, keys: str) -> list[Manifest]:
        """Batches of a table that may have one of these keys, going by their ranges.

        `keys` is a SELECT of one column.
        """
        every, place = self.chain.of_table(table), self._place_sql
        places = f"SELECT {place('key')} FROM ({keys}) AS given(key)"
        return self._having(every, _key_ranges(every), place, places)

    def closed_when(self, times: str, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Batches with a range of close times that one of `times` is in: a SELECT of one column."""
        moment = pa.timestamp("us", tz="UTC")
        ranges = pa.table(
            {
                "batch": pa.array([m.batch_id for m in manifests], pa.string()),
                "first": pa.array([m.file.first_closed_at for m in manifests], moment),
                "last": pa.array([m.file.last_closed_at for m in manifests], moment),
            }
        )
        return self._having(manifests, ranges, str, times)

    def _having(
        self,
        manifests: Sequence[Manifest],
        ranges: pa.Table,
        place: Callable[[str], str],
        values: str,
    ) -> list[Manifest]:
        """Batches with a range that one of the values is in: the next one from its start on is in it."""
        self.connection.register("ranges", ranges)
        found = self.connection.execute(
            f"SELECT batch FROM (SELECT batch, {place('first')} AS first, {place('last')} AS last FROM ranges) "
            f"ASOF JOIN (SELECT DISTINCT value FROM ({values}) AS given(value)) ON first <= value WHERE value <= last"
        ).fetchall()
        self.connection.unregister("ranges")
        return _named(manifests, found)

    def sharing_keys(self, fresh: Sequence[Manifest], known: Sequence[Manifest]) -> list[Manifest]:
        """Those of the known batches whose range of keys meets that of a fresh one."""
        place = self._place_sql
        self.connection.register("fresh", _key_ranges(fresh))
        self.connection.register("ranges", _key_ranges(known))
        ends = f"{place('first')} AS first, {place('last')} AS last"
        found = self.connection.execute(
            f"SELECT DISTINCT r.batch FROM (SELECT batch, {ends} FROM ranges) r JOIN (SELECT {ends} FROM fresh) f "
            f"ON f.first <= r.last AND f.last >= r.first"
        ).fetchall()
        self.connection.unregister("fresh")
        self.connection.unregister("ranges")
        return _named(known, found)

    def _place_sql(self, key: str) -> str:
        """SQL of where a key is in the order that a batch's first and last key are of."""
        if self.scope.workspace.store.kind == "duckdb":
            return key
        names = ", ".join(map(literal, MODES))
        table, number = (f"split_part({key}, ':', {part})" for part in (1, 2))
        return f"(list_position([{names}], {table})::HUGEINT * 18446744073709551616 + {number}::BIGINT)"


def _named(manifests: Iterable[Manifest], found: Iterable[tuple[str]]) -> list[Manifest]:
    names = {batch for (batch,) in found}
    return [manifest for manifest in manifests if manifest.batch_id in names]


def _key_ranges(manifests: Sequence[Manifest]) -> pa.Table:
    text = pa.string()
    return pa.table(
        {
            "batch": pa.array([m.batch_id for m in manifests], text),
            "first": pa.array([m.file.first_key for m in manifests], text),
            "last": pa.array([m.file.last_key for m in manifests], text),
        }
    )


@contextmanager
def open_ledger(scope: Scope, memory: Passed | None = None) -> Iterator[Ledger]:
    """Read what is hot and which batches there are.

    Raises:
        StoreLockedError: another process holds the hot store.
        SourceChangedError: another process kept writing to it between one table and the next.
        IntegrityError: the store or the archive's manifests are damaged.
        ConfigurationError: the store or the archive is gone, or the archive is another store's.
    """
    workspace = scope.workspace
    workspace.store.check_there()
    check_owner(workspace.layout, workspace.store)
    with connect(temp_dir=workspace.data_dir / "tmp") as connection:
        connection.execute("SET python_enable_replacements = false")
        _load_hot(workspace.store, connection)
        yield Ledger(scope, connection, workspace.chain(), memory)  # never read before the hot rows


def _load_hot(store: HotStore, connection: duckdb.DuckDBPyConnection) -> None:
    """Load the tables as they were at one time: a trade without its orders would be a fault.

    A FluxHero database has trades alone, and a bot that writes to it all the time.
    """
    for _ in range(_ATTEMPTS):
        before = _stamps(store.path)
        connection.execute("DROP SCHEMA IF EXISTS hot CASCADE")
        connection.execute("CREATE SCHEMA hot")
        for table in _TABLES:
            told = told_in(store, table) if table is TRADES else ()
            store.load(connection, table.name, f"hot.{table.name}", _COLUMNS | set(told))
        if store.kind == "sqlite" or _stamps(store.path) == before:
            return
    raise SourceChangedError(
        f"{store.path} was written to while it was read, {_ATTEMPTS} times",
        next_step="run it again; it must not be written to all the time",
    )


def _stamps(path: Path) -> list[Stamp]:
    """Of a DuckDB file and of what was written to it last."""
    parts = (path, path.with_name(f"{path.name}.wal"))
    return [Stamp.of(part) for part in parts if part.exists()]
