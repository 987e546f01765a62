"""Pieces of a markdown page: tables whose cells may say anything, and plots that may not be there."""

from collections.abc import Iterable, Sequence
from typing import Final

from fluxhero.backtest.in_words import NONE
from fluxhero.wording import printable

IMAGE: Final = "img/backtest-{}.svg"


def plot(name: str, plots: Sequence[str]) -> str:
    """The image of a plot, where it was drawn."""
    return f"![{name}]({IMAGE.format(name)})" if name in plots else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; heads that begin with > are of numbers. Without a row there is none."""
    lines = [f"| {' | '.join(cell(one) for one in row)} |" for row in rows]
    if not lines:
        return ""
    names = [head.removeprefix(">") for head in heads]
    rule = "|".join("---:" if head.startswith(">") else "---" for head in heads)
    return "\n".join([f"| {' | '.join(names)} |", f"|{rule}|", *lines])


def cell(value: object) -> str:
    """Text of a cell; errors of engines may say anything."""
    text = printable(" ".join(str(value).split()))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") or NONE
