"""Snapshots: all that was measured at one moment, kept as Parquet for ever.

Where the files lie is in `snapshot_files`, how a day's become one in `compaction`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import literal, scratch
from fluxhero.errors import BadInputError, DamagedFileError
from fluxhero.integrity.findings import run_time
from fluxhero.metrics.families import Kind, family_of
from fluxhero.metrics.fitness import refuse_unfit
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.snapshot_files import (
    SCHEMA,
    Day,
    day_folder,
    days,
    days_back,
    files_of,
    read_file,
)
from fluxhero.recorded import write_recorded
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

# A clock may run a little ahead of the one that reads; a snapshot from later than that had a wrong one.
AHEAD = timedelta(minutes=5)
_EPOCH = datetime.fromtimestamp(0, UTC)
_ATTEMPTS = 3  # at reading a day whose files are removed meanwhile


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one run measured.

    Attributes:
        run: its name, which sorts by time; see `integrity.findings.new_run_id`.
        at: when.
        samples: the numbers.
    """

    run: str
    at: datetime
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest snapshot that can be read, and the newer files that cannot."""

    snapshot: Snapshot | None
    unreadable: tuple[Path, ...] = ()


def write_snapshot(data_dir: Path, snapshot: Snapshot) -> Path:
    """Keep a snapshot; it gets its name only when it is whole.

    Raises:
        FluxHeroError: a sample is not fit to be kept, as one that is not a number.
        StorageIOError: the disk is full or refuses.
    """
    refuse_unfit(snapshot.samples)
    path = day_folder(data_dir, snapshot.at.astimezone(UTC).date()) / f"{snapshot.run}.parquet"
    write_recorded(path, rows_of(snapshot), snapshot.at)
    return path


def rows_of(snapshot: Snapshot) -> pa.Table:
    """A snapshot as it is stored."""
    rows = [
        {
            "timestamp": snapshot.at,
            "name": sample.name,
            "labels": list(sample.labels),
            "type": _kind(sample),
            "value": float(sample.value),
            "window": sample.window,
            "count": sample.count,
            "run": snapshot.run,
        }
        for sample in snapshot.samples
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _kind(sample: Sample) -> str:
    family = family_of(sample.name)
    return str(family.kind if family else Kind.GAUGE)


# ---------------------------------------------------------------------------------- the newest one


def latest_snapshot(data_dir: Path, now: datetime) -> Latest:
    """The newest snapshot that can be read; of damaged files, those that would have been newer.

    One of time to come had a wrong clock: it would be the newest until then, and is left out.
    """
    until = now.astimezone(UTC) + AHEAD
    unreadable: list[Path] = []
    for day in days_back(data_dir, until.date()):
        newest_part = next(_readable(reversed(_until(day, until)), until, unreadable), None)
        found = [
            *([newest_part] if newest_part else []),
            *_readable(day.compacted, until, unreadable),
        ]
        if found:
            return Latest(max(found, key=lambda one: (one.at, one.run)), tuple(unreadable))
    return Latest(None, tuple(unreadable))


def _readable(paths: Iterable[Path], until: datetime, unreadable: list[Path]) -> Iterator[Snapshot]:
    """The newest snapshot of each file, one after the other; notes those that cannot be read."""
    for path in paths:
        try:
            snapshot = _newest_in(path, until)
        except DamagedFileError as error:
            if path.exists():  # else it was compacted meanwhile
                logger.warning("%s; going by the snapshot before it", error)
                unreadable.append(path)
            continue
        if snapshot:
            yield snapshot


def _newest_in(path: Path, until: datetime) -> Snapshot | None:
    runs = read_file(path, columns=["timestamp", "run"], where=pc.field("timestamp") <= until)
    if not runs.num_rows:
        return None
    at, run = max(zip(runs["timestamp"].to_pylist(), runs["run"].to_pylist(), strict=True))
    rows = read_file(path, where=pc.field("run") == run)
    return Snapshot(run, at, tuple(_sample(row) for row in rows.to_pylist()))


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(row["name"], tuple(row["labels"]), row["value"], row["count"])


def _until(day: Day, until: datetime) -> list[Path]:
    latest = run_time(until)
    return [path for path in day.parts if path.name[: len(latest)] <= latest]


# ------------------------------------------------------------------------------------ over a time

# The newest point of each of so many equal spans of time.
_SERIES = """
SELECT timestamp, name, labels, type, value, "window", count, run FROM rows WHERE {kept}
QUALIFY row_number() OVER (
    PARTITION BY name, labels, {span_number}
    ORDER BY timestamp DESC, run DESC
) = 1 ORDER BY name, labels::VARCHAR, timestamp
"""


def series(
    data_dir: Path,
    names: Sequence[str],
    first: datetime,
    last: datetime,
    labels: Mapping[str, str] | None = None,
    max_points: int | None = None,
    *,
    most_rows: int | None = None,
) -> pa.Table:
    """What was measured over a time, in the columns of `SCHEMA`: by name, labels and time.

    Args:
        data_dir: the data folder.
        names: of samples, as `trading_equity_usd`.
        first: from then on.
        last: until then.
        labels: only samples that have these, whatever else they have.
        max_points: at most so many of each series, evenly over the time; the last one always.
        most_rows: at most so many are read, whatever their labels.

    Raises:
        BadInputError: there are more rows.
        DamagedFileError: a file of that time cannot be read.
    """
    since, until = first.astimezone(UTC), last.astimezone(UTC)
    at = pc.field("timestamp")
    where = pc.field("name").isin(list(names)) & (at >= since) & (at <= until)

    def read(day: Day) -> pa.Table:
        return pa.concat_tables(
            [SCHEMA.empty_table(), *(read_file(path, where=where) for path in files_of(day))]
        )

    rows = SCHEMA.empty_table()
    for day in days(data_dir, since.date(), until.date()):
        rows = pa.concat_tables([rows, reading(data_dir, day, read)])
        if most_rows is not None and rows.num_rows > most_rows:
            raise BadInputError(
                f"there are more than {counted(most_rows, 'number')} of these names in that time",
                next_step="ask for a shorter time or for fewer names",
            )
    kept = [f"labels[{literal(name)}] = {literal(value)}" for name, value in (labels or {}).items()]
    with scratch() as engine:
        engine.register("rows", rows)
        sql = _SERIES.format(
            kept=" AND ".join(kept) or "true",
            span_number=_span_number(since, until, max_points) if max_points else "timestamp",
        )
        return engine.sql(sql).to_arrow_table().cast(SCHEMA)


def _span_number(since: datetime, until: datetime, spans: int) -> str:
    microsecond = timedelta(microseconds=1)
    first, whole = (since - _EPOCH) // microsecond, max(1, (until - since) // microsecond)
    return f"least({spans} - 1, (epoch_us(timestamp) - {first})::HUGEINT * {spans} // {whole})"


def reading(data_dir: Path, day: Day, read: Callable[[Day], pa.Table]) -> pa.Table:
    """Read the files of a day; once more if one of them was compacted and removed meanwhile.

    Raises:
        DamagedFileError: a file that is there cannot be read.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return read(day)
        except DamagedFileError:
            if all(path.exists() for path in (*day.compacted, *day.parts)):
                raise
            day = next(iter(days(data_dir, day.day, day.day)), Day(day.day, (), ()))
    return read(day)
