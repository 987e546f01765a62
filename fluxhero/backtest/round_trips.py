"""What follows from fills, whichever engine made them: round trips first in first out, equity and orders."""

from decimal import Decimal

import numpy as np
import pyarrow as pa

from fluxhero.backtest.bars import Bars, Ints
from fluxhero.backtest.results import Reason, Status
from fluxhero.backtest.rules import BASIS, MOST_UNITS
from fluxhero.backtest.tables import (
    beyond_units,
    equity_table,
    integers,
    orders_table,
    round_trips_table,
    signs,
    units,
    units_of,
    words,
)


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

    side, shares = signs(fills["side"]), integers(fills["shares"])
    bar, price = integers(fills["bar"]), units(fills["price"])
    commission = units(fills["commission"])
    _countable(shares, price, bar)
    trips = np.empty((2 * len(side), 7), np.int64)
    lots = np.empty((len(side), 5), np.int64)
    made = match(bar, side, shares, price, commission, lots, trips)
    return round_trips_table(bars, trips[:made])


def equity_from_fills(fills: pa.Table, bars: Bars, cash: Decimal) -> pa.Table:
    """The equity at each close (`EQUITY`) that fills make of the starting cash.

    Raises:
        BadInputError: an amount is beyond what can be counted.
    """
    side, shares = signs(fills["side"]), integers(fills["shares"])
    bar, price = integers(fills["bar"]), units(fills["price"])
    _countable(shares, price, bar)
    held, paid = np.zeros(len(bars), np.int64), np.zeros(len(bars), np.int64)
    np.add.at(held, bar, side * shares)
    np.add.at(paid, bar, side * shares * price + units(fills["commission"]))
    held = np.cumsum(held)
    _countable(held, bars.close * BASIS, np.arange(len(bars)))
    left = units_of(cash) - np.cumsum(paid)
    return equity_table(bars, held, left, left + held * bars.close * BASIS)


def orders_from_fills(fills: pa.Table, bars: Bars) -> pa.Table:
    """An order (`ORDERS`) for each fill of an engine that tells of no others: given on the bar before."""
    shares = integers(fills["shares"])
    signal_bar = np.maximum(integers(fills["bar"]) - 1, 0)
    codes = np.zeros(len(shares), np.int8)
    outcome = (words(codes, [Status.FILLED]), words(codes, [Reason.NONE]))
    return orders_table(bars, signal_bar, signs(fills["side"]), shares, shares, outcome)


def _countable(shares: Ints, price: Ints, bar: Ints) -> None:
    """Refuse a product that 64 bits do not hold; floats are near enough to tell."""
    beyond = np.flatnonzero(np.abs(shares.astype(float) * price) > MOST_UNITS)
    if len(beyond):
        raise beyond_units(int(bar[beyond[0]]))
