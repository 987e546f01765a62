"""From everything that was run to one evaluation."""

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.comparison import Compared
from fluxhero.backtest.evaluation import (
    Curve,
    DataUsed,
    Evaluation,
    Machine,
    Row,
    StrategyLuck,
    Validation,
)
from fluxhero.backtest.material import Material
from fluxhero.backtest.referenced import Referenced, used
from fluxhero.backtest.results import Result
from fluxhero.backtest.rows import curve_of, row_of
from fluxhero.backtest.runs import JobOutcome
from fluxhero.backtest.scoring import decide, standings
from fluxhero.backtest.sources import random_walk
from fluxhero.release import release

_GIGABYTE: Final = 2**30


def evaluation_of(
    asked: Asked,
    material: Material,
    references: Sequence[Referenced],
    compared: Sequence[Compared],
    validations: Sequence[Validation],
    luck: Sequence[StrategyLuck],
    failures: Sequence[str],
) -> Evaluation:
    """Put an evaluation together.

    Args:
        asked: what for.
        material: the bars.
        references: what the reference made of each strategy and symbol.
        compared: what every engine made of the same, each in that order, twice.
        validations: of the reference and every engine.
        luck: of each strategy and symbol.
        failures: what could not be run.
    """
    results = list(_results(asked, references, compared))
    rows = [row for row, _, _ in results]
    engines = (used(asked), *(one.used for one in compared))
    found = standings(
        engines[1:], rows, validations, asked.contract, dict(asked.settings.evaluation_weights)
    )
    return Evaluation(
        run=asked.run,
        at=asked.at,
        release=release(),
        seconds=round((datetime.now(UTC) - asked.at).total_seconds(), 1),
        machine=_machine(),
        contract=asked.contract,
        risk_free=asked.settings.risk_free_rate,
        data=tuple(used for _, used in material.usable),
        speed_data=_speed_data(asked),
        engines=engines,
        rows=tuple(rows),
        validations=tuple(validations),
        luck=tuple(luck),
        standings=found,
        decision=decide(found),
        curves=tuple(_curves(asked, results)),
        failures=tuple(failures),
    )


def _results(
    asked: Asked, references: Sequence[Referenced], compared: Sequence[Compared]
) -> Iterator[tuple[Row, Result | None, Referenced]]:
    """Every row with its result: the reference's, then those of each engine."""
    for one in references:
        yield one.row, one.result, one
    for engine in compared:
        for one, outcome in paired(references, engine):
            zone = asked.calendar(one.signalled.bars).zone
            row = row_of(engine.engine, outcome, one.result, one.contract, asked.risk_free, zone)
            yield row, outcome.result, one


def paired(
    references: Sequence[Referenced], engine: Compared
) -> Iterator[tuple[Referenced, JobOutcome]]:
    """The reference's results with an engine's outcomes, which come in the order of their jobs."""
    jobs = [one for one in references for _ in one.jobs()]
    yield from zip(jobs, engine.outcomes, strict=False)  # those of the validation tests follow


def _curves(
    asked: Asked, results: Sequence[tuple[Row, Result | None, Referenced]]
) -> Iterator[Curve]:
    """Equity for the plots, of the first symbol."""
    first = results[0][0].symbol if results else ""
    for row, result, one in results:
        if result is not None and row.symbol == first:
            bars = one.signalled.bars
            zone = asked.calendar(bars).zone
            yield curve_of(row, result, bars, zone)


def _machine() -> Machine:
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / _GIGABYTE, 1),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
    )


def _processor() -> str:
    """As Linux names it, or else what kind it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _speed_data(asked: Asked) -> DataUsed | None:
    if not asked.speed_bars:
        return None
    bars = random_walk(asked.speed_bars)
    return DataUsed(
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        source="made up: a seeded random walk in the exchange's real sessions",
        bars=len(bars),
        first=bars.over(0),
        last=bars.over(-1),
        digest=bars.digest,
        notes=(),
    )
