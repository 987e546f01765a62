"""What every hot store can do: the one interface behind which the two adapters differ.

Rows cross it as Arrow tables in the store's own columns plus the derived ones of `rows.DERIVED`, so
that the archive protocol never asks what kind of store it works on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from fluxhero.ledger.rejected import Rejected

Progress = Callable[[int, int | None], None]  # rows done, rows in all (None: not known)


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A month (UTC) of one mode of one table: what a batch holds rows of."""

    table: str
    mode: str
    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.table} {self.mode} {self.year:04d}-{self.month:02d}"


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A published batch's file, as much as a store must know to compare its rows with it.

    `digest` is the sum of the file's row hashes; `hash_is_current` says whether they are this
    DuckDB's. `superseded` has the keys (column `key`) of rows that a later file has a newer version of:
    a purge leaves them alone.
    """

    batch_id: str
    path: Path
    table: str
    mode: str
    rows: int
    first_key: str
    last_key: str
    first_closed_at: datetime
    last_closed_at: datetime
    cutoff: datetime
    digest: int
    hash_is_current: bool
    superseded: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a batch takes, in the terms of the store that planned it.

    Ranges of rowids for SQLite (see `sqlite_due`), which of them was closed first, and the version of
    the file's `layout` in which they are the rows' numbers. For DuckDB a range of (close time, key), `first`
    inclusive to `last` inclusive (no key: any), less the keys in `without` or only those in `only`;
    `key_digest` proves that the range still holds exactly the rows that were planned.
    """

    rowid_ranges: pa.Int64Array | None = None
    oldest: int | None = None
    layout: int | None = None
    first: tuple[datetime, str | None] | None = None
    last: tuple[datetime, str | None] | None = None
    without: pa.Table | None = None
    only: pa.Table | None = None
    key_digest: int = 0


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch to be made.

    `correction` marks new versions of rows that the archive already has.
    """

    partition: Partition
    rows: int
    cutoff: datetime
    correction: bool
    selection: Selection


@dataclass(frozen=True, slots=True)
class BatchRows:
    """A batch's rows in its archive schema, sorted by close time, then key; and those refused."""

    rows: pa.Table
    refused: tuple[Rejected, ...] = ()


# A batch is in memory two or three times while it is made, under the 600 MB of a whole run.
BATCH_BYTES = 48_000_000


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is due: finished before `cutoff`, not in `held`; at most `limit` rows, in batches.

    A batch has at most `batch_rows` rows, and fewer where rows are wide.
    """

    cutoff: datetime
    held: frozenset[str]
    batch_rows: int
    limit: int | None = None

    def rows_at_most(self, row_bytes: float) -> int:
        """Most rows of a batch whose rows take about so many bytes each."""
        return max(1, min(self.batch_rows, int(BATCH_BYTES // max(row_bytes, 1))))


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What a run has to do for one table.

    Attributes:
        batches: what to archive.
        purge_only: batch id → hot rows that equal their latest archived version there.
        refused: finished rows that cannot be archived, and why.
        held: due rows that stay because of a hold.
        undated: due rows dated by their last update, having no time of exit.
    """

    batches: tuple[BatchSpec, ...] = ()
    purge_only: dict[str, int] = field(default_factory=dict)
    refused: tuple[Rejected, ...] = ()
    held: int = 0
    undated: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A file's rows against the hot store: how many are equal, which differ, which are not there."""

    equal: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PurgeOutcome:
    """What the purge of one batch did: rows removed, keys left because they differ or are on hold."""

    batch_id: str
    purged: int
    changed: tuple[str, ...]
    held: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Size of a hot store: rows per ledger table, bytes on disk, rows in quarantine."""

    rows: dict[str, int]
    bytes: int
    quarantined: int


class HotStore(ABC):
    """A live database that trades are written to."""

    kind: Literal["duckdb", "sqlite"]
    path: Path
    archived_tables: tuple[str, ...]
    timezone: str = "UTC"  # in which it reads its own times without an offset

    @abstractmethod
    def check_there(self) -> None:
        """Make sure that the store's file is there, without opening it.

        Raises:
            ForeignStoreError: there is no such file.
        """

    @abstractmethod
    def identity(self) -> str:
        """A name that no other store has.

        Raises:
            ForeignStoreError: there is no such store, or it is none of ours.
        """

    @abstractmethod
    def own_schema(self, table: str) -> pa.Schema:
        """Columns of an archived row that come from the store itself, always the same ones."""

    @abstractmethod
    def key_sql(self, table: str, prefix: str = "") -> str:
        """DuckDB SQL of a row's key over the columns of `own_schema` and `rows.DERIVED`."""

    @abstractmethod
    def key_range_sql(self, table: str) -> tuple[str, str]:
        """DuckDB SQL aggregates of the first and the last key of such rows, in the keys' own order."""

    @abstractmethod
    def canonical_sql(self, table: str, relation: str, *, carried: Sequence[str] = ()) -> str:
        """DuckDB SQL that selects the ledger's columns from such rows, then the carried ones."""

    @abstractmethod
    def plan(self, table: str, request: PlanRequest, archived: Sequence[ArchivedFile]) -> TablePlan:
        """Find what is due; changes nothing."""

    @abstractmethod
    def first_row(self, spec: BatchSpec) -> tuple[datetime, str] | None:
        """Close time and key of a planned batch's first row; None if it is no longer there."""

    @abstractmethod
    def read(self, spec: BatchSpec, archived_at: datetime) -> BatchRows:
        """Read a batch's rows as they stand.

        Raises:
            SourceChangedError: the rows planned are no longer those that are there.
        """

    @abstractmethod
    def compare(self, file: ArchivedFile) -> Comparison:
        """Hold every value of a file against the hot store as it stands."""

    @abstractmethod
    def purge(
        self,
        files: Sequence[ArchivedFile],
        held: Mapping[str, frozenset[str]],
        progress: Progress,
    ) -> list[PurgeOutcome]:
        """Remove hot rows that equal their archived copy; the rest stays, and so does what is superseded.

        `held` has the keys on hold of each table; a table that is not in it has none.
        """

    @abstractmethod
    def fetch(self, table: str, keys: Sequence[str]) -> pa.Table:
        """Read hot rows by key (own columns and `_table`, `_row_hash`), those that are there."""

    @abstractmethod
    def insert(self, table: str, rows: pa.Table) -> None:
        """Put archived rows back, all or none; the caller made sure that they are not there."""

    def close(self) -> None:  # noqa: B027 - most stores keep nothing open
        """Let go of whatever is kept open between steps."""

    def occupied(self, table: str, keys: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """Of these absent keys, those whose place in the store another row has taken."""
        return ()

    @abstractmethod
    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        target: str,
        columns: Collection[str] | None = None,
    ) -> None:
        """Copy a ledger table or the quarantine into a connection, as `target` in canonical columns.

        Given `columns`, only these and the key need to be copied; see `partial` for the others.
        """

    @abstractmethod
    def statistics(self) -> StoreStatistics:
        """Count rows and bytes."""

    @abstractmethod
    def read_all(self) -> str:
        """Read all of the store's file; says what is wrong with it, nothing if it is sound.

        Raises:
            StoreLockedError: another process holds it.
            DamagedStoreError: it cannot be read.
        """

    @abstractmethod
    def quarantine(self, source: str, rejected: Sequence[Rejected]) -> int:
        """Remember rows that could not be used, each once; returns how many were new."""

    @abstractmethod
    def copy_before_first_purge(self, folder: Path) -> Path | None:
        """Copy a store that is not ours before anything is removed from it; None if it is ours."""
