"""JSON that keeps every number exactly as it was written, and refuses what is not JSON.

Python's parser turns `0.10` and `1e400` into other numbers and takes NaN; a ledger must not.
"""

import json
from itertools import chain
from typing import Any

import orjson

_FLAT = frozenset({str, int, bool, type(None)})
_NAMED = b'":'


class Number(str):
    """A JSON number as its text."""

    __slots__ = ()


def parse(text: str) -> Any:
    """Parse JSON; numbers come back as `Number`.

    Raises:
        ValueError: it is not valid JSON, has a key twice in one object, or nests too deeply.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def parse_bytes(document: bytes) -> tuple[Any, bool]:
    """Parse a JSON document, as quickly as its numbers allow.

    `orjson` makes 0.10 a float and takes the second of two members of a name. So what it parsed counts
    only where it met neither; else the document is parsed again.

    Returns:
        The value, without a float in it, and whether its numbers are `Number`.

    Raises:
        ValueError: it is not valid JSON.
    """
    try:
        value = orjson.loads(document)
    except orjson.JSONDecodeError:
        return parse(document.decode()), True
    # Where each is written as `"name":`, they are counted quickest so; what does not add up is read again.
    if _names(value) != document.count(_NAMED):
        return parse(document.decode()), True
    return value, False


def _names(value: Any) -> int:
    """How many names the objects in a value have; -1 if there is a float among their values."""
    if isinstance(value, dict):
        if _FLAT.issuperset(map(type, value.values())):
            return len(value)
        count, members = len(value), list(value.values())
    elif isinstance(value, list):
        count, members = 0, value
        if set(map(type, value)) == {dict} and _FLAT.issuperset(
            map(type, chain.from_iterable(map(dict.values, value)))
        ):
            return sum(map(len, value))
    else:
        return -1 if isinstance(value, float) else 0
    for member in members:
        inside = _names(member)
        if inside < 0:
            return -1
        count += inside
    return count


def parse_first(text: str) -> tuple[Any, int]:
    """Parse the JSON that a text begins with, and say where it ends.

    Raises:
        ValueError: it begins with no whole JSON value.
    """
    try:
        return _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check(text: str, *, kind: type | None = None) -> None:
    """Make sure that text is JSON, of a certain kind if one is given; quicker than `parse`.

    Raises:
        ValueError: it is not.
    """
    try:
        value = _CHECKER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if kind is not None and not isinstance(value, kind):
        raise ValueError("it is not an object")


def parse_object(text: str) -> dict[str, Any]:
    """Like `parse`, but NaN and Infinity come back as numbers, for the finiteness rule to name.

    Raises:
        ValueError: it is not valid JSON, or not an object.
    """
    try:
        value = _LENIENT.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - a wrong value, not a wrong call
    return value


def dump(value: Any) -> str:
    """Write parsed JSON back, compactly, each number as it came.

    Raises:
        ValueError: it nests too deeply.
    """
    try:
        return _dump(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{json.dumps(str(k), ensure_ascii=False)}:{_dump(v)}" for k, v in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump, value)) + "]"
    if isinstance(value, Number):
        # NaN is no JSON number: it survives as text.
        return str(value) if value[-1].isdigit() else json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("it has a key twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_refuse, object_pairs_hook=_unique
)
_LENIENT = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=_unique
)
_CHECKER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse)
