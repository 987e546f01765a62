"""Walk-forward: the parameters that did best in three months are traded in the month after, again and again.

Windows are made of calendar months of the exchange, never of numbers of bars: a gap in the data makes
windows fewer, but none overlaps what it was trained on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.bars import Bars, Int8s, Ints
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.fast import equity_units, simulate
from fluxhero.backtest.performance import day_ends, dollars, sharpe_of, simple_returns
from fluxhero.errors import BadInputError
from fluxhero.market.calendar import Calendar
from fluxhero.wording import counted

TRAIN_MONTHS: Final = 3
NEEDED_PERCENT: Final = 60  # of the windows must be profitable, and more
_MONTHS_A_YEAR: Final = 12


@dataclass(frozen=True, eq=False)
class Candidate:
    """One set of parameters, by its targets on all the bars."""

    label: str
    targets: Int8s


@dataclass(frozen=True)
class Window:
    """Places of bars: trained on from `first` to before `middle`, tested from there to before `last`."""

    month: date
    first: int
    middle: int
    last: int


@dataclass(frozen=True)
class Windows:
    """Those there are, in order, and how many the data is too incomplete for."""

    windows: tuple[Window, ...]
    left_out: int


class Tested(BaseModel):
    """One window; times are ends of bars.

    Attributes:
        month: first day of the month it was tested on.
        train_from, train_to: first and last bar of the months trained on.
        test_from, test_to: of the month tested.
        chosen: label of the candidate with the best Sharpe ratio in training; None if none did anything.
        train_sharpe: that ratio.
        test_return: what it made of the starting cash in the month tested, begun without a position.
        fills: how often it bought or sold there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    month: date
    train_from: datetime
    train_to: datetime
    test_from: datetime
    test_to: datetime
    chosen: str | None
    train_sharpe: float | None
    test_return: float
    fills: int

    @property
    def profitable(self) -> bool:
        """Whether it gained."""
        return self.test_return > 0


class WalkForward(BaseModel):
    """All windows.

    Attributes:
        windows: in order.
        left_out: windows that the data is too incomplete for.
        candidates: sets of parameters there were to choose from.
        profitable: windows that gained.
        without_trades: windows in which nothing was bought or sold; they count as not profitable.
        share: of all windows, how many were profitable.
        p_value: how likely a coin gives as many profitable ones among those that traded; None if none did.
        total_return: all months tested, one after the other.
        passes: whether more than 60 % were profitable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: tuple[Tested, ...]
    left_out: int
    candidates: int
    profitable: int
    without_trades: int
    share: float
    p_value: float | None
    total_return: float
    passes: bool


def walk_forward(
    bars: Bars,
    candidates: Sequence[Candidate],
    contract: Contract,
    calendar: Calendar,
    risk_free: float,
) -> WalkForward:
    """Choose in training, trade in the month after, for every window.

    Args:
        bars: that the candidates' targets are of.
        candidates: to choose from; of equally good ones the first.
        contract: each training and each test begins with its cash and without a position.
        calendar: of the exchange.
        risk_free: yearly rate.

    Raises:
        BadInputError: not even one window fits into the bars, or nothing is there to choose from.
    """
    found = windows_of(bars.ends, calendar)
    if not found.windows or not candidates:
        raise BadInputError(
            f"{counted(len(bars), 'bar')} of {bars.symbol} and {counted(len(candidates), 'candidate')}"
            " make no walk-forward window",
            next_step=f"give at least {TRAIN_MONTHS + 1} whole months of bars without gaps, and a strategy",
        )
    tested = tuple(
        _tested(bars, window, candidates, contract, calendar, risk_free) for window in found.windows
    )
    profitable = sum(one.profitable for one in tested)
    traded = sum(one.fills > 0 for one in tested)
    return WalkForward(
        windows=tested,
        left_out=found.left_out,
        candidates=len(candidates),
        profitable=profitable,
        without_trades=len(tested) - traded,
        share=profitable / len(tested),
        p_value=coin_p_value(profitable, traded) if traded else None,
        total_return=math.prod(1 + one.test_return for one in tested) - 1,
        passes=100 * profitable > NEEDED_PERCENT * len(tested),
    )


def windows_of(ends: Ints, calendar: Calendar) -> Windows:
    """The windows of bars with these ends, rolling by one month.

    A month takes part if there are bars on at least half of its sessions; the first and the last only if
    they reach to its first or last session.
    """
    days = _days(ends, calendar)
    months = days.astype("M8[M]").astype(np.int64)
    first, last = int(months[0]), int(months[-1])
    edges = np.searchsorted(months, np.arange(first, last + 2))
    spans = list(pairwise(edges.tolist()))
    whole = [
        _is_whole(days[start:end], first + place, calendar, place == 0, first + place == last)
        for place, (start, end) in enumerate(spans)
    ]
    places = range(len(spans) - TRAIN_MONTHS)
    found = tuple(
        Window(
            _first_day(first + place + TRAIN_MONTHS),
            spans[place][0],
            *spans[place + TRAIN_MONTHS],
        )
        for place in places
        if all(whole[place : place + TRAIN_MONTHS + 1])
    )
    return Windows(found, len(places) - len(found))


def coin_p_value(heads: int, tosses: int) -> float:
    """The probability that a fair coin shows heads at least so often; exact."""
    return float(sum(math.comb(tosses, count) for count in range(heads, tosses + 1)) / 2**tosses)


def _days(ends: Ints, calendar: Calendar) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    """The exchange's day of each bar: that of its last moment."""
    moments = pd.DatetimeIndex((ends - 1).view("M8[ns]"), tz="UTC").tz_convert(calendar.zone)
    return moments.tz_localize(None).to_numpy().astype("M8[D]")


def _is_whole(
    days: np.ndarray[tuple[int], np.dtype[np.datetime64]],
    month: int,
    calendar: Calendar,
    is_first: bool,
    is_last: bool,
) -> bool:
    sessions = calendar.between(_first_day(month), _first_day(month + 1) - timedelta(days=1))
    if not sessions or 2 * len(np.unique(days)) < len(sessions):
        return False
    begins = not is_first or days[0] <= np.datetime64(sessions[0].day)
    return bool(begins and (not is_last or days[-1] >= np.datetime64(sessions[-1].day)))


def _first_day(month: int) -> date:
    """Of a month counted from January 1970."""
    return date(1970 + month // _MONTHS_A_YEAR, month % _MONTHS_A_YEAR + 1, 1)


def _tested(
    bars: Bars,
    window: Window,
    candidates: Sequence[Candidate],
    contract: Contract,
    calendar: Calendar,
    risk_free: float,
) -> Tested:
    train = slice(window.first, window.middle)
    test = slice(window.middle, window.last)
    chosen, sharpe = _best(bars, train, candidates, contract, calendar, risk_free)
    gain, fills = _traded(bars, test, chosen, contract) if chosen else (0.0, 0)
    return Tested(
        month=window.month,
        train_from=_at(bars, train.start),
        train_to=_at(bars, train.stop - 1),
        test_from=_at(bars, test.start),
        test_to=_at(bars, test.stop - 1),
        chosen=chosen.label if chosen else None,
        train_sharpe=sharpe,
        test_return=gain,
        fills=fills,
    )


def _best(
    bars: Bars,
    train: slice,
    candidates: Sequence[Candidate],
    contract: Contract,
    calendar: Calendar,
    risk_free: float,
) -> tuple[Candidate | None, float | None]:
    part = bars.part(train.start, train.stop)
    last = day_ends(part.ends, calendar.zone)
    marks = np.stack(
        [equity_units(part, one.targets[train], contract)[last] for one in candidates], axis=1
    )
    sharpes = sharpe_of(simple_returns(dollars(marks), float(contract.cash)), risk_free)
    if np.isnan(sharpes).all():
        return None, None
    best = int(np.nanargmax(sharpes))
    return candidates[best], float(sharpes[best])


def _traded(bars: Bars, test: slice, chosen: Candidate, contract: Contract) -> tuple[float, int]:
    result = simulate(bars.part(test.start, test.stop), chosen.targets[test], contract)
    final = result.equity["equity"][-1].as_py()
    return float((final - contract.cash) / contract.cash), result.fills.num_rows


def _at(bars: Bars, place: int) -> datetime:
    return datetime.fromtimestamp(int(bars.ends[place]) // 1_000_000_000, UTC)
