"""The backtests that engines run for the validation tests alone, and what is made of what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import Validation
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.results import Result
from fluxhero.backtest.runs import EngineJob, JobOutcome, Mode
from fluxhero.backtest.shipped import SHIPPED, RandomEntries
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.validation import (
    FEWEST_SEEDS,
    RANDOM,
    WALK_FORWARD,
    beside,
    not_done,
    random_entries,
    walk_validation,
)
from fluxhero.backtest.walk_forward import Candidate, WalkForward, windows_of
from fluxhero.market.calendar import Calendar
from fluxhero.wording import counted

MOST_BARS: Final = 1_000  # of a random run, the last ones there are
MOST_WINDOWS: Final = 24  # of a walk-forward that engines run, the last ones there are


class Test(Protocol):
    """A validation test on one symbol, for engines to run.

    Attributes:
        jobs: what an engine is to run, all with given signals.
        reference: what the reference makes of the same.
    """

    jobs: tuple[EngineJob, ...]
    reference: Validation

    def judged(self, engine: str, outcomes: Sequence[JobOutcome]) -> Validation:
        """What an engine's outcomes, one for each job, make of it."""


@dataclass(frozen=True, eq=False)
class RandomTest:
    """Random strategies, one a seed."""

    bars: Bars
    jobs: tuple[EngineJob, ...]
    reference: Validation

    def judged(self, engine: str, outcomes: Sequence[JobOutcome]) -> Validation:
        """Whether chance breaks even with this engine."""
        results = _results(outcomes)
        if isinstance(results, str):
            return not_done(engine, RANDOM, self.bars.symbol, results)
        return beside(self.reference, random_entries(engine, results, self.bars))


def random_test(bars: Bars, contract: Contract, seeds: int = FEWEST_SEEDS) -> RandomTest:
    """Random strategies with seeds from 1 on, on the last bars."""
    part = bars.part(max(0, len(bars) - MOST_BARS), len(bars))
    frame = part.frame()
    jobs = tuple(
        EngineJob(
            f"{RANDOM} {seed} on {bars.symbol}",
            Mode.GIVEN,
            Named(RANDOM, SHIPPED[RANDOM], (("seed", seed),)),
            part,
            RandomEntries(seed).targets(frame),
        )
        for seed in range(1, seeds + 1)
    )
    results = [simulate(part, job.targets, contract) for job in jobs]
    return RandomTest(part, jobs, random_entries(REFERENCE, results, part))


@dataclass(frozen=True, eq=False)
class WalkTest:
    """The last windows of a walk-forward, with what the reference chose for each; nothing for some of them."""

    symbol: str
    contract: Contract
    walked: WalkForward
    without_choice: int
    jobs: tuple[EngineJob, ...]
    reference: Validation

    def judged(self, engine: str, outcomes: Sequence[JobOutcome]) -> Validation:
        """Whether the windows come out the same with this engine."""
        results = _results(outcomes)
        if isinstance(results, str):
            return not_done(engine, WALK_FORWARD, self.symbol, results)
        returns = _returns(results, self.without_choice, self.contract)
        return beside(self.reference, walk_validation(engine, self.symbol, returns, self.walked))


def walk_test(
    strategy: Named,
    bars: Bars,
    candidates: Sequence[Candidate],
    walked: WalkForward,
    contract: Contract,
    calendar: Calendar,
) -> WalkTest:
    """The last windows of a walk-forward, as backtests of one month each.

    Args:
        strategy: whose parameters the candidates are.
        bars: that it was made on.
        candidates: that it chose from.
        walked: what came of it.
        contract: the rules.
        calendar: of the exchange.
    """
    targets = {one.label: one.targets for one in candidates}
    windows = windows_of(bars.ends, calendar).windows
    pairs = list(zip(windows, walked.windows, strict=True))[-MOST_WINDOWS:]
    chosen = [(window, tested.chosen) for window, tested in pairs if tested.chosen is not None]
    jobs = tuple(
        EngineJob(
            f"{WALK_FORWARD} {window.month:%Y-%m} on {bars.symbol}",
            Mode.GIVEN,
            strategy,
            bars.part(window.middle, window.last),
            targets[label][window.middle : window.last],
        )
        for window, label in chosen
    )
    results = [simulate(job.bars, job.targets, contract) for job in jobs]
    idle = len(pairs) - len(chosen)
    returns = _returns(results, idle, contract)
    reference = walk_validation(REFERENCE, bars.symbol, returns, walked)
    return WalkTest(bars.symbol, contract, walked, idle, jobs, reference)


def _returns(results: Sequence[Result], idle: int, contract: Contract) -> list[float]:
    """What each window made of the cash; nothing where nothing was chosen."""
    ends = [result.equity["equity"][-1].as_py() for result in results]
    return [float((end - contract.cash) / contract.cash) for end in ends] + [0.0] * idle


def _results(outcomes: Sequence[JobOutcome]) -> list[Result] | str:
    """The results, or why they are not all there."""
    bad = [one for one in outcomes if one.result is None]
    if bad:
        return (
            f"{counted(len(bad), 'run')} of {len(outcomes)} failed; {bad[0].kind}: {bad[0].error}"
        )
    return [one.result for one in outcomes if one.result is not None]
