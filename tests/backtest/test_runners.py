"""The engines for real, each in its own environment: to the cent where given targets, their own way where not.

Slow, as environments are built and engines compile; backtrader's runner is tested beside this file in every run.
A further engine is a line in DELAY.
"""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import load
from fluxhero.backtest.runs import EngineJob, EngineRun, JobOutcome, Mode, run_engine, run_sweep
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.sources import SAMPLES, random_walk, sample_bars
from fluxhero.backtest.strategy import Named, named
from tests.backtest.conftest import EnvironmentOf

pytestmark = pytest.mark.measured

# How many bars after its signal an order is filled in the engine's own idiom.
DELAY = {"vectorbt": 0, "backtesting": 1, "bt": 0}
ENGINES = [pytest.param(name, marks=pytest.mark.slow) for name in DELAY]
BOUNDS = Bounds(seconds=300, memory_mb=4_096)
FIXED = {"sizing": Sizing.FIXED, "shares": 40}
POOR = {"sizing": Sizing.FIXED, "shares": 400, "cash": Decimal(20_000)}
TINY = Decimal("0.0001")  # USD; what a hundredth of a cent of floats may add up to


def targets(strategy: Named, bars: Bars) -> Int8s:
    wanted = load(strategy.reference, strategy.parameters).targets(bars.frame())
    return np.asarray(wanted).astype(np.int8)


def job(name: str, mode: Mode, bars: Bars, contract: Contract) -> EngineJob:
    strategy = named(name, {})
    label = f"{bars.symbol} {name} {contract.sizing}"
    return EngineJob(label, mode, strategy, bars, targets(strategy, bars), contract)


def given_jobs() -> list[EngineJob]:
    """Every shipped strategy on all there is of four symbols; both directions under every cash policy."""
    jobs = []
    for symbol in SAMPLES:
        bars = sample_bars(symbol).bars
        for name in SHIPPED:
            jobs.append(job(name, Mode.GIVEN, bars, Contract(**FIXED)))
            if name != "perfect-predictor":  # with all it has, it outgrows what can be counted
                jobs.append(job(name, Mode.GIVEN, bars, Contract()))
    bars = sample_bars("AAPL").bars.part(400, 1_000)
    both = np.random.default_rng(7).integers(-1, 2, len(bars)).astype(np.int8)
    for policy in CashPolicy:
        for given in ({}, POOR):
            for wanted, short in ((both, True), (np.abs(both), False)):
                rule = Contract(**given, cash_policy=policy, allow_short=short)
                label = f"{policy} {given} {short}"
                jobs.append(EngineJob(label, Mode.GIVEN, named("random", {}), bars, wanted, rule))
    return jobs


def native_jobs() -> list[EngineJob]:
    bars = sample_bars("IBM").bars
    names = ("moving-average-cross", "mean-reversion", "buy-and-hold")
    return [job(name, Mode.NATIVE, bars, Contract()) for name in names]


@pytest.fixture(scope="module")
def ran(environment_for: EnvironmentOf, tmp_path_factory: pytest.TempPathFactory) -> "Ran":
    return Ran(environment_for, tmp_path_factory)


class Ran:
    """Runs each engine's jobs once, for all the tests of it."""

    def __init__(self, environment_for: EnvironmentOf, folders: pytest.TempPathFactory) -> None:
        self._environment_for = environment_for
        self._folders = folders
        self._runs: dict[str, EngineRun] = {}

    def by(self, engine: str, mode: Mode) -> list[JobOutcome]:
        if engine not in self._runs:
            self._runs[engine] = run_engine(
                engine_named(engine),
                self._environment_for(engine),
                [*given_jobs(), *native_jobs()],
                Contract(),
                BOUNDS,
                self._folders.mktemp(engine),
            )
        outcomes = [one for one in self._runs[engine].outcomes if one.job.mode is mode]
        assert outcomes
        return outcomes


def assert_to_the_cent(outcome: JobOutcome, contract: Contract) -> None:
    """Fills to the last digit, and equity at every close."""
    assert outcome.kind == "ok", (outcome.job.id, outcome.error)
    assert outcome.result is not None
    expected = simulate(outcome.job.bars, outcome.job.targets, contract)
    columns = ["bar", "side", "shares", "price", "commission"]
    made, wanted = (one.fills.select(columns) for one in (outcome.result, expected))
    assert made.equals(wanted), (outcome.job.id, contract)
    pairs = zip(column(outcome.result.equity), column(expected.equity), strict=True)
    assert max(abs(one - other) for one, other in pairs) < TINY, (outcome.job.id, contract)


def column(equity: pa.Table) -> list[Decimal]:
    values: list[Decimal] = equity["equity"].to_pylist()
    return values


@pytest.mark.parametrize("engine", ENGINES)
def test_given_targets_it_keeps_the_contract_to_the_cent(engine: str, ran: Ran) -> None:
    for outcome in ran.by(engine, Mode.GIVEN):
        assert outcome.job.contract is not None
        assert_to_the_cent(outcome, outcome.job.contract)


@pytest.mark.parametrize("engine", ENGINES)
def test_its_own_indicators_agree_and_its_orders_are_its_own(engine: str, ran: Ran) -> None:
    cross, reversion, hold = ran.by(engine, Mode.NATIVE)
    for outcome in (cross, reversion, hold):
        assert outcome.kind == "ok", (outcome.job.id, outcome.error)
        assert outcome.result is not None
        assert outcome.targets is not None
        # But for the first bars, which some of them leave out.
        assert np.array_equal(outcome.targets[1:], outcome.job.targets[1:])
        fill = outcome.result.fills.to_pylist()[0]
        bar, delay = fill["bar"], DELAY[engine]
        assert bar - int(np.argmax(outcome.targets)) == delay
        bars = outcome.job.bars
        price = bars.open[bar] if delay else bars.close[bar]
        assert float(fill["price"]) == pytest.approx(price / 10_000 * 1.0001, abs=1e-6)
        assert {"total_return", "max_drawdown", "sharpe"} <= outcome.own.keys()
        last, first = float(column(outcome.result.equity)[-1]), 100_000
        assert outcome.own["total_return"] == pytest.approx(last / first - 1)
    assert hold.result is not None
    assert hold.result.fills.num_rows == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_year_of_minutes_given(
    engine: str, environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    asked = job("moving-average-cross", Mode.GIVEN, random_walk(100_000), Contract())
    run = run_engine(
        engine_named(engine), environment_for(engine), [asked], Contract(), BOUNDS, tmp_path
    )
    assert_to_the_cent(run.outcomes[0], Contract())


@pytest.mark.slow
def test_an_engine_that_is_too_slow_is_stopped(
    environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    asked = job("moving-average-cross", Mode.NATIVE, random_walk(100_000), Contract())
    bounds = Bounds(seconds=20, memory_mb=4_096)
    environment = environment_for("bt")
    run = run_engine(engine_named("bt"), environment, [asked], Contract(), bounds, tmp_path)
    assert run.outcomes[0].kind == "timed-out"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "contract"),
    [
        ("sweep", Contract(**POOR, cash_policy=CashPolicy.ALLOW, allow_short=True)),
        ("sweep_documented", Contract()),
    ],
)
def test_vectorbt_sweeps_to_the_cent(
    function: str, contract: Contract, environment_for: EnvironmentOf, tmp_path: Path
) -> None:
    bars = sample_bars("AAPL").bars.part(400, 1_000)
    drawn = np.random.default_rng(3).integers(-1, 2, (len(bars), 9)).astype(np.int8)
    wanted = drawn if contract.allow_short else np.abs(drawn)
    swept = run_sweep(
        engine_named("vectorbt"),
        environment_for("vectorbt"),
        bars,
        wanted,
        contract,
        BOUNDS,
        tmp_path,
        function=function,
    )
    for trial in range(wanted.shape[1]):
        expected = column(simulate(bars, wanted[:, trial], contract).equity)
        differences = swept.equity[:, trial] - np.array(expected, dtype=np.float64)
        assert np.abs(differences).max() < float(TINY)
