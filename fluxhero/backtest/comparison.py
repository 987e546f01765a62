"""One engine in an evaluation: its jobs, whether it reads every source alike, and its run for speed."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.engine_files import Source
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.environments import Environment, environment_of
from fluxhero.backtest.evaluation import EngineUsed
from fluxhero.backtest.facts import EngineFacts, engine_facts
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.runs import EngineJob, EngineRun, JobOutcome, Mode, run_engine
from fluxhero.backtest.shipped import SHIPPED, MovingAverageCross
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.used import engine_unavailable, engine_used
from fluxhero.errors import EngineError

logger = logging.getLogger(__name__)

SOURCES: Final[tuple[Source, ...]] = ("parquet", "duckdb")
SPEED_SECONDS: Final = 60.0  # six times what is allowed: who needs longer has failed
_CROSS: Final = "moving-average-cross"


@dataclass(frozen=True, eq=False)
class Compared:
    """What one engine came to.

    Attributes:
        engine: its short name.
        error: why it could not be used at all; None where it could.
        environment: where it runs; None where there is none.
        facts: what its environment says of it.
        run: all its jobs.
        sources: what came of one job with its bars from each source.
        speed: its run for speed; None where there was none.
    """

    engine: str
    error: EngineError | None = None
    environment: Environment | None = None
    facts: EngineFacts | None = None
    run: EngineRun | None = None
    sources: Mapping[str, JobOutcome] = field(default_factory=dict)
    speed: EngineRun | None = None

    @property
    def outcomes(self) -> tuple[JobOutcome, ...]:
        """One for each of its jobs."""
        return self.run.outcomes if self.run else ()

    @property
    def used(self) -> EngineUsed:
        """What the evaluation says of it."""
        if self.run is None:
            error = self.error or EngineError("it was not run", next_step="run it again")
            return engine_unavailable(self.engine, error, self.facts)
        return engine_used(self.run, self.facts, self.speed, self.sources)


def compare_engine(asked: Asked, name: str, jobs: Sequence[EngineJob]) -> Compared:
    """Run jobs in one engine; whatever keeps it from being run is in what is returned.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    engine = engine_named(name)
    try:
        environment = environment_of(engine, asked.settings, build=asked.build)
    except EngineError as error:
        logger.warning("%s", error)
        return Compared(name, error)
    compared = Compared(name, None, environment, engine_facts(environment))
    try:
        run = _run(asked, environment, jobs, asked.bounds, name)
        sources = _sources(asked, environment, run)
    except EngineError as error:
        logger.warning("%s", error)
        return replace(compared, error=error)
    return replace(compared, run=run, sources=sources)


def _run(
    asked: Asked,
    environment: Environment,
    jobs: Sequence[EngineJob],
    bounds: Bounds,
    folder: str,
    source: Source = "parquet",
) -> EngineRun:
    return run_engine(
        environment.engine,
        environment,
        jobs,
        asked.contract,
        bounds,
        asked.folder / folder,
        source=source,
    )


def _sources(asked: Asked, environment: Environment, run: EngineRun) -> dict[str, JobOutcome]:
    """The first job that went well, once more from every source."""
    first = next((one for one in run.outcomes if one.kind == "ok"), None)
    if first is None:
        return {}
    name, bounds = environment.engine.name, asked.bounds
    return {
        source: first
        if source == SOURCES[0]
        else _run(asked, environment, [first.job], bounds, f"{name}-{source}", source).outcomes[0]
        for source in SOURCES
    }


def time_engine(asked: Asked, compared: Compared) -> Compared:
    """Run one strategy on many minute bars, when nothing else runs.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    if compared.environment is None or compared.run is None or not asked.speed_bars:
        return compared
    bars = random_walk(asked.speed_bars)
    targets = MovingAverageCross().targets(bars.frame())
    job = EngineJob("speed", Mode.GIVEN, Named(_CROSS, SHIPPED[_CROSS]), bars, targets)
    seconds = min(SPEED_SECONDS, asked.bounds.seconds)
    bounds = Bounds(seconds=seconds, memory_mb=asked.bounds.memory_mb)
    run = _run(asked, compared.environment, [job], bounds, f"{compared.engine}-speed")
    return replace(compared, speed=run)


def sweeper(asked: Asked) -> Environment | None:
    """Where the engine that runs the sweeps is installed; None where the reference does.

    Raises:
        EngineUnavailableError: it is not to be had.
    """
    if asked.sweep_engine == REFERENCE:
        return None
    return environment_of(engine_named(asked.sweep_engine), asked.settings, build=asked.build)
