"""Round trips of the broker's that are, as a whole, one trade of the bot's."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Final

from fluxhero.reconcile.executed import Executed, orders_of, together
from fluxhero.reconcile.pool import compatible, plain_id, price_agrees
from fluxhero.reconcile.round_trips import RoundTrip
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import Leg, Trade

_NO_TIME: Final = timedelta(0)
Score = tuple[int, timedelta]  # how much disagrees, and how far away it is


@dataclass(frozen=True, slots=True)
class Whole:
    """A round trip with what opened and what closed it, each as one."""

    trip: RoundTrip
    entry: Executed
    exit: Executed | None

    @classmethod
    def of(cls, trip: RoundTrip) -> "Whole | None":
        """None where shares came or went in another way than by a deal."""
        if not all(part.fill.is_order for part in trip.parts):
            return None
        closing = [part for part in trip.parts if not part.opening]
        return cls(
            trip,
            together(orders_of(part for part in trip.parts if part.opening)),
            together(orders_of(closing)) if closing else None,
        )

    @property
    def is_closed(self) -> bool:
        """Whether nothing of it is held any more."""
        return self.trip.exit_time is not None

    def quantities(self, trade: Trade) -> set[Decimal]:
        """What a trade's quantity can be if it is this: as bought, in terms of after a split, or what is left."""
        found = {self.trip.quantity, self.entry.size}
        if not self.is_closed and not trade.is_closed:
            found.add(self.trip.open_quantity)
        return found

    def legs_of(self, trade: Trade) -> tuple[Executed, Executed | None]:
        """What made a trade's entry and its exit, in the number of shares that the trade is in."""
        entry = self.entry
        leaving = self.exit if self.is_closed or trade.is_closed else None
        if self.is_split:
            entry = entry.counted_as(self.trip.quantity)
            if trade.quantity == self.entry.size and leaving is not None:
                entry, leaving = self.entry, leaving.counted_as(trade.quantity)
        elif leaving is None and trade.quantity == self.trip.open_quantity:
            entry = entry.part_of(trade.quantity)
        return entry, leaving

    @property
    def is_split(self) -> bool:
        """Whether a split came while it was open."""
        return self.trip.quantity != self.entry.size


class Wholes:
    """Round trips to be asked for those that began or ended near a time, or that have an order."""

    def __init__(self, trips: Sequence[RoundTrip]) -> None:
        wholes = [whole for trip in trips if (whole := Whole.of(trip)) is not None]
        self._entries = _ByTime([(whole.entry, whole) for whole in wholes])
        self._exits = _ByTime([(w.exit, w) for w in wholes if w.exit is not None])
        self._named: dict[str, list[Whole]] = {}
        for whole in wholes:
            several = together([whole.entry, *([] if whole.exit is None else [whole.exit])])
            for order in several.orders:
                self._named.setdefault(plain_id(order), []).append(whole)

    def candidates(self, trade: Trade, window: timedelta) -> list[Whole]:
        """Those that could be a trade: with the order that it names, else with a leg near one of its."""
        named = [] if trade.order_id is None else self._named.get(plain_id(trade.order_id), [])
        found = list(named)
        if not found:
            found += self._entries.near(trade.entry, window)
            leaving = trade.exit
            found += [] if leaving is None else self._exits.near(leaving, window)
        unique = {id(whole): whole for whole in found if whole.trip.side == trade.side}
        return [whole for whole in unique.values() if compatible(trade, whole.entry)]


class _ByTime:
    """Round trips by the times of each order of their entries, or of their exits."""

    def __init__(self, legs: Iterable[tuple[Executed, Whole]]) -> None:
        spans = [(span, whole) for executed, whole in legs for span in executed.spans]
        self._spans = sorted(spans, key=lambda found: found[0])
        self._starts = [start for (start, _), _ in self._spans]
        self._longest = max((last - start for (start, last), _ in spans), default=_NO_TIME)

    def near(self, leg: Leg, window: timedelta) -> Iterator[Whole]:
        first = bisect_left(self._starts, leg.at - window - self._longest)
        last = bisect_right(self._starts, leg.at + window)
        for (_, until), whole in self._spans[first:last]:
            if leg.at - until <= window:
                yield whole


def as_equal(trade: Trade, whole: Whole, tolerances: Tolerances) -> Score | None:
    """How near a round trip of a trade's quantity, and at its prices, is; None if it is another one."""
    if trade.quantity not in whole.quantities(trade):
        return None
    away = _entry_away(trade, whole), _exit_away(trade, whole)
    entry, leaving = whole.legs_of(trade)
    legs = ((trade.entry, entry), (trade.exit, leaving))
    if max(away) > tolerances.near or not all(
        leg is None or executed is None or price_agrees(leg, executed.price, tolerances)
        for leg, executed in legs
    ):
        return None
    return int(trade.is_closed != whole.is_closed), sum(away, start=_NO_TIME)


def as_unequal(trade: Trade, whole: Whole, window: timedelta) -> Score:
    """How near a round trip of whatever quantity is, a leg of which is near."""
    legs = _entry_away(trade, whole), _exit_away(trade, whole)
    return sum(away > window for away in legs), min(legs)


def _entry_away(trade: Trade, whole: Whole) -> timedelta:
    return _away(trade.entry, whole.entry)


def _exit_away(trade: Trade, whole: Whole) -> timedelta:
    leaving = trade.exit
    if leaving is None or whole.exit is None or not whole.is_closed:
        return _NO_TIME
    return _away(leaving, whole.exit)


def _away(leg: Leg, executed: Executed) -> timedelta:
    named = leg.trade.order_id
    if named is not None and plain_id(named) in {plain_id(order) for order in executed.orders}:
        return _NO_TIME
    return executed.distance(leg.at)
