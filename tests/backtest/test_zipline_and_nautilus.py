"""zipline-reloaded and nautilus_trader for real: to the cent where given targets, and each in its own way.

Slow, as environments are built. What is asked of every engine alike is in test_runners.py.
"""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.runs import EngineJob, JobOutcome, Mode, run_engine
from fluxhero.backtest.sources import random_walk, sample_bars
from tests.backtest.conftest import EnvironmentOf
from tests.backtest.test_runners import BOUNDS, Ran, assert_to_the_cent, column, job

NAMES = ("zipline", "nautilus")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def ran(environment_for: EnvironmentOf, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(environment_for, tmp_path_factory)


def outcomes_of(
    engine: str, jobs: list[EngineJob], environment_for: EnvironmentOf, folder: Path
) -> tuple[JobOutcome, ...]:
    environment = environment_for(engine)
    return run_engine(engine_named(engine), environment, jobs, Contract(), BOUNDS, folder).outcomes


def some(bars: Bars, places: "np.typing.NDArray[np.int64]") -> Bars:
    """Only the bars at these places."""
    values = (bars.ends, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, *(one[places] for one in values))


@pytest.mark.parametrize("engine", NAMES)
def test_given_targets_they_keep_the_contract_to_the_cent(engine: str, ran: Ran) -> None:
    for outcome in ran.by(engine, Mode.GIVEN):
        assert outcome.job.contract is not None
        assert_to_the_cent(outcome, outcome.job.contract)


@pytest.mark.parametrize("engine", NAMES)
def test_minutes_that_are_missing_and_longer_bars_given(
    engine: str, environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    minutes = random_walk(3_000)
    with_gaps = np.flatnonzero(np.random.default_rng(5).random(len(minutes)) < 0.7)
    fives = np.arange(4, len(minutes), 5)
    one_session = np.arange(380)
    jobs = [
        job("random", Mode.GIVEN, some(minutes, places), Contract())
        for places in (with_gaps, fives, one_session)
    ]
    for outcome in outcomes_of(engine, jobs, environment_for, tmp_path):
        assert_to_the_cent(outcome, Contract())


@pytest.mark.parametrize("engine", NAMES)
def test_a_year_of_minutes_given(
    engine: str, environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    asked = job("moving-average-cross", Mode.GIVEN, random_walk(100_000), Contract())
    (outcome,) = outcomes_of(engine, [asked], environment_for, tmp_path)
    assert_to_the_cent(outcome, Contract())


def test_zipline_in_its_own_idiom_fills_at_the_next_close(ran: Ran) -> None:
    for outcome in ran.by("zipline", Mode.NATIVE):
        assert outcome.kind == "ok", (outcome.job.id, outcome.error)
        assert outcome.result is not None
        assert outcome.targets is not None
        assert np.array_equal(outcome.targets, outcome.job.targets)
        fill = outcome.result.fills.to_pylist()[0]
        assert fill["bar"] == int(np.argmax(outcome.targets)) + 1
        close = outcome.job.bars.close[fill["bar"]] / 10_000
        assert float(fill["price"]) == pytest.approx(close * 1.0001, abs=1e-6)
        assert fill["commission"] == fill["shares"] * Decimal("0.005")
        assert outcome.own.keys() == {"total_return", "max_drawdown", "sharpe"}
        last = float(column(outcome.result.equity)[-1])
        assert outcome.own["total_return"] == pytest.approx(last / 100_000 - 1)


def test_nautilus_in_its_own_idiom_fills_at_the_same_close_and_rounds_to_cents(ran: Ran) -> None:
    for outcome in ran.by("nautilus", Mode.NATIVE):
        assert outcome.kind == "ok", (outcome.job.id, outcome.error)
        assert outcome.result is not None
        assert outcome.targets is not None
        assert np.array_equal(outcome.targets, outcome.job.targets)
        fill = outcome.result.fills.to_pylist()[0]
        assert fill["bar"] == int(np.argmax(outcome.targets))
        ticks = int(outcome.job.bars.close[fill["bar"]]) + 100
        assert fill["price"] == Decimal(ticks) / 10_000
        assert fill["commission"] == fill["shares"] * Decimal("0.01")
        cash = outcome.result.equity["cash"].to_pylist()[-1]
        assert outcome.own["total_return"] == pytest.approx(float(cash) / 100_000 - 1)


def test_zipline_says_which_bars_it_cannot_have(
    environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    minutes = random_walk(2_000)
    fives = some(minutes, np.arange(4, len(minutes), 5))
    late = replace(minutes, ends=minutes.ends + 1)
    jobs = [
        job("moving-average-cross", Mode.NATIVE, minutes, Contract()),
        job("moving-average-cross", Mode.NATIVE, fives, Contract()),
        job("random", Mode.GIVEN, late, Contract()),
    ]
    fine, *refused = outcomes_of("zipline", jobs, environment_for, tmp_path)
    assert fine.kind == "ok", fine.error
    assert [one.kind for one in refused] == ["failed", "failed"]
    assert "these bars are neither" in refused[0].error
    assert "shorter than a minute" in refused[1].error


def test_nautilus_ending_early_is_a_failure(environment_for: EnvironmentOf, tmp_path: Path) -> None:
    bars = sample_bars("IBM").bars.part(0, 300)
    # All the cash at the close, so that it is not enough with slippage and commission.
    cash = Decimal(int(bars.close[0])) / 10
    rule = Contract(cash=cash, sizing=Sizing.FIXED, shares=1_000)
    asked = job("buy-and-hold", Mode.NATIVE, bars, rule)
    (outcome,) = outcomes_of("nautilus", [asked], environment_for, tmp_path)
    assert outcome.kind == "failed"
    assert "nautilus ended after bar 0 of 300" in outcome.error
