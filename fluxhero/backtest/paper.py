"""Backtest reports as HTML files that need nothing else: no script, no asset, no network."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fluxhero.backtest.in_words import NONE

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup
    from matplotlib.figure import Figure

_TEMPLATE: Final = "paper.html.j2"
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
_LONG: Final = 40  # characters


@dataclass(frozen=True)
class Section:
    """A part of a report: a heading, a note, facts or a table, and plots.

    Attributes:
        title: its heading.
        note: what a reader should know before the numbers.
        facts: pairs of a name and a value.
        columns: headings of the table.
        rows: its cells as text; numbers are told by how they look.
        figures: plots below.
        links: pairs of a text and an address relative to the report.
    """

    title: str
    note: str = ""
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figures: "Sequence[Figure]" = field(default=(), compare=False)
    links: Sequence[tuple[str, str]] = ()


def render(
    title: str, verdict: str, about: Sequence[str], level: str, sections: Sequence[Section]
) -> str:
    """A report as HTML.

    Args:
        title: of the window.
        verdict: the answer, first.
        about: lines below it.
        level: good, doubtful, bad or plain: the colour of the verdict.
        sections: the rest, in order.
    """
    return _template().render(
        title=title, verdict=verdict, about=about, level=level, sections=sections
    )


def _drawn(figure: "Figure") -> "Markup":
    from markupsafe import Markup

    from fluxhero.backtest.drawing import svg

    return Markup(svg(figure))  # noqa: S704 - drawn by us: texts in it are escaped or paths


def _kind(cell: str) -> str:
    """Numbers stand to the right, under each other; days stay in one line, and sentences have room."""
    text = cell.strip().lstrip("+-−").removesuffix("%").strip()
    if text == NONE or text.replace(",", "").replace(".", "", 1).isdigit():
        return "number"
    if _DAY.fullmatch(text):
        return "date"
    return "long" if len(text) > _LONG else "text"


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fluxhero.backtest", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"drawn": _drawn, "kind": _kind}
    return environment.get_template(_TEMPLATE)
