"""Grids of parameters: what is written is what is tried, and what makes no sense says so."""

import pytest

from fluxhero.backtest.grid import combinations, read_grid, size_of
from fluxhero.errors import BadInputError


def test_values_and_ranges_in_their_order() -> None:
    grid = read_grid(["fast=5..20:5", " entry = 1, 1.5,2..3 ", "how=a", "step=0.1..0.3:0.1"])
    assert grid == (
        ("fast", ("5", "10", "15", "20")),
        ("entry", ("1", "1.5", "2", "3")),
        ("how", ("a",)),
        ("step", ("0.1", "0.2", "0.3")),
    )
    assert size_of(grid) == 4 * 4 * 3 == len(list(combinations(grid)))
    assert list(combinations(read_grid(["a=1,2", "b=-1..0"]))) == [
        {"a": "1", "b": "-1"},
        {"a": "1", "b": "0"},
        {"a": "2", "b": "-1"},
        {"a": "2", "b": "0"},
    ]


def test_a_range_ends_where_its_steps_do() -> None:
    assert read_grid(["n=1..10:4"]) == (("n", ("1", "5", "9")),)
    assert read_grid(["n=7..7:3"]) == (("n", ("7",)),)


def test_no_grid_is_one_combination() -> None:
    assert list(combinations(())) == [{}]
    assert size_of(()) == 1


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["fast"], "'fast' is no part of a grid"),
        (["=1,2"], "no part"),
        (["fast ly=1"], "no part"),
        (["fast="], "no part"),
        (["fast=1,,2"], "no part"),
        (["fast=1.."], "no part"),
        (["fast=1..x"], "no part"),
        (["fast=" + "x.." * 99], "…' is no part"),
        (["fast=5..1"], r"5\.\.1 has no end"),
        (["fast=1..5:0"], "has no end"),
        (["fast=1..5:-1"], "has no end"),
        (["fast=1,2,1"], "the value 1 twice"),
        (["fast=1..3,2"], "the value 2 twice"),
        (["fast=1", "fast=2"], "names fast twice"),
        (["n=1..100001"], "more than 100,000 values"),
        (["n=1..99999", "m=1..2"], "199,998 combinations"),
        (["n=1..60000,100001..160000"], "more than 100,000 values"),
    ],
)
def test_what_makes_no_sense(texts: list[str], told: str) -> None:
    with pytest.raises(BadInputError, match=told) as caught:
        read_grid(texts)
    assert caught.value.next_step
