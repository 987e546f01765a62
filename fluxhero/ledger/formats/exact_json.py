"""JSON that keeps every number exactly as it was written, and refuses what is not JSON.

Python's parser turns `0.10` and `1e400` into other numbers and takes NaN; a ledger must not.
"""

import json
from typing import Any


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
