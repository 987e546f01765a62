"""The rules of a backtest compiled to machine code; only `fast` imports this, and late: numba is slow to load.

Whole numbers throughout: prices of bars in ticks of 0.0001 USD, money in units of 0.00000001 USD. What would
not fit 64 bits ends the run instead of wrapping around.
"""

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import numba
from numba import types

from fluxhero.backtest import rules
from fluxhero.backtest.bars import Int8s, Ints
from fluxhero.backtest.tables import MOST_UNITS

# Compiled code is kept on disk and found again by this file's content alone: to name the content of rules.py
# (its SHA-256) here is what makes a change there count.
RULES: Final = "c321a720e9cbacf34e17102c45741c5dc5c385c80db0dc5effe57c7379816387"

SHRINK, REJECT, ALLOW = 0, 1, 2
FILLED, SHRUNK, UNAFFORDABLE, NO_CASH, EXPIRED = 0, 1, 2, 3, 4
SIGNAL_BAR, SIDE, ORDERED, SHARES, OUTCOME, PRICE = 0, 1, 2, 3, 4, 5
ORDER_COLUMNS = 6
UNCOUNTABLE = -(2**63)

_MOST = float(MOST_UNITS)
_BASIS = rules.BASIS

P = ParamSpec("P")
T = TypeVar("T")


def _compiled(function: Callable[P, T], signature: Any = None) -> Callable[P, T]:
    """Compiled, and kept on disk where there is a place for that (beside this file, or the user's cache)."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        made = numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # nowhere to keep it: compiled anew by each process
        made = numba.njit(signature, **options)(function)
    return made  # type: ignore[no-any-return]


_entry_shares = numba.njit(rules.entry_shares)
_fill_bp = numba.njit(rules.fill_bp)
_fill_price = numba.njit(rules.fill_price)
_affordable = numba.njit(rules.affordable)


@numba.njit
def _cash_after(cash: int, side: int, shares: int, price: int, commission: int) -> int:
    """The cash after a fill, or UNCOUNTABLE; whether it can be counted, a float is near enough to tell."""
    worth, cost = float(shares) * price, float(shares) * commission
    if worth + cost > _MOST or abs(cash - side * worth - cost) > _MOST:
        return UNCOUNTABLE
    return cash - side * shares * price - shares * commission


@numba.njit
def _equity_at(cash: int, held: int, close: int) -> int:
    """Cash and what is held at a close, or UNCOUNTABLE."""
    worth = float(held) * close * _BASIS
    if abs(worth) > _MOST or abs(cash + worth) > _MOST:
        return UNCOUNTABLE
    return cash + held * close * _BASIS


@numba.njit
def _entry_filled(ordered: int, cash: int, price: int, commission: int, policy: int) -> int:
    """How many of the ordered shares of an entry are filled."""
    most = _affordable(cash, price, commission)
    if ordered <= most or policy == ALLOW:
        return ordered
    return most if policy == SHRINK else 0


@numba.njit
def _note_order(orders: Ints, order: int, bar: int, side: int, ordered: int, outcome: int) -> None:
    """Note an order that was given, if orders are to be noted."""
    if order < len(orders):
        orders[order, SIGNAL_BAR] = bar
        orders[order, SIDE] = side
        orders[order, ORDERED] = ordered
        orders[order, SHARES] = 0
        orders[order, OUTCOME] = outcome
        orders[order, PRICE] = 0


@numba.njit
def _note_fill(orders: Ints, order: int, shares: int, price: int) -> None:
    """Note what became of an order at the open after it."""
    if order < len(orders):
        orders[order, SHARES] = shares
        orders[order, PRICE] = price
        if shares == orders[order, ORDERED]:
            orders[order, OUTCOME] = FILLED
        else:
            orders[order, OUTCOME] = SHRUNK if shares else NO_CASH


def _walk(
    opens: Ints,
    closes: Ints,
    volumes: Ints,
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
        volumes: of the bars.
        targets: after each bar.
        rule: cash, commission, slippage and impact in basis points, impact fraction in ten-thousandths,
            bars of the volume's average, shares an order (0: all-in), cash policy.
        equity: room for the equity at each close.
        marks: room for shares and cash at each close (2 rows), or for nothing.
        orders: room for the orders, or for nothing.

    Returns:
        How many orders were given, how many positions were left, and the bar at which an amount
        could no longer be counted (-1: none).
    """
    cash, commission, slippage_bp, impact_bp = rule[0], rule[1], rule[2], rule[3]
    impact_parts, window, fixed, policy = rule[4], rule[5], rule[6], rule[7]
    held = before = given = left = volume = 0
    leaving = leaving_bp = leaving_order = 0
    entering = entering_bp = ordered = 0
    for bar in range(len(closes)):
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
        worth = _equity_at(cash, held, closes[bar])
        if worth == UNCOUNTABLE:
            return given, left, bar
        equity[bar] = worth
        if marks.shape[1]:
            marks[0, bar], marks[1, bar] = held, cash
        volume += volumes[bar] - (volumes[bar - window] if bar >= window else 0)
        target = targets[bar]
        if target == before:
            continue
        before = target
        counted = min(bar + 1, window)
        if held:
            leaving, leaving_order = -1 if held > 0 else 1, given
            leaving_bp = _fill_bp(abs(held), volume, counted, slippage_bp, impact_bp, impact_parts)
            _note_order(orders, given, bar, leaving, abs(held), EXPIRED)
            given += 1
        if target:
            ordered = fixed or _entry_shares(worth, closes[bar], slippage_bp, commission)
            entering = target if ordered else 0
            entering_bp = _fill_bp(ordered, volume, counted, slippage_bp, impact_bp, impact_parts)
            _note_order(orders, given, bar, target, ordered, EXPIRED if ordered else UNAFFORDABLE)
            given += 1
    return given, left, -1


_READ = types.Array(types.int64, 1, "C", readonly=True)
_WRITTEN = types.int64[:, ::1]
_TARGETS = types.Array(types.int8, 1, "C", readonly=True)
walk: Final = _compiled(
    _walk,
    types.UniTuple(types.int64, 3)(
        _READ, _READ, _READ, _TARGETS, _READ, types.int64[::1], _WRITTEN, _WRITTEN
    ),
)


@numba.njit
def _part(commission: int, shares: int, whole: int) -> int:
    """The share of a commission that falls to some of the shares, cut to a unit."""
    rest = float(commission % whole) * shares / whole  # a product that may not fit 64 bits
    return commission // whole * shares + int(rest)


def _match(
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


match: Final = _compiled(_match, types.int64(_READ, _READ, _READ, _READ, _READ, _WRITTEN, _WRITTEN))
