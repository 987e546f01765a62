"""Reading a Parquet file for a check: its footer alone, or every byte of it once.

The bytes are read into memory, hashed and decoded there. A memory map would save the copy, but where
the disk fails under it the process is killed instead of told.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.archive.files import METADATA_PREFIX
from fluxhero.durable import read_bytes, sha256, storage_errors
from fluxhero.engine import one_row, scratch
from fluxhero.errors import StorageIOError, first_line
from fluxhero.integrity.passed import Stamp
from fluxhero.ledger.rows import CLOSED_AT, ROW_HASH, digest_sql
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import MARK

_READ_ROWS = 16_384
_I = TypeVar("_I")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file's footer says, or why it says nothing; `recorded` files were written with a record."""

    schema: pa.Schema | None = None
    rows: int = 0
    batch: str = ""
    recorded: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """What the rows of an archive's file come to."""

    first_key: str
    last_key: str
    first_closed_at: datetime
    last_closed_at: datetime
    digest: str


@dataclass(frozen=True, slots=True)
class Whole:
    """What reading all of a file came to.

    Attributes:
        stamp: the file's, before it was read.
        sha256: of its bytes.
        problem: why its pages cannot be read; empty when they match their checksums.
        key_range: of an archive's file with the schema expected.
        error: why it could not be read at all; everything else is empty then.
    """

    stamp: Stamp
    sha256: str = ""
    problem: str = ""
    key_range: KeyRange | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to read, and what to make of its rows.

    Attributes:
        path: the file.
        schema: the schema in which `key_range_sql` can be asked; None to read and hash only.
        key_range_sql: DuckDB SQL aggregates of the first and the last key.
    """

    path: Path
    schema: pa.Schema | None = None
    key_range_sql: tuple[str, str] = ("", "")


def read_footer(path: Path) -> Footer:
    """Read what stands at the file's end; never raises over its content.

    Raises:
        StorageIOError: the operating system refuses to read it.
    """
    with storage_errors("read", path), path.open("rb") as source:
        try:
            metadata = pq.ParquetFile(source).metadata
            schema = metadata.schema.to_arrow_schema()
            notes = schema.metadata or {}
            batch = notes.get(METADATA_PREFIX + b"batch", b"").decode(errors="replace")
            return Footer(schema.remove_metadata(), metadata.num_rows, batch, MARK in notes)
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return Footer(problem=first_line(error))


def hash_all(paths: Sequence[Path]) -> list[Whole]:
    """Hash files of any kind, several at a time."""
    return list(_in_threads(_hashed, paths))


def _hashed(path: Path) -> Whole:
    stamp = Stamp(0, 0)
    try:
        stamp = Stamp.of(path)
        return Whole(stamp, sha256(path))
    except StorageIOError as error:
        return Whole(stamp, error=error.what)


def read_all(wanted: Sequence[Wanted]) -> list[Whole]:
    """Read files, several at a time: hashing and decoding let go of the interpreter."""
    return list(_in_threads(read_whole, wanted))


def _in_threads(function: Callable[[_I], _T], items: Iterable[_I]) -> Iterator[_T]:
    with ThreadPoolExecutor(os.cpu_count() or 1, "scrub") as pool:
        yield from pool.map(function, items)


def read_whole(wanted: Wanted) -> Whole:
    """Hash a file's bytes, then decode every page of them with its checksum verified."""
    stamp = Stamp(0, 0)
    try:
        stamp = Stamp.of(wanted.path)
        content = read_bytes(wanted.path)
    except StorageIOError as error:
        return Whole(stamp, error=error.what)
    digest = hashlib.sha256(content).hexdigest()
    pages = _Pages(content)
    try:
        if wanted.schema is not None and pages.schema() == wanted.schema:
            return Whole(stamp, digest, key_range=_key_range(pages, wanted.key_range_sql))
        for _ in pages.batches():
            pass
    except DAMAGE as error:
        return Whole(stamp, digest, first_line(error) or type(error).__name__)
    except duckdb.Error:
        if pages.failure is None:
            raise
        return Whole(stamp, digest, first_line(pages.failure))
    return Whole(stamp, digest)


class _Pages:
    """A file's rows as a stream, remembering why it broke off: DuckDB would say that in its own words."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._opened: pq.ParquetFile | None = None
        self.failure: Exception | None = None

    def _file(self) -> pq.ParquetFile:
        if self._opened is None:
            self._opened = pq.ParquetFile(
                pa.BufferReader(self._content), page_checksum_verification=True
            )
        return self._opened

    def schema(self) -> pa.Schema:
        return self._file().schema_arrow.remove_metadata()

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file().iter_batches(_READ_ROWS, use_threads=False)
        except DAMAGE as error:
            self.failure = error
            raise

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self._file().schema_arrow, self.batches())


def _key_range(pages: _Pages, key_range_sql: tuple[str, str]) -> KeyRange | None:
    first, last = key_range_sql
    with scratch() as engine:
        engine.register("stored", pages.reader())
        values = one_row(
            engine,
            f"SELECT {first}, {last}, min({CLOSED_AT}), max({CLOSED_AT}), {digest_sql(ROW_HASH)} FROM stored",
        )
    if values[2] is None:
        return None
    return KeyRange(str(values[0]), str(values[1]), values[2], values[3], str(values[4]))
