"""Whether the best parameters stand on a plateau or on a spike: what do their neighbours earn?"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from pydantic import BaseModel, ConfigDict

from fluxhero.errors import BadInputError
from fluxhero.wording import counted

Trial = tuple[Mapping[str, bool | int | float | str], float | None]

NEAR_THE_BEST: Final = 0.5  # of the best value
_PLATEAU: Final = 0.5  # of the neighbours near the best
_Point = tuple[float, ...]


class Surface(BaseModel):
    """What a grid of trials gave over two of its parameters, for a plot; the others as at the best.

    Attributes:
        across, down: names of the parameters; `down` is empty where only one was varied.
        columns, rows: their values, rising.
        values: a row for each of `rows`; None where there was no trial, or none with a result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    across: str
    down: str
    columns: tuple[float, ...]
    rows: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]


class Stability(BaseModel):
    """What the neighbours of the best trial say: those at most one step of the grid away in every parameter.

    Attributes:
        best: the parameters of the best trial that were varied.
        best_value: its result.
        neighbours: how many have a result.
        share: of them, how many reach half of the best; None if the best itself is not above zero, or has none.
        plateau: whether at least half do; None with the share.
        surface: for a plot.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    best: dict[str, float]
    best_value: float
    neighbours: int
    share: float | None
    plateau: bool | None
    surface: Surface


def stability(trials: Sequence[Trial]) -> Stability:
    """Look around the best of the trials.

    Args:
        trials: parameters and result (a Sharpe ratio, say) of each, all of one strategy; parameters that are no
            numbers must be the same in all of them.

    Raises:
        BadInputError: no parameter was varied, one that is no number was, or nothing has a result.
    """
    names = _varied([parameters for parameters, _ in trials])
    results = {
        tuple(float(parameters[name]) for name in names): value for parameters, value in trials
    }
    known = {point: value for point, value in results.items() if value is not None}
    if not known:
        raise BadInputError(
            f"none of {counted(len(trials), 'trial')} has a result",
            next_step="give trials that trade",
        )
    best = max(known, key=lambda point: (known[point], [-value for value in point]))
    steps = [sorted({point[place] for point in results}) for place in range(len(names))]
    around = [known[point] for point in _neighbours(best, steps) if point in known]
    share = _share(known[best], around)
    return Stability(
        best=dict(zip(names, best, strict=True)),
        best_value=known[best],
        neighbours=len(around),
        share=share,
        plateau=None if share is None else share >= _PLATEAU,
        surface=_surface(names, steps, best, known),
    )


def _varied(parameters: Sequence[Mapping[str, bool | int | float | str]]) -> list[str]:
    names = [
        name
        for name in (parameters[0] if parameters else ())
        if len({one[name] for one in parameters}) > 1
    ]
    words = [name for name in names if any(isinstance(one[name], str) for one in parameters)]
    if not names or words:
        raise BadInputError(
            f"parameter {words[0]} is no number" if words else "no parameter was varied",
            next_step="give a grid over one or more parameters that are numbers",
        )
    return names


def _neighbours(best: _Point, steps: Sequence[Sequence[float]]) -> list[_Point]:
    nearby = []
    for value, values in zip(best, steps, strict=True):
        place = values.index(value)
        nearby.append(values[max(place - 1, 0) : place + 2])
    return [point for point in product(*nearby) if point != best]


def _share(best: float, around: Sequence[float]) -> float | None:
    if best <= 0 or not around:
        return None
    return sum(value >= NEAR_THE_BEST * best for value in around) / len(around)


def _surface(
    names: Sequence[str],
    steps: Sequence[Sequence[float]],
    best: _Point,
    known: Mapping[_Point, float],
) -> Surface:
    """Over the two parameters with the most values, the first of equals first."""
    order = sorted(range(len(names)), key=lambda place: -len(steps[place]))
    across, *rest = order
    down = rest[0] if rest else None
    rows = steps[down] if down is not None else [0.0]

    def at(column: float, row: float) -> float | None:
        point = list(best)
        point[across] = column
        if down is not None:
            point[down] = row
        return known.get(tuple(point))

    return Surface(
        across=names[across],
        down=names[down] if down is not None else "",
        columns=tuple(steps[across]),
        rows=tuple(rows) if down is not None else (),
        values=tuple(tuple(at(column, row) for column in steps[across]) for row in rows),
    )
