"""The staged rows of a file on their way into the store: on disk, so that memory stays flat.

Rows wait in Parquet, refused rows in JSON lines. Keys that occur more than once in the file are
settled here: equal rows count once, different ones are not chosen between.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.engine import connect, identifier, literal
from fluxhero.ledger.formats import Page
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import LEDGER_TABLES, Table

PAGE_ROWS = 100_000
_AT = "_at"


class RowFile:
    """Rows on disk: written first, closed, then read."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        """Name a file; it is created with the first rows."""
        self.path = path
        self.rows = 0
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: pa.Table) -> None:
        """Append rows of the file's schema."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="lz4")
        self._writer.write_table(rows)
        self.rows += rows.num_rows

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Staging:
    """Rows of one file, by ledger table, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Start with nothing in an empty folder."""
        self._folder = folder
        self._rows: dict[str, RowFile] = {}
        self._refused: dict[str, TextIO] = {}

    @property
    def tables(self) -> list[Table]:
        """The ledger tables that something was staged for."""
        return [LEDGER_TABLES[name] for name in LEDGER_TABLES if name in self._rows]

    def add(self, page: Page) -> None:
        """Put a page aside."""
        name = page.table.name
        if name not in self._rows:
            schema = page.table.arrow.append(pa.field(_AT, pa.int64()))
            self._rows[name] = RowFile(self._folder / f"{name}.parquet", schema)
        file = self._rows[name]
        numbers = pa.array(range(file.rows, file.rows + page.rows.num_rows), pa.int64())
        file.add(page.rows.append_column(_AT, numbers))
        if page.rejected:
            if name not in self._refused:
                self._refused[name] = self._refused_file(name).open("w", encoding="utf-8")
            lines = (json.dumps(asdict(row), default=str) + "\n" for row in page.rejected)
            self._refused[name].writelines(lines)

    def close(self) -> None:
        """Finish writing; reading starts afterwards. Needed after a failure too."""
        for rows in self._rows.values():
            rows.close()
        for refused in self._refused.values():
            refused.close()

    def outgoing(self, table: Table) -> RowFile:
        """A new file for the rows that the store is to get."""
        return RowFile(self._folder / f"{table.name}.outgoing.parquet", table.arrow)

    def rows(self, table: Table) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield (rows, rows whose key the file has with other values too), in `table.arrow`."""
        staged = self._rows.get(table.name)
        if staged is None or not staged.rows:
            return
        file = f"read_parquet({literal(str(staged.path))})"
        with connect(temp_dir=self._folder) as connection:
            doubled = _find_doubled(connection, table, file)
            condition = f"{_AT} NOT IN (SELECT unnest(rows) FROM doubled)" if doubled else "true"
            if doubled:
                condition += f" OR {_AT} IN (SELECT rows[1] FROM doubled WHERE versions = 1)"
            names = ", ".join(map(identifier, table.names))
            reader = connection.sql(
                f"SELECT {names} FROM {file} WHERE {condition}"
            ).to_arrow_reader(PAGE_ROWS)
            none = table.arrow.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch]).cast(table.arrow), none
            if doubled:
                conflicting = connection.sql(
                    f"SELECT {names} FROM {file} WHERE {_AT} IN "
                    f"(SELECT unnest(rows) FROM doubled WHERE versions > 1) ORDER BY {_AT}"
                ).to_arrow_reader(PAGE_ROWS)
                for batch in conflicting:
                    yield none, pa.Table.from_batches([batch]).cast(table.arrow)

    def rejected(self, table: Table) -> Iterator[list[Rejected]]:
        """Yield the rows the format refused, a page at a time."""
        path = self._refused_file(table.name)
        if not path.exists():
            return
        with path.open(encoding="utf-8") as lines:
            while page := [Rejected(**json.loads(line)) for line in islice(lines, PAGE_ROWS)]:
                yield page

    def _refused_file(self, name: str) -> Path:
        return self._folder / f"{name}.refused.jsonl"


def _find_doubled(connection: duckdb.DuckDBPyConnection, table: Table, file: str) -> bool:
    """Make the table `doubled`: for each key found twice, its rows and how many versions they are.

    Where a row came from within the file (`source_id`) makes no version of its own.
    """
    keys = ", ".join(map(identifier, table.key))
    connection.execute(
        f"CREATE TEMP TABLE repeated AS SELECT {keys} FROM {file} "
        f"GROUP BY {keys} HAVING count(*) > 1"
    )
    content = ", ".join(identifier(name) for name in table.names if name != "source_id")
    connection.execute(
        f"CREATE TEMP TABLE doubled AS SELECT list({_AT} ORDER BY {_AT}) AS rows, "
        f"count(DISTINCT row({content})) AS versions "
        f"FROM {file} SEMI JOIN repeated USING ({keys}) GROUP BY {keys}"
    )
    found = connection.execute("SELECT count(*) FROM doubled").fetchall()
    return bool(found[0][0])
