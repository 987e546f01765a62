"""The `parquet` format: canonical column names, whatever types the writer chose.

Each column is turned into text and judged by the same rules as CSV: a float keeps its shortest
exact text, a timestamp its every digit.
"""

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.errors import BadInputError, first_line
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.admission import admission, text_schema
from fluxhero.ledger.formats.contract import (
    PAGE_ROWS,
    Format,
    Page,
    ReadOptions,
    check_header,
)
from fluxhero.ledger.formats.rules import POSITION, UNKNOWN
from fluxhero.ledger.schema import Table
from fluxhero.parquet import DAMAGE

MAGIC = b"PAR1"


def _recognises(_path: Path, head: bytes) -> bool:
    return head.startswith(MAGIC)


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; whatever Arrow says against it, now or while reading, is a bad file."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except DAMAGE as error:
        raise BadInputError(
            f"{path} cannot be read as Parquet: {first_line(error)}",
            next_step="check that the file is whole, or fetch it again; nothing was written",
        ) from error


def row_count(path: Path) -> int:
    """Number of rows according to the footer."""
    with opened(path) as file:
        return int(file.metadata.num_rows)


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    with opened(path) as file, admission(path, PARQUET.name, options) as judge:
        unknown = check_header(path, file.schema_arrow.names, options.table)
        first = 1
        for batch in file.iter_batches(batch_size=PAGE_ROWS):
            yield judge.page(_text_page(batch, unknown, options.table, first), [])
            first += batch.num_rows


def _text_page(batch: pa.RecordBatch, unknown: list[str], table: Table, first: int) -> pa.Table:
    arrays: dict[str, pa.Array] = {
        name: as_text(batch.column(name))
        if name in batch.schema.names
        else pa.nulls(batch.num_rows, pa.string())
        for name in table.names
    }
    arrays[UNKNOWN] = pa.array(_unknown(batch, unknown), pa.string())
    numbers = range(first, first + batch.num_rows)
    arrays[POSITION] = pa.array(map(str, numbers), pa.string())
    return pa.table(arrays, schema=text_schema(table))


def _unknown(batch: pa.RecordBatch, names: list[str]) -> Iterator[str | None]:
    if not names:
        yield from [None] * batch.num_rows
        return
    for row in batch.select(names).to_pylist():
        given = {name: _json_safe(value) for name, value in row.items() if value is not None}
        yield exact_json.dump(given) if given else None


def as_text(array: pa.Array) -> pa.Array:
    """Turn any column into text that says the same.

    Raises:
        pa.ArrowInvalid: it holds bytes that are no UTF-8.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        array = array.cast(pa.timestamp(array.type.unit, tz="UTC"))
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return array.cast(pa.string())
    try:
        return array.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        texts = (None if v is None else exact_json.dump(_json_safe(v)) for v in array.to_pylist())
        return pa.array(texts, pa.string())


def _json_safe(value: Any) -> Any:
    """What of a value JSON can hold, numbers exact."""
    match value:
        case dict():
            return {str(key): _json_safe(member) for key, member in value.items()}
        case list() | tuple():
            return [_json_safe(member) for member in value]
        case bool() | str() | None:
            safe: Any = value
        case bytes():
            safe = value.hex()
        case dt.datetime() | dt.date() | dt.time():
            safe = value.isoformat()
        case int() | float() | Decimal() if math.isfinite(value):
            safe = exact_json.Number(format(value, "f") if isinstance(value, Decimal) else value)
        case _:
            safe = str(value)
    return safe


PARQUET = Format(
    "parquet", "Parquet in the ledger's columns (docs/ingest.md)", _recognises, _pages, row_count
)
