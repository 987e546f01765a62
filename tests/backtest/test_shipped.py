"""The shipped strategies against reckonings by hand and by other libraries."""

import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.backtest.loading import class_of
from fluxhero.backtest.shipped import (
    SHIPPED,
    BuyAndHold,
    MeanReversion,
    MovingAverageCross,
    PerfectPredictor,
    RandomEntries,
)

# Cents, close together: ties, and stretches in which nothing moves.
CENTS = st.lists(st.integers(9_997, 10_003), max_size=40)


def frame(cents: Sequence[int]) -> pd.DataFrame:
    prices = np.array(cents, dtype=np.float64) / 100
    index = pd.date_range("2026-01-02 14:31", periods=len(prices), freq="min", tz="UTC")
    return pd.DataFrame({"open": prices, "close": prices}, index=index)


def targets(strategy: Any, cents: Sequence[int]) -> list[int]:
    made = strategy.targets(frame(cents))
    assert made.dtype == np.int8
    return list(made.tolist())


@settings(max_examples=200, deadline=None)
@given(CENTS, st.integers(1, 5), st.integers(1, 6))
def test_the_cross_is_that_of_exact_averages(cents: list[int], fast: int, more: int) -> None:
    slow = fast + more

    def long(end: int) -> bool:
        return end >= slow and Fraction(sum(cents[end - fast : end]), fast) > Fraction(
            sum(cents[end - slow : end]), slow
        )

    wanted = [int(long(end)) for end in range(1, len(cents) + 1)]
    assert targets(MovingAverageCross(fast, slow), cents) == wanted


@settings(max_examples=200, deadline=None)
@given(CENTS, st.integers(2, 6), st.sampled_from([0.55, 0.9, 1.3]), st.sampled_from([-0.35, 0.0]))
def test_the_reversion_is_that_of_scores(
    cents: list[int], window: int, entry: float, leave: float
) -> None:
    wanted, long = [], False
    for end in range(1, len(cents) + 1):
        seen = cents[end - window : end] if end >= window else [1]
        spread = statistics.pstdev(seen)
        if spread > 0:
            score = (seen[-1] - statistics.fmean(seen)) / spread
            if score < -entry:
                long = True
            elif score > -leave and abs(score + leave) > 1e-9:  # a score of zero is exactly zero
                long = False
        wanted.append(int(long))
    assert targets(MeanReversion(window, entry, leave), cents) == wanted


def test_the_reversion_by_hand() -> None:
    # 100, 100, 100, 96: average 99, deviation √3 = 1.73, score -1.73: in. 99: average 98.75: out.
    cents = [10_000, 10_000, 10_000, 9_600, 9_900, 9_900]
    assert targets(MeanReversion(window=4, entry=1.7), cents) == [0, 0, 0, 1, 0, 0]
    assert targets(MeanReversion(window=4, entry=1.8), cents) == [0] * 6
    # In as before; stands still afterwards, where there is no score: nothing changes.
    assert targets(MeanReversion(2, 0.9), [100, 99, 99, 99, 100]) == [0, 1, 1, 1, 0]


def test_large_prices_and_long_histories_stay_exact() -> None:
    cents = [70_000_000_00 + (bar % 7) * (-1) ** bar for bar in range(5_000)]
    alone = targets(MovingAverageCross(3, 8), cents[-20:])
    assert targets(MovingAverageCross(3, 8), cents)[-12:] == alone[-12:]
    alone = targets(MeanReversion(5, 1.2), cents[-500:])
    assert targets(MeanReversion(5, 1.2), cents)[-400:] == alone[-400:]


def test_buy_and_hold_is_always_in_and_the_predictor_knows_two_opens_ahead() -> None:
    assert targets(BuyAndHold(), [5, 6, 7]) == [1, 1, 1]
    assert targets(PerfectPredictor(), [9, 1, 3, 3, 2, 8]) == [1, 0, 0, 1, 0, 0]
    assert targets(PerfectPredictor(), [9, 1]) == [0, 0]
    assert targets(PerfectPredictor(), []) == []


def test_random_entries_hold_as_long_as_they_say_and_repeat_by_seed() -> None:
    cents = [100] * 3_000
    made = targets(RandomEntries(seed=3, hold=4, probability=0.2), cents)
    assert made == targets(
        RandomEntries(seed=3, hold=4, probability=0.2), [*cents[:50], *[7] * 2_950]
    )
    assert made != targets(RandomEntries(seed=4, hold=4, probability=0.2), cents)
    held = "".join(map(str, made)).strip("0").split("0")
    assert set(held[:-1]) == {"1111", ""}
    # A cycle is four bars in, one out, and on average 4 bars of waiting: 1 / 0.2 - 1.
    assert sum(made) / len(made) == pytest.approx(4 / 9, abs=0.05)
    assert targets(RandomEntries(probability=0.0), cents) == [0] * len(cents)
    assert targets(RandomEntries(hold=2, probability=1.0), [1] * 7) == [1, 1, 0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [
        (MovingAverageCross, {"fast": 0}),
        (MovingAverageCross, {"fast": 50, "slow": 50}),
        (MeanReversion, {"window": 1}),
        (MeanReversion, {"entry": 1.0, "exit": 1.0}),
        (MeanReversion, {"entry": float("nan")}),
        (RandomEntries, {"seed": -1}),
        (RandomEntries, {"hold": 0}),
        (RandomEntries, {"probability": 1.1}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    strategy: type, parameters: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="has to be"):
        strategy(**parameters)


@pytest.mark.parametrize("reference", SHIPPED.values())
def test_every_grid_holds_combinations_that_can_be_made(reference: str) -> None:
    strategy = class_of(reference)
    strategy(**{name: values[-1] for name, values in strategy.GRID.items()})
    strategy(**{name: values[0] for name, values in strategy.GRID.items()})
    if strategy is MovingAverageCross:
        assert max(strategy.GRID["fast"]) < min(strategy.GRID["slow"])
    if strategy is MeanReversion:
        assert max(strategy.GRID["exit"]) < min(strategy.GRID["entry"])
