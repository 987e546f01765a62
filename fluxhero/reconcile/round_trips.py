"""A round trip and an open lot as they are given out: at eight decimals, with sums that stay exact.

What one number of a group loses by rounding goes to the next one, round trips first and then the open lots: the
fees of all are those of the fills, to the last decimal, and gross results less the cost of what is open
are the cash of the fills, rounded once. Averages are rounded by themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fluxhero.reconcile.exact import VALUE_PER_UNIT, Rounding, average, decimal, nearest
from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.holding import Holding, Part

LONG: Final = "long"
SHORT: Final = "short"
OPEN: Final = "open"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """From flat to flat, or to now.

    Quantities and average prices are in terms of after its last split.

    Attributes:
        first: the fill that began it, whose key is its identity.
        side: long or short.
        status: open or closed.
        quantity: all that was opened.
        max_position: the most that was held at once.
        open_quantity: what is still held.
        entry_price: average price of what opened it.
        exit_price: average price of what closed it; None where nothing has.
        entry_time: of its first fill.
        exit_time: of its last fill; None while it is open.
        gross: result before fees of what was closed; None where the cost of something is not known.
        fees: of what was closed, opening and closing.
        realized_pnl: `gross` less `fees`.
        source_pnl: what the source says it realised; None unless it does of every closing fill.
        carried_in: the source knows of something that was held before the first fill.
        parts: the fills, or shares of fills, it is made of, in order.
    """

    first: Fill
    side: str
    status: str
    quantity: Decimal
    max_position: Decimal
    open_quantity: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None
    entry_time: datetime
    exit_time: datetime | None
    gross: Decimal | None
    fees: Decimal
    realized_pnl: Decimal | None
    source_pnl: Decimal | None
    carried_in: bool
    parts: tuple[Part, ...]

    @property
    def last_time(self) -> datetime:
        """When its last fill was."""
        return self.parts[-1].fill.executed_at


@dataclass(frozen=True, slots=True)
class OpenLot:
    """What is left of what one fill opened: its quantity, what that cost, and its share of the fees."""

    fill: Fill
    side: str
    quantity: Decimal
    cost: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class GivenOut:
    """One group's round trips and open lots."""

    trips: tuple[RoundTrip, ...]
    lots: tuple[OpenLot, ...]


def given_out(done: Sequence[Holding], current: Holding | None) -> GivenOut:
    """Round a group's round trips, and the one under way with its open lots."""
    gross, fees = Rounding(VALUE_PER_UNIT), Rounding()
    trips = [_trip(holding, gross, fees) for holding in done]
    if current is None:
        return GivenOut(tuple(trips), ())
    trips.append(_trip(current, gross, fees))
    quantity = Rounding()
    lots = [
        OpenLot(
            fill=lot.fill,
            side=_side(current),
            quantity=decimal(quantity.next(lot.left)),
            cost=decimal(-current.sign * gross.next(-current.sign * lot.of_rest(lot.cost))),
            fees=decimal(fees.next(lot.of_rest(lot.fees))),
        )
        for lot in current.lots
    ]
    return GivenOut(tuple(trips), tuple(lots))


def _trip(holding: Holding, gross: Rounding, fees: Rounding) -> RoundTrip:
    closed = not holding.position
    earned = gross.next(holding.cash + holding.sign * holding.cost) if holding.cost_known else None
    paid = fees.next(holding.fees - holding.unrealised_fees)
    return RoundTrip(
        first=holding.first,
        side=_side(holding),
        status=CLOSED if closed else OPEN,
        quantity=decimal(nearest(holding.opened)),
        max_position=decimal(nearest(holding.largest)),
        open_quantity=decimal(holding.position),
        entry_price=average(holding.paid_in, holding.opened),
        exit_price=average(holding.paid_out, holding.closed),
        entry_time=holding.first.executed_at,
        exit_time=holding.last_at if closed else None,
        gross=None if earned is None else decimal(earned),
        fees=decimal(paid),
        realized_pnl=None if earned is None else decimal(earned - paid),
        source_pnl=decimal(holding.stated) if holding.stated_of_all else None,
        carried_in=holding.carried_in,
        parts=tuple(holding.parts),
    )


def _side(holding: Holding) -> str:
    return LONG if holding.sign > 0 else SHORT
