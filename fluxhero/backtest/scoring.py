"""From the criteria to a decision, by rules that are stated and printed; nothing is weighed by hand."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from fluxhero.backtest.contract import Contract
from fluxhero.backtest.criteria import criteria_of
from fluxhero.backtest.evaluation import Decision, EngineUsed, Measure, Row, Standing, Validation
from fluxhero.backtest.measured_engine import MOST_SECONDS
from fluxhero.backtest.trials import REFERENCE
from fluxhero.wording import counted

_BEST_SCORE: Final = 10.0
RULES: Final = (
    (
        "An engine qualifies only if three things were measured and are so: with given signals it agrees with the"
        " reference to the cent in every run; its licence lets it be part of an MIT-licensed product that others use"
        f" and sell; a backtest of a year of minute bars takes less than {MOST_SECONDS:g} s with import and load."
    ),
    (
        "Each criterion is scored from 0 to 10 by its own rule. The total is the mean of the scores, weighted with"
        " FLUXHERO_EVALUATION_WEIGHTS; what was not measured counts as 0."
    ),
    (
        "Among those that qualify the highest total decides; of equal ones the first by name. If none qualifies,"
        " none is chosen, whatever its total."
    ),
)


def standings(
    engines: Iterable[EngineUsed],
    rows: Sequence[Row],
    validations: Sequence[Validation],
    contract: Contract,
    weights: Mapping[str, Decimal],
) -> tuple[Standing, ...]:
    """Score every engine, those that qualify first, then by total; the reference is no candidate.

    Raises:
        ConfigurationError: a weight is of a criterion that there is not.
    """
    found = [
        standing(engine.engine, criteria_of(engine, rows, validations, contract, weights))
        for engine in engines
        if engine.engine != REFERENCE
    ]
    return tuple(sorted(found, key=lambda one: (bool(one.disqualified), -one.total, one.engine)))


def standing(engine: str, measures: Sequence[Measure]) -> Standing:
    """Add up one engine's scores and hold it against the requirements."""
    weight = sum((float(one.weight) for one in measures), 0.0)
    points = sum(float(one.weight) * (one.score or 0.0) for one in measures)
    return Standing(
        engine=engine,
        measures=tuple(measures),
        total=round(points / weight, 4) if weight else 0.0,
        unmeasured=tuple(one.criterion for one in measures if one.score is None),
        disqualified=tuple(_unmet({one.criterion: one for one in measures})),
    )


def _unmet(measures: Mapping[str, Measure]) -> list[str]:
    agreement, licence, speed = (measures[name] for name in ("agreement", "licence", "speed"))
    unmet = [
        f"{one.criterion} was not measured: {one.text}"
        for one in (agreement, licence, speed)
        if one.score is None
    ]
    if agreement.score is not None and agreement.score < _BEST_SCORE:
        unmet.append(f"with given signals it agrees to the cent in {agreement.text} only")
    if licence.value == 0:
        unmet.append(f"its licence does not allow it to be embedded ({licence.text})")
    if speed.score is not None and (speed.value is None or speed.value >= MOST_SECONDS):
        unmet.append(f"it is too slow ({speed.text})")
    return unmet


def decide(found: Sequence[Standing]) -> Decision:
    """What follows from the standings by `RULES`."""
    fit = [one for one in found if not one.disqualified]
    out = [one for one in found if one.disqualified]
    if not fit:
        return Decision(
            engine=None,
            headline="No engine qualifies." if out else "No engine was evaluated.",
            text=" ".join(
                ["The reference simulator stays what everything runs on.", *_excluded(out)]
            ),
            rules=RULES,
        )
    best, *others = sorted(fit, key=lambda one: (-one.total, one.engine))
    text = f"{best.engine} qualifies with {best.total:.1f} of 10."
    if others:
        behind = ", ".join(f"{one.engine} ({one.total:.1f})" for one in others)
        text += f" Behind it: {behind}."
    else:
        text += " No other engine qualifies."
    missing = f" Not measured of it: {', '.join(best.unmeasured)}." if best.unmeasured else ""
    return Decision(
        engine=best.engine,
        headline=f"{best.engine} fits best: {best.total:.1f} of 10, {counted(len(fit), 'engine')} of"
        f" {len(found)} qualify."
        if len(fit) != 1
        else f"{best.engine} fits: {best.total:.1f} of 10, the only one of {len(found)} that qualifies.",
        text=" ".join([text + missing, *_excluded(out)]),
        rules=RULES,
    )


def _excluded(out: Iterable[Standing]) -> list[str]:
    return [
        f"{one.engine} ({one.total:.1f}) does not: {'; '.join(one.disqualified)}." for one in out
    ]
