"""backtrader for real, in its own environment: to the cent where it is given targets, its own way where not."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.facts import engine_facts
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import load
from fluxhero.backtest.runs import EngineJob, EngineRun, Mode, run_engine
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.sources import sample_bars
from fluxhero.backtest.strategy import Named, named
from tests.backtest.conftest import EnvironmentOf
from tests.backtest.made import PARTS

pytestmark = pytest.mark.measured

BOUNDS = Bounds(seconds=120, memory_mb=2_048)
FIXED = {"sizing": Sizing.FIXED, "shares": 40}
POOR = {"sizing": Sizing.FIXED, "shares": 400, "cash": Decimal(20_000)}


def targets(strategy: Named, bars: Bars) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    return np.asarray(load(strategy.reference, strategy.parameters).targets(bars.frame())).astype(
        np.int8
    )


def given_jobs() -> list[EngineJob]:
    """Every shipped strategy, and both directions under every cash policy."""
    bars = sample_bars("AAPL").bars.part(400, 900)
    jobs = []
    for name in SHIPPED:
        strategy = named(name, {})
        wanted = targets(strategy, bars)
        # What knows the future outgrows any market unless its orders are small.
        rules = (
            [Contract(**FIXED)] if name == "perfect-predictor" else [Contract(), Contract(**FIXED)]
        )
        jobs += [EngineJob(name, Mode.GIVEN, strategy, bars, wanted, one) for one in rules]
    both = np.random.default_rng(7).integers(-1, 2, len(bars)).astype(np.int8)
    for policy in CashPolicy:
        for given in ({}, POOR):
            rule = Contract(**given, cash_policy=policy, allow_short=True)
            jobs.append(EngineJob(policy.value, Mode.GIVEN, named("random", {}), bars, both, rule))
    return jobs


def native_jobs() -> list[EngineJob]:
    bars = sample_bars("IBM").bars.part(0, 800)
    return [
        EngineJob(name, Mode.NATIVE, named(name, {}), bars, targets(named(name, {}), bars), rule)
        for name in ("moving-average-cross", "mean-reversion", "buy-and-hold")
        for rule in (Contract(), Contract(**FIXED))
    ]


@pytest.fixture(scope="module")
def ran(environment_for: EnvironmentOf, tmp_path_factory: pytest.TempPathFactory) -> EngineRun:
    folder: Path = tmp_path_factory.mktemp("backtrader")
    return run_engine(
        engine_named("backtrader"),
        environment_for("backtrader"),
        [*given_jobs(), *native_jobs()],
        Contract(),
        BOUNDS,
        folder,
        source="duckdb",
    )


def test_given_targets_it_keeps_the_contract_to_the_last_digit(ran: EngineRun) -> None:
    outcomes = [one for one in ran.outcomes if one.job.mode is Mode.GIVEN]
    assert len(outcomes) == len(given_jobs())
    for outcome in outcomes:
        assert outcome.kind == "ok", (outcome.job.id, outcome.error)
        contract = outcome.job.contract
        assert contract is not None
        expected = simulate_exact(outcome.job.bars, outcome.job.targets, contract)
        assert outcome.result is not None
        for part in PARTS[1:]:  # it tells of no orders that were not filled
            made, wanted = getattr(outcome.result, part), getattr(expected, part)
            columns = [name for name in wanted.column_names if name != "order"]
            assert made.select(columns).equals(wanted.select(columns)), (
                outcome.job.id,
                contract,
                part,
            )
        assert {"total_return", "max_drawdown", "trades"} <= outcome.own.keys()


def test_in_its_own_idiom_its_indicators_agree_and_its_orders_are_its_own(ran: EngineRun) -> None:
    outcomes = [one for one in ran.outcomes if one.job.mode is Mode.NATIVE]
    assert [one.kind for one in outcomes] == ["ok"] * 6
    for outcome in outcomes:
        assert outcome.result is not None
        assert outcome.targets is not None
        assert outcome.result.fills.num_rows > 0
        assert np.count_nonzero(outcome.targets != outcome.job.targets) < 60  # its start at most
        cross = outcome.result.fills.to_pylist()[0]
        shares = cross["shares"]
        assert shares == 40 if outcome.job.contract != Contract() else shares > 40


def test_it_says_what_it_is(ran: EngineRun, environment_for: EnvironmentOf) -> None:
    facts = engine_facts(environment_for("backtrader"))
    assert ran.versions["backtrader"] == engine_named("backtrader").version == facts.latest
    assert facts.python == ran.python
    assert facts.licence.startswith("GPL")
    assert "GPL" in facts.forbids
    assert facts.packages == 1  # it needs nothing
    assert 1 < facts.megabytes < 20
    assert facts.last_release is not None
    assert facts.looked_up is not None
    assert facts.last_release < facts.looked_up
