"""Bringing one file into the DuckDB store, all of it or nothing, as often as one likes.

A file is first read whole into a staging folder, which takes as long as it takes and locks nothing;
whatever makes it a bad file shows there. Then one transaction compares the staged rows with what
the store and the archive have, and writes what is new. What a row means is the formats' business,
what a transaction does is the store's.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa

from fluxhero.errors import StorageIOError
from fluxhero.ledger.contradictions import ambiguous, owned_elsewhere, taking_back
from fluxhero.ledger.formats import Format, ReadOptions
from fluxhero.ledger.reckoning import Verdict, reckoning
from fluxhero.ledger.rejected import Listed, Rejected
from fluxhero.ledger.schema import Table
from fluxhero.ledger.staging import Staging
from fluxhero.ledger.store import Progress
from fluxhero.zones import zone_named

ArchivedRows = Callable[[Table, pa.Table], pa.Table]


class Transaction(Protocol):
    """What ingest asks of an open transaction."""

    def existing(self, table: Table, keys: pa.Table) -> pa.Table:
        """Read the hot rows that have these keys."""

    def upsert_file(self, table: Table, path: Path) -> None:
        """Insert a Parquet file's rows, replacing those with the same key."""

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


def ingest_file(
    path: Path,
    store: Store,
    chosen: Format,
    options: ReadOptions,
    *,
    progress: Progress,
    archived: ArchivedRows | None = None,
    temp_dir: Path | None = None,
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

    Raises:
        BadInputError: the file is not readable as its format; nothing was written.
        StorageIOError: the disk failed or is full while staging; nothing was written.
    """
    zone_named(options.timezone)
    with (
        _disk_errors(path, temp_dir),
        tempfile.TemporaryDirectory(dir=temp_dir, prefix="fluxhero-ingest-") as folder,
    ):
        staging = Staging(Path(folder))
        _stage(path, chosen, options, staging, progress)
        result = IngestResult(path, chosen.name)
        if not staging.tables:
            result.counts[options.table.name] = TableCount()
        with store.transaction() as transaction:
            for table in staging.tables:
                result.counts[table.name] = _apply(
                    staging, table, transaction, archived, chosen.name, path.name
                )
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


def _apply(
    staging: Staging,
    table: Table,
    transaction: Transaction,
    archived: ArchivedRows | None,
    format_name: str,
    file: str,
) -> TableCount:
    source = f"{format_name}:{file}"
    count = TableCount()
    with reckoning(table) as known, closing(staging.outgoing(table)) as outgoing:
        for rows, conflicting in staging.rows(table):
            keys = _copy(rows.select(table.key))
            hot = transaction.existing(table, keys)
            cold = archived(table, keys) if archived else hot.slice(0, 0)
            verdict = known.compare(rows, hot, cold)
            outgoing.add(verdict.write)
            count.add(verdict)
            refused = [
                *owned_elsewhere(verdict.foreign, file),
                *taking_back(verdict.regressive, file),
                *ambiguous(conflicting, table, file),
            ]
            count.add_refused(transaction.quarantine(source, refused))
    if outgoing.rows:
        # One statement: many small ones in one transaction would cost memory for every row.
        transaction.upsert_file(table, outgoing.path)
    for rejected in staging.rejected(table):
        count.add_refused(transaction.quarantine(source, rejected))
    return count


def _copy(keys: pa.Table) -> pa.Table:
    """The same keys in memory of their own.

    A transaction holds on to every table it was ever asked with, and a column from DuckDB holds on
    to the whole page it came in.
    """
    return keys.take(pa.array(range(keys.num_rows), pa.int64()))
