"""Walk-forward windows never overlap what was trained on, whatever the data; and what is chosen and traded in them."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[import-untyped]

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.performance import daily_returns, sharpe_of
from fluxhero.backtest.walk_forward import (
    Candidate,
    Windows,
    coin_p_value,
    walk_forward,
    windows_of,
)
from fluxhero.errors import BadInputError
from fluxhero.market.calendar import Session, calendar_of
from tests.backtest.session_bars import daily_bars, ends_of, long_when, new_york, walk

FREE = Contract(commission=Decimal(0), slippage_bp=0, impact_bp=0)
YEARS = new_york().between(date(2023, 1, 1), date(2024, 12, 31))


def between(first: str, last: str) -> list[Session]:
    return list(new_york().between(date.fromisoformat(first), date.fromisoformat(last)))


def months_tested(some: Sequence[Session]) -> list[str]:
    return [f"{one.month:%Y-%m}" for one in windows_of(ends_of(some), new_york()).windows]


@st.composite
def gappy(draw: st.DrawFn) -> list[Session]:
    """A stretch of two years with holes of any length."""
    first = draw(st.integers(0, len(YEARS) - 2))
    there = np.zeros(len(YEARS), np.bool_)
    there[first : draw(st.integers(first + 2, len(YEARS)))] = True
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(YEARS) - 1))
        there[start : start + draw(st.integers(1, 80))] = False
    return [one for one, is_there in zip(YEARS, there, strict=True) if is_there] or [YEARS[first]]


def check(some: Sequence[Session], found: Windows) -> None:
    """What holds of every window, whatever is missing."""
    tested: list[int] = []
    for window in found.windows:
        months = [
            (one.day.year - window.month.year) * 12 + one.day.month - window.month.month
            for one in some[window.first : window.last]
        ]
        cut = window.middle - window.first
        assert sorted(set(months[:cut])) == [-3, -2, -1]
        assert set(months[cut:]) == {0}
        assert 0 <= window.first < window.middle < window.last <= len(some)
        tested += range(window.middle, window.last)
    assert tested == sorted(set(tested)), "a bar is tested twice, or out of order"
    assert len({window.month for window in found.windows}) == len(found.windows)


@settings(max_examples=150, deadline=None)
@given(gappy())
def test_no_window_overlaps_what_it_was_trained_on(some: list[Session]) -> None:
    check(some, windows_of(ends_of(some), new_york()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 200))
def test_without_gaps_test_windows_tile_the_time_after_the_first_training(
    first: int, count: int
) -> None:
    some = YEARS[first : first + count]
    found = windows_of(ends_of(some), new_york())
    check(some, found)
    assert found.left_out <= 2  # those that need the first month, or test the last one
    for before, after in zip(found.windows, found.windows[1:], strict=False):
        assert after.middle == before.last


def test_three_months_train_and_the_next_is_tested() -> None:
    some = between("2023-01-01", "2023-06-30")
    assert months_tested(some) == ["2023-04", "2023-05", "2023-06"]
    first = windows_of(ends_of(some), new_york()).windows[0]
    assert some[first.first].day == date(2023, 1, 3)
    assert some[first.middle].day == date(2023, 4, 3)
    assert some[first.last].day == date(2023, 5, 1)


def test_months_that_are_not_whole_take_no_part() -> None:
    assert months_tested(between("2023-01-01", "2023-06-29")) == ["2023-04", "2023-05"]
    assert months_tested(between("2023-01-04", "2023-06-30")) == ["2023-05", "2023-06"]
    # The last session of April 2023 is the 28th, so that the month is whole with it.
    assert months_tested(between("2023-01-03", "2023-04-28")) == ["2023-04"]


def test_a_gap_makes_windows_fewer() -> None:
    whole = between("2023-01-01", "2023-12-31")
    gap = [one for one in whole if one.day.month != 6]
    found = windows_of(ends_of(gap), new_york())
    assert months_tested(gap) == ["2023-04", "2023-05", "2023-10", "2023-11", "2023-12"]
    assert found.left_out == 4
    # A few missing days do not count; half of the month does.
    few = [one for one in whole if not date(2023, 6, 5) <= one.day <= date(2023, 6, 9)]
    assert len(months_tested(few)) == 9
    most = [one for one in whole if not date(2023, 6, 5) <= one.day <= date(2023, 6, 28)]
    assert months_tested(most) == months_tested(gap)


def test_minute_bars_and_a_market_that_never_closes() -> None:
    some = between("2023-01-01", "2023-05-31")
    ends = (ends_of(some)[:, np.newaxis] + np.array([-2, -1, 0]) * 60 * 10**9).ravel()
    assert [(one.first, one.middle, one.last) for one in windows_of(ends, new_york()).windows] == [
        (3 * 0, 3 * 62, 3 * 81),
        (3 * 20, 3 * 81, 3 * 103),
    ]
    # Many bars of few days are no whole month.
    days = np.array([one.day.month != 2 or one.day.day <= 7 for one in some])
    assert windows_of(ends[np.repeat(days, 3)], new_york()) == Windows((), 2)
    always = calendar_of("BTC/USD", "XNYS", date(2023, 1, 1))
    hours = np.arange(24 * 181) + 1  # the last one ends with 30 June, at midnight
    start = int(np.datetime64("2023-01-01", "ns").astype(np.int64))
    found = windows_of(start + hours * 3600 * 10**9, always)
    assert [one.month.month for one in found.windows] == [4, 5, 6]
    assert found.windows[-1].last == len(hours)


def test_the_best_in_training_is_traded_from_cash_and_flat() -> None:
    some = between("2023-01-01", "2023-07-31")
    bars = daily_bars(walk(len(some), seed=8), some)
    rng = np.random.default_rng(2)
    targets = [long_when(rng.random(len(bars)) < 0.5) for _ in range(5)]
    found = walk_forward(
        bars,
        [Candidate(str(place), one) for place, one in enumerate(targets)],
        FREE,
        new_york(),
        0.04,
    )
    for tested, window in zip(
        found.windows, windows_of(bars.ends, new_york()).windows, strict=True
    ):
        sharpes = []
        for one in targets:
            part = bars.part(window.first, window.middle)
            result = simulate(part, one[window.first : window.middle], FREE)
            returns = daily_returns(result.equity, FREE.cash, new_york().zone)
            sharpes.append(float(sharpe_of(returns, 0.04)))
        assert tested.chosen == str(np.argmax(sharpes))
        assert tested.train_sharpe == pytest.approx(max(sharpes))
        best = targets[int(tested.chosen)]
        after = simulate(
            bars.part(window.middle, window.last), best[window.middle : window.last], FREE
        )
        assert after.equity["cash"][0].as_py() == FREE.cash
        final = after.equity["equity"][-1].as_py()
        assert tested.test_return == pytest.approx(float(final / FREE.cash) - 1)
        assert tested.fills == after.fills.num_rows
        assert tested.train_to < tested.test_from <= tested.test_to
    assert found.candidates == 5
    assert 1 + found.total_return == pytest.approx(
        np.prod([1 + one.test_return for one in found.windows])
    )


def rising_in(*months: int) -> Bars:
    """A year in which prices rise in these months by the day, and fall in the others."""
    some = between("2023-01-01", "2023-12-31")
    steps = [0.5 if one.day.month in months else -0.5 for one in some]
    return daily_bars([round(200 + total, 2) for total in np.cumsum(steps)], some)


def test_more_than_sixty_percent_must_be_profitable() -> None:
    bars = rising_in(1, 2, 3, 4, 5, 6, 7, 8, 9)  # April to September: 6 of 9
    always = np.ones(len(bars), np.int8)
    found = walk_forward(bars, [Candidate("long", always)], FREE, new_york(), 0.04)
    assert (found.profitable, len(found.windows), found.passes) == (6, 9, True)
    assert found.share == pytest.approx(2 / 3)
    assert found.p_value == binomtest(6, 9, alternative="greater").pvalue
    until_november = len(between("2023-01-01", "2023-11-30"))
    five = walk_forward(
        rising_in(*range(1, 9)).head(until_november),
        [Candidate("long", always[:until_november])],
        FREE,
        new_york(),
        0.04,
    )
    assert (five.profitable, len(five.windows), five.passes) == (5, 8, True)
    # Sixty percent itself is not more: 6 of 10.
    some = [*between("2022-12-01", "2022-12-31"), *between("2023-01-01", "2023-12-31")]
    steps = [0.5 if one.day.month in {3, 4, 5, 6, 7, 8} else -0.5 for one in some]
    ten = daily_bars([round(200 + total, 2) for total in np.cumsum(steps)], some)
    at = walk_forward(ten, [Candidate("long", np.ones(len(ten), np.int8))], FREE, new_york(), 0.04)
    assert (at.profitable, len(at.windows), at.passes) == (6, 10, False)


def test_windows_without_trades_are_told_and_are_no_tosses() -> None:
    bars = rising_in(*range(1, 13))
    days = bars.ends.view("M8[ns]").astype("M8[M]").astype(np.int64) % 12 + 1
    until_july = long_when(days <= 7)
    found = walk_forward(bars, [Candidate("until July", until_july)], FREE, new_york(), 0.04)
    # August to October choose what held in training and does nothing; after that nothing did anything.
    assert [one.fills for one in found.windows] == [1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert [one.chosen is None for one in found.windows] == [False] * 7 + [True] * 2
    assert (found.profitable, found.without_trades, found.passes) == (4, 5, False)
    assert found.p_value == 1 / 16
    idle = walk_forward(
        bars, [Candidate("never", np.zeros(len(bars), np.int8))], FREE, new_york(), 0.04
    )
    assert (idle.p_value, idle.share, idle.total_return) == (None, 0, 0)
    assert idle.windows[0].train_sharpe is None


@pytest.mark.parametrize(("heads", "tosses"), [(0, 1), (6, 9), (60, 100), (200, 300), (700, 1200)])
def test_the_p_value_is_exact(heads: int, tosses: int) -> None:
    expected = binomtest(heads, tosses, alternative="greater").pvalue
    assert coin_p_value(heads, tosses) == pytest.approx(expected, rel=1e-12)


def test_too_little_is_refused() -> None:
    short = between("2023-01-04", "2023-04-28")
    bars = daily_bars(walk(len(short), seed=1), short)
    with pytest.raises(BadInputError, match=r"bars of TEST and 1 candidate make no walk-forward"):
        walk_forward(bars, [Candidate("long", np.ones(len(bars), np.int8))], FREE, new_york(), 0.04)
    enough = rising_in(1)
    with pytest.raises(BadInputError, match="0 candidates"):
        walk_forward(enough, [], FREE, new_york(), 0.04)
    assert windows_of(bars.ends[:1], new_york()) == Windows((), 0)
