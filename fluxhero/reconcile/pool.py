"""The broker's orders of one symbol that no trade has been given yet, and those that could make a leg."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import combinations, islice
from typing import Final

from fluxhero.reconcile.exact import units
from fluxhero.reconcile.executed import Executed, together
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import ENTRY, Leg, Trade

_MOST_ORDERS: Final = 100  # that make one leg, one after the other
_MOST_IN_COMBINATION: Final = 4  # that make one with others between them
_MOST_COMBINED: Final = 12  # of which they are chosen

Orders = tuple[Executed, ...]


class Pool:
    """Orders that are free to be taken, by their side and in order of time."""

    def __init__(self, orders: Sequence[Executed]) -> None:
        self._sides: dict[str, list[Executed]] = {}
        for order in sorted(orders, key=lambda one: (one.first, one.orders)):
            self._sides.setdefault(order.side, []).append(order)
        self._starts = {side: [one.first for one in some] for side, some in self._sides.items()}
        lasting = (one.last - one.first for one in orders)
        self._longest = max(lasting, default=timedelta(0))
        self._taken: set[int] = set()
        self._by_name: dict[str, list[Executed]] = {}
        for order in orders:
            self._by_name.setdefault(plain_id(order.orders[0]), []).append(order)

    def take(self, orders: Orders) -> Executed:
        """Give them away, as one."""
        self._taken |= {id(one) for one in orders}
        return together(orders)

    def is_free(self, order: Executed) -> bool:
        """Whether nobody has taken it."""
        return id(order) not in self._taken

    def free(self) -> list[Executed]:
        """All that are left, in order of time."""
        left = [one for some in self._sides.values() for one in some if self.is_free(one)]
        return sorted(left, key=lambda one: (one.first, one.orders))

    def named(self, leg: Leg) -> Executed | None:
        """The free order that the bot says this leg was; its side tells which leg it can be."""
        if leg.trade.order_id is None:
            return None
        several = self._by_name.get(plain_id(leg.trade.order_id), [])
        free = (one for one in several if one.side == leg.side and self.is_free(one))
        return next(free, None)

    def near(self, leg: Leg, window: timedelta, priced: Tolerances | None = None) -> list[Executed]:
        """Free orders on a leg's side within a window of its time, the nearest first.

        With `priced` only those at its price.
        """
        found = [
            (one.distance(leg.at), place, one)
            for place, one in enumerate(self._between(leg, leg.at - window, leg.at + window))
        ]
        return [
            one
            for distance, _, one in sorted(found, key=lambda candidate: candidate[:2])
            if distance <= window and _fits(leg, [one], priced)
        ]

    def exactly(self, leg: Leg, window: timedelta, *, priced: Tolerances | None = None) -> Orders:
        """The free order, or the several ones, that have a leg's quantity; none where there are none.

        Args:
            leg: the leg.
            window: how far from its time the nearest order may be.
            priced: the price must be the leg's, too, by these tolerances.
        """
        named = self.named(leg)
        near = self.near(leg, window) if named is None else [named]
        wanted = units(leg.quantity)
        for one in near:
            if one.quantity == wanted and _fits(leg, [one], priced):
                return (one,)
        for one in near:
            row = self._row(leg, one)
            several = _adding_up(row, wanted)
            if several and _fits(leg, several, priced):
                return _in_time(several)
            if priced is not None:
                for some in _combinations(row, wanted):
                    if _fits(leg, some, priced):
                        return _in_time(some)
        return ()

    def later(self, trade: Trade, after: datetime) -> Orders:
        """What closed a trade of which the bot does not say so: the first of its quantity after a time."""
        leg = Leg(trade, ENTRY, trade.exit_side, None, after)
        wanted = units(trade.quantity)
        rest = list(self._between(leg, after, None))
        for one in rest:
            if one.quantity == wanted:
                return (one,)
        return tuple(_adding_up(rest, wanted))

    def _row(self, leg: Leg, begin: Executed) -> list[Executed]:
        """The orders that may have made a leg together, from `begin` on: of an entry later, of an exit earlier."""
        trade = leg.trade
        if leg.role == ENTRY:
            some = self._between(leg, begin.first, trade.exit_time)
        else:
            some = reversed(list(self._between(leg, trade.entry_time, begin.first)))
        later = [one for one in islice(some, _MOST_ORDERS) if one is not begin]
        return [begin, *later]

    def _between(self, leg: Leg, start: datetime, end: datetime | None) -> Iterator[Executed]:
        """Free orders on a leg's side that could be of its trade, with a fill in a range of time."""
        some, starts = self._sides.get(leg.side, []), self._starts.get(leg.side, [])
        first = bisect_left(starts, start - self._longest)
        last = len(starts) if end is None else bisect_right(starts, end)
        for order in some[first:last]:
            if order.last >= start and self.is_free(order) and compatible(leg.trade, order):
                yield order


def compatible(trade: Trade, order: Executed) -> bool:
    """Whether the account and the currency agree, where the bot says which they are."""
    fill = order.sample
    return (trade.account is None or trade.account == fill.account) and (
        trade.currency is None or trade.currency == fill.currency
    )


def plain_id(order_id: str) -> str:
    """An order's id as the broker has it: in the ledger the broker, and an account, stand before it."""
    return order_id.rpartition(":")[2]


def price_agrees(leg: Leg, price: Decimal, tolerances: Tolerances) -> bool:
    """Whether a leg's price is the broker's; one that the bot does not say agrees with any."""
    return leg.price is None or abs(leg.price - price) <= tolerances.of_price(price)


def _fits(leg: Leg, orders: Sequence[Executed], priced: Tolerances | None) -> bool:
    return priced is None or price_agrees(leg, together(orders).price, priced)


def _adding_up(row: Sequence[Executed], wanted: int) -> list[Executed]:
    """The beginning of a row that sums to a quantity exactly; nothing where none does."""
    total = 0
    for count, one in enumerate(row[:_MOST_ORDERS], start=1):
        total += int(one.quantity)
        if total >= wanted:
            return list(row[:count]) if total == wanted else []
    return []


def _combinations(row: Sequence[Executed], wanted: int) -> Iterator[list[Executed]]:
    """The first of a row with some others that sum to a quantity: other trades' orders may lie between."""
    begin, *others = row
    left = wanted - int(begin.quantity)
    few = [one for one in others if one.quantity < wanted][:_MOST_COMBINED]
    for count in range(1, _MOST_IN_COMBINATION):
        for some in combinations(few, count):
            if sum(int(one.quantity) for one in some) == left:
                yield [begin, *some]


def _in_time(orders: Sequence[Executed]) -> Orders:
    return tuple(sorted(orders, key=lambda one: (one.first, one.orders)))
