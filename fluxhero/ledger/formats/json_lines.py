"""The `jsonl` format: one JSON object a line, keys are canonical column names.

Numbers keep every digit they were written with. A line that is not a JSON object is refused and
the rest is read; a last line cut short means that the file is not whole, and nothing is read.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.admission import admission, text_schema
from fluxhero.ledger.formats.contract import (
    PAGE_ROWS,
    Format,
    Page,
    ReadOptions,
    check_header,
    refuse_unknown,
)
from fluxhero.ledger.formats.json_text import WrongTypeError, storable, text_of
from fluxhero.ledger.formats.rules import POSITION, UNKNOWN
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import Kind, Table

_BOM = b"\xef\xbb\xbf"


def _recognises(_path: Path, head: bytes) -> bool:
    return head.removeprefix(_BOM).lstrip()[:1] == b"{"


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    with path.open("rb") as file, admission(path, JSON_LINES.name, options) as judge:
        lines = enumerate(file, start=1)
        first = True
        while page := list(islice(lines, PAGE_ROWS)):
            reader = _Reader(path, options.table)
            for number, line in page:
                reader.take(number, line)
            if first:
                reader.check_names()
            first = False
            yield judge.page(reader.table(), reader.rejected)
        if first:
            raise BadInputError(f"{path} is empty", next_step="give a file with one object a line")


class _Reader:
    """Collects the lines of one page."""

    def __init__(self, path: Path, table: Table) -> None:
        self._path, self._table = path, table
        self._json = {c.name for c in table.columns if c.kind is Kind.JSON}
        self._names = frozenset(table.names)
        self._rows: list[dict[str, str | None]] = []
        self.rejected: list[Rejected] = []

    def take(self, number: int, line: bytes) -> None:
        """Read one line into the page."""
        whole = line.endswith(b"\n")
        try:
            text = (line.removeprefix(_BOM) if number == 1 else line).decode().strip()
        except UnicodeDecodeError as error:
            raise BadInputError(
                f"{self._path} is not UTF-8 text (line {number})",
                next_step="save it as UTF-8 and try again; nothing was written",
            ) from error
        if not text:
            return
        try:
            row = self._row(exact_json.parse_object(text))
        except ValueError as error:
            if not whole and not text.endswith("}"):
                raise BadInputError(
                    f"{self._path} ends in the middle of line {number}",
                    next_step="fetch the whole file and try again; nothing was written",
                ) from error
            rule = error.rule if isinstance(error, WrongTypeError) else "json"
            reason = str(error) if rule != "json" else f"the line is not valid JSON: {error}"
            self.rejected.append(Rejected({"line": text}, reason, rule, f"row {number}"))
            return
        row[POSITION] = str(number)
        self._rows.append(row)

    def _row(self, value: dict[str, Any]) -> dict[str, str | None]:
        row: dict[str, str | None] = {}
        unknown = {}
        for name, member in value.items():
            if name in self._names:
                row[name] = text_of(name, member, is_json=name in self._json)
            else:
                refuse_unknown(self._path, name, self._table)
                unknown[name] = member
        if unknown:
            row[UNKNOWN] = storable(exact_json.dump(unknown))
        return row

    def check_names(self) -> None:
        """Refuse a file none of whose first rows has a required column."""
        if not self._rows and self.rejected:
            raise BadInputError(
                f"{self._path} is not JSON lines: none of its first lines is a JSON object",
                next_step="write one JSON object a line, or name the file's --format",
            )
        if self._rows:
            check_header(self._path, [*{n for row in self._rows for n in row} - _OWN], self._table)

    def table(self) -> pa.Table:
        """The page as text."""
        return pa.Table.from_pylist(self._rows, schema=text_schema(self._table))


_OWN = {UNKNOWN, POSITION}


JSON_LINES = Format(
    "jsonl", "one JSON object a line in the ledger's columns (docs/ingest.md)", _recognises, _pages
)
