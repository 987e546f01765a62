"""The validation tests pass on what is right and fail on what is planted wrong."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.results import MONEY, Result
from fluxhero.backtest.runs import JobOutcome
from fluxhero.backtest.shipped import BuyAndHold, MovingAverageCross, PerfectPredictor
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.validation import (
    beside,
    buy_and_hold,
    not_done,
    perfect_predictor,
    random_entries,
    walk_forward_of,
)
from fluxhero.backtest.validation_jobs import random_test, walk_test
from fluxhero.backtest.walk_forward import Candidate, walk_forward
from tests.backtest.planted_results import bars_of
from tests.backtest.session_bars import daily_bars, new_york, walk

BARS = daily_bars(walk(300, seed=5))
CONTRACT = Contract()


def dearer(result: Result, dollars: str) -> Result:
    """The same with so much lost at the end, as if another price had been paid."""
    equity = result.equity["equity"].to_pylist()
    changed = pa.array([*equity[:-1], equity[-1] - Decimal(dollars)], MONEY)
    return replace(result, equity=result.equity.set_column(4, "equity", changed))


@pytest.mark.parametrize("volume", [1_000, 100_000_000])
@pytest.mark.parametrize("sizing", list(Sizing))
@pytest.mark.parametrize("policy", list(CashPolicy))
def test_buy_and_hold_is_what_a_pencil_says(
    policy: CashPolicy, sizing: Sizing, volume: int
) -> None:
    contract = Contract(cash_policy=policy, sizing=sizing, shares=3_300)
    bars = bars_of([3000, 3020, 3100], [3000, 3050, 3300], volume)
    result = simulate_exact(bars, BuyAndHold().targets(bars.frame()), contract)
    found = buy_and_hold("x", result, bars, contract)
    if not result.fills.num_rows:
        assert (found.passed, found.text) == (None, "the cash does not pay for a share")
        return
    assert found.passed
    assert not buy_and_hold("x", dearer(result, "0.02"), bars, contract).passed


def test_a_perfect_predictor_pays_what_everybody_pays() -> None:
    contract = Contract(sizing=Sizing.FIXED, shares=100)
    result = simulate_exact(BARS, PerfectPredictor().targets(BARS.frame()), contract)
    found = perfect_predictor("x", result, BARS, contract)
    assert found.passed
    assert "of costs in" in found.value
    free = simulate_exact(
        BARS,
        PerfectPredictor().targets(BARS.frame()),
        contract.model_copy(update={"commission": 0}),
    )
    assert not perfect_predictor("x", free, BARS, contract).passed
    still = bars_of([3000] * 5, [3000] * 5)
    none = simulate_exact(still, PerfectPredictor().targets(still.frame()), contract)
    assert perfect_predictor("x", none, still, contract).passed is None


def test_chance_breaks_even_and_a_gift_does_not() -> None:
    test = random_test(BARS, CONTRACT)
    assert test.reference.passed, test.reference
    results = [simulate_exact(test.bars, job.targets, CONTRACT) for job in test.jobs]
    outcomes = [
        JobOutcome(job, "ok", result=one) for job, one in zip(test.jobs, results, strict=True)
    ]
    judged = test.judged("x", outcomes)
    assert judged.passed
    assert judged.as_reference
    gifts = [replace(one, round_trips=_richer(one.round_trips)) for one in results]
    assert not random_entries("x", gifts, test.bars).passed
    assert random_entries("x", results[:7], test.bars).text == "7 seeds of 30 were run"
    idle = simulate_exact(BARS, np.zeros(len(BARS), np.int8), CONTRACT)
    assert random_entries("x", [idle] * 30, BARS).text == "the seeds do not differ"
    dead = JobOutcome(test.jobs[0], "crashed", "its process was ended by SIGSEGV")
    lost = test.judged("x", [dead, *outcomes[1:]])
    assert lost.passed is None
    assert lost.text == "1 run of 30 failed; crashed: its process was ended by SIGSEGV"
    assert beside(test.reference, lost) is lost


def _richer(trips: pa.Table) -> pa.Table:
    """Every round trip earns more than prices give."""
    pnl = [one + 2_000 for one in trips["pnl"].to_pylist()]
    return trips.set_column(trips.column_names.index("pnl"), "pnl", pa.array(pnl, MONEY))


def candidates(bars: Bars) -> list[Candidate]:
    frame = bars.frame()
    return [
        Candidate(f"{fast}", MovingAverageCross(fast, 20).targets(frame)) for fast in (2, 5, 10)
    ]


def test_windows_of_a_walk_come_out_the_same_or_not() -> None:
    choice = candidates(BARS)
    walked = walk_forward(BARS, choice, CONTRACT, new_york(), 0.04)
    whole = walk_forward_of("reference", BARS.symbol, walked)
    assert whole.passed == walked.passes
    assert whole.value.startswith(f"{walked.profitable} of {len(walked.windows)} windows")
    assert f"{walked.without_trades} without a trade" in whole.text
    test = walk_test(Named("x", "y:X"), BARS, choice, walked, CONTRACT, new_york())
    assert test.reference.value == whole.value
    outcomes = [
        JobOutcome(job, "ok", result=simulate_exact(job.bars, job.targets, CONTRACT))
        for job in test.jobs
    ]
    assert test.judged("x", outcomes).as_reference
    last = outcomes[-1].result
    assert last is not None
    worse = [*outcomes[:-1], replace(outcomes[-1], result=dearer(last, "5000"))]
    assert test.judged("x", worse).as_reference is False
    none = test.judged("x", [replace(one, result=None, kind="failed") for one in outcomes])
    assert none.passed is None
    assert not_done("x", "t", "s", "why").text == "why"
