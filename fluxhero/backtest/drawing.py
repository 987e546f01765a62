"""How every plot of the backtests looks, and how it becomes SVG or PDF. The same figures give the same bytes."""

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fluxhero.durable import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE = "#1c2733", "#5d6b7a", "#d9dfe5"
BLUE, GREEN, RED, AMBER, GREY = "#1f6feb", "#1a7f4b", "#c62f3b", "#b36b00", "#8896a5"
SERIES: Final = (BLUE, AMBER, GREEN, RED, "#7a4fd0", "#0f8a9d", GREY)

_SIDE, _EDGE = 0.75, 0.3  # inches left of the axes, for what is written there, and elsewhere
_STYLE: Final[Any] = {  # its type lists hundreds of names
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9,
    "svg.fonttype": "path",  # needs no font where it is read
    "svg.hashsalt": "fluxhero",
    "pdf.compression": 6,
    "text.parse_math": False,  # a strategy's name may have a $ in it
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "path.simplify": True,
}


def new_figure(title: str, *, width: float = 8.6, height: float = 2.8) -> "tuple[Figure, Axes]":
    """An empty figure with one set of axes; sizes in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        # Fixed margins: a layout that looks for them draws everything twice.
        figure.subplots_adjust(
            left=_SIDE / width,
            right=1 - _EDGE / width,
            bottom=_EDGE / height,
            top=1 - _EDGE / height,
        )
        axes = figure.add_subplot()
        axes.set_title(title)
    return figure, axes


def thousands(axes: "Axes") -> None:
    """Write the values with commas."""
    axes.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")


def png(figure: "Figure") -> bytes:
    """The figure as a PNG."""
    import matplotlib as mpl

    picture = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def svg(figure: "Figure") -> str:
    """The figure as an `<svg>` element, without the XML heading."""
    import matplotlib as mpl

    text = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def pdf(figures: "Iterable[Figure]", path: Path, title: str, at: datetime) -> None:
    """Write figures as the pages of a PDF file.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages

    content = io.BytesIO()
    about = {"Title": title, "CreationDate": at.astimezone(UTC), "Creator": None, "Producer": None}
    with mpl.rc_context(_STYLE), PdfPages(content, metadata=about) as pages:
        for figure in figures:
            pages.savefig(figure)
    write_atomically(path, content.getvalue())
