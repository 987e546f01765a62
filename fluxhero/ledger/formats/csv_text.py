"""The `csv` format: comma-separated text with a header of canonical column names.

UTF-8 (a byte-order mark is fine), any line ending, quoted fields may hold line breaks. An empty
field is a missing value. A row with too many or too few fields is refused, the rest is read.
"""

import csv
import json
from collections.abc import Iterator
from itertools import compress, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats.admission import admission, text_schema
from fluxhero.ledger.formats.contract import (
    PAGE_ROWS,
    Format,
    Page,
    ReadOptions,
    check_header,
)
from fluxhero.ledger.formats.rules import POSITION, UNKNOWN
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import LEDGER_TABLES, Table


def _recognises(_path: Path, head: bytes) -> bool:
    """Two canonical names in the first line."""
    line = head.decode("utf-8-sig", errors="replace").lstrip().split("\n", 1)[0]
    names = {name.strip().strip('"') for name in line.split(",")}
    return any(len(names & set(table.names)) > 1 for table in LEDGER_TABLES.values())


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _read(path, csv.reader(file, strict=True), options)
    except UnicodeDecodeError as error:
        raise BadInputError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start})",
            next_step="save it as UTF-8 and try again; nothing was written",
        ) from error
    except csv.Error as error:
        raise BadInputError(
            f"{path} is not valid CSV: {error}",
            next_step="check that the file is whole and its quotes are closed; nothing was written",
        ) from error


def _read(path: Path, lines: Iterator[list[str]], options: ReadOptions) -> Iterator[Page]:
    header = [name.strip() for name in next((line for line in lines if line), [])]
    if not header:
        raise BadInputError(
            f"{path} is empty", next_step="give a CSV file with a header of column names"
        )
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise BadInputError(
            f"{path} is not separated by commas",
            next_step="save it with commas between fields (and points in numbers) and try again",
        )
    unknown = check_header(path, header, options.table)
    with admission(path, CSV.name, options) as judge:
        first = 1
        filled = (line for line in lines if line)
        while rows := list(islice(filled, PAGE_ROWS)):
            raw, rejected = _text(rows, header, unknown, options.table, first)
            yield judge.page(raw, rejected)
            first += len(rows)


def _text(
    rows: list[list[str]], header: list[str], unknown: list[str], table: Table, first: int
) -> tuple[pa.Table, list[Rejected]]:
    """A page of text, and the rows that do not have as many fields as the header."""
    width = len(header)
    rejected: list[Rejected] = []
    numbers = pa.array(range(first, first + len(rows)), pa.int64())
    if any(len(row) != width for row in rows):
        fits = [len(row) == width for row in rows]
        rejected = [
            Rejected(
                row={"fields": row},
                reason=f"has {len(row)} fields where the header has {width}",
                rule="fields",
                position=f"row {first + at}",
            )
            for at, row in enumerate(rows)
            if not fits[at]
        ]
        rows = list(compress(rows, fits))
        numbers = numbers.filter(pa.array(fits))
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = {name: _column(columns.get(name), len(rows)) for name in table.names}
    arrays[UNKNOWN] = pa.array(_unknown_fields(rows, header, unknown), pa.string())
    arrays[POSITION] = numbers.cast(pa.string())
    return pa.table(arrays, schema=text_schema(table)), rejected


def _column(texts: tuple[str, ...] | None, length: int) -> pa.Array:
    """A column of text in which an empty field is null."""
    if texts is None:
        return pa.nulls(length, pa.string())
    column = pa.array(texts, pa.string())
    return pc.if_else(pc.equal(column, ""), None, column)


def _unknown_fields(
    rows: list[list[str]], header: list[str], unknown: list[str]
) -> list[str | None]:
    if not unknown:
        return [None] * len(rows)
    places = [(name, header.index(name)) for name in unknown]
    given = ({name: row[at] for name, at in places if row[at]} for row in rows)
    return [json.dumps(fields, ensure_ascii=False) if fields else None for fields in given]


CSV = Format("csv", "CSV in the ledger's columns (docs/ingest.md)", _recognises, _pages)
