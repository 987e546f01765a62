"""What is measured, as plain values in money and time, before it becomes samples.

Limits and the breaker compare these, never the samples: a ratio in floating point can miss an exact 20 %.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum


class Basis(StrEnum):
    """What an account's value is made of; the two are never mixed in one series.

    Closed: capital, cash flows and the results of closed trades. Marked: what the source recorded with
    its open positions at their market price.
    """

    CLOSED = "closed"
    MARKED = "marked"


@dataclass(frozen=True, slots=True)
class Account:
    """The value of one mode's account on one basis, and how far it is below its best.

    Money is exact. The high-water mark begins with the initial capital and moves along with deposits and
    withdrawals (`equity_points`), so that taking money out is no loss.

    Attributes:
        mode: live, paper or legacy.
        basis: what the value is made of.
        at: time of the last trade, cash flow or point that it comes from; None of an account without any.
        equity: value now.
        peak: high-water mark now.
        worst_ratio: largest drawdown ever, as a fraction of the high-water mark of its moment.
        under_water_since: when the high-water mark was last held; None if equity is at it.
        longest_under_water: longest time below it, the present one included.
    """

    mode: str
    basis: Basis
    at: datetime | None
    equity: Decimal
    peak: Decimal
    worst_ratio: Decimal
    under_water_since: datetime | None
    longest_under_water: timedelta

    @property
    def drawdown(self) -> Decimal:
        """Money below the high-water mark; 0 at it."""
        return self.peak - self.equity


class Strategy(StrEnum):
    """The kinds of strategy that have a risk limit of their own."""

    TREND = "trend"
    MEAN_REVERSION = "mean_reversion"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TradeRisk:
    """What one open trade loses if its stop is hit, in money; 0 where the stop locks in a profit."""

    trade: str
    strategy: Strategy
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one mode holds now.

    Attributes:
        mode: live, paper or legacy.
        positions: open positions; one a symbol and side.
        exposure: sum of the positions' values regardless of side; None if one has no price.
        largest: value of the largest one; None without positions or if one has no price.
        largest_symbol: its symbol.
        risks: of each open trade (or position) that has a stop.
        without_stop: open trades (or positions) that have none.
    """

    mode: str
    positions: int
    exposure: Decimal | None
    largest: Decimal | None
    largest_symbol: str | None
    risks: tuple[TradeRisk, ...]
    without_stop: int

    @property
    def risk_at_stops(self) -> Decimal:
        """What is lost if every stop is hit."""
        return sum((risk.amount for risk in self.risks), Decimal(0))
