"""Bars from a file the user has: CSV or Parquet, with the names that data vendors give the columns."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.durable import read_bytes, storage_errors
from fluxhero.errors import BadInputError, first_line
from fluxhero.market.cache import BARS, VALUES, as_bars
from fluxhero.parquet import DAMAGE
from fluxhero.zones import zone_named

NAMES = {
    "timestamp": ("timestamp", "t", "time", "datetime", "date"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v", "vol"),
}


def read_local(path: Path, timezone: str = "UTC") -> pa.Table:
    """Read bars from a CSV file with a heading, or from a Parquet file.

    Args:
        path: the file.
        timezone: zone of times without an offset.

    Raises:
        BadInputError: the file cannot be used; the message names the line.
    """
    zone = zone_named(timezone)
    if not path.is_file():
        raise BadInputError(f"there is no file {path}", next_step="check the path")
    rows = _parquet(path, zone) if path.suffix.lower() in {".parquet", ".pq"} else _csv(path, zone)
    times = rows["timestamp"].to_pylist()
    seen: dict[datetime, int] = {}
    for place, at in enumerate(times):
        if at in seen:
            raise BadInputError(
                f"{path} has two bars of {at} UTC: the {seen[at] + 1:,}. and the {place + 1:,}.",
                next_step="leave one of them in; bars of several symbols belong into a file each",
            )
        seen[at] = place
    return rows


def _columns(names: Sequence[str], path: Path) -> dict[str, int]:
    """Where each column of `BARS` is."""
    lower = [name.strip().lower() for name in names]
    places = {
        column: next((lower.index(name) for name in given if name in lower), None)
        for column, given in NAMES.items()
    }
    missing = [column for column, place in places.items() if place is None]
    if missing:
        raise BadInputError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}",
            next_step="its first line names the columns: timestamp, open, high, low, close, volume",
        )
    return {column: place for column, place in places.items() if place is not None}


def _csv(path: Path, zone: ZoneInfo) -> pa.Table:
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, number, "it is no UTF-8 text") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        places = _columns(next(lines, []), path)
        rows = list(_rows(lines, places, zone, path))
    except csv.Error as error:
        raise _unusable(path, lines.line_num, first_line(error)) from error
    columns = zip(*rows, strict=True) if rows else [[] for _ in BARS]
    return pa.table([list(column) for column in columns], schema=BARS)


def _rows(
    lines: Iterator[list[str]], places: dict[str, int], zone: ZoneInfo, path: Path
) -> Iterator[tuple[datetime | float, ...]]:
    for fields in lines:
        if not fields:
            continue
        number = lines.line_num  # type: ignore[attr-defined]  # of csv.reader
        if len(fields) <= max(places.values()):
            raise _unusable(path, number, f"it has {len(fields)} fields only")
        try:
            at = _time(fields[places["timestamp"]].strip(), zone)
            yield (at, *(_number(fields[places[name]], name) for name in VALUES))
        except ValueError as error:
            raise _unusable(path, number, first_line(error)) from error


def _number(text: str, column: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column} '{text.strip()[:40]}' is no number")
    return number


def _time(text: str, zone: ZoneInfo) -> datetime:
    """A time in UTC without a zone.

    Raises:
        ValueError: it is none, or one that the clocks of the zone showed twice or never.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"'{text[:40]}' is no time like 2026-03-31 or 2026-03-31T15:30") from None
    return _in_utc(at, zone)


def _in_utc(at: datetime, zone: ZoneInfo) -> datetime:
    if at.tzinfo is None:
        local = at.replace(tzinfo=zone)
        other = local.replace(fold=1)
        if local.utcoffset() != other.utcoffset():
            raise ValueError(
                f"{at} is ambiguous in {zone.key}, for the clocks change; give offsets"
            )
        at = local
    return at.astimezone(UTC).replace(tzinfo=None)


def _parquet(path: Path, zone: ZoneInfo) -> pa.Table:
    with storage_errors("read", path):
        try:
            table = pq.read_table(path, partitioning=None)
        except DAMAGE as error:
            raise BadInputError(
                f"{path} cannot be read as Parquet: {first_line(error)}",
                next_step="export it again, or give CSV",
            ) from error
    places = _columns(table.column_names, path)
    found = pa.table({column: table.column(place) for column, place in places.items()})
    bars = as_bars(found, str(path)).select(BARS.names)
    kind = found["timestamp"].type
    if zone.key == "UTC" or not pa.types.is_timestamp(kind) or kind.tz is not None:
        return bars
    times = []
    for place, at in enumerate(bars["timestamp"].to_pylist()):
        try:
            times.append(_in_utc(at, zone))
        except ValueError as error:
            raise _unusable(path, place + 1, first_line(error), what="row") from error
    return bars.set_column(0, BARS.field(0), pa.array(times, BARS.field(0).type))


def _unusable(path: Path, number: int, why: str, what: str = "line") -> BadInputError:
    return BadInputError(
        f"{path}, {what} {number:,}: {why}", next_step="correct it; nothing of the file was taken"
    )
