"""The plots of the evaluation document: the same evaluation draws the same bytes."""

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxhero.backtest.agreement import Kind
from fluxhero.backtest.drawing import AMBER, BLUE, GREEN, GREY, INK, SERIES, new_figure, png, svg
from fluxhero.backtest.evaluation import Evaluation
from fluxhero.backtest.trials import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CAUSES: Final = (*SERIES, "#c2578d", "#6b8e23", "#8b5a2b")  # one a kind of cause
_MOST_CURVES: Final = 8
_COLUMNS: Final = 4  # of a legend
_BAR: Final = 0.34  # inches that a row of a plot takes


def plots_of(evaluation: Evaluation) -> dict[str, str]:
    """SVG by name, of those plots that there is something to draw for."""
    drawn = {
        "scores": _scores(evaluation),
        "matrix": _matrix(evaluation),
        "speed": _speed(evaluation),
        "causes": _causes(evaluation),
        "equity": _equity(evaluation),
    }
    found = {name: figure for name, figure in drawn.items() if figure is not None}
    for figure in found.values():
        figure.set_layout_engine("constrained")  # names of engines and criteria need room
    return {name: svg(figure) for name, figure in found.items()}


def results_png(evaluation: Evaluation) -> bytes | None:
    """Equity of each strategy by the reference simulator, in one plot; None where there is none."""
    found = [one for one in evaluation.curves if one.engine == REFERENCE][:_MOST_CURVES]
    if not found:
        return None
    figure, axes = new_figure("Equity by the reference simulator, USD", height=3.6)
    for place, curve in enumerate(found):
        colour, label = _CAUSES[place % len(_CAUSES)], f"{curve.strategy}, {curve.symbol}"
        axes.plot(curve.days, curve.equity, color=colour, label=label)  # type: ignore[arg-type]
    figure.set_layout_engine("constrained")
    figure.legend(loc="outside lower center", fontsize=8, ncols=_COLUMNS)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return png(figure)


def _scores(evaluation: Evaluation) -> "Figure | None":
    """The totals; what does not qualify is grey."""
    found = evaluation.standings[::-1]
    if not found:
        return None
    figure, axes = _rows_of("Weighted total, 0 to 10; grey does not qualify", len(found))
    colours = [GREY if one.disqualified else GREEN for one in found]
    axes.barh([one.engine for one in found], [one.total for one in found], color=colours)
    for place, one in enumerate(found):
        axes.text(one.total + 0.1, place, f"{one.total:.1f}", va="center", fontsize=8, color=INK)
    axes.set_xlim(0, 10.6)
    axes.grid(visible=False, axis="y")
    return figure


def _matrix(evaluation: Evaluation) -> "Figure | None":
    """Every score; what was not measured is white with a question mark."""
    found = evaluation.standings
    if not found:
        return None
    names = [one.criterion for one in found[0].measures]
    figure, axes = new_figure("Scores", height=1.5 + _BAR * len(found))
    values = np.array(
        [[np.nan if one.score is None else one.score for one in row.measures] for row in found]
    )
    axes.imshow(values, cmap="RdYlGn", vmin=0, vmax=10, aspect="auto", alpha=0.75)
    for (row, column), value in np.ndenumerate(values):
        shown = "?" if np.isnan(value) else f"{value:.0f}"
        axes.text(column, row, shown, ha="center", va="center", fontsize=8, color=INK)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(found)), [one.engine for one in found])
    axes.grid(visible=False)
    return figure


def _speed(evaluation: Evaluation) -> "Figure | None":
    """Seconds of the run alone and of everything, by the logarithm."""
    found = [one for one in evaluation.engines if one.speed_run_seconds is not None][::-1]
    if not found:
        return None
    bars = max(one.speed_bars or 0 for one in found)
    figure, axes = _rows_of(f"Seconds for {bars:,} minute bars", len(found))
    places = range(len(found))
    runs = [one.speed_run_seconds for one in found]
    whole = [(place, one.speed_seconds) for place, one in enumerate(found) if one.speed_seconds]
    axes.scatter(runs, places, color=BLUE, label="the run alone", zorder=3)  # type: ignore[arg-type]
    axes.scatter(
        [one for _, one in whole],
        [place for place, _ in whole],
        color=AMBER,
        marker="D",
        label="with import and load",
        zorder=3,
    )
    axes.set_yticks(places, [one.engine for one in found])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside lower center", fontsize=8, ncols=2)
    return figure


def _causes(evaluation: Evaluation) -> "Figure | None":
    """What the differences of runs in the engines' own idiom come from, on average a run."""
    rows = [row for row in evaluation.rows if row.mode == "native" and row.agreement is not None]
    engines = list(dict.fromkeys(row.engine for row in rows))[::-1]
    if not engines:
        return None
    figure, axes = _rows_of(
        "Own idiom: difference a run by cause, mean of the absolute USD", len(engines)
    )
    left = np.zeros(len(engines))
    for place, kind in enumerate(Kind):
        width = np.array([_mean_of(evaluation, engine, kind) for engine in engines])
        if width.any():
            axes.barh(engines, width, left=left, color=_CAUSES[place], label=kind.value)
            left += width
    if left.any():
        figure.legend(loc="outside lower center", fontsize=8, ncols=len(Kind))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def _mean_of(evaluation: Evaluation, engine: str, kind: Kind) -> float:
    found = [
        sum((abs(one.dollars) for one in row.agreement.causes if one.kind is kind), Decimal(0))
        for row in evaluation.rows
        if (row.engine, row.mode) == (engine, "native") and row.agreement is not None
    ]
    return float(sum(found, Decimal(0)) / len(found))


def _equity(evaluation: Evaluation) -> "Figure | None":
    """One strategy on one symbol as every engine would have it when left to itself."""
    native = [one for one in evaluation.curves if one.mode == "native"]
    if not native:
        return None
    first = native[0]
    figure, axes = new_figure(
        f"{first.strategy} on {first.symbol}, own idiom: equity, USD", height=3.2
    )
    chosen = [
        one
        for one in evaluation.curves
        if (one.strategy, one.symbol) == (first.strategy, first.symbol) and one.mode != "given"
    ]
    for place, curve in enumerate(chosen):
        ours = curve.engine == REFERENCE
        axes.plot(
            curve.days,  # type: ignore[arg-type]  # dates are drawn as dates
            curve.equity,
            color=INK if ours else SERIES[place % len(SERIES)],
            linewidth=1.8 if ours else 0.9,
            label=curve.engine,
        )
    figure.legend(loc="outside lower center", fontsize=8, ncols=len(chosen))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def _rows_of(title: str, rows: int) -> "tuple[Figure, Axes]":
    return new_figure(title, height=0.8 + _BAR * rows)
