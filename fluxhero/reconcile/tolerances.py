"""What counts as equal, stated once."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far the bot's word may be from the broker's without being a difference. Quantities must be equal.

    Attributes:
        time: between a leg and the fills it was made of.
        price: half a cent, as prices are kept in cents; below 1 it is the same fraction of the price.
        money: of a result, or of fees.
        window: within which an order is taken for a leg by symbol, side and quantity.
        shifted: within which one is where the price agrees too: a bot's clock, or its time zone, is wrong.
    """

    time: timedelta = timedelta(seconds=60)
    price: Decimal = Decimal("0.005")
    money: Decimal = Decimal("0.01")
    window: timedelta = timedelta(minutes=5)
    shifted: timedelta = timedelta(days=1)

    def of_price(self, price: Decimal) -> Decimal:
        """The tolerance of a price like this one."""
        return self.price * min(_ONE, abs(price))

    @property
    def near(self) -> timedelta:
        """The window, which is never narrower than what no difference is."""
        return max(self.window, self.time)
