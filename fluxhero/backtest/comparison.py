"""One engine in an evaluation: its jobs, whether it reads every source alike, and its run for speed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.engine_files import Source
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.environments import Environment, environment_of
from fluxhero.backtest.facts import EngineFacts, engine_facts
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.material import Signalled
from fluxhero.backtest.runs import EngineJob, EngineRun, JobOutcome, Mode, run_engine
from fluxhero.backtest.shipped import MovingAverageCross
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.strategy import Named
from fluxhero.errors import EngineError

logger = logging.getLogger(__name__)

SOURCES: Final[tuple[Source, ...]] = ("parquet", "duckdb")
SPEED_SECONDS: Final = 60.0  # six times what is allowed: who needs longer has failed
_SPEED_PARAMETERS: Final = (("fast", 10), ("slow", 50))


@dataclass(frozen=True, eq=False)
class Compared:
    """What one engine came to.

    Attributes:
        engine: its short name.
        reason: why it could not be used at all; empty where it could.
        environment: where it runs; None where there is none.
        facts: what its environment says of it.
        run: all its jobs.
        sources: what it read bars from with the same result.
        sources_failed: what it did not, each with the cause.
        speed_bars: minute bars of the run for speed; None: there was none.
        speed: that run; None where there was none.
    """

    engine: str
    reason: str = ""
    environment: Environment | None = None
    facts: EngineFacts | None = None
    run: EngineRun | None = None
    sources: tuple[str, ...] = ()
    sources_failed: tuple[str, ...] = ()
    speed_bars: int | None = None
    speed: EngineRun | None = None

    @property
    def outcomes(self) -> tuple[JobOutcome, ...]:
        """One for each of its jobs."""
        return self.run.outcomes if self.run else ()


def compare_engine(asked: Asked, name: str, material: Sequence[Signalled]) -> Compared:
    """Run every strategy in one engine, with signals given and in its own idiom.

    Whatever keeps it from being run is in what is returned; other engines go on.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    engine = engine_named(name)
    try:
        environment = environment_of(engine, asked.settings, build=asked.build)
        facts = engine_facts(environment)
        folder = asked.folder / name
        jobs = [_job(one, mode) for one in material for mode in Mode]
        run = run_engine(engine, environment, jobs, asked.contract, asked.bounds, folder)
        works, fails = _sources(asked, environment, run)
    except EngineError as error:
        logger.warning("%s", error)
        return Compared(name, reason=str(error))
    return Compared(
        name, environment=environment, facts=facts, run=run, sources=works, sources_failed=fails
    )


def _job(one: Signalled, mode: Mode) -> EngineJob:
    named = one.chosen.named
    return EngineJob(f"{mode} {named.label} {one.bars.symbol}", mode, named, one.bars, one.targets)


def _sources(
    asked: Asked, environment: Environment, run: EngineRun
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which sources give the result of the first job that went well, and why others do not."""
    first = next((one for one in run.outcomes if one.kind == "ok"), None)
    if first is None or first.result is None:
        return (), ()
    works, fails = [SOURCES[0]], []
    for source in SOURCES[1:]:
        again = run_engine(
            environment.engine,
            environment,
            [first.job],
            asked.contract,
            asked.bounds,
            asked.folder / f"{environment.engine.name}-{source}",
            source=source,
        ).outcomes[0]
        if again.result is None:
            fails.append(f"{source}: {again.error}")
        elif again.result.equity.equals(first.result.equity):
            works.append(source)
        else:
            fails.append(f"{source}: it gives another result than {SOURCES[0]}")
    return tuple(works), tuple(fails)


def time_engine(asked: Asked, compared: Compared) -> Compared:
    """Run one strategy on many minute bars, when nothing else runs.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    if compared.environment is None or not asked.speed_bars:
        return compared
    bars = random_walk(asked.speed_bars)
    targets = MovingAverageCross(**dict(_SPEED_PARAMETERS)).targets(bars.frame())
    named = Named("moving-average-cross", "", _SPEED_PARAMETERS)
    job = EngineJob("speed", Mode.GIVEN, named, bars, targets)
    bounds = Bounds(
        seconds=min(SPEED_SECONDS, asked.bounds.seconds), memory_mb=asked.bounds.memory_mb
    )
    folder = asked.folder / f"{compared.engine}-speed"
    run = run_engine(
        compared.environment.engine, compared.environment, [job], asked.contract, bounds, folder
    )
    return replace(compared, speed=run, speed_bars=len(bars))
