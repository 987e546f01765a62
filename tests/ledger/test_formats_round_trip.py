"""Property: canonical rows written as csv, jsonl or parquet come back as they were."""

# ruff: noqa: DTZ001 - hypothesis takes naive limits

import csv
import json
import string
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.ledger.formats import ReadOptions, named
from fluxhero.ledger.schema import LEDGER_TABLES, Column, Kind, Table

# An empty CSV field is a missing value, so empty text cannot come back; a NUL no text file has.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
MONEY = st.decimals("-9999999999.99999999", "9999999999.99999999", places=8, allow_nan=False)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
OBJECTS = st.dictionaries(
    st.text(string.ascii_letters, min_size=1), st.integers() | TEXTS | st.none()
)


def values(column: Column) -> st.SearchStrategy[Any]:
    strategy: st.SearchStrategy[Any]
    if column.kind is Kind.MONEY:
        strategy = MONEY.map(abs) if column.unsigned else MONEY
    elif column.kind is Kind.TIME:
        strategy = TIMES
    elif column.kind is Kind.JSON:
        strategy = OBJECTS.map(json.dumps)
    else:
        strategy = st.sampled_from(column.allowed) if column.allowed else TEXTS
    return strategy if column.required else st.none() | strategy


def rows_of(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    # `source` and `source_id` are filled in where they are missing, so here they never are.
    row = {c.name: values(c) for c in table.columns if c.name not in {"source", "source_id"}}
    row |= {name: TEXTS for name in ("source", "source_id") if name in table.names}
    return st.lists(st.fixed_dictionaries(row), min_size=1, max_size=5)


def plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, datetime) else value


def write(path: Path, name: str, rows: pa.Table) -> None:
    plain_rows = [{n: plain(v) for n, v in row.items()} for row in rows.to_pylist()]
    if name == "parquet":
        pq.write_table(rows, path)
    elif name == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in plain_rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows.column_names)
            writer.writeheader()
            writer.writerows(plain_rows)


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(name: str, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(list(LEDGER_TABLES.values())))
    rows = pa.Table.from_pylist(data.draw(rows_of(table)), schema=table.arrow)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{name}"
        write(path, name, rows)
        pages = list(named(name).pages(path, ReadOptions(table=table, timezone="Asia/Tokyo")))
    assert [r for page in pages for r in page.rejected] == []
    assert pa.concat_tables(page.rows for page in pages).to_pylist() == rows.to_pylist()
