"""What a backtest comes to: returns, risk, trades and costs, by one reckoning for every engine.

Ratios go by the simple returns of exchange days, the first one against the starting cash, and by a year
of 252 of them. docs/statistics.md says what each number means.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.bars import Bars, Floats, Ints
from fluxhero.backtest.contract import UNIT, Contract
from fluxhero.backtest.results import Result
from fluxhero.errors import BadInputError

DAYS_A_YEAR: Final = 252
_FEWEST_DAYS: Final = 2  # that have a standard deviation
_UNITS_A_DOLLAR: Final = 100_000_000
_NANOSECONDS_A_DAY: Final = 86_400_000_000_000
_FLAT: Final = 1e-14  # what floating point makes of returns that are all the same


class Curve(BaseModel):
    """What the course of the equity alone says; None is what it does not define.

    Attributes:
        days: exchange days that had a bar.
        total_return: gain of the whole time, as a fraction of the starting cash.
        annual_return: the yearly growth that compounds to it; None once nothing is left.
        volatility: standard deviation of the daily returns, a year.
        sharpe: mean daily return above the risk-free one by its standard deviation, a year.
        sortino: the same by the root mean square of the days below the risk-free return.
        calmar: annual return by the largest drawdown.
        max_drawdown: largest loss from a peak at the close of any bar, as a fraction of the peak; 0.2 is 20 %.
        drawdown_days: longest time below a peak, in calendar days.
        skew: of the daily returns; below zero when losses are the larger surprises.
        kurtosis: of the daily returns; 3 is that of the normal distribution.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int
    total_return: float
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float
    drawdown_days: float
    skew: float | None
    kurtosis: float | None


class Performance(Curve):
    """All of it: the fields of `Curve`, and what the trades say. Money in USD.

    Attributes:
        trades: closed round trips.
        win_rate: share of them that gained after commission.
        average_win, average_loss: of those that gained, and of those that lost (below zero).
        profit_factor: what was won by what was lost; None while nothing was lost.
        average_bars_held: bars from entry to exit.
        exposure: share of the bars at whose close a position was held.
        turnover: USD bought and sold a year, as a multiple of the mean equity.
        commission, slippage: paid in all.
    """

    trades: int
    win_rate: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    profit_factor: float | None
    average_bars_held: float | None
    exposure: float
    turnover: float | None
    commission: Decimal
    slippage: Decimal


def performance(
    result: Result, bars: Bars, contract: Contract, risk_free: float, zone: ZoneInfo
) -> Performance:
    """Measure a result.

    Args:
        result: of any engine.
        bars: that it was run on.
        contract: for the starting cash.
        risk_free: yearly rate; 1/252 of it counts for a day.
        zone: of the exchange, whose days are meant.

    Raises:
        BadInputError: the equity is not that of these bars.
    """
    if result.equity.num_rows != len(bars):
        raise BadInputError(
            f"the equity has {result.equity.num_rows:,} marks for {len(bars):,} bars of {bars.symbol}",
            next_step="measure a result together with the bars it was run on",
        )
    marks = floats(result.equity["equity"])
    seen = curve(marks, float(contract.cash), bars.ends, day_ends(bars.ends, zone), risk_free)
    return Performance(
        **vars(seen),
        **_of_trades(result.round_trips),
        exposure=float(np.mean(floats(result.equity["shares"]) != 0)),
        turnover=_turnover(result.fills, float(marks.mean()), seen.days),
        commission=_sum(result.fills["commission"]),
        slippage=_sum(result.fills["slippage"]),
    )


def curve(marks: Floats, cash: float, ends: Ints, last: Ints, risk_free: float) -> Curve:
    """Measure equity alone.

    Args:
        marks: equity at the close of each bar.
        cash: before the first.
        ends: when each bar is over.
        last: `day_ends` of them.
        risk_free: yearly rate.
    """
    depth, below = max_drawdown(marks, cash), _under_water(marks, cash, ends)
    return curve_of_days(marks[last], cash, depth, below, risk_free)


def curve_of_days(
    marks: Floats, cash: float, drawdown: float, drawdown_days: float, risk_free: float
) -> Curve:
    """Measure equity of which only the days are left, its drawdown being known.

    Args:
        marks: equity at the last bar of each day.
        cash: before the first.
        drawdown: the largest, of any bar.
        drawdown_days: longest time below a peak.
        risk_free: yearly rate.
    """
    returns = simple_returns(marks, cash)
    total = (float(marks[-1]) - cash) / cash
    annual = _annual(total, len(returns))
    spread = _known(_deviation(returns)) if np.isfinite(returns).all() else None
    skew, kurtosis = (None, None) if spread is None else _shape(returns)
    above = returns - risk_free / DAYS_A_YEAR
    return Curve(
        days=len(returns),
        total_return=total,
        annual_return=annual,
        volatility=None if spread is None else spread * DAYS_A_YEAR**0.5,
        sharpe=None if spread is None else float(_ratio(returns, risk_free, spread)),
        sortino=None if spread is None else _sortino(above),
        calmar=annual / drawdown if annual is not None and drawdown > 0 else None,
        max_drawdown=drawdown,
        drawdown_days=drawdown_days,
        skew=skew,
        kurtosis=kurtosis,
    )


def day_ends(ends: Ints, zone: ZoneInfo) -> Ints:
    """The place of the last bar of each exchange day.

    A bar belongs to the day of its last moment: one that ends at midnight to the day before.
    """
    moments = pd.DatetimeIndex((ends - 1).view("M8[ns]"), tz="UTC").tz_convert(zone)
    days = moments.tz_localize(None).normalize().to_numpy()
    return np.append(np.flatnonzero(days[1:] != days[:-1]), len(days) - 1).astype(np.int64)


def daily_returns(equity: pa.Table, cash: Decimal, zone: ZoneInfo) -> Floats:
    """The simple return of each exchange day, from its last mark and that of the day before.

    Args:
        equity: in the shape of `fluxhero.backtest.results.EQUITY`, not empty.
        cash: what the first day is held against.
        zone: of the exchange.
    """
    ends = equity["at"].cast(pa.int64()).to_numpy()
    return simple_returns(floats(equity["equity"])[day_ends(ends, zone)], float(cash))


def dollars(units: Ints) -> Floats:
    """Money in units of 0.00000001 USD as floating point."""
    return np.asarray(units / _UNITS_A_DOLLAR, np.float64)


def simple_returns(marks: Floats, cash: float) -> Floats:
    """Of each mark against the one before, the first against `cash`; along the first axis.

    From equity that is not above zero no return can be made: NaN, and every ratio of it is undefined.
    """
    start = np.full((1, *marks.shape[1:]), cash)
    before = np.concatenate([start, marks[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns: Floats = np.where(before > 0, marks / before - 1, np.nan)
    return returns


def sharpe_of(returns: Floats, risk_free: float) -> Floats:
    """The yearly Sharpe ratio of daily returns: one number, or one a column of a matrix.

    NaN where it is undefined: under two days, every day the same, or a return that is no number.

    Args:
        returns: days, or days by trials.
        risk_free: yearly rate.
    """
    if len(returns) < _FEWEST_DAYS:
        return np.full(returns.shape[1:], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _ratio(returns, risk_free, _deviation(returns))


def _ratio(returns: Floats, risk_free: float, deviation: Floats | float) -> Floats:
    yearly: Floats = (returns.mean(axis=0) - risk_free / DAYS_A_YEAR) / deviation * DAYS_A_YEAR**0.5
    return yearly


def max_drawdown(marks: Floats, cash: float) -> float:
    """The largest loss from a peak, the starting cash being the first one, as a fraction of the peak."""
    peaks = np.maximum(np.maximum.accumulate(marks), cash)
    return float(((peaks - marks) / peaks).max())


def shape_of(returns: Floats) -> tuple[float | None, float | None]:
    """Skew and kurtosis (3 is normal) by the moments of the sample; None where all days are the same."""
    known = len(returns) >= _FEWEST_DAYS and np.isfinite(_deviation(returns))
    return _shape(returns) if known else (None, None)


def _shape(returns: Floats) -> tuple[float, float]:
    centred = returns - returns.mean()
    squares = centred * centred  # powers would cost ten times as much
    variance = float(squares.mean())
    return (
        float((squares * centred).mean()) / variance**1.5,
        float((squares * squares).mean()) / variance**2,
    )


def floats(column: pa.ChunkedArray) -> Floats:
    """A column of money or shares as floating point, for ratios."""
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values


def _deviation(returns: Floats) -> Floats:
    """Standard deviation (ddof 1); NaN where the values differ by no more than floating point does."""
    if len(returns) < _FEWEST_DAYS:
        return np.full(returns.shape[1:], np.nan)
    high, low = returns.max(axis=0), returns.min(axis=0)
    flat = high - low <= _FLAT * (1 + np.maximum(np.abs(high), np.abs(low)))
    deviation: Floats = np.where(flat, np.nan, returns.std(axis=0, ddof=1))
    return deviation


def _known(value: Floats | float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _annual(total: float, days: int) -> float | None:
    return float((1 + total) ** (DAYS_A_YEAR / days) - 1) if total > -1 else None


def _sortino(above: Floats) -> float | None:
    downside = float(np.sqrt(np.square(np.minimum(above, 0)).mean()))
    return float(above.mean() / downside * DAYS_A_YEAR**0.5) if downside > 0 else None


def _under_water(marks: Floats, cash: float, ends: Ints) -> float:
    peaks = np.maximum(np.maximum.accumulate(marks), cash)
    below = marks < peaks
    # The last bar at a peak so far; the first bar before any, as the cash has no time.
    since = ends[np.maximum.accumulate(np.where(below, 0, np.arange(len(marks))))]
    before = np.append(since[:1], since[:-1])
    counted = below | np.append(False, below[:-1])  # the bar that is at the peak again ends it
    return float((ends - before)[counted].max() / _NANOSECONDS_A_DAY) if below.any() else 0.0


def _of_trades(trips: pa.Table) -> dict[str, int | float | Decimal | None]:
    pnl: list[Decimal] = trips["pnl"].to_pylist()
    wins = [one for one in pnl if one > 0]
    losses = [one for one in pnl if one < 0]
    return {
        "trades": len(pnl),
        "win_rate": len(wins) / len(pnl) if pnl else None,
        "average_win": _mean(wins),
        "average_loss": _mean(losses),
        "profit_factor": float(sum(wins) / -sum(losses)) if losses else None,
        "average_bars_held": pc.mean(trips["bars_held"]).as_py(),
    }


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return (sum(amounts, Decimal(0)) / len(amounts)).quantize(UNIT) if amounts else None


def _turnover(fills: pa.Table, mean_equity: float, days: int) -> float | None:
    if mean_equity <= 0:
        return None
    traded = float(np.dot(floats(fills["shares"]), floats(fills["price"])))
    return traded / mean_equity * DAYS_A_YEAR / days


def _sum(amounts: pa.ChunkedArray) -> Decimal:
    total: Decimal | None = pc.sum(amounts).as_py()
    return total or Decimal(0)
