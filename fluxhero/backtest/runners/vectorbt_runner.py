"""vectorbt: runs in the engine's own environment, given signals or in the engine's own idiom, and sweeps.

Given signals, a flexible order function hands vectorbt's simulation the orders that the contract asks for,
one bar after the signal and with the open as their price; vectorbt holds the shares and the cash. It never
lets cash below zero; where the contract does, it is lent a sum at the start, which is taken off again.

A sweep hands the same function to vectorbt's compiled simulation without a portfolio around it, and has the
equity written down as it goes: several times as fast as `Portfolio.value`. `from_orders`, which runs in Rust,
cannot make a price worse for the order's size, and is no faster.

Native is `from_signals` as its documentation shows it: filled at the close of the signal's bar, parts of shares.

What it cannot follow: vectorbt takes amounts of money that differ by less than a billionth for equal.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import vectorbt as vbt
from numba import njit
from vectorbt.portfolio import nb
from vectorbt.portfolio.enums import OrderSide, RejectedOrderError

from fluxhero.backtest import rules as whole
from fluxhero.backtest.runners.job import TICKS, UNITS, Job, Output, SweepJob

Floats = npt.NDArray[np.float64]
Int8s = npt.NDArray[np.int8]
Fill = tuple[int, int, float, float, float]  # bar, side, shares, price, commission
T = TypeVar("T")

LOANS = (6, 16, 26)  # powers of two, which cost floats least, above what one order needs
CELLS = 2_000_000  # bars x columns at once, so that a sweep's memory does not grow
POLICIES = ("shrink", "reject", "allow")
SHRINK, ALLOW = POLICIES.index("shrink"), POLICIES.index("allow")

_entry_shares = njit(cache=True)(whole.entry_shares)
_fill_bp = njit(cache=True)(whole.fill_bp)
_fill_price = njit(cache=True)(whole.fill_price)
_affordable = njit(cache=True)(whole.affordable)


def run(job: Job) -> Output:
    """Run one strategy over the bars."""
    return _given(job) if job.mode == "given" else _native(job)


def sweep(job: SweepJob) -> Floats:
    """Equity at every close (bars x combinations), as fast as vectorbt can be made to say it."""
    return _in_parts(job, _swept)


def sweep_documented(job: SweepJob) -> Floats:
    """The same by `Portfolio.from_order_func` and `Portfolio.value`, as vectorbt's documentation has it."""
    return _in_parts(job, _swept_by_portfolio)


def _in_parts(job: SweepJob, simulate: Callable[[SweepJob, Int8s, float], Floats]) -> Floats:
    equity = np.empty(job.targets.shape, order="F")
    combinations = job.targets.shape[1]
    width = -(-combinations // -(-job.targets.size // CELLS))  # parts of nearly one size
    for first in range(0, combinations, width):
        part = slice(first, first + width)
        equity[:, part] = _lending(job, simulate, job.targets[:, part])
    return equity


# ------------------------------------------------------------------------------------ given signals


class _Terms(NamedTuple):
    """The contract as the order function reads it: whole numbers."""

    fixed: int  # shares of an order, 0: all-in
    policy: int  # place in POLICIES
    commission: int
    slippage: int
    impact: int
    parts: int
    window: int


@njit
def _contract_nb(
    c: Any,
    targets: Any,
    opened: Any,
    closed: Any,
    traded: Any,
    decided: Any,
    lent: float,
    terms: Any,
) -> Any:
    """The next order of a bar, or column -1 when there is none: first the exit, then the entry."""
    col, bar = c.from_col, c.i
    held = int(c.last_position[col])
    cash = int(np.rint((c.last_cash[col] - lent) * UNITS))
    wanted = targets[col, bar - 1]
    first = max(0, bar - terms.window)
    volume = traded[bar] - traded[first]
    side, shares, ordered = wanted, decided[col], decided[col]
    decided[col] = 0
    if c.call_idx == 0:
        ordered = 0
        if wanted != 0 and terms.fixed > 0:
            ordered = terms.fixed
        elif wanted != 0:
            equity = cash + held * closed[bar - 1] * TICKS
            ordered = _entry_shares(equity, closed[bar - 1], terms.slippage, terms.commission)
        shares = ordered
        if held != 0:
            decided[col] = ordered
            side = -1 if held > 0 else 1
            shares = ordered = abs(held)
    bp = _fill_bp(ordered, volume, bar - first, terms.slippage, terms.impact, terms.parts)
    price = _fill_price(opened[bar], side, bp)
    if held == 0 and terms.policy != ALLOW:
        most = _affordable(cash, price, terms.commission)
        if most < ordered:
            shares = most if terms.policy == SHRINK else 0
    if shares == 0:
        return -1, nb.order_nothing_nb()
    return col, nb.order_nb(
        size=float(side * shares),
        price=price / UNITS,
        fixed_fees=shares * terms.commission / UNITS,
        allow_partial=False,
        raise_reject=True,
    )


def _ticks(prices: Floats) -> npt.NDArray[np.int64]:
    return np.rint(prices * TICKS).astype(np.int64)


def _orders(targets: Int8s) -> npt.NDArray[np.bool_]:
    """At which opens there are orders (bars x columns): at those after a bar whose target is new."""
    orders = np.zeros(targets.shape, dtype=np.bool_)
    orders[:, 1] = targets[:, 0] != 0
    np.not_equal(targets[:, 1:-1], targets[:, :-2], out=orders[:, 2:])
    return orders.T


def _lending(job: Job | SweepJob, simulate: Callable[..., T], targets: Int8s, *rest: Any) -> T:
    """What `simulate` gives, with a loan where the cash goes below zero."""
    columns = np.ascontiguousarray(targets.T)
    needed = math.ceil(math.log2(max(job.rules.cash, job.rules.shares * float(job.open.max()))))
    for loan in (0.0, *(2.0 ** (needed + power) for power in LOANS)):
        try:
            return simulate(job, columns, loan, *rest)
        except RejectedOrderError:
            continue
    raise ValueError("cash falls further below zero than vectorbt can be lent")


def _arguments(job: Job | SweepJob, targets: Int8s, lent: float) -> tuple[Any, ...]:
    """What the order function is given besides its context."""
    rules = job.rules
    return (
        targets,
        _ticks(job.open),
        _ticks(job.close),
        np.concatenate([[0], np.cumsum(job.volume.astype(np.int64))]),
        np.zeros(len(targets), dtype=np.int64),
        lent,
        _Terms(
            fixed=rules.shares if rules.sizing == "fixed" else 0,
            policy=POLICIES.index(rules.cash_policy),
            commission=rules.commission_units,
            slippage=rules.slippage_bp,
            impact=rules.impact_bp,
            parts=rules.impact_parts,
            window=rules.volume_window,
        ),
    )


def _simulated(
    job: Job | SweepJob,
    targets: Int8s,
    lent: float,
    close: pd.Series | pd.DataFrame,
    freq: pd.Timedelta | None,
) -> tuple[Any, float]:
    """The portfolio, and what it was lent."""
    orders = _orders(targets)
    portfolio = vbt.Portfolio.from_order_func(
        close,
        _contract_nb,
        *_arguments(job, targets, lent),
        flexible=True,
        segment_mask=orders,
        fill_pos_record=False,
        init_cash=job.rules.cash + lent,
        max_orders=max(1, 2 * int(orders.sum())),
        freq=freq,
    )
    return portfolio, lent


def _index(job: Job) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """When bars end, without a time zone (which makes vectorbt slow); how far apart they usually are."""
    return pd.DatetimeIndex(job.ends.view("M8[ns]")), pd.Timedelta(
        int(np.median(np.diff(job.ends)))
    )


def _given(job: Job) -> Output:
    index, freq = _index(job)
    close = pd.Series(job.close, index=index)
    assert job.targets is not None  # noqa: S101 - given
    portfolio, lent = _lending(job, _simulated, job.targets[:, None], close, freq)
    own = {} if lent else _own(portfolio)  # they would count what is lent
    return Output(_fills(portfolio), portfolio.value().to_numpy() - lent, job.targets, own)


def _fills(portfolio: Any) -> list[Fill]:
    records = portfolio.orders.values
    sides = np.where(records["side"] == OrderSide.Buy, 1, -1)
    columns = (records["idx"], sides, records["size"], records["price"], records["fees"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _own(portfolio: Any) -> dict[str, float]:
    own = {
        "sharpe": portfolio.sharpe_ratio(),
        "total_return": portfolio.total_return(),
        "max_drawdown": -portfolio.max_drawdown(),
        "trades": portfolio.trades.count(),
    }
    return {name: float(value) for name, value in own.items() if math.isfinite(value)}


# ------------------------------------------------------------------------------------------- sweeps


@njit
def _mark_nb(c: Any, equity: Any) -> None:
    """Write down what the column is worth at the close of the bar."""
    equity[c.from_col, c.i] = c.last_value[c.from_col]


def _swept(job: SweepJob, targets: Int8s, lent: float) -> Floats:
    columns, bars = targets.shape
    orders = _orders(targets)
    equity = np.empty((columns, bars))
    nb.flex_simulate_nb(
        (bars, columns),
        np.ones(columns, dtype=np.int64),
        np.full(columns, job.rules.cash + lent),
        cash_sharing=False,
        segment_mask=orders,
        call_post_segment=True,
        post_segment_func_nb=_mark_nb,
        post_segment_args=(equity,),
        flex_order_func_nb=_contract_nb,
        flex_order_args=_arguments(job, targets, lent),
        close=job.close[:, None],
        fill_pos_record=False,
        max_orders=max(1, 2 * int(orders.sum())),
    )
    if lent:
        equity -= lent
    return equity.T


def _swept_by_portfolio(job: SweepJob, targets: Int8s, lent: float) -> Floats:
    close = pd.DataFrame(np.broadcast_to(job.close[:, None], targets.T.shape))
    portfolio, _ = _simulated(job, targets, lent, close, None)
    value: Floats = portfolio.value().to_numpy() - lent
    return value


# ------------------------------------------------------------------------------------------- native


def _native(job: Job) -> Output:
    index, freq = _index(job)
    close = pd.Series(job.close, index=index)
    rules = job.rules
    entries, exits = _signals(job, close)
    portfolio = vbt.Portfolio.from_signals(
        close,
        entries,
        exits,
        size=rules.shares if rules.sizing == "fixed" else None,
        init_cash=rules.cash,
        fees=rules.commission / job.close,
        slippage=rules.slippage_bp / 10_000,
        freq=freq,
    )
    wanted = pd.Series(np.nan, index=index).mask(exits, 0.0).mask(entries, 1.0).ffill().fillna(0)
    value = portfolio.value().to_numpy()
    return Output(_fills(portfolio), value, wanted.to_numpy(np.int8), _own(portfolio))


def _signals(job: Job, close: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Where to enter and where to leave, by vectorbt's own indicators."""
    given = job.parameters
    if job.strategy == "moving-average-cross":
        fast, slow = vbt.MA.run(close, given["fast"]), vbt.MA.run(close, given["slow"])
        return fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    if job.strategy == "mean-reversion":
        bands = vbt.BBANDS.run(close, window=given["window"], alpha=given["entry"])
        deviation = (bands.upper - bands.middle) / given["entry"]
        return bands.close_below(bands.lower), close > bands.middle - given["exit"] * deviation
    entries = pd.Series(False, index=close.index)
    entries.iloc[0] = True
    return entries, pd.Series(False, index=close.index)
