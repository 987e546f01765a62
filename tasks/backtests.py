"""The steps of a backtest evaluation, a task each."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Annotated, TypeVar

from prefect.futures import PrefectFuture

from config.bounds import MOST_COUNT
from fluxhero.archive.batches import utc_now
from fluxhero.backtest.asked import (
    NO_ENGINE,
    SWEEPERS,
    Asked,
    chosen_engines,
    chosen_strategies,
    chosen_sweeper,
)
from fluxhero.backtest.comparison import Compared, compare_engine, sweeper, time_engine
from fluxhero.backtest.concluding import evaluation_of
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.engines import ENGINES
from fluxhero.backtest.environments import Environment
from fluxhero.backtest.evaluation import Evaluation, StrategyLuck
from fluxhero.backtest.evaluation_plots import results_png
from fluxhero.backtest.evaluation_report import evaluation_html
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.judging import luck_of, sweep_of, trial_of
from fluxhero.backtest.kept import keep
from fluxhero.backtest.material import AllSignalled, Material, material_of, signalled
from fluxhero.backtest.packed import PackedPlan
from fluxhero.backtest.referenced import AllReferenced, referenced
from fluxhero.backtest.report import EvaluationReport, report_on
from fluxhero.backtest.sheets import write_sheets
from fluxhero.backtest.sweep_parts import PartDone, run_part
from fluxhero.backtest.sweeps import SweepOutcome, SweepPlan, sweep_outcome
from fluxhero.backtest.trials import register
from fluxhero.backtest.validating import Exam, exam_of
from fluxhero.backtest.working import working_in
from fluxhero.errors import BadInputError
from fluxhero.integrity.findings import new_run_id
from fluxhero.market.timeframe import Timeframe
from fluxhero.plots import keep_plot
from fluxhero.reports import write_report
from fluxhero.wording import counted
from tasks.cluster import check_cluster, lost_clusters
from tasks.parameters import form
from tasks.policy import compute_task, io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PAIR = r"^[A-Za-z_][A-Za-z0-9_]*=.+$"
Engines = Annotated[list[Annotated[str, form(enum=[*ENGINES, NO_ENGINE])]], form(uniqueItems=True)]
Pairs = list[Annotated[str, form(pattern=_PAIR, examples=["fast=10"])]]
Variants = list[Annotated[str, form(pattern=_PAIR, examples=["fast=5..50:5"])]]
Shares = Annotated[int, form(minimum=1, maximum=10_000_000)]
SpeedBars = Annotated[int, form(minimum=0, maximum=MOST_COUNT)]
Sweeper = Annotated[str, form(enum=list(SWEEPERS))]


@dataclass(frozen=True)
class Sweeps:
    """The sweep of each result of the reference, None where a strategy has no grid; and who runs them.

    `environment` is None where the reference does.
    """

    plans: tuple[SweepPlan | None, ...]
    environment: Environment | None

    @property
    def parts(self) -> list[tuple[Environment | None, PackedPlan, int]]:
        """Every part of every sweep."""
        plans = [(PackedPlan.of(plan), plan.parts) for plan in self.plans if plan]
        return [
            (self.environment, plan, number) for plan, parts in plans for number in range(parts)
        ]


@io_task
def open_evaluation(
    strategies: Sequence[str],
    symbols: Sequence[str],
    timeframe: str,
    span: tuple[date | None, date | None],
    variants: tuple[Sequence[str], Sequence[str]],
    engines: Sequence[str],
    *,
    shares: int | None,
    allow_short: bool,
    speed_bars: int,
    build: bool,
    sweep_engine: str,
    pdf: bool,
) -> Asked:
    """Read the settings and check the parameters.

    Raises:
        BadInputError: one of them makes no sense.
        ConfigurationError: sweeps are to be computed on Dask, which is not installed.
    """
    now, settings = utc_now(), settings_of_run()
    check_cluster(settings)
    usable, unusable = chosen_strategies(strategies, *variants)
    first, last = span
    if first and last and first > last:
        raise BadInputError(f"from {first} to {last} there is no day", next_step="swap the two")
    return Asked(
        run=new_run_id(now),
        at=now,
        settings=settings,
        strategies=usable,
        unusable=unusable,
        symbols=tuple(dict.fromkeys(symbols)),
        timeframe=Timeframe.read(timeframe),
        first=first,
        last=last,
        engines=chosen_engines(engines),
        contract=Contract.of(settings, shares=shares, allow_short=allow_short),
        speed_bars=speed_bars,
        build=build,
        sweep_engine=chosen_sweeper(sweep_engine),
        pdf=pdf,
    )


@contextmanager
def working_folder(asked: Asked) -> Iterator[None]:
    """Have a folder for files within the block; those that killed runs left behind are removed."""
    with working_in(asked.folder):
        yield


def all_of(futures: Sequence[PrefectFuture[T]]) -> list[T]:
    """What tasks that run beside each other came to.

    Raises:
        ClusterError: some were on a Dask cluster that is gone.
    """
    with lost_clusters():
        return [future.result() for future in futures]


@io_task
def load_bars(asked: Asked) -> Material:
    """Read and check the bars of every symbol.

    Raises:
        BadInputError: none can be used.
    """
    found = material_of(asked)
    for bars, _ in found.usable:
        logger.info("%s: %s of %s", bars.symbol, counted(len(bars), "bar"), bars.timeframe)
    return found


@io_task
def compute_targets(asked: Asked, material: Material) -> AllSignalled:
    """Ask every strategy what it wants after each bar, and whether it looks ahead."""
    found = [signalled(asked, bars) for bars, _ in material.usable]
    logger.info("signals of %s", counted(sum(len(one.usable) for one in found), "strategy run"))
    return AllSignalled(
        tuple(one for each in found for one in each.usable),
        tuple(failure for each in found for failure in each.failures),
    )


@compute_task
def run_reference(asked: Asked, signals: AllSignalled) -> AllReferenced:
    """Run everything in the reference simulator."""
    return referenced(asked, signals.usable)


@compute_task
def set_exam(asked: Asked, material: Material) -> Exam:
    """Put the validation tests together."""
    bars, _ = material.usable[0]
    return exam_of(bars, asked.contract, asked.calendar(bars), asked.risk_free)


@io_task
def run_engine_jobs(asked: Asked, engine: str, references: AllReferenced, exam: Exam) -> Compared:
    """Run every strategy and the validation tests in one engine, isolated."""
    jobs = [job for one in references.usable for job in one.jobs()]
    compared = compare_engine(asked, engine, [*jobs, *exam.jobs])
    ended = sum(outcome.kind == "ok" for outcome in compared.outcomes)
    logger.info("%s: %d of %s done", engine, ended, counted(len(compared.outcomes), "job"))
    return compared


@io_task
def measure_speed(asked: Asked, compared: Compared) -> Compared:
    """Run a year of minute bars in one engine, while nothing else runs."""
    return time_engine(asked, compared)


@io_task
def plan_sweeps(asked: Asked, references: AllReferenced) -> Sweeps:
    """Cut the grid of each strategy into parts of work.

    Raises:
        EngineUnavailableError: the engine that is to run them is not to be had.
    """
    plans = tuple(sweep_of(asked, one) for one in references.usable)
    return Sweeps(plans, sweeper(asked))


@io_task
def sweep_part(
    bounds: Bounds, environment: Environment | None, plan: PackedPlan, number: int
) -> PartDone:
    """Do one part of a sweep; what an earlier run has done is not done again.

    It may be done on another machine: what it is given can be pickled and holds no secret.
    """
    return run_part(plan.plan(), number, bounds, environment)


@io_task
def register_trials(
    asked: Asked, references: AllReferenced, sweeps: Sweeps, parts: Sequence[PartDone]
) -> list[SweepOutcome | None]:
    """Gather the sweeps, and add everything that was tried to the register."""
    logger.info("%s of sweeps done", counted(len(parts), "part"))
    outcomes = [None if plan is None else sweep_outcome(plan) for plan in sweeps.plans]
    tried = [trial_of(one) for one in references.usable]
    tried += [trial for outcome in outcomes if outcome for trial in outcome.trials()]
    register(asked.settings.data_dir, asked.run, asked.at, tried)
    return outcomes


@io_task
def judge_luck(
    asked: Asked, references: AllReferenced, outcomes: Sequence[SweepOutcome | None]
) -> list[StrategyLuck]:
    """Test each result for what it may come from other than skill."""
    pairs = zip(references.usable, outcomes, strict=True)
    return [luck_of(asked, one, outcome) for one, outcome in pairs]


def failures_of(
    asked: Asked,
    material: Material,
    signals: AllSignalled,
    references: AllReferenced,
    compared: Sequence[Compared],
    luck: Sequence[StrategyLuck],
) -> list[str]:
    """Everything that went wrong, each with its cause; an engine that is not to be had is not among them."""
    broken = [
        f"{one.engine}: {outcome.job.id}: {outcome.kind}: {outcome.error}"
        for one in compared
        for outcome in one.outcomes
        if outcome.kind not in {"ok", "not-native"}
    ]
    return [
        *asked.unusable,
        *material.refused,
        *signals.faults,
        *references.failures,
        *(failure for one in luck for failure in one.failures),
        *(str(one.error) for one in compared if one.environment and one.error),
        *broken,
    ]


@compute_task
def conclude(
    asked: Asked,
    material: Material,
    references: AllReferenced,
    exam: Exam,
    compared: Sequence[Compared],
    luck: Sequence[StrategyLuck],
    failures: Sequence[str],
) -> Evaluation:
    """Compare, score and decide."""
    first = 2 * len(references.usable)
    validations = exam.reference()
    for one in compared:
        if one.run:
            validations += exam.judged(one.engine, one.outcomes[first:])
    return evaluation_of(asked, material, references.usable, compared, validations, luck, failures)


@io_task
def record_evaluation(
    asked: Asked, evaluation: Evaluation, references: AllReferenced, compared: Sequence[Compared]
) -> EvaluationReport:
    """Keep the results, write the HTML reports and tearsheets, and make the report."""
    folder = keep(asked, evaluation, references.usable, compared)
    sheets = write_sheets(asked, evaluation, references.usable)
    page = write_report(
        asked.settings.data_dir, "evaluation", asked.run, evaluation_html(evaluation, sheets)
    )
    report = report_on(evaluation, str(folder), str(page))
    picture = results_png(evaluation)
    if picture is not None:
        kept = keep_plot(asked.settings.data_dir, "evaluation", picture)
        report = report.model_copy(update={"plot": str(kept)})
    (logger.info if report.ok else logger.warning)(report.verdict)
    return report
