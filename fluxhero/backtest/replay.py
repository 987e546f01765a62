"""One engine's orders replayed by the rules, with as many of its own deviations let in as asked.

What a deviation costs is the difference between two replays, knock-on effects on later sizes included: that
is how `agreement` attributes a difference so that its parts add up to the whole.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxhero.backtest import rules
from fluxhero.backtest.bars import Bars, Ints
from fluxhero.backtest.contract import UNIT, CashPolicy, Contract, Sizing

_CENT = Decimal("0.01")
_EXACT = Decimal("0.00001")  # a tenth of a basis point
_TICK_UNITS = 10_000  # a tick of 0.0001 USD in units of 0.00000001 USD


class Let(IntEnum):
    """A deviation of the engine that a replay can let in."""

    ORDERS = 1  # fills without an order, orders without a fill
    CLOSING = 2  # the forced sale at the end
    TIMING = 3
    PRICE = 4
    FEES = 5


@dataclass(frozen=True)
class Order:
    """What a change of the target asks for."""

    signal_bar: int
    side: int
    entering: bool


@dataclass(frozen=True)
class Fill:
    """One fill of an engine; at the open of its bar or at the close."""

    bar: int
    side: int
    shares: Decimal
    price: Decimal
    commission: Decimal
    entering: bool = True
    at_close: bool = False
    flat_after: bool = False  # nothing is held after it

    @property
    def phase(self) -> int:
        """Before (0) or after (2) what is decided at the close of its bar (1)."""
        return 2 if self.at_close else 0


@dataclass(frozen=True)
class Matched:
    """An engine's fills put to the orders that its signals ask for."""

    orders: tuple[Order, ...]
    fills: tuple[tuple[Fill, ...], ...]  # of each order
    extra: tuple[Fill, ...]  # that no order asks for
    closing: tuple[Fill, ...]  # the same, but closing what is open after the last signal


@dataclass(frozen=True)
class Done:
    """A fill of a replay: units and whole shares."""

    order: int
    part: int
    bar: int
    shares: int
    price: int
    commission: int


def units(money: Decimal) -> int:
    """Money as a whole number of 0.00000001 USD."""
    return int((money / UNIT).to_integral_value())


def fills_of(table: pa.Table) -> list[Fill]:
    """The fills of a result, oldest first; those of one bar, side and price are one."""
    merged: dict[tuple[int, str, Decimal], list[Decimal]] = {}
    names = ("bar", "side", "shares", "price", "commission")
    for bar, side, shares, price, commission in zip(
        *(table[name].to_pylist() for name in names), strict=True
    ):
        sums = merged.setdefault((bar, side, price), [Decimal(0), Decimal(0)])
        sums[0] += Decimal(shares)
        sums[1] += commission
    fills = [
        Fill(bar, 1 if side == "buy" else -1, shares, price, commission)
        for (bar, side, price), (shares, commission) in merged.items()
    ]
    return sorted(fills, key=lambda fill: fill.bar)


def orders_of(targets: npt.NDArray[np.int8]) -> tuple[Order, ...]:
    """The orders that targets ask for: of a reversal first the exit, then the entry."""
    before = np.concatenate([[0], targets[:-1]])
    orders = []
    for bar in np.flatnonzero(targets != before).tolist():
        if before[bar]:
            orders.append(Order(bar, -int(before[bar]), entering=False))
        if targets[bar]:
            orders.append(Order(bar, int(targets[bar]), entering=True))
    return tuple(orders)


def match(
    orders: Sequence[Order], fills: Sequence[Fill], bars: Bars, contract: Contract
) -> Matched:
    """Put each fill to the order it comes from, in the order of time."""
    places: dict[tuple[int, bool], list[int]] = {}
    for place, order in enumerate(orders):
        places.setdefault((order.side, order.entering), []).append(place)
    found: list[list[Fill]] = [[] for _ in orders]
    since: dict[int, int] = {}  # how often the engine had been flat at an order's first fill
    alone: list[Fill] = []
    flat = 0
    for piece in _pieces(fills):
        at = _order_of(piece, orders, places.get((piece.side, piece.entering), []))
        if at is None or since.setdefault(at, flat) != flat:
            alone.append(_timed(piece, -1, bars, contract))
        else:
            found[at].append(_timed(piece, orders[at].signal_bar, bars, contract))
        flat += piece.flat_after
    last = max(orders[-1].signal_bar if orders else -1, len(bars) - 3)
    closing = alone[-1:] if alone and alone[-1].flat_after and alone[-1].bar > last else []
    return Matched(
        tuple(orders),
        tuple(tuple(one) for one in found),
        tuple(alone[: len(alone) - len(closing)]),
        tuple(closing),
    )


def _pieces(fills: Sequence[Fill]) -> Iterator[Fill]:
    """The fills, one that turns a position round cut into exit and entry."""
    held = Decimal(0)
    for fill in fills:
        closes = min(fill.shares, abs(held)) if held * fill.side < 0 else Decimal(0)
        opens = fill.shares - closes
        fee = fill.commission
        if closes:
            held += fill.side * closes
            part = (fee * closes / fill.shares).quantize(UNIT) if opens else fee
            fee -= part
            yield Fill(fill.bar, fill.side, closes, fill.price, part, False, flat_after=not held)
        if opens:
            held += fill.side * opens
            yield Fill(fill.bar, fill.side, opens, fill.price, fee, True)


def _order_of(fill: Fill, orders: Sequence[Order], places: Sequence[int]) -> int | None:
    """The last order of the fill's kind given before it, or at the close of its bar."""
    latest = bisect_right(places, fill.bar, key=lambda place: orders[place].signal_bar) - 1
    return places[latest] if latest >= 0 else None


def _timed(fill: Fill, signal_bar: int, bars: Bars, contract: Contract) -> Fill:
    """The fill with whether it is of its bar's open or close, told by its price.

    What is exactly the contract's price at one of the two is of that one; else it is of the open where it is near
    it. At the open of its own bar a signal is not known yet.
    """
    closes = fill.bar == signal_bar
    if not closes:
        opened, closed = (Decimal(int(one[fill.bar])) / 10_000 for one in (bars.open, bars.close))
        off_open, off_close = (_off(fill, base, contract) for base in (opened, closed))
        far = 2 * Decimal(contract.slippage_bp + contract.impact_bp) / rules.BASIS * opened + _CENT
        is_near = abs(fill.price - opened) <= far
        closes = off_close <= _EXACT < off_open or not (is_near or off_open <= off_close)
    return replace(fill, at_close=closes)


def _off(fill: Fill, base: Decimal, contract: Contract) -> Decimal:
    """By what part of a price the fill is off the contract's price at an open or close."""
    due = (contract.slippage_bp, contract.slippage_bp + contract.impact_bp)
    return min(abs(fill.side * (fill.price / base - 1) - Decimal(bp) / rules.BASIS) for bp in due)


@dataclass
class _Account:
    cash: int
    held: int = 0
    done: list[Done] = field(default_factory=list)


class Replay:
    """Orders and their fills on bars by the rules."""

    def __init__(self, matched: Matched, bars: Bars, contract: Contract) -> None:
        self._matched = matched
        self._bars = bars
        self._contract = contract
        self._commission = units(contract.commission)
        self._parts = int(contract.impact_fraction * rules.BASIS)
        volume: Ints = np.concatenate([[0], np.cumsum(bars.volume)]).astype(np.int64)
        self._volume = volume

    def run(self, let: Collection[Let]) -> tuple[int, list[Done]]:
        """The equity after the last bar, in units, and the fills, with these deviations let in."""
        account = _Account(units(self._contract.cash))
        ordered: dict[int, int] = {}
        for (bar, phase, _), order, fill, part in sorted(self._events(let), key=lambda one: one[0]):
            if order < 0 and fill is not None:
                self._unasked(account, fill)
            elif phase == 1:
                ordered[order] = self._ordered(account, self._matched.orders[order])
            else:
                self._filled(account, let, order, ordered[order], bar, fill, part)
        last = int(self._bars.close[-1]) * _TICK_UNITS
        return account.cash + account.held * last, account.done

    def _events(
        self, let: Collection[Let]
    ) -> Iterator[tuple[tuple[int, int, int], int, Fill | None, int]]:
        for place, (order, fills) in enumerate(
            zip(self._matched.orders, self._matched.fills, strict=True)
        ):
            if not fills and Let.ORDERS in let:
                continue
            yield (order.signal_bar, 1, place), place, None, 0
            if fills and Let.TIMING in let:
                for part, fill in enumerate(fills):
                    yield (fill.bar, fill.phase, place), place, fill, part
            elif order.signal_bar + 1 < len(self._bars):
                yield (order.signal_bar + 1, 0, place), place, None, 0
        after = len(self._matched.orders)
        for kind, alone in (
            (Let.ORDERS, self._matched.extra),
            (Let.CLOSING, self._matched.closing),
        ):
            for fill in alone if kind in let else ():
                yield (fill.bar, fill.phase, after), -1, fill, 0

    def _ordered(self, account: _Account, order: Order) -> int:
        if not order.entering:
            return 0
        if self._contract.sizing is Sizing.FIXED:
            return self._contract.shares
        close = int(self._bars.close[order.signal_bar])
        equity = account.cash + account.held * close * _TICK_UNITS
        return rules.entry_shares(equity, close, self._contract.slippage_bp, self._commission)

    def _filled(
        self,
        account: _Account,
        let: Collection[Let],
        place: int,
        ordered: int,
        bar: int,
        fill: Fill | None,
        part: int,
    ) -> None:
        order, fills = self._matched.orders[place], self._matched.fills[place]
        if not order.entering:
            ordered = max(0, -order.side * account.held)
        price = self._price(order, ordered, bar, at_close=fill is not None and fill.at_close)
        shares = ordered
        if fill is not None and len(fills) > 1:
            shares = _share_of(ordered, fills, part) if order.entering else shares
            if not order.entering and part < len(fills) - 1:
                left = sum((one.shares for one in fills[part:]), Decimal(0))
                shares = int(ordered * fill.shares / left)
        if fill is None and len(fills) == 1:
            fill = fills[0]
        if fill is not None and Let.PRICE in let:
            price = units(fill.price)
        if order.entering:
            shares = self._covered(account.cash, shares, price)
        fee = shares * self._commission
        if fill is not None and Let.FEES in let:
            fee = int(units(fill.commission) * Fraction(shares) / Fraction(fill.shares))
        self._book(account, Done(place, part, bar, shares, price, fee), order.side)

    def _price(self, order: Order, ordered: int, bar: int, *, at_close: bool) -> int:
        end = order.signal_bar + 1
        first = max(0, end - self._contract.volume_window)
        bp = rules.fill_bp(
            ordered,
            int(self._volume[end] - self._volume[first]),
            end - first,
            self._contract.slippage_bp,
            self._contract.impact_bp,
            self._parts,
        )
        base = self._bars.close if at_close else self._bars.open
        return rules.fill_price(int(base[bar]), order.side, bp)

    def _covered(self, cash: int, shares: int, price: int) -> int:
        policy = self._contract.cash_policy
        if policy is CashPolicy.ALLOW or shares * (price + self._commission) <= cash:
            return shares
        if policy is CashPolicy.REJECT:
            return 0
        return rules.affordable(cash, price, self._commission)

    def _unasked(self, account: _Account, fill: Fill) -> None:
        shares = int(fill.shares)
        if fill.flat_after:
            shares = max(0, -fill.side * account.held)
        fee = int(units(fill.commission) * Fraction(shares) / Fraction(fill.shares))
        self._book(account, Done(-1, 0, fill.bar, shares, units(fill.price), fee), fill.side)

    def _book(self, account: _Account, done: Done, side: int) -> None:
        if done.shares:
            account.cash -= side * done.shares * done.price + done.commission
            account.held += side * done.shares
            account.done.append(done)


def _share_of(ordered: int, fills: Sequence[Fill], part: int) -> int:
    """The shares of one of several fills of an order, in the proportion of the engine's."""
    whole = sum((fill.shares for fill in fills), Decimal(0))
    before = sum((fill.shares for fill in fills[:part]), Decimal(0))
    return int(ordered * (before + fills[part].shares) / whole) - int(ordered * before / whole)
