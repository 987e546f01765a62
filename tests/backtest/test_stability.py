"""Stability: neighbours of the best parameters, and the surface that a plot shows."""

import pytest

from fluxhero.backtest.stability import Trial, stability
from fluxhero.errors import BadInputError


def grid(*rows: str) -> list[Trial]:
    """Rows of values over x = 10, 20, …; a dash is a trial without a result, a space none at all."""
    return [
        ({"x": 10 * (x + 1), "y": y + 1.5, "kind": "plain"}, None if value == "-" else int(value))
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
        if value != " "
    ]


def test_a_plateau_and_a_spike() -> None:
    plateau = stability(grid("1111", "1889", "1878", "1111"))
    assert plateau.best == {"x": 40, "y": 2.5}
    assert (plateau.best_value, plateau.neighbours, plateau.share) == (9, 5, 0.6)
    assert plateau.plateau
    spike = stability(grid("1111", "1911", "1111"))
    assert (spike.neighbours, spike.share) == (8, 0.0)
    assert spike.plateau is False
    # Half of the best is near enough, and half of the neighbours.
    even = stability(grid("414", "183", "441"))
    assert (even.share, even.plateau) == (0.5, True)


def test_only_neighbours_with_a_result_count() -> None:
    found = stability(grid("1 1", "-91", "11 "))
    assert (found.neighbours, found.share) == (5, 0.0)
    assert found.surface.values == ((1.0, None, 1.0), (None, 9.0, 1.0), (1.0, 1.0, None))
    assert (found.surface.across, found.surface.columns) == ("x", (10, 20, 30))
    assert (found.surface.down, found.surface.rows) == ("y", (1.5, 2.5, 3.5))
    alone = stability([({"x": 1}, 5.0), ({"x": 2}, None)])
    assert (alone.neighbours, alone.share, alone.plateau) == (0, None, None)


def test_a_best_that_loses_has_no_plateau() -> None:
    found = stability([({"x": 1}, -1.0), ({"x": 2}, -0.5), ({"x": 3}, -2.0)])
    assert (found.best_value, found.share, found.plateau) == (-0.5, None, None)


def test_one_parameter_and_three() -> None:
    line = stability([({"x": x}, float(value)) for x, value in enumerate((1, 5, 9, 5, 1))])
    assert (line.neighbours, line.share) == (2, 1.0)
    assert (line.surface.down, line.surface.rows) == ("", ())
    assert line.surface.values == ((1.0, 5.0, 9.0, 5.0, 1.0),)
    trials: list[Trial] = [
        ({"a": a, "b": b, "c": c}, float(a + 10 * b + 100 * c))
        for a in range(2)
        for b in range(4)
        for c in range(3)
    ]
    cube = stability(trials)
    assert cube.best == {"a": 1, "b": 3, "c": 2}
    assert cube.neighbours == 7
    assert (cube.surface.across, cube.surface.down) == ("b", "c")  # those with the most values
    assert cube.surface.values[2] == (201, 211, 221, 231)


def test_of_equally_good_ones_the_lowest_parameters_are_the_best() -> None:
    found = stability([({"x": x, "y": y}, 1.0) for x in (3, 2) for y in (9, 8)])
    assert found.best == {"x": 2, "y": 8}


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], "no parameter was varied"),
        ([({"x": 1}, 1.0)], "no parameter was varied"),
        ([({"x": 1, "kind": "a"}, 1.0), ({"x": 2, "kind": "b"}, 1.0)], "kind is no number"),
        ([({"x": 1}, None), ({"x": 2}, None)], "none of 2 trials has a result"),
    ],
)
def test_what_has_no_surface(trials: list[Trial], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        stability(trials)
