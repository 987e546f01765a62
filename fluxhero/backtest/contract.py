"""The rules of a backtest that every engine is held to; docs/backtest-contract.md says them in prose.

A strategy says after each bar which way it wants to be: 1 long, 0 out, -1 short. A change of that target on
bar N is an order, sized at the close of N and filled at the open of N + 1.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from config.bounds import MOST_BACKTEST_CASH, MOST_BASIS_POINTS
from config.settings import Settings

TICK: Final = Decimal("0.0001")  # prices of bars are rounded to it, half even
UNIT: Final = Decimal("0.00000001")  # money and prices of fills are exact to it


class Sizing(StrEnum):
    """How many shares an order is for."""

    ALL_IN = "all-in"  # as many as the equity at the close of the signal's bar pays for
    FIXED = "fixed"


class CashPolicy(StrEnum):
    """What happens when an order costs more at its fill than there is cash."""

    SHRINK = "shrink"  # fewer shares, as many as the cash pays for
    REJECT = "reject"
    ALLOW = "allow"  # cash goes below zero


class Contract(BaseModel):
    """One set of rules; money in USD.

    Attributes:
        cash: before the first bar.
        commission: USD a share, of every fill.
        slippage_bp: basis points by which a market order fills worse than the open.
        impact_bp: basis points more for an order above `impact_fraction` of the average volume.
        impact_fraction: see there.
        volume_window: bars of that average, up to and including the signal's; fewer where there are fewer.
        sizing: how orders are sized.
        shares: of each order, where the sizing is fixed.
        cash_policy: when the cash is not enough at the fill.
        allow_short: whether -1 is a target at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cash: Decimal = Field(Decimal(100_000), gt=0, le=MOST_BACKTEST_CASH, decimal_places=8)
    commission: Decimal = Field(Decimal("0.005"), ge=0, le=100, decimal_places=8)
    slippage_bp: int = Field(1, ge=0, le=MOST_BASIS_POINTS)
    impact_bp: int = Field(5, ge=0, le=MOST_BASIS_POINTS)
    impact_fraction: Decimal = Field(Decimal("0.10"), ge=0, le=1_000, decimal_places=4)
    volume_window: int = Field(20, ge=1, le=10_000)
    sizing: Sizing = Sizing.ALL_IN
    shares: int = Field(100, ge=1, le=10_000_000)
    cash_policy: CashPolicy = CashPolicy.SHRINK
    allow_short: bool = False

    @classmethod
    def of(
        cls, settings: Settings, *, shares: int | None = None, allow_short: bool = False
    ) -> "Contract":
        """The rules that the settings describe, with so many shares an order or else all-in."""
        return cls(
            cash=settings.backtest_cash,
            commission=settings.backtest_commission,
            slippage_bp=settings.backtest_slippage_bp,
            allow_short=allow_short,
            **({} if shares is None else {"sizing": Sizing.FIXED, "shares": shares}),
        )
