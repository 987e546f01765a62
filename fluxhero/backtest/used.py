"""What an evaluation says of an engine as a process: whether it ran, what it cost, where its bars came from."""

from collections.abc import Mapping

from fluxhero.backtest.evaluation import EngineUsed
from fluxhero.backtest.facts import EngineFacts
from fluxhero.backtest.runs import EngineRun, JobOutcome
from fluxhero.backtest.trials import REFERENCE
from fluxhero.errors import FluxHeroError

_FINE = ("ok", "not-native")


def engine_used(
    run: EngineRun,
    facts: EngineFacts | None,
    speed: EngineRun | None,
    sources: Mapping[str, JobOutcome],
) -> EngineUsed:
    """Put together what is known of an engine whose process could be started.

    Args:
        run: all rows of the comparison.
        facts: of its environment.
        speed: one backtest of a year of minute bars, in a process of its own; None: it was not run.
        sources: the same job with its bars read from each source.
    """
    good = any(outcome.kind == "ok" for outcome in run.outcomes)
    errors = [f"{one.kind}: {one.error}" for one in run.outcomes if one.kind not in _FINE]
    # What is timed is run when nothing else is.
    imported = speed if speed is not None and speed.python else run
    works, fails = _compared(sources)
    used = EngineUsed(
        engine=run.engine.name,
        status="ran" if good else "failed",
        reason="" if good else next(iter(errors), "nothing was run"),
        versions=run.versions,
        facts=facts,
        import_seconds=imported.import_seconds if imported.python else None,
        seconds=run.seconds,
        cpu_seconds=run.cpu_seconds,
        peak_mb=run.peak_mb or None,
        sources=works,
        sources_failed=fails,
    )
    return used if speed is None else used.model_copy(update=_speed(speed))


def _speed(run: EngineRun) -> dict[str, object]:
    outcome = run.outcomes[0]
    bars = len(outcome.job.bars)
    if outcome.kind != "ok":
        return {"speed_bars": bars, "speed_failure": f"{outcome.kind}: {outcome.error}"}
    return {
        "speed_bars": bars,
        "speed_seconds": run.import_seconds + outcome.load_seconds + outcome.run_seconds,
        "speed_run_seconds": outcome.run_seconds,
        "speed_cpu_seconds": outcome.run_cpu_seconds,
        "speed_peak_mb": run.peak_mb or None,
    }


def _compared(sources: Mapping[str, JobOutcome]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sources that gave one and the same result, and what became of the others."""
    works: list[str] = []
    fails: list[str] = []
    first = next((one.result for one in sources.values() if one.result is not None), None)
    for name, outcome in sources.items():
        if outcome.result is None or first is None:
            fails.append(f"{name}: {outcome.kind}: {outcome.error}")
        elif outcome.result.fills.equals(first.fills) and outcome.result.equity.equals(
            first.equity
        ):
            works.append(name)
        else:
            fails.append(f"{name}: another result than from {next(iter(works))}")
    return tuple(works), tuple(fails)


def engine_unavailable(
    engine: str, error: FluxHeroError, facts: EngineFacts | None = None
) -> EngineUsed:
    """An engine without an environment to run in."""
    return EngineUsed(engine=engine, status="unavailable", reason=error.what, facts=facts)


def reference_used(
    versions: Mapping[str, str], speed_bars: int | None = None, speed_seconds: float | None = None
) -> EngineUsed:
    """The reference simulator, which runs in our own process once it is compiled."""
    return EngineUsed(
        engine=REFERENCE,
        status="ran",
        versions=dict(versions),
        speed_bars=speed_bars,
        speed_run_seconds=speed_seconds,
    )
