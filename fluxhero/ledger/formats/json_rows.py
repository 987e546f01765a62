"""Rows out of the JSON that brokers' interfaces answer with, and that people save.

A file is one array of objects, an object with that array in it, or JSON lines: an object a line, or
an array a line, as pages are saved one after another. Lines are read in memory that does not grow
with the file; what is one document is parsed whole.

Numbers keep every digit.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.rejected import Rejected

_BOM = b"\xef\xbb\xbf"
# How a document that goes on in the next line ends its first one.
_OPEN = (b"[", b"{", b",", b":")
_LINES_BYTES = 1_000_000
_PAGE_ROWS = 10_000  # of some forty fields, each an object of its own
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
        exact: whether some number may be an `exact_json.Number`, which is written as its text.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    exact: bool = False


def row_pages(path: Path, *, wrapped: Sequence[str]) -> Iterator[RowPage]:
    """Read a file's objects, a page at a time.

    Args:
        path: the file.
        wrapped: names under which an object may hold the array of rows.

    Raises:
        BadInputError: the file is empty, not JSON, not UTF-8, or ends in the middle.
    """
    page = RowPage()
    for found in _documents(path, wrapped):
        page.rejected += found.rejected
        while found.rows:
            room = _PAGE_ROWS - len(page.rows)
            page.rows += found.rows[:room]
            page.positions += found.positions[:room]
            page.exact |= found.exact
            del found.rows[:room], found.positions[:room]
            if len(page.rows) == _PAGE_ROWS:
                yield page
                page = RowPage()
    if page.rows or page.rejected:
        yield page


def _documents(path: Path, wrapped: Sequence[str]) -> Iterator[RowPage]:
    """Each line that holds JSON, or the whole file where its first line does not end a document."""
    with path.open("rb", buffering=_LINES_BYTES) as file:
        lines = ((number, line) for number, line in enumerate(file, start=1) if not line.isspace())
        first = next(lines, None)
        if first is None:
            raise BadInputError(
                f"{path} is empty", next_step="check that it was written completely"
            )
        number, line = first[0], first[1].removeprefix(_BOM)
        second = None if line.rstrip().endswith(_OPEN) else next(lines, None)
        if second is None and (line.lstrip()[:1] == b"[" or line.rstrip().endswith(_OPEN)):
            yield _rows(path, *_parsed_whole(path, line + file.read()), "", wrapped)
            return
        yield from _lines(path, chain([(number, line)], [second] if second else [], lines), wrapped)


def _lines(
    path: Path, lines: Iterator[tuple[int, bytes]], wrapped: Sequence[str]
) -> Iterator[RowPage]:
    """JSON lines, many at once where each is a plain object."""
    while some := _next_lines(lines):
        numbers, texts = zip(*some, strict=True)
        if all(text.startswith(b"{") and text.rstrip().endswith(b"}") for text in texts):
            try:
                rows, exact = exact_json.parse_bytes(b"[" + b",".join(texts) + b"]")
            except ValueError:
                rows, exact = [], False
            if len(rows) == len(some) and not any(name in row for name in wrapped for row in rows):
                yield RowPage(rows, list(map(str, numbers)), exact=exact)
                continue
        for number, text in some:
            yield _line(path, number, text, wrapped)


def _next_lines(lines: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """The next lines, as few as memory asks for, of which one may be a page of a thousand rows."""
    some: list[tuple[int, bytes]] = []
    size = 0
    while size < _LINES_BYTES and (line := next(lines, None)):
        some.append(line)
        size += len(line[1])
    return some


def _parsed_whole(path: Path, content: bytes) -> tuple[Any, bool]:
    try:
        return exact_json.parse_bytes(content)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except ValueError as error:
        raise _broken(path, content, "", str(error)) from error


def _line(path: Path, number: int, line: bytes, wrapped: Sequence[str]) -> RowPage:
    try:
        return _rows(path, *exact_json.parse_bytes(line), str(number), wrapped)
    except UnicodeDecodeError as error:
        raise _not_utf8(path) from error
    except ValueError as error:
        text = line.strip()
        if _is_cut(line, error):
            raise _cut(path, f" (line {number})") from error
        if text[:1] != b"{":
            raise _broken(path, text, f" (line {number})", str(error)) from error
        reason = f"the line is not valid JSON: {error}"
        refused = Rejected({"line": text.decode()}, reason, "json", f"row {number}")
        return RowPage(rejected=[refused])


def _is_cut(line: bytes, error: ValueError) -> bool:
    """Whether a line that is not JSON is the last of a file that was cut short."""
    if line.endswith(b"\n"):
        return False
    at_end = isinstance(error, JSONDecodeError) and error.pos >= len(error.doc)
    return at_end or not line.rstrip().endswith((b"}", b"]"))


def _rows(path: Path, document: Any, exact: bool, line: str, wrapped: Sequence[str]) -> RowPage:
    """The objects of a document, and their positions."""
    if isinstance(document, dict):
        held = next((document[name] for name in wrapped if name in document), None)
        if held is None:
            return RowPage([document], [line or "1"], exact=exact)
        document = held
    if not isinstance(document, list):
        raise BadInputError(
            f"{path} holds no rows: its JSON is neither an object nor an array",
            next_step="give the answer of the broker's interface as it came",
        )
    before = f"{line}." if line else ""
    if set(map(type, document)) == {dict}:
        return RowPage(
            document, [f"{before}{at}" for at in range(1, len(document) + 1)], exact=exact
        )
    found = RowPage(exact=exact)
    for place, row in enumerate(document, start=1):
        if isinstance(row, dict):
            found.rows.append(row)
            found.positions.append(f"{before}{place}")
        else:
            refused = Rejected(
                {"value": row}, "it is not an object", "json", f"row {before}{place}"
            )
            found.rejected.append(refused)
    return found


def _not_utf8(path: Path) -> BadInputError:
    return (
        _no_json(path, "")
        if _kind(path)
        else BadInputError(
            f"{path} is not UTF-8 text",
            next_step="save it as UTF-8 JSON and try again; nothing was written",
        )
    )


def _broken(path: Path, content: bytes, place: str, why: str) -> BadInputError:
    text = content.strip()
    if text[:1] not in (b"[", b"{"):
        return _no_json(path, place)
    if not text.endswith(b"]" if text[:1] == b"[" else b"}"):
        return _cut(path, place)
    return BadInputError(
        f"{path} is not valid JSON{place}: {why}",
        next_step="fetch the file again, or mend it; nothing was written",
    )


def _cut(path: Path, place: str) -> BadInputError:
    return BadInputError(
        f"{path} ends in the middle of its JSON{place}",
        next_step="fetch the whole file and try again; nothing was written",
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
