"""Running an engine's jobs in its own process, and what became of each: a row in every case.

One process runs job after job; when it dies, the job at work is lost and the others go on in a new one.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from fluxhero.backtest.bars import Bars, Floats, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.engine_files import (
    GarbageError,
    Kind,
    Source,
    own_metrics,
    read_answer,
    read_result,
    read_sweep,
    read_targets,
    rules_for,
    write_bars,
    write_targets,
)
from fluxhero.backtest.engine_process import Call, EngineProcesses, death
from fluxhero.backtest.engines import Engine
from fluxhero.backtest.environments import Environment
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.results import Result
from fluxhero.backtest.strategy import Named
from fluxhero.errors import EngineError

logger = logging.getLogger(__name__)

_NOT_NATIVE: Final = "it has no form in the engine's own idiom"


class Mode(StrEnum):
    """What an engine is handed."""

    GIVEN = "given"  # the targets: tests its execution
    NATIVE = "native"  # the strategy's name: its own indicators and order handling


@dataclass(frozen=True, eq=False)
class EngineJob:
    """One backtest that an engine is to run.

    Attributes:
        id: what the caller knows it by.
        mode: what the engine is handed.
        strategy: by name, with its parameters.
        bars: checked ones.
        targets: of the strategy on these bars.
        contract: its own rules; None: those of the whole run.
    """

    id: str
    mode: Mode
    strategy: Named
    bars: Bars
    targets: Int8s
    contract: Contract | None = None


@dataclass(frozen=True, eq=False)
class JobOutcome:
    """What became of a job.

    Attributes:
        job: which.
        kind: ok, or what went wrong.
        error: why; empty where it is ok.
        result: where it is ok.
        targets: what the engine's own indicators said, in native mode.
        own: the engine's own metrics.
        load_seconds: wall time of reading the bars.
        run_seconds, run_cpu_seconds: of the backtest itself.
    """

    job: EngineJob
    kind: Kind
    error: str = ""
    result: Result | None = None
    targets: Int8s | None = None
    own: dict[str, float] = field(default_factory=dict)
    load_seconds: float = 0.0
    run_seconds: float = 0.0
    run_cpu_seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class EngineRun:
    """All jobs of one engine.

    Attributes:
        engine: which.
        python: version that it ran on; empty where it could not even be imported.
        versions: of the packages there.
        import_seconds: until the engine was imported, the first time.
        peak_mb: most memory of its process.
        seconds, cpu_seconds: of its processes in all.
        outcomes: one for each job, in the jobs' order.
    """

    engine: Engine
    python: str
    versions: dict[str, str]
    import_seconds: float
    peak_mb: float
    seconds: float
    cpu_seconds: float
    outcomes: tuple[JobOutcome, ...]


@dataclass(frozen=True, eq=False)
class SweepRun:
    """Many combinations by an engine at once; equity in USD, bars x combinations."""

    equity: Floats
    import_seconds: float
    load_seconds: float
    run_seconds: float
    run_cpu_seconds: float
    peak_mb: float


def run_engine(
    engine: Engine,
    environment: Environment,
    jobs: Sequence[EngineJob],
    contract: Contract,
    bounds: Bounds,
    folder: Path,
    *,
    source: Source = "parquet",
    runner: Path | None = None,
    advance: Callable[[], None] | None = None,
) -> EngineRun:
    """Run jobs one after the other; nothing that the engine does keeps the others from being run.

    Args:
        engine: which.
        environment: where it is installed.
        jobs: what to run.
        contract: the rules of the jobs that have none of their own.
        bounds: what one job may take; the memory is that of the process.
        folder: where bars and answers are kept; made when missing.
        source: what the engine's process reads the bars from.
        runner: another file than the engine's own.
        advance: called every now and then.

    Raises:
        EngineUnavailableError: its interpreter cannot be started.
        StorageIOError: the disk is full or refuses.
    """
    processes = EngineProcesses(environment, runner or engine.runner, bounds, folder, advance)
    asked = [
        _asked(job, job.contract or contract, processes.folder / f"targets-{number}.npy", source)
        for number, job in enumerate(jobs)
    ]
    outcomes: dict[int, JobOutcome] = {}
    waiting = list(range(len(jobs)))
    while waiting:
        call = processes.call({number: asked[number] for number in waiting})
        for number in waiting:
            outcome = _outcome(call, number, jobs[number])
            if outcome is None and (call.process is None or number == call.victim):
                outcome = JobOutcome(jobs[number], *death(call.outcome, bounds))
            if outcome:
                outcomes[number] = outcome
        waiting = [number for number in waiting if number not in outcomes]
        if waiting:
            _kind, why = death(call.outcome, bounds)
            logger.warning("%s: %s; the jobs that are left run in a new one", engine.name, why)
    first = next((call.process for call in processes.made if call.process), None)
    return EngineRun(
        engine=engine,
        python=first.python if first else "",
        versions=first.versions if first else {},
        import_seconds=first.import_seconds if first else 0.0,
        peak_mb=max((call.peak_mb for call in processes.made), default=0.0),
        seconds=sum(call.outcome.seconds for call in processes.made),
        cpu_seconds=sum(call.outcome.cpu_seconds for call in processes.made),
        outcomes=tuple(outcomes[number] for number in range(len(jobs))),
    )


def run_sweep(
    engine: Engine,
    environment: Environment,
    bars: Bars,
    targets: Int8s,
    contract: Contract,
    bounds: Bounds,
    folder: Path,
    *,
    function: str = "sweep",
    warm_up: bool = False,
    runner: Path | None = None,
    advance: Callable[[], None] | None = None,
) -> SweepRun:
    """Run many combinations of targets (bars x combinations) on the same bars at once.

    Args:
        engine: which.
        environment: where it is installed.
        bars: checked ones.
        targets: of every combination.
        contract: the rules.
        bounds: what the sweep may take.
        folder: where bars and answers are kept; made when missing.
        function: of the runner; it may have more than one way.
        warm_up: run two combinations first, for an engine that compiles.
        runner: another file than the engine's own.
        advance: called every now and then.

    Raises:
        EngineError: the engine has no sweeps, fails, takes too much, or gives nonsense.
        EngineUnavailableError: its interpreter cannot be started.
        StorageIOError: the disk is full or refuses.
    """
    processes = EngineProcesses(environment, runner or engine.runner, bounds, folder, advance)
    parts = [targets[:, :2], targets] if warm_up else [targets]
    asked = {
        number: {
            "mode": "sweep",
            "function": function,
            "rules": rules_for(contract),
            "source": "parquet",
            "bars": str(write_bars(bars, folder, "parquet")),
            "targets": str(write_targets(part, folder / f"swept-{number}.npy")),
        }
        for number, part in enumerate(parts)
    }
    call = processes.call(asked)
    number = len(parts) - 1
    try:
        answer = read_answer(call.results, number)
        if answer is None:
            raise _sweep_error(engine, *death(call.outcome, bounds))
        if answer.kind != "ok":
            raise _sweep_error(engine, answer.kind, answer.error)
        equity = read_sweep(call.results, number, (targets.shape[0], targets.shape[1]))
    except GarbageError as error:
        raise _sweep_error(engine, "garbage", str(error)) from error
    return SweepRun(
        equity,
        call.process.import_seconds if call.process else 0.0,
        answer.load.seconds,
        answer.run.seconds,
        answer.run.cpu_seconds,
        call.peak_mb,
    )


def _asked(job: EngineJob, contract: Contract, targets: Path, source: Source) -> dict[str, Any]:
    """A job as the harness reads it."""
    given = job.mode is Mode.GIVEN
    return {
        "mode": job.mode.value,
        "strategy": job.strategy.name,
        "parameters": dict(job.strategy.parameters),
        "rules": rules_for(contract),
        "source": source,
        "bars": str(write_bars(job.bars, targets.parent, source)),
        "targets": str(write_targets(job.targets, targets)) if given else None,
    }


def _sweep_error(engine: Engine, kind: Kind, why: str) -> EngineError:
    return EngineError(
        f"the sweep by {engine.name} {kind}: {why}",
        next_step="sweep fewer combinations at once, or with the reference",
    )


def _outcome(call: Call, number: int, job: EngineJob) -> JobOutcome | None:
    """What a process left of a job; None where it did not come to its end."""
    try:
        answer = read_answer(call.results, number)
        if answer is None:
            return None
        if answer.kind != "ok":
            return JobOutcome(job, answer.kind, answer.error or _NOT_NATIVE)
        return JobOutcome(
            job,
            "ok",
            result=read_result(call.results, number, job.bars),
            targets=read_targets(call.results, number, job.bars),
            own=own_metrics(answer),
            load_seconds=answer.load.seconds,
            run_seconds=answer.run.seconds,
            run_cpu_seconds=answer.run.cpu_seconds,
        )
    except GarbageError as error:
        return JobOutcome(job, "garbage", str(error))
