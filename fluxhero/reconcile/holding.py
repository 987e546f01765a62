"""What is held of one symbol while fills come in: open lots, the oldest first, and the round trip they make.

All in exact numbers (`fluxhero.reconcile.exact`): quantities in units, values in units of 24 decimals,
fees in units of eight.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from fluxhero.reconcile.exact import UNIT, Exact, share, units
from fluxhero.reconcile.fills import BUY, TRANSFER, Fill


@dataclass(slots=True)
class Lot:
    """What one fill opened. `left` of its `quantity` is still open; cost and fees are of all of it."""

    fill: Fill
    quantity: Exact
    left: Exact
    cost: Exact
    fees: Exact

    def of_rest(self, whole: Exact) -> Exact:
        """The share of what is left in something of all of it."""
        return share(whole, self.left, self.quantity)


@dataclass(frozen=True, slots=True)
class Part:
    """What one fill did to one round trip: all of it, or its share where it closed one and opened another.

    Attributes:
        fill: the fill.
        quantity: in units, as it was executed, whatever splits came later.
        fees: its share, in units.
        opening: whether it made the position larger.
    """

    fill: Fill
    quantity: int
    fees: Exact
    opening: bool


@dataclass(slots=True)
class Holding:
    """A round trip under way: from the fill that left flat to the one that comes back to it."""

    first: Fill
    sign: int  # 1 long, -1 short
    position: int = 0  # units, never negative
    opened: Exact = 0  # quantities are in terms of after the last split
    closed: Exact = 0
    largest: Exact = 0
    factor: Exact = 1  # of all its splits
    paid_in: int = 0  # quantity times price of what opened, 16 decimals
    paid_out: int = 0
    cash: Exact = 0  # what came in less what went out, 24 decimals
    fees: Exact = 0
    stated: int = 0  # realised P&L as the source says, units
    unstated: int = 0  # closing fills of which it says nothing
    carried_in: bool = False  # by the source something was held where nothing was bought
    cost_known: bool = True
    lots: deque[Lot] = field(default_factory=deque)
    parts: list[Part] = field(default_factory=list)

    @property
    def last_at(self) -> datetime:
        """When its last fill was."""
        return self.parts[-1].fill.executed_at

    @property
    def stated_of_all(self) -> bool:
        """Whether the source says of every closing fill what it realised, and there is one."""
        return bool(self.closed) and not self.unstated

    @property
    def cost(self) -> Exact:
        """What the open lots were bought for, or sold short for."""
        return sum((lot.of_rest(lot.cost) for lot in self.lots), start=0)

    @property
    def unrealised_fees(self) -> Exact:
        """The fees of opening what is still open."""
        return sum((lot.of_rest(lot.fees) for lot in self.lots), start=0)

    def open(self, fill: Fill, quantity: int, fees: Exact) -> None:
        """Take in a fill, or part of one, that makes the position larger."""
        price = units(fill.price)
        value = _value(fill, quantity)
        self.lots.append(Lot(fill, quantity, quantity, value, fees))
        self.position += quantity
        self.opened += quantity
        self.largest = max(self.largest, self.position)
        self.paid_in += quantity * price
        self.cash -= self.sign * value
        self.fees += fees
        if fill.kind == TRANSFER and not price:
            self.cost_known = False
        if (fill.realized_pnl or fill.closes) and quantity == units(fill.quantity):
            self.carried_in = True
        self.parts.append(Part(fill, quantity, fees, opening=True))

    def close(self, fill: Fill, quantity: int, fees: Exact) -> None:
        """Take in a fill, or part of one, that makes the position smaller; at most as much as is held."""
        moved = self._consume(quantity)
        transferred = fill.kind == TRANSFER
        self.position -= quantity
        self.closed += quantity
        self.paid_out += quantity * units(fill.price)
        # Shares that are moved elsewhere take their cost with them: nothing is realised by it.
        self.cash += self.sign * (moved if transferred else _value(fill, quantity))
        self.fees += fees
        if fill.realized_pnl is not None:
            self.stated += units(fill.realized_pnl)
        elif not transferred:
            self.unstated += 1
        self.parts.append(Part(fill, quantity, fees, opening=False))

    def split(self, change: int) -> bool:
        """Multiply every lot so that the position changes by `change` units; its cost stays the same.

        Returns:
            Whether it could be done: a split leaves something on the same side.
        """
        held = self.position + change
        if held <= 0:
            return False
        factor = Fraction(held, self.position)
        for lot in self.lots:
            lot.quantity *= factor
            lot.left *= factor
        self.opened *= factor
        self.closed *= factor
        self.largest *= factor
        self.factor *= factor
        self.position = held
        return True

    def _consume(self, quantity: int) -> Exact:
        """Take from the oldest lots; returns what that had cost."""
        wanted: Exact = quantity
        cost: Exact = 0
        while wanted:
            lot = self.lots[0]
            taken = min(wanted, lot.left)
            cost += share(lot.cost, taken, lot.quantity)
            wanted -= taken
            lot.left -= taken
            if not lot.left:
                self.lots.popleft()
        return cost


def signed(fill: Fill) -> int:
    """1 of what buys, -1 of what sells."""
    return 1 if fill.side == BUY else -1


def units_of_fees(fill: Fill) -> int:
    """A fill's fees in units; where none are stated, none."""
    return 0 if fill.fees is None else units(fill.fees)


def _value(fill: Fill, quantity: int) -> int:
    multiplier = UNIT if fill.multiplier is None else units(fill.multiplier)
    return quantity * units(fill.price) * multiplier
