"""Sums that lose nothing: whole numbers of the smallest unit, fractions only where something is divided.

A quantity, a price, a multiplier and a fee each have eight decimals, so that a value (quantity times
price times multiplier) has 24. All are counted in whole units of that size. A share of something (the
fee of one fill on two round trips, a lot after a split) is a fraction; nothing is rounded until it
is given out.
"""

from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

Exact = int | Fraction

DECIMALS: Final = 8
UNIT: Final = 10**DECIMALS
VALUE_PER_UNIT: Final = UNIT * UNIT  # units of a value in one unit of the eighth decimal
_WIDE: Final = Context(prec=100)


def units(value: Decimal) -> int:
    """A number of at most eight decimals as whole units of the eighth."""
    return int(value.scaleb(DECIMALS, _WIDE))


def decimal(count: int) -> Decimal:
    """Units of the eighth decimal as a number."""
    return Decimal(count).scaleb(-DECIMALS, _WIDE)


def share(whole: Exact, part: Exact, of: Exact) -> Exact:
    """The part of something that goes with part of a quantity."""
    return whole if part == of else Fraction(whole * part) / of


def nearest(value: Exact, per: int = 1) -> int:
    """Value divided by `per`, rounded to the nearest whole number, halves up."""
    return int((2 * value + per) // (2 * per))


def average(value: Exact, quantity: Exact) -> Decimal | None:
    """Price that quantity times price came to, of 16 decimals, for a quantity of 8; None of nothing."""
    return decimal(nearest(Fraction(value) / quantity)) if quantity else None


class Rounding:
    """Rounds numbers one after the other; what one loses, the next one gets.

    So the sum of what was given out is the exact sum, rounded once, and no number is off by more than
    a unit of the eighth decimal.
    """

    def __init__(self, per: int = 1) -> None:
        self._per = per
        self._carried: Exact = 0

    def next(self, value: Exact) -> int:
        """The next number, in units of the eighth decimal."""
        wanted = value + self._carried
        given = nearest(wanted, self._per)
        self._carried = wanted - given * self._per
        return given
