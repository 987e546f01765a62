"""A batch's Parquet file: written with page checksums, read back with them verified."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.durable import make_folder, sha256, storage_errors, sync_file, sync_folder
from fluxhero.engine import one_row, scratch
from fluxhero.errors import DamagedFileError, VerificationError
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    CLOSED_AT,
    ROW_HASH,
    TABLE,
    archive_schema,
    digest_sql,
    hash_algorithm,
    row_hash_sql,
)
from fluxhero.ledger.store import ArchivedFile, Comparison, HotStore, Partition
from fluxhero.parquet import DAMAGE, schema_difference

METADATA_PREFIX = b"fluxhero."
_READ_ROWS = 8_192  # small enough to be reused by the allocator, large enough for DuckDB
# Columns with few distinct values; for the others a dictionary costs time and saves nothing.
_DICTIONARY = frozenset(
    [
        "mode",
        "symbol",
        "side",
        "status",
        "strategy",
        "regime",
        "source",
        "broker",
        "order_type",
        TABLE,
        ARCHIVED_AT,
    ]
)
# Statistics serve pruning; on long text they only cost.
_NO_STATISTICS = frozenset({"signal_reason", "signal_explanation", "extra", "_extra", ROW_HASH})


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file was found to hold when it was read back from disk."""

    rows: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str
    first_closed_at: datetime
    last_closed_at: datetime
    digest: str

    def archived_file(
        self, batch_id: str, path: Path, partition: Partition, cutoff: datetime
    ) -> ArchivedFile:
        """The file as a store needs it for comparing; its row hashes were just found to be ours."""
        return ArchivedFile(
            batch_id=batch_id,
            path=path,
            table=partition.table,
            mode=partition.mode,
            rows=self.rows,
            first_key=self.first_key,
            last_key=self.last_key,
            first_closed_at=self.first_closed_at,
            last_closed_at=self.last_closed_at,
            cutoff=cutoff,
            digest=int(self.digest),
            hash_is_current=True,
        )


def write_file(path: Path, rows: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write rows durably; whoever wants the name published links it afterwards.

    Args:
        path: a staging path, overwritten if it is there.
        rows: sorted rows in an archive schema.
        metadata: stored in the file's footer, each key prefixed with `fluxhero.`.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    schema = rows.schema.with_metadata(
        {METADATA_PREFIX + key.encode(): value.encode() for key, value in metadata.items()}
    )
    names = schema.names
    with storage_errors("write", path):
        make_folder(path.parent)
        with pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[name for name in names if name in _DICTIONARY],
            write_statistics=[name for name in names if name not in _NO_STATISTICS],
            write_page_checksum=True,
            store_decimal_as_integer=True,
        ) as writer:
            writer.write_table(rows.cast(schema))
        sync_file(path)
        sync_folder(path.parent)


def read_back(path: Path, own: pa.Schema, key_range_sql: tuple[str, str]) -> FileFacts:
    """Hash a file's bytes, then read every value with page checksums verified.

    Args:
        path: the file.
        own: the store's own columns; the file must have exactly these and the derived ones.
        key_range_sql: DuckDB SQL aggregates of the first and the last key.

    Raises:
        VerificationError: another schema, or a stored row hash is not that of the row's values.
        DamagedFileError: a page does not match its checksum, or it is no Parquet file.
    """
    digest = sha256(path)
    stream = _ReadBack(path, own)
    with scratch() as engine:
        engine.register("stored", stream.reader())
        try:
            values = one_row(
                engine,
                f"SELECT count(*), {key_range_sql[0]}, {key_range_sql[1]}, min({CLOSED_AT}), max({CLOSED_AT}), "
                f"{digest_sql(ROW_HASH)}, count(*) FILTER ({ROW_HASH} IS DISTINCT FROM {row_hash_sql(own)}) "
                f"FROM stored",
            )
        except duckdb.Error as error:
            if stream.failure is None:
                raise
            raise _unreadable(path, stream.failure) from error
    if not values[0]:
        raise VerificationError(f"{path} holds no rows", next_step="nothing was purged")
    if values[6]:
        raise VerificationError(
            f"{path}: {values[6]} of {values[0]} rows do not have the hash of their values",
            next_step="nothing was purged; the batch is made again by the next run",
        )
    return FileFacts(
        rows=int(values[0]),
        bytes=path.stat().st_size,
        sha256=digest,
        first_key=str(values[1]),
        last_key=str(values[2]),
        first_closed_at=values[3],
        last_closed_at=values[4],
        digest=str(values[5]),
    )


class _ReadBack:
    """A file's rows as a stream, remembering why it broke off: DuckDB would say that in its own words."""

    def __init__(self, path: Path, own: pa.Schema) -> None:
        self.failure: Exception | None = None
        texts = [f.name for f in own if f.name in _DICTIONARY and f.type == pa.string()]
        with storage_errors("read", path):
            try:
                found = pq.read_schema(path).remove_metadata()
                self._file = pq.ParquetFile(
                    path, page_checksum_verification=True, read_dictionary=[*texts, TABLE]
                )
            except DAMAGE as error:
                raise _unreadable(path, error) from error
        if found != archive_schema(own):
            raise VerificationError(
                f"{path} has another schema than declared: {schema_difference(found, archive_schema(own))}",
                next_step="nothing was purged; report this with the file",
            )

    def reader(self) -> pa.RecordBatchReader:
        """The rows, a few thousand at a time."""
        return pa.RecordBatchReader.from_batches(self._file.schema_arrow, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file.iter_batches(_READ_ROWS, use_threads=False)
        except DAMAGE as error:
            self.failure = error
            raise


def compare(store: HotStore, file: ArchivedFile) -> Comparison:
    """Hold a file that no manifest vouches for yet against the store.

    Raises:
        DamagedFileError: DuckDB cannot read what pyarrow could.
    """
    try:
        return store.compare(file)
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        raise DamagedFileError(
            f"{file.path} cannot be compared with the store: {error}",
            next_step="nothing was purged; check the disks of the archive and of the store",
        ) from error


def _unreadable(path: Path, error: Exception) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be read back: {error}",
        next_step="nothing was purged; check the disk, or restore the file from a backup",
    )


def read_rows(path: Path) -> pa.Table:
    """Read a whole file with page checksums verified.

    Raises:
        DamagedFileError: it does not match its checksums.
    """
    with storage_errors("read", path):
        try:
            table: pa.Table = pq.read_table(
                path, page_checksum_verification=True, partitioning=None
            )
        except DAMAGE as error:
            raise _unreadable(path, error) from error
    return table


def current_hash(algorithm: str) -> bool:
    """Whether hashes stored under this algorithm's name are comparable with this engine's."""
    return algorithm == hash_algorithm()
