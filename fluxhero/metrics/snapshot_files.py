"""Where snapshots lie on disk, and reading one file of them.

Every run writes a file of its own into the folder of its day (UTC): `snapshots/{day}/{run}.parquet`. When
the day is over, `compaction` makes one file of them, `snapshots/{day}.parquet`; what comes late for such a
day becomes `{day}.2.parquet`, and so on. No file ever changes once it has its name, and the run's own file
goes only a while after its rows are in the day's: whoever listed the files can still read them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.durable import storage_errors
from fluxhero.errors import DamagedFileError
from fluxhero.parquet import DAMAGE, read_declared
from fluxhero.recorded import RECORD_SUFFIX

FOLDER = "snapshots"
SCHEMA = pa.schema(
    [
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("name", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("type", pa.string()),
        ("value", pa.float64()),
        ("window", pa.string()),
        ("count", pa.int64()),
        ("run", pa.string()),
    ]
)
_DAY = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)")
_COMPACTED = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)(\.(?P<number>\d+))?\.parquet")


@dataclass(frozen=True, slots=True)
class Day:
    """The files of one day.

    Attributes:
        day: in UTC.
        compacted: those of several runs, the first one first.
        parts: those of one run each, the earliest first; some may be in `compacted` too.
    """

    day: date
    compacted: tuple[Path, ...]
    parts: tuple[Path, ...]


def day_folder(data_dir: Path, day: date) -> Path:
    """Where the runs of a day put their files."""
    return data_dir / FOLDER / day.isoformat()


def days(data_dir: Path, first: date = date.min, last: date = date.max) -> list[Day]:
    """The days that there are snapshots of, the earliest first; what has no record is not ours.

    The parts are listed before what they are compacted into, so that a run is missed by no moment of it.
    """
    root = data_dir / FOLDER
    if not root.is_dir():
        return []
    with storage_errors("list", root):
        folders = {day: path for path in root.iterdir() if (day := _day_of(path.name, _DAY))}
        parts = {
            day: _recorded_in(path)
            for day, path in folders.items()
            if first <= day <= last and path.is_dir()
        }
        compacted: dict[date, list[Path]] = {}
        for path in _recorded_in(root):
            day = _day_of(path.name, _COMPACTED)
            if day and first <= day <= last:
                compacted.setdefault(day, []).append(path)
    return [
        Day(
            day,
            tuple(sorted(compacted.get(day, ()), key=compacted_number)),
            tuple(parts.get(day, ())),
        )
        for day in sorted(parts.keys() | compacted.keys())
    ]


def days_back(data_dir: Path, last: date) -> Iterator[Day]:
    """The same from a day backwards; the files of each are looked for only when it is its turn."""
    root = data_dir / FOLDER
    if not root.is_dir():
        return
    with storage_errors("list", root):
        names = [path.name for path in root.iterdir()]
    known = {_day_of(name, _DAY) or _day_of(name, _COMPACTED) for name in names}
    for day in sorted((day for day in known if day and day <= last), reverse=True):
        yield from days(data_dir, day, day)


def compacted_path(data_dir: Path, day: date, number: int) -> Path:
    """The name of a day's file; of its first, if the number is 1."""
    suffix = f".{number}" if number > 1 else ""
    return data_dir / FOLDER / f"{day.isoformat()}{suffix}.parquet"


def _day_of(name: str, form: re.Pattern[str]) -> date | None:
    match = form.fullmatch(name)
    try:
        return date.fromisoformat(match["day"]) if match else None
    except ValueError:  # a day that no month has
        return None


def compacted_number(path: Path) -> int:
    """Which of its day's files of several runs this one is."""
    match = _COMPACTED.fullmatch(path.name)
    return int(match["number"] or 1) if match else 0


def _recorded_in(folder: Path) -> list[Path]:
    try:
        paths = {path.name: path for path in folder.iterdir()}
    except FileNotFoundError:  # the last of its files was compacted meanwhile
        return []
    ours = sorted(name for name in paths if name.endswith(".parquet") and name[0] != ".")
    return [paths[name] for name in ours if name + RECORD_SUFFIX in paths]


def snapshot_files(
    data_dir: Path, first: datetime | None = None, last: datetime | None = None
) -> list[Path]:
    """Files that together hold every run once, the earliest day first.

    Args:
        data_dir: the data folder.
        first: days before this one's are left out.
        last: days after this one's are left out.

    Raises:
        DamagedFileError: a day is being compacted, and its file cannot be read.
    """
    since = first.astimezone(UTC).date() if first else date.min
    until = last.astimezone(UTC).date() if last else date.max
    return [path for day in days(data_dir, since, until) for path in files_of(day)]


def files_of(day: Day) -> list[Path]:
    """Files that hold every run of a day once.

    Raises:
        DamagedFileError: the day has both kinds of files, and one of several runs cannot be read.
    """
    return [*day.compacted, *uncovered(day, day.compacted)]


def uncovered(day: Day, compacted: Sequence[Path]) -> list[Path]:
    """The parts of a day whose run is in none of these files.

    Raises:
        DamagedFileError: one of them cannot be read.
    """
    if not day.parts or not compacted:
        return list(day.parts)
    covered = {run for path in compacted for run in runs_in(path)}
    return [path for path in day.parts if path.stem not in covered]


def runs_in(path: Path) -> set[str]:
    """The runs that a file holds.

    Raises:
        DamagedFileError: it cannot be read.
    """
    return set(read_file(path, columns=["run"])["run"].unique().to_pylist())


def read_file(
    path: Path, *, columns: list[str] | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """Read rows of one file; damage to its pages never goes unseen.

    Raises:
        DamagedFileError: it is gone, damaged, or holds something else.
    """
    try:
        return read_declared(
            path, SCHEMA, schema=SCHEMA, columns=columns, filters=where, use_threads=False
        )
    except DAMAGE as error:
        raise _unreadable(path, "it is gone" if not path.exists() else str(error)) from error


def _unreadable(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be read: {why}",
        next_step="restore it from a backup, or move it away with its record: its snapshot is then missing",
    )
