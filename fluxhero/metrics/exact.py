"""Money compared and shown without rounding: between 14.9999 % and 15 % lies a breach.

Decimal arithmetic rounds to the digits of its context, and sums of a ledger may have more of them.
"""

import math
from decimal import Decimal
from fractions import Fraction


def lost(equity: Decimal, peak: Decimal, ratio: Decimal) -> bool:
    """Whether an account has lost this fraction of its high-water mark, or more."""
    loss = Fraction(peak) - Fraction(equity)
    return loss > 0 and loss >= Fraction(ratio) * Fraction(peak)


def above(part: Decimal, ratio: Decimal, whole: Decimal) -> bool:
    """Whether a part is more than this fraction of the whole."""
    return Fraction(part) > Fraction(ratio) * Fraction(whole)


def loss_percent(equity: Decimal, peak: Decimal) -> str:
    """How far an account is below its high-water mark, as text."""
    return _percent(Fraction(peak) - Fraction(equity), peak)


def percent(part: Decimal, whole: Decimal) -> str:
    """A part in percent of the whole, as text."""
    return _percent(Fraction(part), whole)


def _percent(part: Fraction, whole: Decimal) -> str:
    """Cut, not rounded: it never shows a limit before it is reached."""
    if whole <= 0:
        return "more than 100 %" if part > 0 else "0.00 %"
    hundredths = math.floor(part * 10_000 / Fraction(whole))
    return f"{Decimal(hundredths) / 100:,.2f} %"


def ratio_percent(ratio: Decimal) -> str:
    """A limit of the settings in percent, with the digits it was given."""
    return f"{(ratio * 100).normalize():f} %"


def money(amount: Decimal) -> str:
    """An amount to the cent."""
    return f"{amount:,.2f}"
