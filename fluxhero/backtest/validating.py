"""The audit's validation tests put together: what each engine has to run for them, and what came of it.

They are run on the last three years or so of the first symbol, whatever strategies were asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.evaluation import Validation
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.results import Result
from fluxhero.backtest.runs import EngineJob, JobOutcome, Mode
from fluxhero.backtest.shipped import SHIPPED, BuyAndHold, MovingAverageCross, PerfectPredictor
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.validation import (
    BUY_AND_HOLD,
    PERFECT,
    WALK_FORWARD,
    buy_and_hold,
    not_done,
    perfect_predictor,
)
from fluxhero.backtest.validation_jobs import RandomTest, WalkTest, random_test, walk_test
from fluxhero.backtest.walk_forward import Candidate, walk_forward
from fluxhero.errors import BadInputError
from fluxhero.market.calendar import Calendar

MOST_BARS: Final = 756  # three years of sessions
_CROSS: Final = "moving-average-cross"
_GRID: Final = tuple((fast, slow) for fast in (5, 10, 20) for slow in (30, 50))


@dataclass(frozen=True, eq=False)
class Exam:
    """All tests on one symbol's last bars.

    Attributes:
        contract: the rules.
        bars: those last ones.
        single: the jobs of the two tests that are one backtest each.
        random: many of them.
        walk: the windows of a walk-forward; None where the bars are too few for one.
        why_not: why they are.
    """

    contract: Contract
    bars: Bars
    single: tuple[EngineJob, EngineJob]
    random: RandomTest
    walk: WalkTest | None
    why_not: str

    @property
    def jobs(self) -> tuple[EngineJob, ...]:
        """What an engine is to run, in the order in which `judged` wants it back."""
        return (*self.single, *self.random.jobs, *(self.walk.jobs if self.walk else ()))

    def reference(self) -> list[Validation]:
        """What the reference makes of it."""
        results = [
            simulate(job.bars, job.targets, job.contract or self.contract) for job in self.single
        ]
        walk = self.walk.reference if self.walk else self._no_walk(REFERENCE)
        return [*self._single(REFERENCE, results), self.random.reference, walk]

    def judged(self, engine: str, outcomes: Sequence[JobOutcome]) -> list[Validation]:
        """What an engine made of it."""
        first = len(self.single)
        second = first + len(self.random.jobs)
        results = [one.result or one.error for one in outcomes[:first]]
        walk = self.walk.judged(engine, outcomes[second:]) if self.walk else self._no_walk(engine)
        random = self.random.judged(engine, outcomes[first:second])
        return [*self._single(engine, results), random, walk]

    def _single(self, engine: str, results: Sequence[Result | str]) -> list[Validation]:
        judged = []
        tests = ((BUY_AND_HOLD, buy_and_hold), (PERFECT, perfect_predictor))
        for (name, test), job, result in zip(tests, self.single, results, strict=True):
            rules = job.contract or self.contract
            judged.append(
                not_done(engine, name, self.bars.symbol, result)
                if isinstance(result, str)
                else test(engine, result, self.bars, rules)
            )
        return judged

    def _no_walk(self, engine: str) -> Validation:
        return not_done(engine, WALK_FORWARD, self.bars.symbol, self.why_not)


def without_compounding(contract: Contract) -> Contract:
    """The rules with a fixed size, for what gains so much that the whole of it cannot be counted."""
    return contract.model_copy(update={"sizing": Sizing.FIXED})


def exam_of(bars: Bars, contract: Contract, calendar: Calendar, risk_free: float) -> Exam:
    """Put the tests together.

    Args:
        bars: of the first symbol; only the last of them are used.
        contract: the rules.
        calendar: of the exchange.
        risk_free: yearly rate.
    """
    part = bars.part(max(0, len(bars) - MOST_BARS), len(bars))
    frame = part.frame()
    fixed = without_compounding(contract)
    walk, why_not = _walk(part, contract, calendar, risk_free)
    return Exam(
        contract=contract,
        bars=part,
        single=(
            _job(BUY_AND_HOLD, part, BuyAndHold().targets(frame), contract),
            _job(PERFECT, part, PerfectPredictor().targets(frame), fixed),
        ),
        random=random_test(part, contract),
        walk=walk,
        why_not=why_not,
    )


def _job(name: str, bars: Bars, targets: Int8s, contract: Contract) -> EngineJob:
    named = Named(name, SHIPPED[name])
    return EngineJob(f"{name}, validation", Mode.GIVEN, named, bars, targets, contract)


def _walk(
    bars: Bars, contract: Contract, calendar: Calendar, risk_free: float
) -> tuple[WalkTest | None, str]:
    frame = bars.frame()
    candidates = [
        Candidate(f"fast={fast}, slow={slow}", MovingAverageCross(fast, slow).targets(frame))
        for fast, slow in _GRID
    ]
    try:
        walked = walk_forward(bars, candidates, contract, calendar, risk_free)
    except BadInputError as error:
        return None, error.what
    named = Named(_CROSS, SHIPPED[_CROSS])
    return walk_test(named, bars, candidates, walked, contract, calendar), ""
