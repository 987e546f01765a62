"""Bars as a backtest needs them: sound, in order, and labelled by when each is over."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Int8s = npt.NDArray[np.int8]

TICKS_A_DOLLAR = 10_000
_SECOND = 1_000_000_000  # nanoseconds


@dataclass(frozen=True, eq=False)
class Bars:
    """The bars of one symbol, oldest first; whoever makes one has them checked (`checked_bars`).

    Attributes:
        symbol: as the broker writes it.
        timeframe: as `fluxhero.market.timeframe` writes it, like 1d or 1m.
        ends: when each bar is over, nanoseconds since 1970 UTC, strictly rising.
        open, high, low, close: USD in ticks of 0.0001, above zero.
        volume: whole shares, above zero.
    """

    symbol: str
    timeframe: str
    ends: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def traded(self) -> Ints:
        """Shares that changed hands before each bar, and in all: the average volume of any bars is told by two."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.volume, dtype=np.int64)])

    @cached_property
    def highest_close(self) -> int:
        """In ticks."""
        return int(self.close.max())

    def over(self, place: int) -> datetime:
        """When a bar is over."""
        return datetime.fromtimestamp(int(self.ends[place]) / _SECOND, UTC)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of symbol, timeframe and every value: what a trial was made on."""
        whole = hashlib.sha256(f"{self.symbol}\n{self.timeframe}\n{len(self)}\n".encode())
        for values in (self.ends, self.open, self.high, self.low, self.close, self.volume):
            whole.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
        return whole.hexdigest()

    def head(self, bars: int) -> "Bars":
        """The first of them."""
        return self.part(0, bars)

    def part(self, first: int, last: int) -> "Bars":
        """Those from place `first` to before place `last`."""
        values = (self.ends, self.open, self.high, self.low, self.close, self.volume)
        return Bars(self.symbol, self.timeframe, *(one[first:last] for one in values))

    def between(self, first: int, last: int) -> "Bars":
        """Those that are over after `first` and not after `last`, nanoseconds since 1970 UTC."""
        places = np.searchsorted(self.ends, (first, last), side="right")
        return self.part(int(places[0]), int(places[1]))

    def frame(self) -> pd.DataFrame:
        """What a strategy is given: prices in USD as floats, volume, indexed by the end of each bar (UTC)."""
        prices = {
            name: getattr(self, name) / TICKS_A_DOLLAR for name in ("open", "high", "low", "close")
        }
        index = pd.DatetimeIndex(self.ends.view("M8[ns]"), tz="UTC", name="end")
        return pd.DataFrame({**prices, "volume": self.volume.astype(np.float64)}, index=index)
