"""What a broker executed of an order, as far as it counts for one leg of a trade."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from fluxhero.reconcile.exact import (
    UNIT,
    VALUE_PER_UNIT,
    Exact,
    average,
    decimal,
    nearest,
    share,
    units,
)
from fluxhero.reconcile.fills import TRADE, Fill
from fluxhero.reconcile.holding import Part

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Executed:
    """One order's fills, or those of several that make one leg; exact units as in `holding`.

    Attributes:
        orders: the broker's orders, or fills that name none, by their keys in the ledger.
        spans: first and last fill of each order, in order of time.
        parts: the fills.
        quantity: in units.
        paid: quantity times price, 16 decimals.
        value: the same times the multiplier, 24 decimals.
        fees: in units; None where no fill says any.
    """

    orders: tuple[str, ...]
    spans: tuple[tuple[datetime, datetime], ...]
    parts: tuple[Part, ...]
    quantity: Exact
    paid: Exact
    value: Exact
    fees: Exact | None

    def __str__(self) -> str:
        return (
            f"{self.side} {number(self.size)} at {number(self.price)} "
            f"on {self.last:%Y-%m-%d %H:%M:%S} UTC"
        )

    @property
    def sample(self) -> Fill:
        """A fill that tells what all of them are of."""
        return self.parts[0].fill

    @property
    def side(self) -> str:
        """Buy or sell."""
        return self.sample.side

    @property
    def is_timed(self) -> bool:
        """Whether it was dealt: of what expired, or was assigned, a broker says the day only."""
        return any(part.fill.kind == TRADE for part in self.parts)

    @property
    def first(self) -> datetime:
        """When its first fill was."""
        return self.spans[0][0]

    @property
    def last(self) -> datetime:
        """When its last fill was."""
        return max(last for _, last in self.spans)

    @property
    def size(self) -> Decimal:
        """Its quantity."""
        return decimal(nearest(self.quantity))

    @property
    def price(self) -> Decimal:
        """Average price, weighted by quantity."""
        return average(self.paid, self.quantity) or Decimal(0)

    @property
    def amount(self) -> Decimal:
        """Quantity times price times multiplier, at eight decimals."""
        return decimal(nearest(self.value, VALUE_PER_UNIT))

    @property
    def cost(self) -> Decimal | None:
        """Its fees; None where none are stated."""
        return None if self.fees is None else decimal(nearest(self.fees))

    def distance(self, at: datetime) -> timedelta:
        """How far a time is from the nearest order's fills; nothing between the first and last of one."""
        return min(max(first - at, at - last, _NO_TIME) for first, last in self.spans)

    def part_of(self, quantity: Decimal) -> "Executed":
        """The share of it that makes a leg of this quantity; its price and its times stay."""
        wanted = units(quantity)
        fees = self.fees if self.fees is None else share(self.fees, wanted, self.quantity)
        return replace(
            self,
            quantity=wanted,
            paid=share(self.paid, wanted, self.quantity),
            value=share(self.value, wanted, self.quantity),
            fees=fees,
        )

    def counted_as(self, quantity: Decimal) -> "Executed":
        """The same deal in another number of shares, as after a split: what was paid stays."""
        return replace(self, quantity=units(quantity))

    def fills(self) -> list[Fill]:
        """Its fills, those of which only a part counts with that part."""
        return [
            replace(
                part.fill,
                quantity=decimal(part.quantity),
                fees=None if part.fill.fees is None else decimal(nearest(part.fees)),
            )
            for part in self.parts
        ]


def orders_of(parts: Iterable[Part]) -> list[Executed]:
    """The orders that fills belong to, each by itself, in order of time."""
    grouped: dict[tuple[object, ...], list[Part]] = {}
    for part in parts:
        fill = part.fill
        key = (fill.account, fill.symbol, fill.currency, fill.side, fill.order_id or fill.fill_id)
        grouped.setdefault(key, []).append(part)
    found = [_executed(several) for several in grouped.values()]
    return sorted(found, key=lambda one: (one.first, one.orders))


def together(several: Sequence[Executed]) -> Executed:
    """Several orders, in order of time, as what makes one leg."""
    if len(several) == 1:
        return several[0]
    fees = [one.fees for one in several if one.fees is not None]
    return Executed(
        orders=tuple(name for one in several for name in one.orders),
        spans=tuple(span for one in several for span in one.spans),
        parts=tuple(part for one in several for part in one.parts),
        quantity=sum(one.quantity for one in several),
        paid=sum(one.paid for one in several),
        value=sum(one.value for one in several),
        fees=sum(fees) if fees else None,
    )


def _executed(parts: Sequence[Part]) -> Executed:
    times = [part.fill.executed_at for part in parts]
    paid = [part.quantity * units(part.fill.price) for part in parts]
    multipliers = [
        UNIT if part.fill.multiplier is None else units(part.fill.multiplier) for part in parts
    ]
    fees = [part.fees for part in parts if part.fill.fees is not None]
    first = parts[0].fill
    return Executed(
        orders=(first.order_id or first.fill_id,),
        spans=((min(times), max(times)),),
        parts=tuple(parts),
        quantity=sum(part.quantity for part in parts),
        paid=sum(paid),
        value=sum(one * multiplier for one, multiplier in zip(paid, multipliers, strict=True)),
        fees=sum(fees) if fees else None,
    )


def number(value: Decimal) -> str:
    """Digits without the zeros at the end."""
    return f"{value.normalize():f}"
