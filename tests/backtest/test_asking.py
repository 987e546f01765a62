"""What a strategy may return, and what is said of everything else."""

# ruff: noqa: ARG005

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fluxhero.backtest.asking import targets_of
from fluxhero.errors import StrategyError

pytestmark = pytest.mark.measured

FRAME = pd.DataFrame(
    {"close": [1.0, 2.0, 3.0]},
    index=pd.date_range("2026-01-02 21:00", periods=3, freq="D", tz="UTC"),
)
Answer = Callable[[pd.DataFrame], Any]


class Returning:
    def __init__(self, answer: Answer) -> None:
        self.targets = answer


def ask(answer: Answer, *, allow_short: bool = False) -> list[int]:
    targets = targets_of(Returning(answer), FRAME, allow_short=allow_short, label="mine")
    assert targets.dtype == np.int8
    return list(targets.tolist())


@pytest.mark.parametrize(
    "answer",
    [
        lambda bars: [1, 0, 1],
        lambda bars: (1.0, -0.0, 1.0),
        lambda bars: np.array([1, 0, 1], dtype=np.uint8),
        lambda bars: np.array([True, False, True]),
        lambda bars: np.array([1, False, 1.0], dtype=object),
        lambda bars: bars["close"] != 2,
        lambda bars: pd.Series([1, 0, 1]),
        lambda bars: pd.Series([1, 0, 1], index=bars.index, dtype="Int64"),
        lambda bars: pd.Series([True, False, True], index=bars.index, dtype="boolean"),
        lambda bars: pd.Categorical([1, 0, 1]),
    ],
)
def test_any_usual_way_to_write_them_will_do(answer: Answer) -> None:
    assert ask(answer) == [1, 0, 1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda bars: None, "mine returned None → return one number a bar"),
        (lambda bars: [1, 0], "mine returned 2 for 3 bars"),
        (lambda bars: 1, "mine returned a single value for 3 bars"),
        (lambda bars: bars, "mine returned 3 × 1 for 3 bars"),
        (lambda bars: [[1], [1, 0], []], "mine returned something that is not one value a bar"),
        (
            lambda bars: [1, float("nan"), 0],
            r"mine returned nan for bar 1, 2026-01-03 21:00 UTC, which",
        ),
        (lambda bars: [1, 0.5, 2], r"mine returned 0.5 for bar 1, .* \(and 1 other\), which"),
        (lambda bars: [0, 2, 0], "mine returned 2 for bar 1"),
        (lambda bars: [0, 256, 0], "mine returned 256 for bar 1"),
        (lambda bars: ["1", "0", "1"], "mine returned '1' for bar 0"),
        (lambda bars: np.array([1, "buy", 0], dtype=object), "mine returned 'buy' for bar 1"),
        (lambda bars: [1, pd.NA, 0], "mine returned <NA> for bar 1"),
        (lambda bars: [Decimal(1)] * 3, r"mine returned Decimal\('1'\) for bar 0"),
        (lambda bars: bars.index, "mine returned Timestamp|mine returned 17"),
        (lambda bars: [1 + 0j, 0, 1], r"mine returned \(1\+0j\) for bar 0"),
        (
            lambda bars: [0, -1, 0],
            "mine returned -1 for bar 1, .*, but may not go short → .*--allow-short",
        ),
        (lambda bars: bars["close"][::-1] > 1, "a Series whose index is not that of the bars"),
        (lambda bars: pd.Series([1, 0, 1], index=[2, 1, 0]), "a Series whose index is not that"),
        (lambda bars: 1 // 0, "mine raised ZeroDivisionError: .* at test_asking.py, line"),
        (lambda bars: bytearray(2**62), "mine took more memory than it may have"),
        (lambda bars: bars.iloc[9], "mine raised IndexError: .* at test_asking.py, line"),
    ],
)
def test_anything_else_is_refused_with_the_bar_and_the_cause(answer: Answer, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        ask(answer)


def test_short_is_a_target_where_it_is_allowed() -> None:
    assert ask(lambda bars: [1, -1, 0.0], allow_short=True) == [1, -1, 0]


def test_what_a_strategy_does_to_its_bars_stays_with_it() -> None:
    def spoil(bars: pd.DataFrame) -> list[int]:
        bars["close"] = 0.0
        bars.index = bars.index + pd.Timedelta(days=1)
        return [1] * len(bars)

    before = FRAME.copy()
    assert ask(spoil) == [1, 1, 1]
    pd.testing.assert_frame_equal(FRAME, before)


def test_a_message_of_many_lines_and_odd_characters_becomes_one_line() -> None:
    def shout(bars: pd.DataFrame) -> None:
        raise RuntimeError("first\n\tsecond \x1b[31m" + "x" * 1_000)

    with pytest.raises(StrategyError) as raised:
        ask(shout)
    assert raised.value.what.startswith("mine raised RuntimeError: first second \\x1b[31mxxx")
    assert "…" in raised.value.what
    assert len(raised.value.what) < 500


def test_an_error_that_says_nothing_is_told_by_its_kind() -> None:
    def give_up(bars: pd.DataFrame) -> None:
        raise KeyboardInterrupt

    with pytest.raises(StrategyError, match=r"mine raised KeyboardInterrupt at test_asking.py"):
        ask(give_up)
