"""The strategies that come with the product: yardsticks for engines, and examples of how to write one.

Each is exact: prices are taken back to whole ticks, so that no tie depends on how floats are added up.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.bars import TICKS_A_DOLLAR, Floats, Int8s, Ints

if TYPE_CHECKING:
    import pandas as pd

SHIPPED: Final[Mapping[str, str]] = {
    "moving-average-cross": "fluxhero.backtest.shipped:MovingAverageCross",
    "mean-reversion": "fluxhero.backtest.shipped:MeanReversion",
    "buy-and-hold": "fluxhero.backtest.shipped:BuyAndHold",
    "random": "fluxhero.backtest.shipped:RandomEntries",
    "perfect-predictor": "fluxhero.backtest.shipped:PerfectPredictor",
}
# Kept of the bars that were last asked about, so that a grid adds each window up once.
_KEPT_SERIES: Final = 2
_KEPT_WINDOWS: Final = 64


class MovingAverageCross:
    """Long while the average of the last `fast` closes is above that of the last `slow`."""

    GRID: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "fast": (5, 10, 15, 20, 25),
        "slow": (30, 50, 75, 100, 150, 200),
    }

    def __init__(self, fast: int = 10, slow: int = 50) -> None:
        if not 1 <= fast < slow:
            raise ValueError("fast has to be at least 1 and below slow")
        self._fast = fast
        self._slow = slow

    def targets(self, bars: "pd.DataFrame") -> Int8s:
        """1 or 0 a bar; 0 until there are `slow` closes."""
        fast, slow = self._fast, self._slow
        targets = np.zeros(len(bars), dtype=np.int8)
        if len(bars) >= slow:
            totals = _totals(_Series(bars["close"].to_numpy()))
            of_fast = totals[slow:] - totals[slow - fast : -fast]
            of_slow = totals[slow:] - totals[:-slow]
            of_fast *= slow
            of_slow *= fast
            targets[slow - 1 :] = of_fast > of_slow
        return targets


class MeanReversion:
    """Long from when the close is `entry` deviations below its average until above minus `exit` of them.

    Average and deviation (of the population) are those of the last `window` closes, this one included. Where
    the price has not moved at all there is no deviation, and nothing changes.
    """

    GRID: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "window": (10, 20, 30, 50),
        "entry": (1.0, 1.5, 2.0, 2.5),
        "exit": (0.0, 0.5),
    }

    def __init__(self, window: int = 20, entry: float = 2.0, exit: float = 0.0) -> None:
        if not window > 1:
            raise ValueError("window has to be at least 2")
        if not exit < entry:
            raise ValueError("exit has to be below entry")
        self._window = window
        self._entry = entry
        self._exit = exit

    def targets(self, bars: "pd.DataFrame") -> Int8s:
        """1 or 0 a bar; 0 until there are `window` closes."""
        targets = np.zeros(len(bars), dtype=np.int8)
        if len(bars) >= self._window:
            # z = -excess / root; compared without the division, which a price that stands still has not.
            excess, root = _deviations(_Series(bars["close"].to_numpy()), self._window)
            enters = excess > self._entry * root
            leaves = excess < self._exit * root
            targets[self._window - 1 :] = _held(enters, leaves)
        return targets


class BuyAndHold:
    """Long from the first bar to the last."""

    GRID: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def targets(self, bars: "pd.DataFrame") -> Int8s:
        """1 a bar."""
        return np.ones(len(bars), dtype=np.int8)


class RandomEntries:
    """Enters on a whim with the given `probability` a bar, and holds for `hold` bars.

    The same `seed` gives the same whims; what the market does plays no part.
    """

    GRID: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "hold": (2, 5, 10, 20),
        "probability": (0.1, 0.2),
    }

    def __init__(self, seed: int = 1, hold: int = 5, probability: float = 0.1) -> None:
        if seed < 0:
            raise ValueError("seed has to be 0 or above")
        if hold < 1:
            raise ValueError("hold has to be at least 1")
        if not 0 <= probability <= 1:
            raise ValueError("probability has to be from 0 to 1")
        self._seed = seed
        self._hold = hold
        self._probability = probability

    def targets(self, bars: "pd.DataFrame") -> Int8s:
        """1 or 0 a bar; between two holdings it is out for a bar at least."""
        whims = np.random.default_rng(self._seed).random(len(bars)) < self._probability
        targets = np.zeros(len(bars), dtype=np.int8)
        free = 0
        for bar in np.flatnonzero(whims).tolist():
            if bar >= free:
                targets[bar : bar + self._hold] = 1
                free = bar + self._hold + 1
        return targets


class PerfectPredictor:
    """Knows the next two opens: long when the second is above the first. It cheats on purpose.

    What it earns after costs is more than any strategy on these bars can, and look-ahead detection must find it.
    """

    GRID: ClassVar[Mapping[str, tuple[int, ...]]] = {}

    def targets(self, bars: "pd.DataFrame") -> Int8s:
        """1 or 0 a bar; 0 on the last two, whose opens nobody has yet."""
        opens = _ticks(bars["open"].to_numpy())
        targets = np.zeros(len(bars), dtype=np.int8)
        targets[:-2] = opens[2:] > opens[1:-1]
        return targets


class _Series:
    """Prices as a key of what was worked out from them: by what they are, wherever they lie.

    Comparing is a hundredth of the work that it saves, and a strategy that changes its bars gets no stale sums.
    """

    def __init__(self, prices: Floats) -> None:
        self.prices = prices
        self._hash = hash((len(prices), *prices[:: max(1, len(prices) // 8)].tolist()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Series) and np.array_equal(self.prices, other.prices)


def _ticks(prices: Floats) -> Ints:
    return np.rint(prices * TICKS_A_DOLLAR).astype(np.int64)


@lru_cache(maxsize=_KEPT_SERIES)
def _totals(closes: _Series) -> Ints:
    """The sum of the closes before each place, in ticks."""
    totals = np.zeros(len(closes.prices) + 1, dtype=np.int64)
    np.cumsum(_ticks(closes.prices), out=totals[1:])
    return totals


@lru_cache(maxsize=_KEPT_WINDOWS)
def _deviations(closes: _Series, window: int) -> tuple[Floats, Floats]:
    """How far the sum of a window lies above so many times its last close, and `window` standard deviations.

    Both in ticks, from the first whole window on. Taken as differences from the last close, which are small and
    exact; a running sum of squares is not.
    """
    ticks = _ticks(closes.prices)
    last = ticks[window - 1 :]
    total = np.zeros(len(last))
    squares = np.zeros(len(last))
    for place in range(window - 1):
        apart = (ticks[place : place + len(last)] - last).astype(np.float64)
        total += apart
        squares += apart * apart
    return total, np.sqrt(np.maximum(window * squares - total * total, 0.0))


def _held(enters: npt.NDArray[np.bool_], leaves: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """In from a bar that enters until one that leaves."""
    events = np.flatnonzero(enters | leaves)
    held = np.zeros(len(enters), dtype=np.bool_)
    if len(events):
        lasting = np.diff(events, append=len(enters))
        held[events[0] :] = np.repeat(enters[events], lasting)
    return held
