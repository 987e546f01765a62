"""Which of the broker's orders a trade of the bot's was made of.

First whole round trips, then leg by leg what is left: an order that the bot names, an order of the leg's
quantity near its time, several that sum to it, one order that several legs share, then what agrees in quantity
and price but not in time, and last what agrees in time but not in quantity. Whatever agrees in more
goes first, and of equals the nearest in time. Each order is given away once.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from fluxhero.reconcile.executed import Executed, orders_of
from fluxhero.reconcile.matching import match
from fluxhero.reconcile.pool import Orders, Pool
from fluxhero.reconcile.round_trips import RoundTrip
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import Leg, Trade
from fluxhero.reconcile.whole import Score, Whole, Wholes, as_equal, as_unequal

_NO_TIME = timedelta(0)
_Found = list[tuple[Leg, Orders]]


@dataclass(slots=True)
class Pair:
    """A trade, and what the broker executed of its legs, as far as it is known."""

    trade: Trade
    entry: Executed | None = None
    exit: Executed | None = None

    @property
    def missing_legs(self) -> list[Leg]:
        """Legs of which no order is known yet."""
        legs = [self.trade.entry] if self.entry is None else []
        leaving = self.trade.exit
        return [*legs, leaving] if leaving is not None and self.exit is None else legs

    @property
    def is_found(self) -> bool:
        """Whether anything of it is."""
        return self.entry is not None or self.exit is not None

    def give(self, leg: Leg, executed: Executed) -> None:
        """Note what made a leg."""
        if leg == self.trade.entry:
            self.entry = executed
        else:
            self.exit = executed


@dataclass(frozen=True, slots=True)
class Paired:
    """Every trade, the orders that belong to none, and how much is held on each side."""

    pairs: tuple[Pair, ...]
    left: tuple[Executed, ...]
    held: dict[str, Decimal]


def pair(trades: Sequence[Trade], trips: Sequence[RoundTrip], tolerances: Tolerances) -> Paired:
    """Pair the trades of one symbol with the broker's round trips in it.

    Args:
        trades: of one mode, whatever the account.
        trips: all that the fills of this mode and symbol make.
        tolerances: what counts as near and equal.
    """
    pairs = [Pair(trade) for trade in trades]
    held: dict[str, Decimal] = {}
    for trip in trips:
        held[trip.side] = held.get(trip.side, Decimal(0)) + trip.open_quantity
    near = tolerances.near
    rest = _whole_trips(pairs, trips, near, lambda trade, whole: as_equal(trade, whole, tolerances))
    pool = Pool(orders_of(part for trip in rest for part in trip.parts if part.fill.is_order))
    for window, priced in ((near, tolerances), (near, None), (tolerances.shifted, tolerances)):
        _exactly(pairs, pool, window, priced)
        _shared(pairs, pool, window, priced)
        _exactly(pairs, pool, window, priced)
    leftover = match(fill for order in pool.free() for fill in order.fills()).trips
    rest = _whole_trips(pairs, leftover, near, lambda trade, whole: as_unequal(trade, whole, near))
    pool = Pool(orders_of(part for trip in rest for part in trip.parts))
    _single_legs(pairs, pool, tolerances)
    _closed_unknown(pairs, pool, held)
    return Paired(tuple(pairs), tuple(pool.free()), held)


def _whole_trips(
    pairs: Sequence[Pair],
    trips: Sequence[RoundTrip],
    window: timedelta,
    scored: Callable[[Trade, Whole], Score | None],
) -> list[RoundTrip]:
    """Give whole round trips to trades of which nothing is found yet; returns the others."""
    wholes = Wholes(trips)
    found = []
    for place, one in enumerate(pairs):
        if not one.is_found:
            for whole in wholes.candidates(one.trade, window):
                score = scored(one.trade, whole)
                if score is not None:
                    found.append((score, place, whole.trip.first.fill_id, one, whole))
    given: set[int] = set()
    for *_, one, whole in sorted(found, key=lambda candidate: candidate[:3]):
        if not one.is_found and id(whole.trip) not in given:
            given.add(id(whole.trip))
            one.entry, one.exit = whole.legs_of(one.trade)
    return [trip for trip in trips if id(trip) not in given]


def _exactly(
    pairs: Sequence[Pair], pool: Pool, window: timedelta, priced: Tolerances | None
) -> None:
    """Give orders of their quantity to trades of which every leg has one, the nearest first."""
    waiting: list[tuple[timedelta, int, _Found]] = []

    def look(place: int) -> None:
        legs = pairs[place].missing_legs
        found = [(leg, pool.exactly(leg, window, priced=priced)) for leg in legs]
        if found and all(orders for _, orders in found):
            away = sum((_nearest(leg, orders) for leg, orders in found), start=_NO_TIME)
            heapq.heappush(waiting, (away, place, found))

    for place in range(len(pairs)):
        look(place)
    while waiting:
        _, place, found = heapq.heappop(waiting)
        if all(pool.is_free(order) for _, orders in found for order in orders):
            for leg, orders in found:
                pairs[place].give(leg, pool.take(orders))
        else:
            look(place)


def _nearest(leg: Leg, orders: Orders) -> timedelta:
    return min(order.distance(leg.at) for order in orders)


def _shared(
    pairs: Sequence[Pair], pool: Pool, window: timedelta, priced: Tolerances | None
) -> None:
    """Give an order to several legs that sum to it: two positions closed at once, one closed in parts."""
    wanting: dict[int, tuple[Executed, list[tuple[Leg, Pair]]]] = {}
    for one in pairs:
        for leg in one.missing_legs:
            for order in pool.near(leg, window, priced):
                wanting.setdefault(id(order), (order, []))[1].append((leg, one))
    for order, near in wanting.values():
        legs = [(leg, one) for leg, one in near if leg in one.missing_legs]
        if len(legs) > 1 and sum(leg.quantity for leg, _ in legs) == order.size:
            pool.take((order,))
            for leg, one in legs:
                one.give(leg, order.part_of(leg.quantity))


def _single_legs(pairs: Sequence[Pair], pool: Pool, tolerances: Tolerances) -> None:
    """Give orders to legs whose trade's other leg is elsewhere: what agrees in most goes first."""
    legs = [(leg, one) for one in pairs for leg in one.missing_legs]
    searches: tuple[Callable[[Leg], Orders], ...] = (
        lambda leg: pool.exactly(leg, tolerances.near),
        lambda leg: pool.exactly(leg, tolerances.shifted, priced=tolerances),
        lambda leg: tuple(filter(None, [pool.named(leg)])),
        lambda leg: tuple(pool.near(leg, tolerances.near)[:1]),
    )
    for search in searches:
        for leg, one in legs:
            orders = search(leg) if leg in one.missing_legs else ()
            if orders:
                one.give(leg, pool.take(orders))


def _closed_unknown(pairs: Sequence[Pair], pool: Pool, held: dict[str, Decimal]) -> None:
    """Find what closed the trades that the bot still takes for open, where less is held than it says."""
    unknown = [one for one in pairs if one.entry and one.exit is None and one.trade.exit is None]
    for one in sorted(unknown, key=lambda one: one.trade.entry_time):
        trade = one.trade
        same = (u.trade.quantity for u in unknown if u.exit is None and u.trade.side == trade.side)
        if one.entry is None or held.get(trade.side, Decimal(0)) >= sum(same):
            continue
        orders = pool.later(trade, one.entry.last)
        if orders:
            one.exit = pool.take(orders)
