"""The cache of bars: one Parquet file for each symbol and timeframe, in the shape FluxHero reads.

`{symbol}_{timeframe}.parquet` with `timestamp` (UTC, without a zone, as FluxHero wants it), `open`,
`high`, `low`, `close`, `volume`, and whatever columns a bot has added (`ema`, `atr`, `rsi`). Our own
files say in their metadata where the bars came from; files of other programs are read as well.
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from fluxhero.durable import (
    half_written,
    move_aside,
    remove,
    sha256,
    storage_errors,
)
from fluxhero.errors import AlreadyRunningError, BadInputError, DamagedFileError, first_line
from fluxhero.locks import locked
from fluxhero.market.timeframe import Timeframe
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import read_record, record_path, write_recorded

logger = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
BARS = pa.schema([("timestamp", pa.timestamp("us")), *((name, pa.float64()) for name in VALUES)])
UNKNOWN = "unknown"
ADJUSTMENTS = ("raw", "split", "dividend", "all")

_ORIGIN = b"fluxhero.bars"
_SUFFIX = ".parquet"
_INDEX = re.compile(r"__index_level_\d+__")  # of pandas
_LONGEST_NAME = 200  # bytes; file systems allow 255, and partial files have longer names


class Origin(BaseModel):
    """What a file of our own says about its bars.

    `adjustment` is what the prices are adjusted for (raw: for nothing), or unknown where another
    program wrote the first of them.
    """

    model_config = ConfigDict(frozen=True)

    symbol: str
    timeframe: str
    provider: str
    adjustment: str
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Cached:
    """The bars of a file, in the order they have there.

    Attributes:
        bars: `BARS`, then the columns that others added.
        origin: None in a file of another program.
        written_at: when the file was written, by its record or else the file system.
    """

    bars: pa.Table
    origin: Origin | None
    written_at: datetime


def path_of(cache_dir: Path, symbol: str, timeframe: Timeframe) -> Path:
    """Where a symbol's bars lie; what a file name cannot hold is percent-encoded, as in BTC%2FUSD.

    Raises:
        BadInputError: the symbol is empty or too long for a file name.
    """
    name = quote(symbol, safe=" ^=+,'()&$@!~")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if not name.strip() or len(name) > _LONGEST_NAME:
        raise BadInputError(
            f"'{symbol[:40]}' is no symbol", next_step="give one as the broker writes it, like AAPL"
        )
    return cache_dir / f"{name}_{timeframe}{_SUFFIX}"


def name_parts(path: Path) -> tuple[str, Timeframe] | None:
    """The symbol and timeframe a file is named after; None if it is no name of a cache."""
    name, underscore, timeframe = path.stem.rpartition("_")
    try:
        return (unquote(name), Timeframe.read(timeframe)) if underscore and name else None
    except BadInputError:
        return None


def cached_files(cache_dir: Path) -> list[Path]:
    """Every file of bars in the cache."""
    found = sorted(cache_dir.glob(f"[!.]*{_SUFFIX}"))
    return [path for path in found if name_parts(path) and path.is_file()]


def read(path: Path) -> Cached:
    """Read a file of bars, whoever wrote it.

    Raises:
        DamagedFileError: it is no Parquet file any more, or not what its record says.
        BadInputError: it holds something else than bars.
    """
    with storage_errors("read", path):
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        try:
            table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        except DAMAGE as error:
            raise _damaged(path, first_line(error)) from error
    origin = origin_of(table.schema, path)
    record = read_record(path) if origin else None
    if record is not None:
        if not record.knows(sha256(path)):
            raise _damaged(path, "it is not what its record says")
        written_at = record.written_at
    return Cached(as_bars(table, str(path)), origin, written_at)


def origin_of(schema: pa.Schema, path: Path) -> Origin | None:
    """What a file says of its bars; None in a file of another program.

    Raises:
        DamagedFileError: it says something that nobody writes.
    """
    text = (schema.metadata or {}).get(_ORIGIN)
    if text is None:
        return None
    try:
        return Origin.model_validate_json(text)
    except ValidationError as error:
        raise _damaged(path, "what it says of itself makes no sense") from error


def as_bars(table: pa.Table, source: str) -> pa.Table:
    """Bring bars into our shape: names in lower case, types as in `BARS`, naive times meaning UTC.

    Raises:
        BadInputError: a column is missing, holds something else, or a bar has no time.
    """
    names = {name.lower(): name for name in table.column_names}
    index = next((name for name in table.column_names if _INDEX.fullmatch(name)), None)
    if "timestamp" not in names and index is not None:
        names["timestamp"] = index
    missing = [name for name in BARS.names if name not in names]
    if missing:
        raise BadInputError(
            f"{source} holds no bars: it has no column {', '.join(missing)}",
            next_step="move it out of the cache, or rename its columns",
        )
    columns = {"timestamp": _times(table[names["timestamp"]], source)}
    for name in VALUES:
        columns[name] = _cast(table[names[name]], pa.float64(), f"column {name} of {source}")
    for name in table.column_names:
        if name.lower() not in columns and not _INDEX.fullmatch(name):
            columns[name] = table[name]
    if columns["timestamp"].null_count:
        raise BadInputError(
            f"{source} has a bar without a time", next_step="correct it, or move it away"
        )
    return pa.table(columns)


def _times(column: pa.ChunkedArray, source: str) -> pa.ChunkedArray:
    """Times in UTC without a zone; a number counts the seconds since 1970, as in FluxHero."""
    about = f"column timestamp of {source}"
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        column = _cast(column, pa.timestamp(column.type.unit, tz="UTC"), about)
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        micros = pc.multiply(_cast(column, pa.float64(), about), 1e6)
        column = _cast(pc.round(micros), pa.int64(), about)
    return _cast(column, pa.timestamp("us"), about)


def _cast(column: pa.ChunkedArray, kind: pa.DataType, about: str) -> pa.ChunkedArray:
    try:
        return column.cast(kind, safe=pa.types.is_integer(kind))
    except pa.ArrowException as error:
        raise BadInputError(
            f"{about} cannot be read as {kind}: {first_line(error)}",
            next_step="correct it, or move it away",
        ) from error


def write(cache_dir: Path, bars: pa.Table, origin: Origin, at: datetime) -> Path:
    """Replace a symbol's file as a whole, durably, with a record beside it.

    Raises:
        StorageIOError: the disk is full or refuses.
        DamagedFileError: the record of the earlier version is damaged.
    """
    path = path_of(cache_dir, origin.symbol, Timeframe.read(origin.timeframe))
    metadata = {_ORIGIN: json.dumps(origin.model_dump()).encode()}
    write_recorded(path, bars.replace_schema_metadata(metadata), at)
    return path


def set_aside(path: Path, folder: Path) -> Path:
    """Move a damaged file and its record where nothing reads them, and say where the file went."""
    if record_path(path).exists():
        move_aside(record_path(path), folder)
    return move_aside(path, folder)


@contextmanager
def cache_lock(cache_dir: Path) -> Iterator[None]:
    """Let one run at a time write the cache; clear what a killed one left.

    Raises:
        AlreadyRunningError: another run does.
    """
    busy = AlreadyRunningError(
        f"another run writes the bars in {cache_dir}",
        next_step="wait for it to end, then run again",
    )
    with locked(cache_dir / ".lock", lambda: busy):
        unfinished = [
            *cache_dir.glob(f".*{_SUFFIX}.partial"),
            *half_written(cache_dir, r".+\.parquet\.json"),
        ]
        for path in unfinished:
            remove(path)
        yield


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"the bars in {path} are damaged: {why}",
        next_step="`fluxhero refresh` moves the file to quarantine and fetches its bars again",
    )
