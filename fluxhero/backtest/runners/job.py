"""What an engine's runner is given, and what it gives back.

Loaded by its path in the engines' environments: nothing but the standard library, numpy and the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from fluxhero.backtest import rules as whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Int8s = npt.NDArray[np.int8]

Parameter = bool | int | float | str
NATIVE: tuple[str, ...] = ("moving-average-cross", "mean-reversion", "buy-and-hold")
TICKS = 10_000  # a dollar, prices of bars
UNITS = 100_000_000  # a dollar, money and prices of fills


@dataclass(frozen=True)
class Rules:
    """The contract in numbers, and its arithmetic on one job's bars: exact, whatever floats it is handed."""

    cash_units: int
    commission_units: int
    slippage_bp: int
    impact_bp: int
    impact_parts: int
    volume_window: int
    sizing: Literal["all-in", "fixed"]
    shares: int
    cash_policy: Literal["shrink", "reject", "allow"]
    allow_short: bool
    volume: Ints

    @property
    def cash(self) -> float:
        """USD before the first bar."""
        return self.cash_units / UNITS

    @property
    def commission(self) -> float:
        """USD a share."""
        return self.commission_units / UNITS

    @property
    def impact_fraction(self) -> float:
        """The part of the average volume above which an order costs `impact_bp` more."""
        return self.impact_parts / whole.BASIS

    def entry_shares(self, equity: float, close: float) -> int:
        """Shares to order, decided at the close of the signal's bar; 0 is no order."""
        if self.sizing == "fixed":
            return self.shares
        units, ticks = round(equity * UNITS), round(close * TICKS)
        return whole.entry_shares(units, ticks, self.slippage_bp, self.commission_units)

    def fill_bp(self, shares: int, bar: int) -> int:
        """Basis points by which an order of so many shares fills worse than the open of `bar`."""
        first = max(0, bar - self.volume_window)
        traded = self._traded[bar] - self._traded[first]
        return whole.fill_bp(
            shares,
            int(traded),
            bar - first,
            self.slippage_bp,
            self.impact_bp,
            self.impact_parts,
        )

    def fill_price(self, opened: float, side: int, shares: int, bar: int) -> float:
        """What a share costs (side 1) or brings (side -1) at the open of `bar`, `shares` being ordered."""
        ticks = round(opened * TICKS)
        return whole.fill_price(ticks, side, self.fill_bp(shares, bar)) / UNITS

    def affordable(self, cash: float, price: float) -> int:
        """Shares that the cash pays for at this price of a fill, with commission."""
        return whole.affordable(round(cash * UNITS), round(price * UNITS), self.commission_units)

    def filled(self, cash: float, price: float, ordered: int) -> int:
        """Shares of an entry that are filled under the cash policy; 0 is a rejected order."""
        if self.cash_policy == "allow":
            return ordered
        most = self.affordable(cash, price)
        if most >= ordered:
            return ordered
        return most if self.cash_policy == "shrink" else 0

    @cached_property
    def _traded(self) -> Ints:
        """Shares traded before each bar, and in all."""
        import numpy as np

        return np.concatenate(([0], np.cumsum(self.volume, dtype=np.int64)))


@dataclass(frozen=True)
class Job:
    """One backtest of one strategy.

    Attributes:
        mode: given: the targets are given, and the rules are to be kept to the cent. native: the engine's
            own indicators and order handling, as its documentation would have it.
        strategy: shipped name, such as moving-average-cross.
        parameters: of the strategy.
        ends: when each bar is over, nanoseconds since 1970 UTC.
        open, high, low, close: USD.
        volume: shares.
        targets: after each bar, 1 long, 0 out, -1 short; None in native mode.
        rules: see there.
    """

    mode: Literal["given", "native"]
    strategy: str
    parameters: dict[str, Parameter]
    ends: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    targets: Int8s | None
    rules: Rules

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class SweepJob:
    """Many combinations of targets on the same bars at once: `targets` is bars x combinations."""

    ends: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    targets: Int8s
    rules: Rules

    def __len__(self) -> int:
        return len(self.ends)


@dataclass(frozen=True)
class Output:
    """What an engine made of a job.

    Attributes:
        fills: bar, side (1 buy, -1 sell), shares (whole, but for engines that trade parts of one), price
            and commission (USD) of each, in order.
        equity: USD at the close of every bar.
        targets: native mode: which way the engine's own indicators wanted to be after each bar.
        own: the engine's own sharpe, total_return, max_drawdown, trades; those it has.
    """

    fills: Sequence[tuple[int, int, float, float, float]]
    equity: Any  # array of floats; checked by whoever reads it
    targets: Any = None
    own: dict[str, float] = field(default_factory=dict)
