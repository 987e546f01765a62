"""The ledger opened for checking: the one view, and archived versions read batch by batch.

Rules that compare versions, or only look at what is new, read single files of the archive; this
says which, and as what relation. What a rule finds is its own business.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.archive.manifest import Chain, Manifest
from fluxhero.engine import literal
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.rows import ARCHIVED_AT, row_hash_sql
from fluxhero.ledger.schema import CASH_FLOWS, EQUITY, LEDGER_TABLES, ORDERS, TRADES
from fluxhero.ledger.view import BATCH_ID, open_view

_TABLES = (TRADES, ORDERS, CASH_FLOWS, EQUITY)
_WIDE = frozenset({"signal_reason", "signal_explanation", "extra"})  # which no rule reads
_COLUMNS = frozenset(name for table in _TABLES for name in table.names) - _WIDE
BOTH = "{} (hot and archive)"  # what a rule over all rows of a table is about
_RULES_VERSION = "1"  # of the rules whose passing is remembered


@dataclass
class Ledger:
    """Hot rows in memory as `hot.{table}`, and the archive as it stood right after they were read.

    Attributes:
        scope: what is checked.
        connection: has the views `trades`, `orders`, `equity`, `cash_flows`.
        chain: the archive's manifests.
        memory: which batches passed before.
    """

    scope: Scope
    connection: duckdb.DuckDBPyConnection
    chain: Chain
    memory: Passed
    _stamps: dict[Path, Stamp] = field(default_factory=dict)

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
            if self.scope.deep or self.memory.at(check, path, _RULES_VERSION) is None:
                self._stamps[path] = Stamp.of(path)
                chosen.append(manifest)
        return chosen

    def passed(self, check: str, manifests: Iterable[Manifest]) -> None:
        """Remember that batches returned by `new` passed it."""
        for manifest in manifests:
            path = self.path(manifest)
            self.memory.record(check, path, self._stamps[path], self.scope.now, _RULES_VERSION)

    def scan(self, manifests: Sequence[Manifest]) -> str:
        """FROM clause of batches' rows as they are stored, with `_batch_id`; there is at least one."""
        paths = ", ".join(literal(str(self.path(manifest))) for manifest in manifests)
        return (
            f"(SELECT * EXCLUDE (filename), parse_filename(filename, true) AS {BATCH_ID} FROM "
            f"read_parquet([{paths}], hive_partitioning = false, filename = true))"
        )

    def archived(self, table: str, manifests: Sequence[Manifest], *, hot_too: bool = False) -> str:
        """SELECT of these batches' rows as the view has them: the latest versions, not those that are hot.

        In the ledger's columns with `_batch_id`; with `hot_too` the hot rows as well, which have none.
        """
        shape, store = LEDGER_TABLES[table], self.scope.workspace.store
        key, names = shape.key[0], ", ".join(shape.names)
        hot = f"SELECT {names}, NULL::VARCHAR AS {BATCH_ID} FROM hot.{table}"
        if not manifests:
            return hot if hot_too else f"{hot} WHERE false"
        rows = store.canonical_sql(table, self.scan(manifests), carried=(ARCHIVED_AT, BATCH_ID))
        current = f"SELECT * FROM ({rows}) AS version ANTI JOIN hot.{table} USING ({key})"
        first = min(manifest.sequence for manifest in manifests)
        corrections = [m for m in self.chain.of_table(table) if m.correction and m.sequence > first]
        if corrections:
            current += (
                f" ANTI JOIN (SELECT {self.key_sql(table)} AS {key}, max({ARCHIVED_AT}) AS at FROM "
                f"{self.scan(corrections)} GROUP BY 1) AS newer "
                f"ON newer.{key} = version.{key} AND newer.at > version.{ARCHIVED_AT}"
            )
        selected = f"SELECT {names}, {BATCH_ID} FROM ({current})"
        return f"{hot} UNION ALL {selected}" if hot_too else selected

    def holding_keys(self, table: str, keys: str) -> list[Manifest]:
        """Batches of a table that may have one of these keys, going by their ranges.

        `keys` is a SELECT of one column, `key`.
        """
        every = self.chain.of_table(table)
        place = self._place_sql
        return self._meeting(
            every,
            _key_ranges(every),
            f"SELECT DISTINCT {place('key')} AS place FROM ({keys})",
            f"place BETWEEN {place('first')} AND {place('last')}",
        )

    def sharing_keys(self, fresh: Sequence[Manifest], known: Sequence[Manifest]) -> list[Manifest]:
        """Those of the known batches whose range of keys meets that of a fresh one."""
        place = self._place_sql
        self.connection.register("fresh", _key_ranges(fresh))
        found = self._meeting(
            known,
            _key_ranges(known),
            f"SELECT {place('first')} AS first_place, {place('last')} AS last_place FROM fresh",
            f"first_place <= {place('last')} AND last_place >= {place('first')}",
        )
        self.connection.unregister("fresh")
        return found

    def _place_sql(self, key: str) -> str:
        """SQL of where a key is in the order that a batch's first and last key are of."""
        if self.scope.workspace.store.kind == "duckdb":
            return key
        return f"{{'table': split_part({key}, ':', 1), 'id': split_part({key}, ':', 2)::BIGINT}}"

    def closed_when(self, times: str, manifests: Sequence[Manifest]) -> list[Manifest]:
        """Batches with a range of close times that one of `times` is in: a SELECT of `closed`."""
        moment = pa.timestamp("us", tz="UTC")
        ranges = pa.table(
            {
                "batch": pa.array([m.batch_id for m in manifests], pa.string()),
                "first": pa.array([m.file.first_closed_at for m in manifests], moment),
                "last": pa.array([m.file.last_closed_at for m in manifests], moment),
            }
        )
        return self._meeting(manifests, ranges, times, "closed BETWEEN first AND last")

    def _meeting(
        self, manifests: Sequence[Manifest], ranges: pa.Table, values: str, condition: str
    ) -> list[Manifest]:
        self.connection.register("ranges", ranges)
        found = self.connection.execute(
            f"SELECT DISTINCT batch FROM ranges JOIN ({values}) AS value ON {condition}"
        ).fetchall()
        self.connection.unregister("ranges")
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
def open_ledger(scope: Scope, memory: Passed) -> Iterator[Ledger]:
    """Read what is hot and which batches there are.

    Raises:
        StoreLockedError: another process holds the hot store.
        IntegrityError: the store or the archive's manifests are damaged.
        ConfigurationError: the archive is gone or another store's.
    """
    tables = [table.name for table in _TABLES]
    with open_view(scope.workspace, tables, _COLUMNS) as connection:
        yield Ledger(scope, connection, scope.workspace.chain(), memory)
