"""What is kept of each combination of a sweep: its measures, and what cross-validation needs of its returns."""

from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from fluxhero.backtest.bars import Bars, Floats, Ints
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.overfitting import block_sums
from fluxhero.backtest.performance import curve_of_days, day_ends, dollars, simple_returns
from fluxhero.backtest.tables import UNITS_A_DOLLAR, units_of

MEASURES: Final = pa.schema(
    [
        ("sharpe", pa.float64()),
        ("total_return", pa.float64()),
        ("annual_return", pa.float64()),
        ("volatility", pa.float64()),
        ("sortino", pa.float64()),
        ("calmar", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("drawdown_days", pa.float64()),
        ("trades", pa.int64()),  # finished round trips; null where the engine does not tell
        ("skew", pa.float64()),
        ("kurtosis", pa.float64()),
        ("days", pa.int64()),
    ]
)
# Of the daily returns, one value a block of days; null of what lost everything, which has no returns.
SUMS: Final = pa.schema(
    [
        ("count", pa.list_(pa.int64())),
        ("total", pa.list_(pa.float64())),
        ("squares", pa.list_(pa.float64())),
    ]
)

_NANOSECONDS_A_DAY: Final = 86_400_000_000_000


class Yardstick:
    """Measures equity on one symbol's bars, again and again."""

    def __init__(self, bars: Bars, contract: Contract, risk_free: float, zone: ZoneInfo) -> None:
        self._ends = np.ascontiguousarray(bars.ends, dtype=np.int64)
        self._last = day_ends(bars.ends, zone)
        self._cash = units_of(contract.cash)
        self._risk_free = risk_free

    def measured(self, equity: Ints, trades: int | None) -> dict[str, Any]:
        """The columns of `MEASURES` and `SUMS`, in types that JSON has.

        Args:
            equity: units of 0.00000001 USD at each close.
            trades: finished round trips, where they are known.
        """
        from fluxhero.backtest.sweep_kernel import depth

        cash, marks = self._cash / UNITS_A_DOLLAR, dollars(equity[self._last])
        drawdown, below = depth(equity, self._cash, self._ends)
        days = below / _NANOSECONDS_A_DAY
        seen = curve_of_days(marks, cash, drawdown, days, self._risk_free)
        returns = simple_returns(marks, cash)
        return {**vars(seen), "trades": trades, **_sums(returns)}


def _sums(returns: Floats) -> dict[str, list[Any] | None]:
    if not np.isfinite(returns).all():
        return dict.fromkeys(SUMS.names)
    sums = block_sums(returns[:, None])
    return {name: getattr(sums, name).ravel().tolist() for name in SUMS.names}
