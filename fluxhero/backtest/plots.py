"""The plots a trader knows, of one strategy's result: equity, underwater, months, rolling Sharpe, trades on price."""

from calendar import month_abbr
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars
from fluxhero.backtest.drawing import AMBER, BLUE, GREEN, GREY, INK, RED, new_figure, thousands
from fluxhero.backtest.results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

ROLLING_DAYS: Final = 126  # half a year of sessions
_MOST_POINTS: Final = 4_000  # of a line: more than a page has dots for
_MOST_MARKS: Final = 800  # trades on the price


@dataclass(frozen=True, eq=False)
class Track:
    """What the plots are drawn from.

    Attributes:
        bars: what was traded.
        result: what the strategy made of it.
        cash: before the first bar, USD.
        days: the exchange's days, one a daily return.
        returns: simple return of each of those days.
        rolling_sharpe: of the last `ROLLING_DAYS` days up to each; not a number where there are fewer.
    """

    bars: Bars
    result: Result
    cash: Decimal
    days: Sequence[date]
    returns: Floats
    rolling_sharpe: Floats


def equity(track: Track) -> "Figure":
    """Equity at every bar, and what buying at the first open and holding would have been worth."""
    figure, axes = new_figure("Equity, USD", height=3.2)
    times, values = _equity(track)
    held = float(track.cash) * track.bars.close / track.bars.open[0]
    pick = _thinned(len(times))
    axes.plot(times[pick], held[pick], color=GREY, linewidth=0.9, label="bought and held, no costs")
    axes.plot(times[pick], values[pick], color=BLUE, label="strategy")
    axes.legend(loc="upper left", frameon=False)
    thousands(axes)
    return figure


def underwater(track: Track) -> "Figure":
    """How far below its highest value the equity was, percent."""
    figure, axes = new_figure("Below the high-water mark, %", height=2.0)
    times, values = _equity(track)
    marks = np.maximum.accumulate(np.maximum(values, float(track.cash)))
    depth = 100 * (values / marks - 1)
    pick = _deepest(depth)
    axes.fill_between(times[pick], depth[pick], 0, color=RED, alpha=0.25, linewidth=0)
    axes.plot(times[pick], depth[pick], color=RED, linewidth=0.8)
    return figure


def monthly_returns(track: Track) -> "Figure":
    """Return of each calendar month, percent, years downwards."""
    table, years = _months(track.days, track.returns)
    figure, axes = new_figure("Monthly returns, %", height=0.9 + 0.24 * max(len(years), 1))
    limit = max(float(np.nanmax(np.abs(table))) if np.isfinite(table).any() else 1.0, 1e-9)
    axes.imshow(table, cmap="RdYlGn", vmin=-limit, vmax=limit, aspect="auto", alpha=0.75)
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=INK, fontsize=7)
    axes.set_xticks(range(12), list(month_abbr)[1:])
    axes.set_yticks(range(len(years)), [str(year) for year in years])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    return figure


def rolling_sharpe(track: Track) -> "Figure":
    """Yearly Sharpe ratio of the last half year of sessions, day by day."""
    figure, axes = new_figure(f"Sharpe ratio of the last {ROLLING_DAYS} sessions", height=2.0)
    axes.axhline(0, color=GREY, linewidth=0.8)
    pick = _thinned(len(track.days))
    days = np.array(track.days, dtype="datetime64[D]")
    axes.plot(days[pick], track.rolling_sharpe[pick], color=AMBER)
    return figure


def trades_on_price(track: Track) -> "Figure":
    """The close of every bar, and where the strategy bought and sold."""
    figure, axes = new_figure("Trades on price, USD", height=3.2)
    times = _times(track.bars.ends)
    closes = track.bars.close / TICKS_A_DOLLAR
    pick = _thinned(len(times))
    axes.plot(times[pick], closes[pick], color=GREY, linewidth=0.9)
    fills = track.result.fills
    places = fills["bar"].to_numpy()
    prices = fills["price"].to_numpy().astype(np.float64)
    sides = np.array(fills["side"].to_pylist(), dtype=object)
    for side, marker, colour in (("buy", "^", GREEN), ("sell", "v", RED)):
        wanted = np.flatnonzero(sides == side)[-_MOST_MARKS:]
        axes.scatter(
            times[places[wanted]],
            prices[wanted],
            marker=marker,
            s=14,
            color=colour,
            label=side,
            zorder=3,
        )
    if fills.num_rows > 2 * _MOST_MARKS:
        title = f"Trades on price, USD (the last {_MOST_MARKS} buys and sells)"
        axes.set_title(title, loc="left")
    axes.legend(loc="upper left", frameon=False)
    return figure


PLOTS: Final = (equity, underwater, monthly_returns, rolling_sharpe, trades_on_price)


def _equity(track: Track) -> tuple[Times, Floats]:
    values = track.result.equity["equity"].to_numpy().astype(np.float64)
    return _times(track.bars.ends), values


def _times(ends: npt.NDArray[np.int64]) -> Times:
    return ends.view("M8[ns]")


def _thinned(count: int) -> npt.NDArray[np.int64]:
    """Places of evenly spread points, the last one always among them."""
    step = max(1, -(-count // _MOST_POINTS))
    return np.unique(np.append(np.arange(0, count, step), max(count - 1, 0)))[:count]


def _deepest(depth: Floats) -> npt.NDArray[np.int64]:
    """Places of the lowest point of every stretch, so that no drawdown is thinned away."""
    step = max(1, -(-len(depth) // _MOST_POINTS))
    starts = range(0, len(depth), step)
    return np.array([at + int(np.argmin(depth[at : at + step])) for at in starts], dtype=np.int64)


def _months(days: Sequence[date], returns: Floats) -> tuple[Floats, list[int]]:
    years = sorted({day.year for day in days})
    growth: dict[tuple[int, int], float] = {}
    for day, value in zip(days, returns, strict=True):
        key = (day.year, day.month)
        growth[key] = growth.get(key, 1.0) * (1 + float(value))
    table = np.full((len(years), 12), np.nan)
    for (year, month), value in growth.items():
        table[years.index(year), month - 1] = 100 * (value - 1)
    return table, years
