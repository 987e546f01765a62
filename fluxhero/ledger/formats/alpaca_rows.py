"""What Alpaca's orders and its account activities have in common: how its objects become columns.

Alpaca writes numbers as strings and times as RFC 3339 to the nanosecond, with their offset. What has
no column of its own goes into `extra` under the name that Alpaca gives it.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from types import NoneType
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.json_rows import RowPage
from fluxhero.ledger.formats.json_text import WrongTypeError, storable, text_of
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import BASE_CURRENCY

SOURCE = "alpaca"
EXACT = "exact"  # of any `extra`: what the ledger itself puts there
_OPTION = re.compile(r"[A-Z]{1,6}[0-9]?[0-9]{6}[CP][0-9]{8}")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_SORTED = orjson.OPT_SORT_KEYS


def ledger_key(identity: str | None) -> str | None:
    """The ledger's key of what Alpaca calls by this id."""
    return f"{SOURCE}:{identity}" if identity else None


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
    """The fields of rows as columns; a row without a field has None there."""
    if not rows:
        return {}
    names = tuple(rows[0])
    if len(names) > 1 and sum(map(len, rows)) == len(names) * len(rows):
        try:
            return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
        except KeyError:  # as many fields, but others
            pass
    every = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in every}


def currencies(columns: Mapping[str, Sequence[Any]], count: int) -> list[Any]:
    """What each row's prices and amounts are in: what it says, else its pair, else dollars."""
    symbols = columns.get("symbol") or [None] * count
    try:
        quoted = {symbol: _quoted(symbol) for symbol in set(symbols)}
    except TypeError:  # a symbol that is an object is refused as such
        return [BASE_CURRENCY] * count
    told = columns.get("currency") or [None] * count
    return [own or quoted[symbol] for own, symbol in zip(told, symbols, strict=True)]


def currency_of(row: Mapping[str, Any]) -> Any:
    """What one row's prices and amounts are in."""
    return row.get("currency") or _quoted(row.get("symbol"))


def _quoted(symbol: Any) -> str:
    """The second of a pair, as in ETH/BTC, which prices are in."""
    pair = symbol.partition("/")[2] if isinstance(symbol, str) else ""
    return pair or BASE_CURRENCY


def is_option(symbol: str | None) -> bool:
    """Whether a symbol is that of an option contract, as the OCC writes them."""
    return symbol is not None and _OPTION.fullmatch(symbol) is not None


class Refusals:
    """What is wrong with rows of a page, the first thing found of each."""

    def __init__(self, page: RowPage) -> None:
        """Start with nothing against any row."""
        self._page = page
        self._found: dict[int, Rejected] = {}

    def add(self, at: int, rule: str, reason: str) -> None:
        """Refuse the row at this place of the page."""
        position = f"row {self._page.positions[at]}"
        self._found.setdefault(at, Rejected(dict(self._page.rows[at]), reason, rule, position))

    def take_out(self, table: pa.Table) -> tuple[pa.Table, list[Rejected]]:
        """The table without the refused rows, and those."""
        if not self._found:
            return table, []
        keep = [at not in self._found for at in range(table.num_rows)]
        return table.filter(pa.array(keep, pa.bool_())), list(self._found.values())


def text_column(
    name: str, values: Sequence[Any] | None, count: int, refusals: Refusals
) -> pa.Array:
    """A field of rows as text, an empty one as null; rows where it is no text are refused.

    Args:
        name: the field.
        values: of each row; None where no row has the field.
        count: how many rows there are.
        refusals: what is wrong goes there.
    """
    if values is None:
        return pa.nulls(count, pa.string())
    try:
        column = pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError):
        column = pa.array(_texts(name, values, refusals), pa.string())
    return pc.if_else(pc.equal(column, ""), None, column)


def _texts(name: str, values: Sequence[Any], refusals: Refusals) -> Iterator[str | None]:
    for at, value in enumerate(values):
        try:
            yield text_of(name, value)
        except ValueError as error:
            rule = error.rule if isinstance(error, WrongTypeError) else "json"
            refusals.add(at, rule, str(error))
            yield None


def extra_column(
    columns: Mapping[str, Sequence[Any]], count: int, *, exact: bool, refusals: Refusals
) -> pa.Array:
    """`extra` of rows: JSON of what these columns hold, with its names in order, nulls left out.

    Names are in order, so that equal rows look equal.

    Args:
        columns: name → value of each row, as `json_rows` parses it.
        count: how many rows there are.
        exact: whether numbers may be `exact_json.Number`.
        refusals: rows whose extra cannot be written go there.
    """
    if not exact and count and (joined := _joined(columns)) is not None:
        return joined
    gaps = {name: list(map(type, values)).count(NoneType) for name, values in columns.items()}
    full = tuple(name for name, missing in gaps.items() if not missing)
    told = zip(*(columns[name] for name in full), strict=True) if full else repeat((), count)
    rows = [dict(zip(full, row, strict=True)) for row in told]
    for name, missing in gaps.items():
        if 0 < missing < count:
            for row, value in zip(rows, columns[name], strict=True):
                if value is not None:
                    row[name] = value
    if not exact:
        packed = [orjson.dumps(row, None, _SORTED) for row in rows]
        return pa.array(packed, pa.binary()).cast(pa.string())
    texts = []
    for at, row in enumerate(rows):
        try:
            texts.append(extra_text(row, exact=True))
        except ValueError as error:
            texts.append("{}")
            refusals.add(at, "json", str(error))
    return pa.array(texts, pa.string())


def _joined(columns: Mapping[str, Sequence[Any]]) -> pa.Array | None:
    """The same for columns of plain text and truth values, put together a column at a time.

    Twice as quick as a row at a time; None where there is anything else, or text to be escaped.
    """
    texts, members = [], []
    for name in sorted(columns):
        kinds = set(map(type, columns[name])) - {NoneType}
        if _ESCAPED.search(name):
            return None
        if kinds == {str}:
            text = pa.array(columns[name], pa.string())
            texts.append(text)
            members.append(pc.binary_join_element_wise(f'"{name}":"', text, '"', ""))
        elif kinds == {bool}:
            text = pa.array(columns[name], pa.bool_()).cast(pa.string())
            members.append(pc.binary_join_element_wise(f'"{name}":', text, ""))
        elif kinds:
            return None
    every = pc.binary_join_element_wise(*texts, "", null_handling="skip")
    if pc.any(pc.match_substring_regex(every, _ESCAPED.pattern)).as_py():
        return None
    return pc.binary_join_element_wise(
        "{", pc.binary_join_element_wise(*members, ",", null_handling="skip"), "}", ""
    )


def extra_text(members: dict[str, Any], *, exact: bool) -> str:
    """`extra` of one row: JSON with its names in order.

    Args:
        members: what it holds, as `json_rows` parses it.
        exact: whether numbers may be `exact_json.Number`.

    Raises:
        ValueError: no UTF-8 text can hold it.
    """
    if exact:
        return storable(exact_json.dump(_in_order(members)))
    return orjson.dumps(members, None, _SORTED).decode()


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [_in_order(member) for member in value] if isinstance(value, list) else value


def check_fields(
    path: Path, page: RowPage, needed: Collection[str], what: str, other: tuple[str, str, str]
) -> None:
    """Refuse a file none of whose first rows has a field that every row needs.

    Args:
        path: the file.
        page: its first rows.
        needed: the fields.
        what: what the rows should be, for the message.
        other: what they may be instead: a field that tells, its name, the format to name.

    Raises:
        BadInputError: a field is in no row, or no row is an object.
    """
    fields = {name for row in page.rows for name in row}
    missing = [name for name in needed if name not in fields]
    if not missing:
        return
    tell, name, other_format = other
    if tell in fields:
        raise BadInputError(
            f"{path} looks like {name}, not like {what}", next_step=f"give --format {other_format}"
        )
    if not page.rows:
        raise BadInputError(
            f"{path} holds no {what}: none of its first lines is a JSON object",
            next_step="give the answer of the broker's interface as it came",
        )
    seen = ", ".join(sorted(fields)[:6]) or "none"
    raise BadInputError(
        f"{path} holds no {what}: none of its first objects has a field {', '.join(missing)} "
        f"(they have {seen})",
        next_step="leave --format out, or name the one the file is in",
    )
