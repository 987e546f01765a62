"""An evaluation of made-up engines on made-up bars: real reckoning, planted differences."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np

from config.settings import Settings
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.engine_files import Kind
from fluxhero.backtest.engines import Engine, engine_named
from fluxhero.backtest.evaluation import (
    DataUsed,
    EngineUsed,
    Evaluation,
    Machine,
    Row,
    StrategyLuck,
    Validation,
)
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.facts import EngineFacts
from fluxhero.backtest.results import Result
from fluxhero.backtest.rows import curve_of, reference_row, row_of
from fluxhero.backtest.runs import EngineJob, EngineRun, JobOutcome, Mode
from fluxhero.backtest.scoring import decide, standings
from fluxhero.backtest.shipped import SHIPPED, MovingAverageCross
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.used import engine_unavailable, engine_used, reference_used
from fluxhero.errors import EngineUnavailableError
from tests.backtest.session_bars import daily_bars, new_york, walk

CONTRACT = Contract()
BARS = daily_bars(walk(260, seed=3))
TARGETS = MovingAverageCross(3, 8).targets(BARS.frame())
REFERENCE = simulate_exact(BARS, TARGETS, CONTRACT)
STRATEGY = Named(
    "moving-average-cross", SHIPPED["moving-average-cross"], (("fast", 3), ("slow", 8))
)
ZONE = new_york().zone
RISK_FREE = 0.04


def facts(licence: str = "MIT", last: date | None = date(2026, 9, 1)) -> EngineFacts:
    return EngineFacts(
        python="3.13.2",
        requires_python=">=3.12,<4",
        licence=licence,
        forbids="" if licence == "MIT" else "to be part of what is not under the same licence",
        packages=31,
        megabytes=310.5,
        latest="2.0",
        last_release=last,
        releases_in_year=None if last is None else 4,
        looked_up=date(2026, 11, 25),
    )


def outcome(
    result: Result | None = REFERENCE,
    mode: Mode = Mode.GIVEN,
    kind: Kind = "ok",
    error: str = "",
    targets: np.typing.NDArray[np.int8] | None = None,
    own: dict[str, float] | None = None,
) -> JobOutcome:
    job = EngineJob(f"job {mode}", mode, STRATEGY, BARS, TARGETS)
    return JobOutcome(job, kind, error, result, targets, own or {}, 0.01, 0.2, 0.2)


def run_of(engine: Engine, outcomes: Sequence[JobOutcome]) -> EngineRun:
    versions = {engine.distribution: engine.version, "numpy": "2.4.0"}
    return EngineRun(engine, "3.13.2", versions, 1.5, 300.0, 9.0, 8.0, tuple(outcomes))


def speed_of(engine: Engine, seconds: float, count: int = 100_000) -> EngineRun:
    bars = random_walk(count)
    job = EngineJob("speed", Mode.GIVEN, STRATEGY, bars, np.zeros(count, np.int8))
    one = JobOutcome(job, "ok", "", REFERENCE, None, {}, 0.1, seconds, seconds)
    return EngineRun(engine, "3.13.2", {}, 1.5, 600.0, 9.0, 8.0, (one,))


def used_of(
    name: str,
    outcomes: Sequence[JobOutcome],
    licence: str = "MIT",
    seconds: float = 1.0,
) -> EngineUsed:
    engine = engine_named(name)
    sources = {"parquet": outcomes[0], "duckdb": outcomes[0]}
    return engine_used(run_of(engine, outcomes), facts(licence), speed_of(engine, seconds), sources)


def rows_of(name: str, outcomes: Sequence[JobOutcome]) -> list[Row]:
    return [row_of(name, one, REFERENCE, CONTRACT, RISK_FREE, ZONE) for one in outcomes]


def native() -> JobOutcome:
    """Doubled slippage and a signal of its own."""
    theirs = MovingAverageCross(3, 9).targets(BARS.frame())
    dear = CONTRACT.model_copy(update={"slippage_bp": 2})
    result = simulate_exact(BARS, theirs, dear)
    return outcome(result, Mode.NATIVE, targets=theirs, own={"sharpe": 9.9, "trades": 3.0})


def walked(engine: str, same: bool | None) -> Validation:
    return Validation(
        engine=engine,
        test="walk-forward",
        symbol=BARS.symbol,
        passed=same,
        as_reference=same,
        value="2 of 3 windows profitable",
        wanted="above 60 %",
        text="all of 3 windows",
    )


def sample() -> Evaluation:
    """One engine that qualifies, one by its licence not, one that fails, one that is not there."""
    shared = rows_of("bt", [outcome()])[0].performance
    assert shared is not None
    own = {"total_return": shared.total_return, "max_drawdown": -shared.max_drawdown}
    bt = [outcome(own=own), native()]
    dead = [outcome(None, kind="timed-out", error="took longer than 1 | second\nin all")]
    absent = engine_unavailable(
        "nautilus",
        EngineUnavailableError("there is no Python 3.12", next_step="install one"),
    )
    first = reference_row(STRATEGY, REFERENCE, BARS, CONTRACT, RISK_FREE, ZONE, 0.002)
    rows = [
        first,
        *rows_of("bt", bt),
        *rows_of("backtrader", bt),
        *rows_of("zipline", dead),
    ]
    engines = (
        reference_used({"numba": "0.68"}, 100_000, 0.002),
        used_of("bt", bt),
        used_of("backtrader", bt, "GPL-3.0-or-later"),
        engine_used(run_of(engine_named("zipline"), dead), None, None, {"parquet": dead[0]}),
        absent,
    )
    validations = [walked("bt", True), walked("zipline", None)]
    found = standings(
        engines, rows, validations, CONTRACT, dict(Settings(_env_file=None).evaluation_weights)
    )
    drawn = [
        curve_of(row, result, BARS, ZONE)
        for row, result in ((rows[0], REFERENCE), (rows[1], REFERENCE), (rows[2], bt[1].result))
        if result is not None
    ]
    return Evaluation(
        run="20261125T120000Z",
        at=datetime(2026, 11, 25, 12, tzinfo=UTC),
        release="0.1.0",
        seconds=12.5,
        machine=Machine(
            processor="A processor", cores=2, memory_gb=8, python="3.13.2", system="Linux x86_64"
        ),
        contract=CONTRACT,
        risk_free=Decimal("0.04"),
        data=(
            DataUsed(
                symbol=BARS.symbol,
                timeframe="1d",
                source="made up",
                bars=len(BARS),
                first=datetime(2024, 1, 2, tzinfo=UTC),
                last=datetime(2025, 1, 2, tzinfo=UTC),
                digest=BARS.digest,
                notes=("2 bars without volume left out",),
            ),
        ),
        speed_data=None,
        engines=engines,
        rows=tuple(rows),
        validations=tuple(validations),
        luck=(
            StrategyLuck(
                strategy=STRATEGY.name,
                label=STRATEGY.label,
                symbol=BARS.symbol,
                luck=None,
                reason="too few days",
            ),
        ),
        standings=found,
        decision=decide(found),
        curves=tuple(drawn),
        failures=("strategy <x> | raises",),
    )
