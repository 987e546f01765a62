"""Rows out of the JSON that brokers' interfaces answer with, and that people save.

A file is one array of objects, an object with that array in it, or JSON lines: an object a line, or
an array a line, as pages are saved one after another. Lines are read in memory that does not grow
with the file; what is one document is parsed whole.

Numbers keep every digit. `orjson` is quick and makes 0.10 a float, so what it parsed counts only
where it met no fraction, no name twice and nothing else that it takes otherwise than `exact_json`,
which reads the document again where it did.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.contract import PAGE_ROWS
from fluxhero.ledger.rejected import Rejected

_BOM = b"\xef\xbb\xbf"
_FLAT = frozenset({str, int, bool, type(None)})
_KEY = b'":'
# How a document that goes on in the next line ends its first one.
_OPEN = (b"[", b"{", b",", b":")
_KNOWN_HEADS = (
    (b"SQLite format 3\x00", "a SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"<", "XML or HTML"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
)


@dataclass(slots=True)
class RowPage:
    """Some objects of a file, where each was found, and what was no object.

    Attributes:
        rows: the objects; numbers are ints or `exact_json.Number`, never floats.
        positions: of each object: its line, its place in the one array, or `line.place`.
        rejected: lines and array members that are no JSON object.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def row_pages(path: Path, *, wrapped: Sequence[str]) -> Iterator[RowPage]:
    """Read a file's objects, a page at a time.

    Args:
        path: the file.
        wrapped: names under which an object may hold the array of rows.

    Raises:
        BadInputError: the file is empty, not JSON, not UTF-8, or ends in the middle.
    """
    page = RowPage()
    for rows, positions, rejected in _documents(path, wrapped):
        page.rejected += rejected
        while rows:
            room = PAGE_ROWS - len(page.rows)
            page.rows += rows[:room]
            page.positions += positions[:room]
            del rows[:room], positions[:room]
            if len(page.rows) == PAGE_ROWS:
                yield page
                page = RowPage()
    if page.rows or page.rejected:
        yield page


_Document = tuple[list[dict[str, Any]], list[str], list[Rejected]]


def _documents(path: Path, wrapped: Sequence[str]) -> Iterator[_Document]:
    """Each line that holds JSON, or the whole file where its first line does not end a document."""
    with path.open("rb") as file:
        lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        first = next(lines, None)
        if first is None:
            raise BadInputError(f"{path} is empty", next_step="check that it was written completely")
        number, line = first[0], first[1].removeprefix(_BOM)
        if line.rstrip().endswith(_OPEN):
            yield _rows(path, _whole(path, line, file), "", wrapped)
            return
        second = next(lines, None)
        if second is None and line.lstrip()[:1] == b"[":
            yield _rows(path, _parsed_whole(path, line), "", wrapped)
            return
        for number, line in chain([(number, line)], [second] if second else [], lines):
            yield _line(path, number, line, wrapped)


def _whole(path: Path, first: bytes, file: BinaryIO) -> Any:
    return _parsed_whole(path, first + file.read())


def _parsed_whole(path: Path, content: bytes) -> Any:
    try:
        return parse(content)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except ValueError as error:
        raise _broken(path, content, "", str(error)) from error


def _line(path: Path, number: int, line: bytes, wrapped: Sequence[str]) -> _Document:
    try:
        return _rows(path, parse(line), str(number), wrapped)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except ValueError as error:
        text = line.strip()
        cut = not line.endswith(b"\n") and not text.endswith((b"}", b"]"))
        if cut or text[:1] != b"{":
            raise _broken(path, text, f" (line {number})", str(error)) from error
        reason = f"the line is not valid JSON: {error}"
        return [], [], [Rejected({"line": text.decode()}, reason, "json", f"row {number}")]


def _rows(path: Path, document: Any, line: str, wrapped: Sequence[str]) -> _Document:
    """The objects of a document, and their positions."""
    if isinstance(document, dict):
        held = next((document[name] for name in wrapped if name in document), None)
        if held is None:
            return [document], [line or "1"], []
        document = held
    if not isinstance(document, list):
        raise BadInputError(
            f"{path} holds no rows: its JSON is neither an object nor an array",
            next_step="give the answer of the broker's interface as it came",
        )
    before = f"{line}." if line else ""
    rows: list[dict[str, Any]] = []
    positions: list[str] = []
    rejected: list[Rejected] = []
    for place, row in enumerate(document, start=1):
        if isinstance(row, dict):
            rows.append(row)
            positions.append(f"{before}{place}")
        else:
            reason = "it is not an object"
            rejected.append(Rejected({"value": row}, reason, "json", f"row {before}{place}"))
    return rows, positions, rejected


def parse(document: bytes) -> Any:
    """Parse a JSON document, every number with the digits it was written with.

    Raises:
        ValueError: it is not valid JSON.
    """
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return exact_json.parse(document.decode())
    # Written as `"name":`, names are counted quickest; what does not add up is read again.
    if _names(value) != document.count(_KEY):
        return exact_json.parse(document.decode())
    return value


def _names(value: Any) -> int:
    """How many names the objects in a value have; -1 if there is a float among their values."""
    if isinstance(value, dict):
        if _FLAT.issuperset(map(type, value.values())):
            return len(value)
        count, members = len(value), list(value.values())
    elif isinstance(value, list):
        count, members = 0, value
    else:
        return -1 if isinstance(value, float) else 0
    for member in members:
        inside = _names(member)
        if inside < 0:
            return -1
        count += inside
    return count


def _not_utf8(path: Path) -> BadInputError:
    return _no_json(path, "") if _kind(path) else BadInputError(
        f"{path} is not UTF-8 text",
        next_step="save it as UTF-8 JSON and try again; nothing was written",
    )


def _broken(path: Path, content: bytes, place: str, why: str) -> BadInputError:
    text = content.strip()
    if text[:1] not in (b"[", b"{"):
        return _no_json(path, place)
    if not text.endswith(b"]" if text[:1] == b"[" else b"}"):
        return BadInputError(
            f"{path} ends in the middle of its JSON{place}",
            next_step="fetch the whole file and try again; nothing was written",
        )
    return BadInputError(
        f"{path} is not valid JSON{place}: {why}",
        next_step="fetch the file again, or mend it; nothing was written",
    )


def _no_json(path: Path, place: str) -> BadInputError:
    kind = _kind(path)
    return BadInputError(
        f"{path} is {kind}, not JSON" if kind else f"{path} is not JSON{place}",
        next_step="name the --format it is in, or leave that out; nothing was written",
    )


def _kind(path: Path) -> str | None:
    """What a file looks like that is not JSON, if that shows."""
    with path.open("rb") as file:
        head = file.read(64).removeprefix(_BOM).lstrip()
    return next((kind for magic, kind in _KNOWN_HEADS if head.startswith(magic)), None)


def first_object(head: bytes, *, wrapped: Sequence[str]) -> dict[str, Any] | None:
    """The first row of a file from its first bytes; None where they hold no whole object.

    Args:
        head: the first bytes.
        wrapped: as `row_pages` takes it.
    """
    text = head.removeprefix(_BOM).decode(errors="replace").lstrip()
    names = "|".join(map(re.escape, wrapped))
    opened = re.match(rf'\{{\s*"(?:{names})"\s*:\s*\[|\[', text)
    try:
        value, _ = exact_json.parse_first(text[opened.end() if opened else 0 :].lstrip())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
