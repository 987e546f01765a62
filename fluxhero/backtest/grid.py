"""Grids of parameters as they are written on a command line: `fast=5..50:5`, `entry=1,1.5,2`.

Values stay text here: what kind a parameter has is the strategy's to say.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from fluxhero.backtest.parameters import Grid, Parameter
from fluxhero.errors import BadInputError
from fluxhero.wording import counted

MOST_COMBINATIONS: Final = 100_000
_NUMBER: Final = r"-?\d+(?:\.\d+)?"
_RANGE: Final = re.compile(rf"(?P<first>{_NUMBER})\.\.(?P<last>{_NUMBER})(?::(?P<step>{_NUMBER}))?")
_LONGEST: Final = 60  # characters of a text that a message repeats


def read_grid(texts: Iterable[str]) -> Grid:
    """Understand one text a parameter: values and ranges, separated by commas.

    A range has its first value, and its last where steps of the given size (1 unless said) come to it.

    Raises:
        BadInputError: a text is no such thing, names a parameter or a value twice, or there are too many
            combinations.
    """
    axes = [_axis(text) for text in texts]
    for name, times in Counter(name for name, _ in axes).items():
        if times > 1:
            raise BadInputError(
                f"the grid names {name} twice", next_step="give each parameter once"
            )
    grid = tuple(axes)
    check_size(grid)
    return grid


def size_of(grid: Grid) -> int:
    """How many combinations a grid has; one without parameters has one."""
    size = 1
    for _, values in grid:
        size *= len(values)
    return size


def check_size(grid: Grid) -> None:
    """Refuse a grid of too many combinations.

    Raises:
        BadInputError: it is one.
    """
    size = size_of(grid)
    if size > MOST_COMBINATIONS:
        raise BadInputError(
            f"the grid has {counted(size, 'combination')}",
            next_step=f"give larger steps: {MOST_COMBINATIONS:,} is the most",
        )


def combinations(grid: Grid) -> Iterator[dict[str, Parameter]]:
    """Every combination, the last parameter changing first."""
    names = [name for name, _ in grid]
    for values in itertools.product(*(values for _, values in grid)):
        yield dict(zip(names, values, strict=True))


def _axis(text: str) -> tuple[str, tuple[str, ...]]:
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise _unreadable(text)
    values: list[str] = []
    for part in rest.split(","):
        values += _values(part.strip(), text)
        if len(values) > MOST_COMBINATIONS:
            raise _too_long(text)
    value, times = Counter(values).most_common(1)[0]
    if times > 1:
        raise BadInputError(
            f"'{_short(text)}' has the value {value} twice", next_step="give each value once"
        )
    return name, tuple(values)


def _values(part: str, text: str) -> list[str]:
    match = _RANGE.fullmatch(part)
    if match is None:
        if not part or ".." in part:
            raise _unreadable(text)
        return [part]
    first, last, step = (Decimal(match[name] or 1) for name in ("first", "last", "step"))
    if step <= 0 or last < first:
        raise BadInputError(
            f"the range {part} has no end",
            next_step="write first..last:step, rising, with a step above zero",
        )
    count = int((last - first) // step) + 1
    if count > MOST_COMBINATIONS:
        raise _too_long(text)
    return [f"{first + place * step:f}" for place in range(count)]


def _unreadable(text: str) -> BadInputError:
    return BadInputError(
        f"'{_short(text)}' is no part of a grid",
        next_step="write name=5..50:5 for a range, or name=1,1.5,2 for single values",
    )


def _too_long(text: str) -> BadInputError:
    return BadInputError(
        f"'{_short(text)}' has more than {MOST_COMBINATIONS:,} values",
        next_step="give larger steps",
    )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
