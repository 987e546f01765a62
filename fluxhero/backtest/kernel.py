"""The rules of a backtest compiled to machine code; only `fast` imports this, and late: numba is slow to load.

Whole numbers throughout: prices of bars in ticks of 0.0001 USD, money in units of 0.00000001 USD. What would
not fit 64 bits ends the run instead of wrapping around.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from numba import types

from fluxhero.backtest import rules
from fluxhero.backtest.bars import Int8s, Ints

# Compiled code is kept on disk and found again by this file's content alone: to name the content of rules.py
# (its SHA-256) here is what makes a change there count.
RULES: Final = "99b2a644a7749d09da1382ef0dba2b0446ed20dca9d801028c24fa8e926efdf0"

SHRINK, REJECT, ALLOW = 0, 1, 2
FILLED, SHRUNK, UNAFFORDABLE, NO_CASH, EXPIRED = 0, 1, 2, 3, 4
SIGNAL_BAR, SIDE, ORDERED, SHARES, OUTCOME, PRICE = 0, 1, 2, 3, 4, 5
UNCOUNTABLE = -(2**63)

_MOST = float(rules.MOST_UNITS)
_BASIS = rules.BASIS

F = TypeVar("F", bound=Callable[..., Any])


def _inner(function: F) -> F:
    """Compiled as a part of what calls it."""
    return cast("F", numba.njit(error_model="numpy")(function))


def entry(signature: Any) -> Callable[[F], F]:
    """Compiled for these types, and kept on disk where there is a place (beside this file, or the user's cache)."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}

    def compiled(function: F) -> F:
        try:
            return cast("F", numba.njit(signature, cache=True, **options)(function))
        except RuntimeError:  # nowhere to keep it: each process compiles it for itself
            return cast("F", numba.njit(signature, **options)(function))

    return compiled


_entry_shares = _inner(rules.entry_shares)
_fill_bp = _inner(rules.fill_bp)
_fill_price = _inner(rules.fill_price)
_affordable = _inner(rules.affordable)

_COUNT = types.int64
_COLUMN = types.Array(_COUNT, 1, "C", readonly=True)
_TARGETS = types.Array(types.int8, 1, "C", readonly=True)
_ROOM = types.int64[::1]
_ROWS = types.int64[:, ::1]
_TUPLE: Any = types.UniTuple
_COUNTS = _TUPLE(_COUNT, 3)


@_inner
def _cash_after(cash: int, side: int, shares: int, price: int, commission: int) -> int:
    """The cash after a fill, or UNCOUNTABLE; whether it can be counted, a float is near enough to tell."""
    worth, cost = float(shares) * price, float(shares) * commission
    if worth + cost > _MOST or abs(cash - side * worth - cost) > _MOST:
        return UNCOUNTABLE
    return cash - side * shares * price - shares * commission


@_inner
def _countable(cash: int, held: int, close: int) -> bool:
    """Whether cash and what is held at a close can be counted."""
    worth = float(held) * close * _BASIS
    return abs(worth) <= _MOST and abs(cash + worth) <= _MOST


@_inner
def _next_change(targets: Int8s, bar: int, target: int) -> int:
    """The first bar from this one on after which the target is another; the number of bars if there is none."""
    while bar < len(targets) and targets[bar] == target:
        bar += 1
    return bar


@_inner
def _mark(
    closes: Ints, first: int, last: int, cash: int, held: int, most: int, equity: Ints, marks: Ints
) -> int:
    """Note the equity of bars through which nothing is traded; the bar at which it cannot be counted, or -1.

    Where the highest close of all can be counted and the cash alone, every close can: the loop is a simple one.
    """
    if not (_countable(cash, held, most) and _countable(cash, 0, 0)):
        for bar in range(first, last):
            if not _countable(cash, held, closes[bar]):
                return bar
    for bar in range(first, last):
        equity[bar] = cash + held * closes[bar] * _BASIS
    if marks.shape[1]:
        marks[0, first:last] = held
        marks[1, first:last] = cash
    return -1


@_inner
def _entry_filled(ordered: int, cash: int, price: int, commission: int, policy: int) -> int:
    """How many of the ordered shares of an entry are filled."""
    most = _affordable(cash, price, commission)
    if ordered <= most or policy == ALLOW:
        return ordered
    return most if policy == SHRINK else 0


@_inner
def _note_order(orders: Ints, order: int, bar: int, side: int, ordered: int, outcome: int) -> None:
    """Note an order that was given, if orders are to be noted."""
    if order < len(orders):
        orders[order, SIGNAL_BAR] = bar
        orders[order, SIDE] = side
        orders[order, ORDERED] = ordered
        orders[order, SHARES] = 0
        orders[order, OUTCOME] = outcome
        orders[order, PRICE] = 0


@_inner
def _note_fill(orders: Ints, order: int, shares: int, price: int) -> None:
    """Note what became of an order at the open after it."""
    if order < len(orders):
        orders[order, SHARES] = shares
        orders[order, PRICE] = price
        if shares == orders[order, ORDERED]:
            orders[order, OUTCOME] = FILLED
        else:
            orders[order, OUTCOME] = SHRUNK if shares else NO_CASH


@entry(_COUNTS(_COLUMN, _COLUMN, _COLUMN, _TARGETS, _COLUMN, _ROOM, _ROWS, _ROWS))
def walk(
    opens: Ints,
    closes: Ints,
    traded: Ints,
    targets: Int8s,
    rule: Ints,
    equity: Ints,
    marks: Ints,
    orders: Ints,
) -> tuple[int, int, int]:
    """Trade the targets.

    Args:
        opens: of the bars.
        closes: of the bars.
        traded: volume of all bars before each, and of all.
        targets: after each bar.
        rule: cash, commission, slippage and impact in basis points, impact fraction in ten-thousandths,
            bars of the volume's average, shares an order (0: all-in), cash policy, highest close.
        equity: room for the equity at each close.
        marks: room for shares and cash at each close (2 rows), or for nothing.
        orders: room for the orders, or for nothing.

    Returns:
        How many orders were given, how many positions were left, and the bar at which an amount
        could no longer be counted (-1: none).
    """
    cash, commission, slippage_bp, impact_bp = rule[0], rule[1], rule[2], rule[3]
    impact_parts, window, fixed, policy, most = rule[4], rule[5], rule[6], rule[7], rule[8]
    held = before = given = left = 0
    leaving = leaving_bp = leaving_order = 0
    entering = entering_bp = ordered = 0
    bar, count = 0, len(closes)
    while bar < count:
        if leaving:
            price = _fill_price(opens[bar], leaving, leaving_bp)
            cash = _cash_after(cash, leaving, abs(held), price, commission)
            if cash == UNCOUNTABLE:
                return given, left, bar
            _note_fill(orders, leaving_order, abs(held), price)
            leaving = held = 0
            left += 1
        if entering:
            price = _fill_price(opens[bar], entering, entering_bp)
            shares = _entry_filled(ordered, cash, price, commission, policy)
            cash = _cash_after(cash, entering, shares, price, commission)
            if cash == UNCOUNTABLE:
                return given, left, bar
            _note_fill(orders, given - 1, shares, price)
            held, entering = entering * shares, 0
        first, bar = bar, _next_change(targets, bar, before)
        beyond = _mark(closes, first, min(bar + 1, count), cash, held, most, equity, marks)
        if beyond >= 0:
            return given, left, beyond
        if bar == count:
            break
        before = targets[bar]
        counted = min(bar + 1, window)
        volume = traded[bar + 1] - traded[bar + 1 - counted]
        if held:
            leaving, leaving_order = -1 if held > 0 else 1, given
            leaving_bp = _fill_bp(abs(held), volume, counted, slippage_bp, impact_bp, impact_parts)
            _note_order(orders, given, bar, leaving, abs(held), EXPIRED)
            given += 1
        if before:
            ordered = fixed or _entry_shares(equity[bar], closes[bar], slippage_bp, commission)
            entering = before if ordered else 0
            entering_bp = _fill_bp(ordered, volume, counted, slippage_bp, impact_bp, impact_parts)
            _note_order(orders, given, bar, before, ordered, EXPIRED if ordered else UNAFFORDABLE)
            given += 1
        bar += 1
    return given, left, -1


@_inner
def _part(commission: int, shares: int, whole: int) -> int:
    """The share of a commission that falls to some of the shares, cut to a unit."""
    rest = float(commission % whole) * shares / whole  # a product that may not fit 64 bits
    return commission // whole * shares + int(rest)


@entry(_COUNT(_COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN, _ROWS, _ROWS))
def match(
    bars: Ints, sides: Ints, shares: Ints, prices: Ints, commissions: Ints, lots: Ints, trips: Ints
) -> int:
    """Match fills into round trips, first in first out.

    Args:
        bars: place of the bar of each fill.
        sides: 1 to buy, -1 to sell.
        shares: above zero.
        prices: a share.
        commissions: of each fill in all.
        lots: room for a row a fill: what is open, oldest first.
        trips: room for two rows a fill, as `tables.round_trips_table` reads them.

    Returns:
        How many round trips there are.
    """
    oldest = newest = made = 0
    for fill in range(len(bars)):
        left, commission = shares[fill], commissions[fill]
        while left and oldest < newest and lots[oldest, 0] != sides[fill]:
            lot = lots[oldest]
            matched = min(left, lot[1])
            paid = lot[4] if matched == lot[1] else _part(lot[4], matched, lot[1])
            paying = commission if matched == left else _part(commission, matched, left)
            trip = trips[made]
            trip[0], trip[1] = lot[0], matched
            trip[2], trip[3] = lot[2], lot[3]
            trip[4], trip[5] = bars[fill], prices[fill]
            trip[6] = paid + paying
            made += 1
            left, commission = left - matched, commission - paying
            lot[1], lot[4] = lot[1] - matched, lot[4] - paid
            oldest += 0 if lot[1] else 1
        if left:
            lots[newest, 0], lots[newest, 1] = sides[fill], left
            lots[newest, 2], lots[newest, 3] = bars[fill], prices[fill]
            lots[newest, 4] = commission
            newest += 1
    return made
