"""The judgement: skill that was planted is told from noise, and what cannot be tested is said."""

from decimal import Decimal

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars, Floats, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.fast import equity_units
from fluxhero.backtest.luck import Luck, Rating, Tried, judge_luck, rate
from fluxhero.backtest.overfitting import block_sums
from fluxhero.backtest.performance import dollars, sharpe_of, simple_returns
from fluxhero.backtest.walk_forward import Candidate
from tests.backtest.session_bars import daily_bars, long_when, new_york, walk

CONTRACT = Contract()
SUMS = block_sums(np.random.default_rng(1).normal(0, 0.01, (60, 3)), 4)
BARS = daily_bars(walk(500, seed=3))
PRICES = BARS.open.astype(np.float64)


def noise(seed: int) -> Int8s:
    return long_when(np.random.default_rng(seed).random(len(BARS)) < 0.5)


def seer(share: float, seed: int = 1) -> Int8s:
    """Knows of so many of the days whether the price rises from the next open to the one after."""
    rises = np.append(np.diff(PRICES)[1:], [-1, -1]) > 0
    knows = np.random.default_rng(seed).random(len(BARS)) < share
    return long_when(np.where(knows, rises, np.random.default_rng(9).random(len(BARS)) < 0.5))


def returns_of(targets: Int8s) -> Floats:
    marks = dollars(equity_units(BARS, targets, CONTRACT))
    return simple_returns(marks, float(CONTRACT.cash))


def judged(targets: list[Int8s], **changes: object) -> Luck:
    """The best of several, with all of them as what was tried."""
    returns = np.stack([returns_of(one) for one in targets], axis=1)
    sharpes = sharpe_of(returns, 0.04)
    tried = Tried(
        trials=len(targets),
        sharpe_variance=float(sharpes.var(ddof=1)),
        sums=block_sums(returns),
        candidates=[Candidate(str(place), one) for place, one in enumerate(targets)],
        grid=[({"seed": place}, float(value)) for place, value in enumerate(sharpes)],
        **changes,  # type: ignore[arg-type]
    )
    best = targets[int(np.argmax(sharpes))]
    return judge_luck(BARS, best, CONTRACT, new_york(), 0.04, tried)


@pytest.mark.parametrize(("first", "rating"), [(0, Rating.POSSIBLE), (40, Rating.LIKELY)])
def test_the_best_of_much_noise_may_be_luck(first: int, rating: Rating) -> None:
    found = judged([noise(seed) for seed in range(first, first + 40)])
    assert found.sharpe is not None
    # Had it been the only one, it would look like something.
    assert found.sharpe.probabilistic > 0.89
    assert found.sharpe.deflated < 0.6
    assert found.rating is rating
    assert found.verdict.startswith(rating.value.capitalize() + ": ")
    assert "sure to beat what luck gives the best of 40 trials, " in found.verdict
    assert found.walk_forward is not None
    assert ("more than 60 % are needed" in found.verdict) is not found.walk_forward.passes
    assert found.overfitting is not None
    assert (" % (more than 50 %), " in found.verdict) is (found.overfitting.pbo > 0.5)
    assert found.unknown == ()


def test_knowledge_of_the_future_is_unlikely_to_be_luck_and_not_valid() -> None:
    targets = [noise(seed) for seed in range(10)] + [seer(0.9)]
    found = judged(targets)
    assert found.rating is Rating.UNLIKELY
    assert found.sharpe is not None
    assert found.sharpe.deflated > 0.99
    assert found.overfitting is not None
    assert found.overfitting.pbo < 0.01
    assert found.walk_forward is not None
    assert found.walk_forward.passes
    assert {window.chosen for window in found.walk_forward.windows} == {"10"}
    assert found.bootstrap is not None
    assert found.bootstrap.sharpe.low > 0
    assert found.sharpe.days_needed is not None
    assert found.sharpe.days_needed < found.sharpe.days
    caught = judged(targets, peeks=3)
    assert caught.rating is Rating.INVALID
    assert caught.verdict == (
        "Not valid: it looks ahead, as leaving later bars out changed its signals 3 times."
    )
    assert Luck.model_validate_json(caught.model_dump_json()) == caught


def test_one_trial_alone_needs_no_sweep() -> None:
    found = judge_luck(BARS, seer(0.9), CONTRACT, new_york(), 0.04, Tried())
    assert found.rating is Rating.UNLIKELY
    assert found.sharpe is not None
    assert found.sharpe.deflated == found.sharpe.probabilistic
    assert found.unknown == (
        "overfitting: there was no sweep",
        "stability: no parameter was varied",
    )
    assert "sure to beat the risk-free rate, 20 of 20 test months profitable." in found.verdict


def test_without_a_walk_forward_nothing_is_unlikely_to_be_luck() -> None:
    short = BARS.head(70)
    found = judge_luck(short, seer(1)[:70], CONTRACT, new_york(), 0.04, Tried())
    assert found.sharpe is not None
    assert found.sharpe.deflated > 0.95
    assert found.rating is Rating.POSSIBLE
    assert found.walk_forward is None
    assert found.unknown[1].startswith("walk-forward: 70 bars of TEST")


@pytest.mark.parametrize(
    ("bars", "targets", "tried", "reason"),
    [
        (BARS, np.zeros(500, np.int8), Tried(), "all the same"),
        (BARS, noise(1), Tried(trials=7), "those of the other 6 trials are not known"),
        (daily_bars([100]), np.array([1], np.int8), Tried(), "1 daily return that"),
    ],
)
def test_what_cannot_be_judged_says_why(
    bars: Bars, targets: Int8s, tried: Tried, reason: str
) -> None:
    found = judge_luck(bars, targets, CONTRACT, new_york(), 0.04, tried)
    assert (found.rating, found.sharpe) == (Rating.UNKNOWN, None)
    assert found.verdict == "Cannot be judged: there is no Sharpe ratio to test."
    assert any(reason in one for one in found.unknown), found.unknown
    assert found.costs is not None


def test_windows_without_a_trade_are_in_the_verdict() -> None:
    early = seer(1)
    early[250:] = 0
    found = judge_luck(BARS, early, CONTRACT, new_york(), 0.04, Tried())
    assert found.walk_forward is not None
    idle = found.walk_forward.without_trades
    assert idle > 5
    assert f"({idle} without a trade)" in found.verdict
    assert found.costs is not None
    assert found.costs.rows[0].profit > Decimal(0)


def test_what_only_costs_keep_countable_has_no_cost_sensitivity() -> None:
    """A hundredfold of a billion is more than can be counted; a commission of a fifth keeps it below."""
    contract = Contract(cash=Decimal(10**9), commission=Decimal("0.2"), impact_bp=0)
    bars = daily_bars([1, 1, 1, 100])
    found = judge_luck(bars, np.ones(4, np.int8), contract, new_york(), 0.04, Tried())
    assert found.costs is None
    assert any(one.startswith("costs: ") for one in found.unknown)
    assert found.sharpe is not None


@pytest.mark.parametrize(
    ("deflated", "pbo", "passes", "trials", "rating"),
    [
        (0.95, 0.5, True, 9, Rating.UNLIKELY),
        (0.94, 0.5, True, 9, Rating.POSSIBLE),
        (0.95, 0.51, True, 9, Rating.LIKELY),
        (0.95, 0.1, False, 9, Rating.POSSIBLE),
        (0.95, None, True, 9, Rating.POSSIBLE),  # chosen among several, and nobody knows how well
        (0.95, None, True, 1, Rating.UNLIKELY),
        (0.95, 0.1, None, 9, Rating.POSSIBLE),
        (0.50, 0.1, True, 9, Rating.POSSIBLE),
        (0.49, 0.1, True, 9, Rating.LIKELY),
    ],
)
def test_what_the_tests_say_together(
    deflated: float, pbo: float | None, passes: bool | None, trials: int, rating: Rating
) -> None:
    found = judge_luck(BARS, noise(1), CONTRACT, new_york(), 0.04, Tried(sums=SUMS))
    assert found.sharpe is not None
    assert found.overfitting is not None
    assert found.walk_forward is not None
    sharpe = found.sharpe.model_copy(update={"deflated": deflated, "trials": trials})
    overfitting = found.overfitting.model_copy(update={"pbo": pbo})
    walked = found.walk_forward.model_copy(update={"passes": passes})
    given = (
        sharpe,
        None if pbo is None else overfitting,
        None if passes is None else walked,
    )
    assert rate(*given, peeks=0) is rating
    assert rate(*given, peeks=1) is Rating.INVALID
