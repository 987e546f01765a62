"""What is kept of each combination of a sweep: its measures, and what cross-validation needs of its returns."""

from dataclasses import asdict
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa

from fluxhero.backtest.bars import Bars, Floats
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.overfitting import block_sums
from fluxhero.backtest.performance import curve, day_ends, simple_returns

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


class Yardstick:
    """Measures equity on one symbol's bars, again and again."""

    def __init__(self, bars: Bars, contract: Contract, risk_free: float, zone: ZoneInfo) -> None:
        self._ends = bars.ends
        self._last = day_ends(bars.ends, zone)
        self._cash = float(contract.cash)
        self._risk_free = risk_free

    def measured(self, equity: Floats, trades: int | None) -> dict[str, Any]:
        """The columns of `MEASURES` and `SUMS`, in types that JSON has.

        Args:
            equity: USD at each close.
            trades: finished round trips, where they are known.
        """
        seen = curve(equity, self._cash, self._ends, self._last, self._risk_free)
        returns = simple_returns(equity[self._last], self._cash)[:, None]
        sums = block_sums(returns)
        lost = not (returns == returns).all()  # noqa: PLR0124 - whether one is NaN
        kept = {
            "count": sums.count.tolist(),
            "total": sums.total[:, 0].tolist(),
            "squares": sums.squares[:, 0].tolist(),
        }
        return {**asdict(seen), "trades": trades, **(dict.fromkeys(kept) if lost else kept)}
