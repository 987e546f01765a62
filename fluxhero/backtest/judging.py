"""What is asked of each strategy beside its result: what else was tried, and what that makes of it."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.asking import targets_of
from fluxhero.backtest.bars import Int8s
from fluxhero.backtest.evaluation import StrategyLuck
from fluxhero.backtest.loading import load
from fluxhero.backtest.luck import Tried, judge_luck
from fluxhero.backtest.material import CHEATS
from fluxhero.backtest.referenced import Referenced
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.signals import Signals, signals_of
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.sweep_faults import SweepFaults, faults_of
from fluxhero.backtest.sweeps import SweepOutcome, SweepPlan, plan_sweep
from fluxhero.backtest.trials import Trial, TrialCount, contract_json, count_trials, trials_of
from fluxhero.backtest.walk_forward import Candidate
from fluxhero.errors import StrategyError

MOST_CANDIDATES: Final = 100  # that a walk-forward chooses from; of more, evenly chosen ones
# Yardsticks: nobody trades them, and they are no attempts to find something that works.
YARDSTICKS: Final = (CHEATS, SHIPPED["random"], SHIPPED["buy-and-hold"])


def sweep_of(asked: Asked, one: Referenced) -> SweepPlan | None:
    """The sweep of a strategy's grid on its bars; None where it has no grid."""
    chosen, bars = one.signalled.chosen, one.signalled.bars
    if not chosen.grid:
        return None
    varied = {name for name, _ in chosen.grid}
    given = {name: value for name, value in chosen.named.parameters if name not in varied}
    return plan_sweep(
        chosen.description,
        chosen.grid,
        bars,
        one.contract,
        data_dir=asked.settings.data_dir,
        risk_free=asked.risk_free,
        zone=asked.calendar(bars).zone,
        given=given,
        engine=asked.sweep_engine,
    )


def trial_of(one: Referenced) -> Trial:
    """A result of the reference as a trial, for the register."""
    named, bars, found = one.signalled.chosen.named, one.signalled.bars, one.row.performance
    return Trial(
        strategy=named.name,
        reference=named.reference,
        code=named.code,
        parameters=named.json,
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        data=bars.digest,
        contract=contract_json(one.contract),
        sharpe=found.sharpe if found else None,
        total_return=found.total_return if found else None,
        max_drawdown=found.max_drawdown if found else None,
        trades=found.trades if found else None,
        skew=found.skew if found else None,
        kurtosis=found.kurtosis if found else None,
        days=found.days if found else None,
    )


def luck_of(asked: Asked, one: Referenced, outcome: SweepOutcome | None) -> StrategyLuck:
    """Every test of one strategy on one symbol.

    Raises:
        DamagedFileError: the register of trials is damaged: fewer trials would pass luck off as skill.
    """
    named, bars = one.signalled.chosen.named, one.signalled.bars
    count = tried_on(asked, one)
    faults = faults_of(asked, one, outcome) if outcome else SweepFaults()
    tried = Tried(
        # Beside trials that have no Sharpe ratio there was nothing to choose from.
        trials=count.number if len(count.sharpes) > 1 else 1,
        sharpe_variance=count.sharpe_variance,
        sums=outcome.sums if outcome else None,
        candidates=candidates_of(asked, one, outcome),
        grid=outcome.surface if outcome else (),
        peeks=one.signalled.peeks or faults.peeks,
    )
    calendar = asked.calendar(bars)
    luck = judge_luck(bars, one.signalled.targets, one.contract, calendar, asked.risk_free, tried)
    return StrategyLuck(
        strategy=named.name,
        label=named.label,
        symbol=bars.symbol,
        luck=luck.model_copy(update={"unknown": (*luck.unknown, *faults.unknown)}),
        failures=faults.failures,
    )


def tried_on(asked: Asked, one: Referenced) -> TrialCount:
    """What was ever tried on the same symbol, with whatever strategy; yardsticks only beside themselves."""
    bars, own = one.signalled.bars, one.signalled.chosen.named.reference
    trials = trials_of(asked.settings.data_dir, symbol=bars.symbol, timeframe=bars.timeframe)
    left_out = [reference for reference in YARDSTICKS if reference != own]
    attempts = trials.filter(
        pc.invert(pc.is_in(trials["reference"], pa.array(left_out, pa.string())))
    )
    if own in YARDSTICKS:
        attempts = attempts.filter(pc.equal(attempts["reference"], own))
    return count_trials(attempts)


def candidates_of(asked: Asked, one: Referenced, outcome: SweepOutcome | None) -> list[Candidate]:
    """What a walk-forward can choose from: the combinations of the sweep that can be run."""
    if outcome is None:
        return []
    strategies = _spread(outcome.plan.strategies)
    ours = one.signalled.chosen.named.reference in SHIPPED.values()
    found = _own(strategies, one) if ours else _isolated(asked, strategies, one)
    return [
        Candidate(named.label, targets)
        for named, targets in zip(strategies, found, strict=True)
        if targets is not None
    ]


def _own(strategies: Sequence[Named], one: Referenced) -> list[Int8s | None]:
    """Targets of shipped strategies, which can harm nobody and need no process of their own."""
    frame, short = one.signalled.bars.frame(), one.contract.allow_short
    found: list[Int8s | None] = []
    for named in strategies:
        try:
            made = load(named.reference, named.parameters)
            found.append(targets_of(made, frame, allow_short=short, label=named.label))
        except StrategyError:  # a combination that it refuses
            found.append(None)
    return found


def _isolated(asked: Asked, strategies: Sequence[Named], one: Referenced) -> list[Int8s | None]:
    bars, contract = one.signalled.bars, one.contract
    found = signals_of(strategies, bars, contract, asked.bounds, asked.folder, look_ahead=False)
    return [signals.targets if isinstance(signals, Signals) else None for signals in found]


def _spread(strategies: Sequence[Named]) -> Sequence[Named]:
    step = max(1, -(-len(strategies) // MOST_CANDIDATES))
    return strategies[::step]
