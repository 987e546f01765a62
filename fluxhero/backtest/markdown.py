"""Plots of a markdown page, which may not be there."""

from collections.abc import Sequence
from typing import Final

IMAGE: Final = "img/backtest-{}.svg"


def plot(name: str, plots: Sequence[str]) -> str:
    """The image of a plot, where it was drawn."""
    return f"![{name}]({IMAGE.format(name)})" if name in plots else ""
