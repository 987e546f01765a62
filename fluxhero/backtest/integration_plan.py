"""docs/backtesting-integration.md: how the engine that qualifies would be taken in, by what was measured of it."""

from collections import Counter
from decimal import Decimal

from fluxhero.backtest.agreement import Kind
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.evaluation import EngineUsed, Evaluation, Standing

_CAUTION = {
    Kind.SIGNAL: "compute indicators once, outside of it, and hand it the signals",
    Kind.TIMING: "give orders so that they fill at the open of the next bar, never with its default",
    Kind.SIZING: "size orders by the contract, not with its own notion of all-in",
    Kind.PRICE: "set slippage for both sides in its order handling",
    Kind.FEES: "charge commission by the share, unrounded",
    Kind.CLOSING: "keep it from closing what is open after the last bar",
    Kind.ORDERS: "handle orders that it would drop or add itself",
    Kind.MARKING: "take equity from its fills, not from its own marks",
    Kind.CALENDAR: "label bars by when they are over, in UTC",
}


def integration_plan(evaluation: Evaluation) -> str | None:
    """The plan as markdown; None where no engine qualifies."""
    chosen = evaluation.decision.engine
    if chosen is None:
        return None
    engine = engine_named(chosen)
    used = next(one for one in evaluation.engines if one.engine == chosen)
    standing = next(one for one in evaluation.standings if one.engine == chosen)
    parts = [
        f"# Taking in {engine.distribution} {engine.version}",
        (
            f"{evaluation.decision.headline} Generated with [the evaluation](BACKTESTING_EVALUATION.md) of"
            f" {evaluation.at:%d %B %Y}; a run that comes to another decision replaces or removes this page."
        ),
        "## What for",
        (
            "A second execution of the same signals: a result that two simulators reach independently"
            " is no artefact of one. The reference simulator stays what results are judged by, and"
            " what sweeps run on; figures and statistics stay with the shared implementation."
        ),
        "## How it is attached",
        _attached(chosen, used),
        "## What it must not be left to do",
        _cautions(evaluation, chosen),
        "## What it costs",
        "\n".join(
            f"- {one.criterion}: {one.text}" for one in standing.measures if one.criterion in _COSTS
        ),
        "## Steps",
        _steps(chosen),
        "## When to give it up",
        _given_up(standing),
    ]
    return "\n\n".join(parts) + "\n"


_COSTS = ("speed", "memory", "import", "dependencies", "python", "licence", "activity")


def _attached(chosen: str, used: EngineUsed) -> str:
    sources = f" Bars were read from {' and '.join(used.sources)}." if used.sources else ""
    return (
        f"In its own environment, built from the hashed lock `fluxhero/backtest/locks/{chosen}.txt` and run as a"
        f" process by `fluxhero/backtest/runners/{chosen}_runner.py`, with a limit of time and memory;"
        f" it never becomes a dependency of the package, so its pins bind nobody else's.{sources}"
        " Results come back as Parquet and are checked before they are believed."
    )


def _cautions(evaluation: Evaluation, chosen: str) -> str:
    """What made its own idiom differ, the dearest first."""
    dollars: Counter[Kind] = Counter()
    for row in evaluation.rows:
        if row.engine == chosen and row.mode == "native" and row.agreement is not None:
            for cause in row.agreement.causes:
                dollars[cause.kind] += int(abs(cause.dollars) / Decimal("0.01"))
    found = [(kind, cents) for kind, cents in dollars.most_common() if kind in _CAUTION and cents]
    if not found:
        return "In its own idiom nothing differed by a cent; the signals are handed to it all the same."
    lines = [
        f"- {_CAUTION[kind]}: {kind.value} made {Decimal(cents) / 100:,.2f} USD of difference over all runs in its own"
        " idiom."
        for kind, cents in found
    ]
    return "\n".join(lines)


def _steps(chosen: str) -> str:
    steps = (
        f"Keep a run of {chosen} in the continuous integration: signals given, to the cent, on daily and minute bars.",
        "Run it beside the reference for every strategy that is to be traded, and stop on the first bar that differs.",
        "Raise the pin only with a new evaluation: the lock, the page and this plan change in one commit.",
        "Let nothing import it: the process boundary is also the licence's.",
    )
    return "\n".join(f"{place}. {step}" for place, step in enumerate(steps, 1))


def _given_up(standing: Standing) -> str:
    missing = f" Not measured yet: {', '.join(standing.unmeasured)}." if standing.unmeasured else ""
    return (
        f"When it no longer meets a requirement of the decision: to the cent with given signals, a licence"
        f" that allows it, a year of minute bars in less than ten seconds.{missing}"
    )
