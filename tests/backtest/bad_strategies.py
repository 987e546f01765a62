"""What a trader may hand us: strategies that break, lie or cheat, and honest ones. Copied beside a test."""

# ruff: noqa: RUF012
import os
import signal
import sys
import threading
from typing import Any

import numpy as np
import pandas as pd


def over(left: "pd.Series[Any]", right: Any) -> Any:
    return (left > right).astype(int)


# ------------------------------------------------------------------------------- what breaks


class Raises:
    def targets(self, bars: pd.DataFrame) -> Any:
        return bars["Close"] > 0  # the column's name is another


class RefusesParameters:
    def __init__(self, days: int) -> None:
        raise ValueError(f"{days} days are not enough")

    def targets(self, bars: pd.DataFrame) -> Any: ...


class Exits:
    def targets(self, bars: pd.DataFrame) -> Any:
        sys.exit("enough")


class ExitsAtOnce:
    def targets(self, bars: pd.DataFrame) -> Any:
        os._exit(0)


class KillsItself:
    def targets(self, bars: pd.DataFrame) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class NeverEnds:
    def targets(self, bars: pd.DataFrame) -> Any:
        lock = threading.Lock()
        return lock.acquire() and lock.acquire()


class PrintsWithoutEnd:
    def targets(self, bars: pd.DataFrame) -> Any:
        for _ in range(1_000):
            sys.stdout.write("x" * 1_000_000)
        return np.ones(len(bars))


class TakesTwentyGigabytes:
    def targets(self, bars: pd.DataFrame) -> Any:
        return np.ones(20 * 1024**3 // 8)[: len(bars)]


class LeavesAThread:
    def targets(self, bars: pd.DataFrame) -> Any:
        threading.Thread(target=threading.Event().wait).start()
        return np.ones(len(bars))


class SpoilsTheNext:
    def targets(self, bars: pd.DataFrame) -> Any:
        sys.argv.append("spoilt")
        return np.ones(len(bars))


class DiesWhereSpoilt:
    def targets(self, bars: pd.DataFrame) -> Any:
        if "spoilt" in sys.argv:
            os._exit(3)
        return np.ones(len(bars))


class ChangesItsBars:
    def targets(self, bars: pd.DataFrame) -> Any:
        bars["close"] = 0.0
        bars.drop(columns="volume", inplace=True)
        return np.ones(len(bars))


class WrongLength:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"], bars["close"].shift())[1:]


class GivesNan:
    def targets(self, bars: pd.DataFrame) -> Any:
        return np.sign(bars["close"].rolling(20).mean().diff())


# -------------------------------------------------------------------------------- what cheats


class KnowsTomorrow:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"].shift(-1), bars["close"])


class RarelyKnowsTomorrow:
    def targets(self, bars: pd.DataFrame) -> Any:
        change = bars["close"].pct_change()
        return over(change.shift(-1), 1.9 * change.abs().rolling(50).mean())


class LeavesInTime:
    """Enters honestly, once in a while, and knows when to leave."""

    def targets(self, bars: pd.DataFrame) -> Any:
        wanted, held = [], False
        falls = (bars["close"].shift(-1) < bars["close"] - 0.08).to_numpy()
        for bar in range(len(bars)):
            held = bar % 50 == 0 or (held and not falls[bar])
            wanted.append(held)
        return wanted


class NormalisesOverAll:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"], bars["close"].mean())


class FillsFromBehind:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"], bars["close"].rolling(30).mean().bfill())


class FitsOnAll:
    def targets(self, bars: pd.DataFrame) -> Any:
        at = np.arange(len(bars))
        slope, level = np.polyfit(at, bars["close"], 1)
        return over(bars["close"], slope * at + level)


class LooksBothWays:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"], bars["close"].rolling(21, center=True).mean())


class SortsByLuck:
    def targets(self, bars: pd.DataFrame) -> Any:
        best = bars["close"].pct_change().nlargest(50).index
        return bars.index.isin(best)


# ----------------------------------------------------------------------- what nobody can judge


class Whims:
    def targets(self, bars: pd.DataFrame) -> Any:
        return np.random.default_rng().integers(0, 2, len(bars))


class RemembersWhatItFitted:
    FITTED: list[float] = []

    def targets(self, bars: pd.DataFrame) -> Any:
        self.FITTED.append(float(bars["close"].mean()))
        return over(bars["close"], self.FITTED[0])


class RaisesWhereItHasBeen:
    SEEN: list[int] = []

    def targets(self, bars: pd.DataFrame) -> Any:
        self.SEEN.append(len(bars))
        if len(bars) == 2_000 and len(self.SEEN) > 1:
            raise ValueError("I have told you already")
        return np.ones(len(bars))


class WantsManyBars:
    def targets(self, bars: pd.DataFrame) -> Any:
        if len(bars) < 1_990:
            raise ValueError("too few bars to fit on")
        return np.ones(len(bars))


# ---------------------------------------------------------------------------------- the honest


class Cross:
    """Some parameters, as a user declares them."""

    GRID = {"fast": (5, 10), "slow": [30, 60]}

    def __init__(self, fast: int = 10, slow: int = 50, factor: float = 1, note: str = "") -> None:
        self._fast, self._slow, self._factor = fast, slow, factor

    def targets(self, bars: pd.DataFrame) -> Any:
        close = bars["close"]
        slow = self._factor * close.rolling(self._slow).mean()
        return over(close.rolling(self._fast).mean(), slow)


class Breakout:
    def targets(self, bars: pd.DataFrame) -> Any:
        above = bars["close"] > bars["high"].rolling(20).max().shift()
        below = bars["close"] < bars["low"].rolling(10).min().shift()
        held = pd.Series(np.nan, index=bars.index).mask(above, 1.0).mask(below, 0.0)
        return held.ffill().fillna(0.0)


class Smoothed:
    def targets(self, bars: pd.DataFrame) -> Any:
        return over(bars["close"].ewm(span=12).mean(), bars["close"].ewm(span=26).mean()).tolist()


class ExpandingScore:
    def targets(self, bars: pd.DataFrame) -> Any:
        seen = bars["close"].expanding(30)
        return over((bars["close"] - seen.mean()) / seen.std(), 1.0)


class StepByStep:
    def targets(self, bars: pd.DataFrame) -> Any:
        average, wanted = 0.0, []
        for close in bars["close"]:
            average = 0.9 * average + 0.1 * close
            wanted.append(close > average)
        return wanted


class FiftyBarsAtLeast:
    def targets(self, bars: pd.DataFrame) -> Any:
        if len(bars) < 50:
            raise ValueError("fifty bars at least")
        return over(bars["volume"], bars["volume"].rolling(50, min_periods=1).median())
