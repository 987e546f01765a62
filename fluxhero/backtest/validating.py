"""The audit's validation tests put together: what each engine has to run for them, and what came of it.

They are run on the last three years or so of the first symbol, whatever strategies were asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from fluxhero.backtest import validation as tests
from fluxhero.backtest.asked import Asked
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.evaluation import REFERENCE, Validation
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.results import Result
from fluxhero.backtest.runs import EngineJob, JobOutcome, Mode
from fluxhero.backtest.shipped import (
    BuyAndHold,
    MovingAverageCross,
    PerfectPredictor,
    RandomEntries,
)
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.walk_forward import Candidate, Tested, WalkForward, walk_forward
from fluxhero.errors import BadInputError
from fluxhero.market.calendar import Calendar

MOST_BARS: Final = 756  # three years of sessions
_MARK: Final = "validation "  # with which the ids of these jobs begin
_GRID: Final = tuple((fast, slow) for fast in (5, 10, 20) for slow in (30, 50))
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Exam:
    """What has to be run, and the reference's walk-forward; None where the bars are too few for one."""

    asked: Asked
    bars: Bars
    jobs: tuple[EngineJob, ...]
    walked: WalkForward | None
    why_not: str


def is_exam(job: EngineJob) -> bool:
    """Whether a job belongs to the validation tests."""
    return job.id.startswith(_MARK)


def without_compounding(contract: Contract) -> Contract:
    """The rules with a fixed size, for what gains so much that the whole of it cannot be counted."""
    return contract.model_copy(update={"sizing": Sizing.FIXED})


def exam_of(asked: Asked, bars: Bars, calendar: Calendar) -> Exam:
    """Put the tests together.

    Args:
        asked: rules.
        bars: of the first symbol; only the last of them are used.
        calendar: of the exchange.
    """
    part = bars.part(max(0, len(bars) - MOST_BARS), len(bars))
    frame = part.frame()
    candidates = {
        f"fast={fast}, slow={slow}": MovingAverageCross(fast, slow).targets(frame)
        for fast, slow in _GRID
    }
    named = [Candidate(label, targets) for label, targets in candidates.items()]
    walked, why_not = None, ""
    try:
        walked = walk_forward(part, named, asked.contract, calendar, asked.risk_free)
    except BadInputError as error:
        why_not = error.what
    fixed = without_compounding(asked.contract)
    jobs = [
        _job(tests.BUY_AND_HOLD, part, BuyAndHold().targets(frame)),
        _job(tests.PERFECT, part, PerfectPredictor().targets(frame), fixed),
        *(
            _job(f"{tests.RANDOM} {seed}", part, RandomEntries(seed=seed).targets(frame))
            for seed in range(1, tests.FEWEST_SEEDS + 1)
        ),
        *(_windows(part, walked, candidates) if walked else ()),
    ]
    return Exam(asked, part, tuple(jobs), walked, why_not)


def _job(name: str, bars: Bars, targets: Int8s, contract: Contract | None = None) -> EngineJob:
    named = Named(name.split(" ", 1)[0], "")
    return EngineJob(f"{_MARK}{name}", Mode.GIVEN, named, bars, targets, contract)


def _windows(bars: Bars, walked: WalkForward, candidates: Mapping[str, Int8s]) -> list[EngineJob]:
    """The months tested, each with the targets of what was chosen in training."""
    jobs = []
    for window in walked.windows:
        if window.chosen is None:
            continue
        first, last = _place(bars, window.test_from), _place(bars, window.test_to) + 1
        targets = candidates[window.chosen][first:last]
        jobs.append(_job(f"{tests.WALK_FORWARD} {window.month}", bars.part(first, last), targets))
    return jobs


def _place(bars: Bars, at: datetime) -> int:
    return int(np.searchsorted(bars.ends, round(at.timestamp()) * _NANOSECONDS))


def examine_reference(exam: Exam) -> list[Validation]:
    """The tests of the reference simulator."""
    results = {
        job.id: simulate(job.bars, job.targets, job.contract or exam.asked.contract)
        for job in exam.jobs
    }
    return _judged(REFERENCE, exam, results, {})


def examine(engine: str, exam: Exam, outcomes: Sequence[JobOutcome]) -> list[Validation]:
    """The tests of an engine, from what it made of the jobs."""
    results = {one.job.id: one.result for one in outcomes if one.result and is_exam(one.job)}
    errors = {one.job.id: one.error for one in outcomes if not one.result and is_exam(one.job)}
    return _judged(engine, exam, results, errors)


def _judged(
    engine: str, exam: Exam, results: Mapping[str, Result], errors: Mapping[str, str]
) -> list[Validation]:
    bars, contract = exam.bars, exam.asked.contract
    judged = []
    for name, test, rules in (
        (tests.BUY_AND_HOLD, tests.buy_and_hold, contract),
        (tests.PERFECT, tests.perfect_predictor, without_compounding(contract)),
    ):
        result = results.get(f"{_MARK}{name}")
        why = errors.get(f"{_MARK}{name}", "it was not run")
        judged.append(
            test(engine, result, bars, rules)
            if result
            else tests.not_done(engine, name, bars.symbol, why)
        )
    seeds = [result for id_, result in results.items() if id_.startswith(f"{_MARK}{tests.RANDOM} ")]
    judged.append(tests.random_entries(engine, seeds, bars, contract))
    judged.append(_walk(engine, exam, results, errors))
    return judged


def _walk(
    engine: str, exam: Exam, results: Mapping[str, Result], errors: Mapping[str, str]
) -> Validation:
    if exam.walked is None:
        return tests.not_done(engine, tests.WALK_FORWARD, exam.bars.symbol, exam.why_not)
    returns = []
    for window in exam.walked.windows:
        id_ = f"{_MARK}{tests.WALK_FORWARD} {window.month}"
        if window.chosen is not None and id_ not in results:
            why = errors.get(id_, "it was not run")
            return tests.not_done(engine, tests.WALK_FORWARD, exam.bars.symbol, why)
        returns.append(_return(window, results.get(id_), exam.asked.contract))
    return tests.walk_validation(engine, exam.bars.symbol, returns, exam.walked)


def _return(window: Tested, result: Result | None, contract: Contract) -> float:
    if window.chosen is None or result is None:
        return 0.0
    return float(result.equity["equity"][-1].as_py() / contract.cash - 1)
