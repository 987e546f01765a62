"""Making one file of a past day's snapshots, so that a year is hundreds of files and not a hundred thousand.

The day's file is read back and compared row for row before it gets its name; from then on every reader
goes by it, and the runs' own files are passed over. They are removed by a later run, once nobody can be
reading them any more, and only after the day's file was read again and found to hold their very rows.
Wherever this is killed, every run is there and counts once.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.durable import remove, sha256, storage_errors, sync_folder
from fluxhero.errors import AlreadyRunningError, DamagedFileError, IntegrityError, VerificationError
from fluxhero.locks import locked
from fluxhero.metrics.snapshot_files import (
    FOLDER,
    Day,
    compacted_number,
    compacted_path,
    day_folder,
    days,
    read_file,
)
from fluxhero.recorded import (
    RECORD_SUFFIX,
    read_record,
    remove_recorded,
    write_recorded,
)

logger = logging.getLogger(__name__)

GRACE = timedelta(hours=1)  # longer than any query may take
_ROW_GROUP = 8192  # rows; a day is sorted by name, so that one metric is found in few of them
_WAIT_SECONDS = 30.0


def compact_snapshots(data_dir: Path, now: datetime, *, grace: timedelta = GRACE) -> list[Path]:
    """Make one file of the snapshots of each past day (UTC); doing it again changes nothing.

    A day of which a file is damaged stays open for that file; the storage check names it.

    Args:
        data_dir: the data folder.
        now: days before this one's are past.
        grace: how long the runs' own files stay after the day's was written.

    Returns:
        The files that were written.

    Raises:
        AlreadyRunningError: another run is at it and does not end.
        StorageIOError: the disk is full or refuses.
    """
    root = data_dir / FOLDER
    if not root.is_dir():
        return []
    yesterday = now.astimezone(UTC).date() - timedelta(days=1)
    written: list[Path] = []
    with locked(root / ".lock", lambda: _busy(root), wait_seconds=_WAIT_SECONDS):
        for day in days(data_dir, last=yesterday):
            if not day_folder(data_dir, day.day).is_dir():
                continue
            try:
                _compact(data_dir, day, now, grace, written)
            except IntegrityError as error:
                logger.warning("%s stays as it is: %s", day.day, error)
    return written


def _busy(root: Path) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another run is compacting {root}", next_step="wait for it to end; nothing was changed"
    )


def _compact(
    data_dir: Path, day: Day, now: datetime, grace: timedelta, written: list[Path]
) -> None:
    files = _compacted(data_dir, day)
    whole = [_proven(path) for path in files]
    covered = {run for rows in whole for run in _runs(rows)}
    fresh = [path for path in day.parts if path.stem not in covered]
    rows = [table for path in fresh if (table := _sound_part(path)) is not None]
    if rows:
        number = max((compacted_number(path) for path in files), default=0) + 1
        path = compacted_path(data_dir, day.day, number)
        _write(path, _sorted(pa.concat_tables(rows)), now)
        written.append(path)
        files.append(path)
        whole.append(_proven(path))
    if all(_settled(path, now, grace) for path in files):
        _remove_parts(day, whole)
        _tidy(day_folder(data_dir, day.day))


def _compacted(data_dir: Path, day: Day) -> list[Path]:
    """The day's files of several runs.

    Raises:
        DamagedFileError: one that has a record is gone; another one in its place would hide that.
    """
    for place in (data_dir / FOLDER).glob(f"{day.day}*.parquet{RECORD_SUFFIX}"):
        path = place.with_name(place.name.removesuffix(RECORD_SUFFIX))
        if _lost(path):
            raise DamagedFileError(f"{path} is gone", next_step="restore it from a backup")
    return [path for path in day.compacted if path.exists()]


def _lost(path: Path) -> bool:
    record = read_record(path)
    return record is not None and not record.writing and not path.exists()


def _proven(path: Path) -> pa.Table:
    """All rows of a file that is, byte for byte, the one that was written."""
    record = read_record(path)
    if record is None or not record.knows(sha256(path)):
        raise DamagedFileError(
            f"{path} is not the file that was written", next_step="restore it from a backup"
        )
    return read_file(path)


def _sound_part(path: Path) -> pa.Table | None:
    try:
        rows = _proven(path)
    except DamagedFileError as error:
        logger.warning("%s; its day stays open for it", error)
        return None
    if _runs(rows) != {path.stem}:
        logger.warning("%s holds something else than its run; its day stays open for it", path)
        return None
    return rows


def _runs(rows: pa.Table) -> set[str]:
    return set(rows["run"].unique().to_pylist())


def _sorted(rows: pa.Table) -> pa.Table:
    """By name, so that readers of one metric find it in one place, then by time and run."""
    order = [("name", "ascending"), ("timestamp", "ascending"), ("run", "ascending")]
    return rows.combine_chunks().sort_by(order)


def _write(path: Path, rows: pa.Table, now: datetime) -> None:
    def verify(written: Path) -> None:
        if not read_file(written).equals(rows):
            raise VerificationError(
                f"{path} read back is not what was written",
                next_step="check that disk; the files it was made of are all there",
            )

    write_recorded(path, rows, now, row_group_rows=_ROW_GROUP, verify=verify)


def _settled(path: Path, now: datetime, grace: timedelta) -> bool:
    record = read_record(path)
    return record is not None and record.written_at + grace <= now


def _remove_parts(day: Day, whole: Sequence[pa.Table]) -> None:
    """Remove the runs' own files whose very rows are in the day's."""
    sure = []
    for path in day.parts:
        rows = _sound_part(path)
        held = [table.filter(pc.field("run") == path.stem) for table in whole]
        if rows is None:
            continue
        if any(_sorted(rows).equals(_sorted(each)) for each in held):
            sure.append(path)
        else:
            logger.warning("%s differs from what its day's file holds; both are left", path)
    remove_recorded(sure)


def _tidy(folder: Path) -> None:
    """Remove what a killed run left to be removed, and the folder once it is empty."""
    with storage_errors("tidy up", folder):
        for place in folder.glob(f"*.parquet{RECORD_SUFFIX}"):
            path = place.with_name(place.name.removesuffix(RECORD_SUFFIX))
            record = read_record(path)
            if record and record.writing and not path.exists():
                remove(place)
        if not any(folder.iterdir()):
            folder.rmdir()
            sync_folder(folder.parent)
