"""Fills matched first in, first out, to round trips: from flat to flat.

A fill that closes one position and opens the opposite one belongs to two round trips, its fees by
quantity. A round trip's result is what came in less what went out and less its fees, so that the cash of
all fills is the results of all round trips less what the open lots cost: to the last decimal, whatever the
order the fills were listed in. `fluxhero.backtest.round_trips` is another thing: there every part of an
entry that is closed is a round trip of its own.

A split multiplies what is held, and nothing is bought or sold by it. Shares transferred in are a lot at the
price recorded with them, shares transferred out go at what they cost. What cannot be placed (a split
of nothing) is returned as such and changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fluxhero.reconcile.exact import Exact, share, units
from fluxhero.reconcile.fills import SPLIT, Fill, Group, in_order, with_splits_netted
from fluxhero.reconcile.holding import Holding, signed, units_of_fees
from fluxhero.reconcile.round_trips import OpenLot, RoundTrip, given_out


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A fill that no round trip could take in, and why."""

    fill: Fill
    why: str


@dataclass(frozen=True, slots=True)
class Matched:
    """What fills come to.

    Attributes:
        trips: round trips of each group in order, the one still open last.
        lots: what is still open, the oldest lot of each group first.
        unplaced: fills that changed nothing.
    """

    trips: tuple[RoundTrip, ...]
    lots: tuple[OpenLot, ...]
    unplaced: tuple[Unplaced, ...]


@dataclass(slots=True)
class _Book:
    """One group's position, and the round trips it has been through."""

    current: Holding | None = None
    done: list[Holding] = field(default_factory=list)
    unplaced: list[Unplaced] = field(default_factory=list)

    def take(self, fill: Fill) -> None:
        if not fill.quantity:
            self.unplaced.append(Unplaced(fill, "a fill of no quantity"))
        elif fill.kind == SPLIT:
            self._split(fill)
        else:
            self._deal(fill)

    def _split(self, fill: Fill) -> None:
        if self.current is None:
            self.unplaced.append(Unplaced(fill, "a split while nothing was held"))
        elif not self.current.split(self.current.sign * signed(fill) * units(fill.quantity)):
            self.unplaced.append(
                Unplaced(fill, "a split that would leave nothing of what was held")
            )

    def _deal(self, fill: Fill) -> None:
        sign, whole = signed(fill), units(fill.quantity)
        left, unpaid = whole, units_of_fees(fill)
        rest: Exact = unpaid
        if self.current is not None and self.current.sign != sign:
            part = min(left, self.current.position)
            paid = share(unpaid, part, whole)
            self.current.close(fill, part, paid)
            left, rest = left - part, rest - paid
            if not self.current.position:
                self.done.append(self.current)
                self.current = None
        if left:
            if self.current is None:
                self.current = Holding(fill, sign)
            self.current.open(fill, left, rest)


def match(fills: Iterable[Fill]) -> Matched:
    """Match fills, in whatever order they come; those that were taken back must be out already.

    Each mode, account, symbol, currency and (where the source names it) trade is matched by itself.
    """
    books: dict[Group, _Book] = {}
    for fill in in_order(with_splits_netted(fills)):
        books.setdefault(fill.group, _Book()).take(fill)
    trips: list[RoundTrip] = []
    lots: list[OpenLot] = []
    for book in books.values():
        given = given_out(book.done, book.current)
        trips += given.trips
        lots += given.lots
    unplaced = [one for book in books.values() for one in book.unplaced]
    return Matched(tuple(trips), tuple(lots), tuple(unplaced))
