"""Bringing one file into the DuckDB store, all of it or nothing, as often as one likes.

A file is first read whole into a staging folder, which takes as long as it takes and locks nothing;
whatever makes it a bad file shows there. Then one transaction compares the staged rows with what
the store and the archive have, and writes what is new. What a row means is the formats' business,
what a transaction does is the store's.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from fluxhero.errors import BadInputError, DamagedStoreError, StorageIOError
from fluxhero.ledger.contradictions import (
    ambiguous,
    happened_otherwise,
    owned_elsewhere,
    taking_back,
)
from fluxhero.ledger.derived_orders import without_told
from fluxhero.ledger.formats import Format, ReadOptions
from fluxhero.ledger.raw_files import discard_raw, keep_raw
from fluxhero.ledger.reckoning import Verdict, reckoning
from fluxhero.ledger.rejected import Listed, Rejected
from fluxhero.ledger.schema import FILLS, ORDERS, Table
from fluxhero.ledger.staging import Staging
from fluxhero.ledger.store import Progress
from fluxhero.zones import zone_named

ArchivedRows = Callable[[Table, pa.Table], pa.Table]


class Transaction(Protocol):
    """What ingest asks of an open transaction."""

    def existing(self, table: Table, keys: pa.Table) -> pa.Table:
        """Read the hot rows that have these keys."""

    def upsert_file(self, table: Table, path: Path, *, new: bool = False) -> None:
        """Insert a Parquet file's rows, replacing those with the same key, unless all are `new`."""

    def derived_orders(self, written: Path, folder: Path) -> Iterator[pa.Table]:
        """Orders that fills belong to, given the Parquet file of those that are new."""

    def quarantine(self, source: str, rejected: Sequence[Rejected]) -> Listed:
        """Add refused rows, each once."""


class Store(Protocol):
    """What ingest asks of a store."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """One transaction: commits at the end, rolls back on any exception."""


@dataclass(slots=True)
class TableCount:
    """What became of a file's rows for one table.

    Attributes:
        inserted: rows the ledger did not have.
        updated: rows that differ from what the ledger had, now as the file says.
        unchanged: rows the ledger has already.
        stale: rows older, by their `updated_at`, than what the ledger has; left out.
        quarantined: refused rows that were not in quarantine before.
        refused_before: refused rows that were.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    quarantined: int = 0
    refused_before: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count a page in."""
        self.inserted += verdict.inserted
        self.updated += verdict.updated
        self.unchanged += verdict.unchanged
        self.stale += verdict.stale

    def merge(self, other: "TableCount") -> None:
        """Count in what became of further rows."""
        for field_of in dataclasses.fields(self):
            name = field_of.name
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add_refused(self, listed: Listed) -> None:
        """Count refused rows in."""
        self.quarantined += listed.new
        self.refused_before += listed.known


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What one file brought in; one without rows counts for the table it was read for."""

    path: Path
    format: str
    counts: dict[str, TableCount] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the ledger's rows are other than before."""
        return any(count.inserted or count.updated for count in self.counts.values())

    @property
    def named(self) -> bool:
        """Whether a row of the ledger or of the quarantine names the file now that did not before."""
        return self.changed or any(count.quarantined for count in self.counts.values())


def ingest_file(
    path: Path,
    store: Store,
    chosen: Format,
    options: ReadOptions,
    *,
    progress: Progress,
    archived: ArchivedRows | None = None,
    temp_dir: Path | None = None,
    imports: Path | None = None,
) -> IngestResult:
    """Ingest one file; the same file again adds nothing.

    Args:
        path: the file.
        store: where it goes.
        chosen: how it is read, from `formats.select`.
        options: what the user says about it.
        progress: called with rows read so far and the rows in all, if known.
        archived: looks up the latest archived version of rows by key, in canonical columns.
        temp_dir: where the staging folder is made; it may get as large as the file.
        imports: where raw files are kept, of the formats that do; None keeps none.

    Raises:
        BadInputError: the file is not readable as its format; nothing was written.
        StorageIOError: the disk failed or is full while staging; nothing was written.
    """
    zone_named(options.timezone)
    with (
        _disk_errors(path, temp_dir),
        tempfile.TemporaryDirectory(dir=temp_dir, prefix="fluxhero-ingest-") as folder,
    ):
        work = Path(folder)
        if not chosen.keeps_raw or imports is None:
            return _bring_in(path, path, store, chosen, options, work, progress, archived)
        raw = keep_raw(path, imports, work=work, snapshot=chosen.snapshot)
        labelled = dataclasses.replace(options, label=raw.label, shown=path)
        named = False
        try:
            result = _bring_in(path, raw.path, store, chosen, labelled, work, progress, archived)
            named = result.named
        finally:
            if not named:
                discard_raw(raw)
        return result


def _bring_in(
    path: Path,
    content: Path,
    store: Store,
    chosen: Format,
    options: ReadOptions,
    folder: Path,
    progress: Progress,
    archived: ArchivedRows | None,
) -> IngestResult:
    """Read a file from where its content is, and write what is new of it."""
    staging = Staging(folder)
    try:
        _stage(content, chosen, options, staging, progress)
    except (BadInputError, DamagedStoreError) as error:
        # In the words of the user, who named another file.
        what = error.what.replace(str(content), str(path))
        raise type(error)(what, next_step=error.next_step) from error
    result = IngestResult(path, chosen.name)
    if not staging.tables:
        result.counts[options.table.name] = TableCount()
    file = options.file(path)
    with store.transaction() as transaction:
        writing = _Writing(staging, transaction, archived, f"{chosen.name}:{path.name}", file)
        for table in staging.tables:
            result.counts[table.name] = writing.apply(table)
        if FILLS in staging.tables and (derived := writing.derive_orders()):
            result.counts.setdefault(ORDERS.name, TableCount()).merge(derived)
    return result


@contextmanager
def _disk_errors(path: Path, temp_dir: Path | None) -> Iterator[None]:
    """Name the file and the folder where the disk, or DuckDB working on it, fails."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise StorageIOError(
            f"could not read {path} into {temp_dir or tempfile.gettempdir()}: {error}",
            next_step="check the disk's room, or free some; nothing was written",
        ) from error


def _stage(
    path: Path, chosen: Format, options: ReadOptions, staging: Staging, progress: Progress
) -> None:
    total = chosen.row_count(path)
    done = 0
    progress(done, total)
    with closing(staging):
        for page in chosen.pages(path, options):
            staging.add(page)
            done += page.rows.num_rows + len(page.rejected)
            progress(done, total)


@dataclass(frozen=True)
class _Writing:
    """What is written of one file in one transaction.

    Attributes:
        source: what the quarantine calls the file.
        file: what rows call it.
    """

    staging: Staging
    transaction: Transaction
    archived: ArchivedRows | None
    source: str
    file: str

    def apply(self, table: Table) -> TableCount:
        """Write what is new or changed, and list what cannot be used."""
        count = TableCount()
        with reckoning(table) as known, closing(self.staging.outgoing(table)) as outgoing:
            for rows, conflicting in self.staging.rows(table):
                verdict = known.compare(rows, *self._known(table, rows))
                outgoing.add(verdict.write)
                count.add(verdict)
                refused = [
                    *owned_elsewhere(verdict.foreign, self.file),
                    *taking_back(verdict.regressive, self.file),
                    *happened_otherwise(verdict.conflicting, self.file),
                    *ambiguous(conflicting, table, self.file),
                ]
                count.add_refused(self.transaction.quarantine(self.source, refused))
        if outgoing.rows:
            # One statement: many small ones in one transaction would cost memory for every row.
            self.transaction.upsert_file(table, outgoing.path, new=not count.updated)
        for rejected in self.staging.rejected(table):
            count.add_refused(self.transaction.quarantine(self.source, rejected))
        return count

    def derive_orders(self) -> TableCount | None:
        """Write the orders that are known from the fills just written, and from nothing else."""
        written = self.staging.outgoing(FILLS).path
        if not written.exists():
            return None
        count = TableCount()
        with (
            reckoning(ORDERS, derived=True) as known,
            closing(self.staging.outgoing(ORDERS)) as outgoing,
        ):
            for every in self.transaction.derived_orders(written, written.parent):
                hot, cold = self._known(ORDERS, every)
                orders = without_told(every, pa.concat_tables([hot, cold]))
                verdict = known.compare(orders, hot, cold)
                outgoing.add(verdict.write)
                count.add(verdict)
        if outgoing.rows:
            self.transaction.upsert_file(ORDERS, outgoing.path)
        return count

    def _known(self, table: Table, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """What the store has of the rows' keys, and what the archive."""
        keys = _copy(rows.select(table.key))
        hot = self.transaction.existing(table, keys)
        return hot, self.archived(table, keys) if self.archived else hot.slice(0, 0)


def _copy(keys: pa.Table) -> pa.Table:
    """The same keys in memory of their own.

    A transaction holds on to every table it was ever asked with, and a column from DuckDB holds on
    to the whole page it came in.
    """
    return keys.take(pa.array(range(keys.num_rows), pa.int64()))
