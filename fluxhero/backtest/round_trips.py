"""What follows from fills, whichever engine made them: round trips first in first out, equity and orders."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from fluxhero.backtest.bars import Bars, Floats, Ints
from fluxhero.backtest.results import Reason, Status
from fluxhero.backtest.rules import BASIS, MOST_UNITS
from fluxhero.backtest.tables import (
    beyond_units,
    counts,
    equity_table,
    integers,
    orders_table,
    round_trips_table,
    signs,
    units,
    units_of,
    words,
    worth,
)


@dataclass(frozen=True, eq=False)
class _Fills:
    """The columns of `FILLS` that count, in whole numbers.

    Attributes:
        bar: place of the bar.
        side: 1 to buy, -1 to sell.
        shares: above zero, of this `kind` (`tables.WHOLE` or `tables.PARTS`).
        kind: see there.
        price: units a share.
        commission: units in all.
    """

    bar: Ints
    side: Ints
    shares: Ints
    kind: int
    price: Ints
    commission: Ints

    @classmethod
    def of(cls, fills: pa.Table) -> "_Fills":
        shares, kind = counts(fills["shares"])
        made = cls(
            integers(fills["bar"]),
            signs(fills["side"]),
            shares,
            kind,
            units(fills["price"]),
            units(fills["commission"]),
        )
        _require_countable(made.spent, made.bar)
        return made

    @property
    def spent(self) -> Floats:
        """What each took from the cash, about."""
        return self.side * _about(self.shares, self.price, self.kind) + self.commission


def round_trips(fills: pa.Table, bars: Bars) -> pa.Table:
    """Match fills into round trips (`ROUND_TRIPS`), the oldest entry first, in the order of their exits.

    An exit of part of an entry is a round trip of its own and carries its share of the entry's commission,
    cut to 0.00000001 USD; the last part carries the rest. What stays open makes none.

    Args:
        fills: `FILLS`, in the order in which they happened.
        bars: those of the backtest.

    Raises:
        BadInputError: an amount is beyond what can be counted.
    """
    from fluxhero.backtest.kernel import match

    done = _Fills.of(fills)
    trips = np.empty((2 * len(done.side), 7), np.int64)
    open_lots = np.empty((len(done.side), 5), np.int64)
    made = match(done.bar, done.side, done.shares, done.price, done.commission, open_lots, trips)
    return round_trips_table(bars, trips[:made], done.kind)


def equity_from_fills(fills: pa.Table, bars: Bars, cash: Decimal) -> pa.Table:
    """The equity at each close (`EQUITY`) that fills make of the starting cash.

    Raises:
        BadInputError: an amount is beyond what can be counted.
    """
    done = _Fills.of(fills)
    every, marks = np.arange(len(bars)), bars.close * BASIS
    held = _summed(done.bar, done.side * done.shares, len(bars))
    about_spent: Floats = np.bincount(done.bar, done.spent, len(bars)).astype(np.float64)
    about_left = units_of(cash) - np.cumsum(about_spent)
    about_held = _about(held, marks, done.kind)
    for amounts in (about_left, about_held, about_left + about_held):
        _require_countable(amounts, every)
    spent = done.side * worth(done.shares, done.price, done.kind) + done.commission
    left = units_of(cash) - _summed(done.bar, spent, len(bars))
    return equity_table(bars, held, left, left + worth(held, marks, done.kind), done.kind)


def orders_from_fills(fills: pa.Table, bars: Bars) -> pa.Table:
    """An order (`ORDERS`) for each fill of an engine that tells of no others: given on the bar before."""
    shares, kind = counts(fills["shares"])
    signal_bar = np.maximum(integers(fills["bar"]) - 1, 0)
    codes = np.zeros(len(shares), np.int8)
    outcome = (words(codes, [Status.FILLED]), words(codes, [Reason.NONE]))
    return orders_table(bars, signal_bar, signs(fills["side"]), shares, shares, outcome, kind)


def _summed(bar: Ints, amounts: Ints, bars: int) -> Ints:
    """All amounts up to and including each bar."""
    total = np.zeros(bars, np.int64)
    np.add.at(total, bar, amounts)
    return np.cumsum(total)


def _about(shares: Ints, price: Ints, kind: int) -> Floats:
    """Shares at a price in units, near enough to tell whether it can be counted."""
    return shares * (price / kind)


def _require_countable(amounts: Floats, bar: Ints) -> None:
    """Refuse an amount that 64 bits do not hold."""
    beyond = np.flatnonzero(np.abs(amounts) > MOST_UNITS)
    if len(beyond):
        raise beyond_units(int(bar[beyond[0]]))
