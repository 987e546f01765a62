"""Bars made from prices, one a session of the New York exchange, and what to measure them with."""

from collections.abc import Sequence
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.bars import Bars
from fluxhero.market.calendar import Calendar, Session, calendar_of

SINCE = date(2023, 1, 3)


@cache
def new_york() -> Calendar:
    return calendar_of("TEST", "XNYS", date(2020, 1, 1))


def sessions(count: int, since: date = SINCE) -> Sequence[Session]:
    found = new_york().between(since, date(2026, 12, 31))
    assert len(found) >= count
    return found[:count]


def ends_of(some: Sequence[Session]) -> npt.NDArray[np.int64]:
    return np.array([int(one.closes.timestamp()) * 10**9 for one in some])


def daily_bars(prices: Sequence[float], some: Sequence[Session] | None = None) -> Bars:
    """Each bar opens, trades and closes at one price; a day without range."""
    ticks = (np.asarray(prices) * 10_000).round().astype(np.int64)
    ends = ends_of(some if some is not None else sessions(len(ticks)))
    volume = np.full(len(ticks), 1_000_000_000)
    return Bars("TEST", "1d", ends, ticks, ticks, ticks, ticks, volume)


def walk(count: int, seed: int, drift: float = 0.0) -> list[float]:
    """Prices of a random walk, to the cent."""
    steps = np.random.default_rng(seed).normal(drift, 0.01, count)
    return list((100 * np.exp(np.cumsum(steps))).round(2))


def long_when(condition: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    return condition.astype(np.int8)
