"""Parquet files of the pipeline's own (findings, bars, …), each with a record of what it holds.

The record lies beside the file as `{name}.parquet.json`: size, SHA-256, rows and schema. With it the
storage check can tell a sound file from a damaged, exchanged or edited one. A writer first records
both versions, then replaces the file, then drops the earlier version from the record: wherever it is
killed, the file is one that the record knows. What removes a file first notes in its record that it may
be missing.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.durable import (
    make_folder,
    read_bytes,
    sha256,
    storage_errors,
    sync_file,
    sync_folder,
    write_atomically,
)
from fluxhero.errors import DamagedFileError

RECORD_SUFFIX = ".json"  # after `.parquet`
MARK = b"fluxhero.recorded"  # in the footer: without it another program wrote the file since
_PARTIAL_SUFFIX = ".partial"


class Contents(BaseModel):
    """What one version of a file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    bytes: int
    sha256: str
    columns: dict[str, str]  # name → Arrow type


class FileRecord(BaseModel):
    """What is known of a file.

    While `writing`, the file may still be missing, or be the `previous` version, or be on its way out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    written_at: AwareDatetime
    contents: Contents
    writing: bool = False
    previous: Contents | None = None

    def knows(self, digest: str) -> bool:
        """Whether a file of this SHA-256 is this one, whole."""
        versions = (self.contents, self.previous)
        return any(version and version.sha256 == digest for version in versions)


def record_path(path: Path) -> Path:
    """Where the record of a file lies."""
    return path.with_name(path.name + RECORD_SUFFIX)


def read_record(path: Path) -> FileRecord | None:
    """Read the record of a file; None if it has none.

    Raises:
        DamagedFileError: the record itself is damaged.
    """
    place = record_path(path)
    if not place.exists():
        return None
    content = read_bytes(place)
    try:
        return FileRecord.model_validate_json(content)
    except ValidationError as error:
        raise DamagedFileError(
            f"{place} is damaged: {error.errors()[0]['msg']}",
            next_step="restore it from a backup of its folder",
        ) from error


def write_recorded(
    path: Path,
    rows: pa.Table,
    at: AwareDatetime,
    *,
    row_group_rows: int | None = None,
    verify: Callable[[Path], None] | None = None,
) -> FileRecord:
    """Write a whole file with its record, durably; an earlier version is replaced.

    Args:
        path: the file.
        rows: what it is to hold.
        at: now.
        row_group_rows: rows a row group, for files of which readers want a part.
        verify: is given the finished file before it gets its name, and raises if it should not.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL_SUFFIX}")
    with storage_errors("write", path):
        make_folder(path.parent)
        pq.write_table(
            rows.replace_schema_metadata({**(rows.schema.metadata or {}), MARK: b"1"}),
            partial,
            compression="zstd",
            write_page_checksum=True,
            store_decimal_as_integer=True,
            row_group_size=row_group_rows,
        )
        sync_file(partial)
        if verify:
            _verified(partial, verify)
        contents = Contents(
            rows=rows.num_rows,
            bytes=partial.stat().st_size,
            sha256=sha256(partial),
            columns={field.name: str(field.type) for field in pq.read_schema(partial)},
        )
        record = FileRecord(name=path.name, written_at=at, contents=contents)
        intent = {"writing": True, "previous": _current(path)}
        _write_record(path, record.model_copy(update=intent))
        partial.replace(path)
        sync_folder(path.parent)
        _write_record(path, record)
    return record


def _verified(partial: Path, verify: Callable[[Path], None]) -> None:
    try:
        verify(partial)
    except BaseException:
        partial.unlink()
        raise


def remove_recorded(paths: Sequence[Path]) -> None:
    """Remove files with their records, durably; wherever it is killed, no record misses its file.

    Raises:
        DamagedFileError: the record of one is damaged; no file is removed.
        StorageIOError: the operating system refuses.
    """
    for path in paths:
        record = read_record(path)
        if record:
            _write_record(path, record.model_copy(update={"writing": True}))
    for gone in (list(paths), [record_path(path) for path in paths]):
        for path in gone:
            with storage_errors("remove", path):
                path.unlink(missing_ok=True)
        for folder in {path.parent for path in gone}:
            with storage_errors("remove files in", folder):
                sync_folder(folder)


def _write_record(path: Path, record: FileRecord) -> None:
    write_atomically(record_path(path), record.model_dump_json(indent=1).encode() + b"\n")


def _current(path: Path) -> Contents | None:
    """Which of the recorded versions the file is; None if neither, or if there is no file."""
    record = read_record(path)
    if record is None or not path.exists():
        return None
    digest = sha256(path)
    versions = (record.contents, record.previous)
    return next((one for one in versions if one and one.sha256 == digest), None)
