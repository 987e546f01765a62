"""Line charts as Mermaid text, which the newer of Prefect's UIs draws in a markdown artifact."""

from collections.abc import Sequence
from datetime import date
from typing import Final

_COLOURED: Final = (  # the usual colour of a line cannot be seen on a light page
    '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "#1f6feb"}}}}%%'
)
_DAYS_A_YEAR: Final = 365.25
_SHORT: Final = 400  # days


def line_chart(title: str, first: date, last: date, values: Sequence[str]) -> str:
    """A chart of values evenly spread from the first day to the last, as a fenced block.

    Args:
        title: without quotation marks, or they become apostrophes; the days are added to it.
        first: day of the first value.
        last: day of the last one.
        values: as they are to be written.
    """
    said = f"{title}, {first} to {last}".replace('"', "'")
    return (
        f"\n```mermaid\n{_COLOURED}\nxychart-beta\n"
        f'  title "{said}"\n'
        f"  x-axis {_axis(first, last)}\n  line [{', '.join(values)}]\n```"
    )


def _axis(first: date, last: date) -> str:
    """Numbers, not names: those of 60 days would be written over each other."""
    days = (last - first).days
    if days < _SHORT:
        return f'"Days since {first}" 0 --> {max(days, 1)}'
    return f'"Year" {_years(first):.2f} --> {_years(last):.2f}'


def _years(day: date) -> float:
    return day.year + (day.timetuple().tm_yday - 1) / _DAYS_A_YEAR
