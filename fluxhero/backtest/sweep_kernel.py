"""The drawdown of a whole curve of equity in one compiled pass; only a sweep's measures import this, and late."""

from typing import Any

from numba import types

from fluxhero.backtest.bars import Ints
from fluxhero.backtest.kernel import entry

_TUPLE: Any = types.Tuple
_COLUMN = types.Array(types.int64, 1, "C", readonly=True)


@entry(_TUPLE((types.float64, types.int64))(_COLUMN, types.int64, _COLUMN))
def depth(equity: Ints, cash: int, ends: Ints) -> tuple[float, int]:
    """The largest loss from a peak as a fraction of the peak, and the longest time below one in nanoseconds.

    Args:
        equity: at the close of each bar.
        cash: before the first bar, in the same units; it is the first peak, but has no time.
        ends: when each bar is over.
    """
    peak, lowest, since, below = cash, cash, ends[0], False
    deepest, longest = 0.0, 0
    for bar in range(len(equity)):
        mark = equity[bar]
        if mark < peak:
            lowest, below = min(lowest, mark), True
            continue
        if below:  # over now: a division a bar would be most of the work
            deepest = max(deepest, float(peak - lowest) / float(peak))
            longest = max(longest, ends[bar] - since)
        peak, lowest, since, below = mark, mark, ends[bar], False
    if below:
        deepest = max(deepest, float(peak - lowest) / float(peak))
        longest = max(longest, ends[-1] - since)
    return deepest, longest
