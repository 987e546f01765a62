"""Differences that are planted are found, called by their kind, and add up to the whole to the last digit."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.backtest.agreement import Agreement, Kind, compare
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.results import Result
from tests.backtest.planted_results import (
    Fill,
    bars_of,
    closed_at_the_end,
    fills_of,
    fractional,
    in_cents,
    late,
    moved,
    result_of,
    same_bar,
    wrong_side,
)

BARS = bars_of(
    [3001, 3107, 3290, 3055, 2890, 2933, 3111, 3205, 3350, 3402],
    [3100, 3300, 3050, 2900, 2950, 3100, 3200, 3333, 3407, 3499],
)
TARGETS = np.array([1, 1, 0, 0, 1, 1, 0, 1, 1, 1], np.int8)
FIXED = Contract(sizing=Sizing.FIXED, shares=333)
ALL_IN = Contract()


def differ(
    engine: Result,
    contract: Contract,
    theirs: Int8s = TARGETS,
    bars: Bars = BARS,
    ours: Int8s = TARGETS,
) -> Agreement:
    reference = simulate_exact(bars, ours, contract)
    agreement = compare(reference, engine, bars, contract, ours, theirs)
    assert sum(cause.dollars for cause in agreement.causes) == agreement.final_difference
    return agreement


def kinds(agreement: Agreement) -> set[Kind]:
    return {cause.kind for cause in agreement.causes}


@pytest.mark.parametrize("contract", [FIXED, ALL_IN])
def test_the_same_fills_agree_to_the_cent(contract: Contract) -> None:
    reference = simulate_exact(BARS, TARGETS, contract)
    for engine in (reference, result_of(fills_of(reference), BARS, contract)):
        agreement = differ(engine, contract)
        assert agreement.to_the_cent
        assert agreement.fills_equal == agreement.fills_engine == agreement.fills_reference == 5
        assert not agreement.causes
        assert agreement.first_bar is None
        assert not agreement.largest_difference


PLANTED: list[tuple[str, Kind, Callable[[list[Fill], Contract], list[Fill]]]] = [
    ("same bar", Kind.TIMING, lambda _, contract: same_bar(BARS, TARGETS, contract)),
    ("late start", Kind.TIMING, lambda fills, _: late(fills, BARS, Decimal("0.0001"))),
    ("wrong side", Kind.PRICE, lambda fills, _: wrong_side(fills, BARS)),
    ("cents", Kind.FEES, lambda fills, _: in_cents(fills)),
    ("fractions", Kind.SIZING, lambda fills, _: fractional(fills, Decimal("0.37"))),
    ("closed", Kind.CLOSING, lambda fills, _: closed_at_the_end(fills, BARS)),
    ("no exit", Kind.ORDERS, lambda fills, _: fills[:-2]),
    (
        "twice",
        Kind.ORDERS,
        lambda fills, _: [*fills[:2], (3, 1, *fills[0][2:]), (4, -1, *fills[1][2:]), *fills[2:]],
    ),
]


@pytest.mark.parametrize(("name", "kind", "plant"), PLANTED, ids=[one[0] for one in PLANTED])
def test_what_is_planted_is_called_by_its_kind(
    name: str, kind: Kind, plant: Callable[[list[Fill], Contract], list[Fill]]
) -> None:
    fills = fills_of(simulate_exact(BARS, TARGETS, FIXED))
    agreement = differ(result_of(plant(fills, FIXED), BARS, FIXED), FIXED)
    assert not agreement.to_the_cent
    assert kinds(agreement) - {Kind.FLOAT} == {kind}
    (cause,) = (cause for cause in agreement.causes if cause.kind is kind)
    assert cause.fills
    assert cause.example
    assert cause.dollars == agreement.final_difference


def test_knock_on_effects_belong_to_what_set_them_off() -> None:
    """Filled at other prices there is another amount of cash for the next order."""
    fills = same_bar(BARS, TARGETS, ALL_IN)
    ours = fills_of(simulate_exact(BARS, TARGETS, ALL_IN))
    assert [fill[2] for fill in fills] != [fill[2] for fill in ours]
    agreement = differ(result_of(fills, BARS, ALL_IN), ALL_IN)
    assert kinds(agreement) == {Kind.TIMING}
    assert agreement.first_bar == 0


def test_its_own_signals_come_first() -> None:
    theirs = np.array([0, 1, 1, 0, 1, 1, 0, 1, 1, 1], np.int8)
    agreement = differ(simulate_exact(BARS, theirs, ALL_IN), ALL_IN, theirs)
    assert kinds(agreement) == {Kind.SIGNAL}
    assert agreement.signals_differ == 2
    assert agreement.causes[0].example == "after bar 0 the engine wants 0, the strategy 1"


def test_other_times_and_missing_bars_are_of_the_calendar() -> None:
    same = simulate_exact(BARS, TARGETS, FIXED)
    agreement = differ(moved(same, -5), FIXED)
    (cause,) = agreement.causes
    assert (cause.kind, cause.fills) == (Kind.CALENDAR, len(BARS))
    assert not cause.dollars
    assert not agreement.to_the_cent
    ends_early = replace(same, equity=same.equity.slice(0, 8))
    agreement = differ(ends_early, FIXED)
    assert (agreement.causes[0].kind, agreement.causes[0].fills) == (Kind.CALENDAR, 2)
    assert agreement.causes[0].example == "there is no bar 8"


def test_a_wrong_mark_is_no_trade_and_dust_is_float() -> None:
    fills = fills_of(simulate_exact(BARS, TARGETS, FIXED))
    assert kinds(differ(result_of(fills, BARS, FIXED, Decimal(3)), FIXED)) == {Kind.MARKING}
    dust = differ(result_of(fills, BARS, FIXED, Decimal("0.00000007")), FIXED)
    assert dust.to_the_cent
    assert [(one.kind, one.dollars) for one in dust.causes] == [(Kind.FLOAT, Decimal("7e-8"))]


def test_orders_filled_in_parts_and_turned_in_one_fill_agree() -> None:
    contract = Contract(sizing=Sizing.FIXED, shares=100, allow_short=True)
    targets = np.array([1, 1, -1, -1, 0, 0, 0, 0, 0, 0], np.int8)
    ours = fills_of(simulate_exact(BARS, targets, contract))
    assert [int(fill[1] * fill[2]) for fill in ours] == [100, -100, -100, 100]
    bar, side, shares, price, fee = ours[1]
    turned = [ours[0], (bar, side, 2 * shares, price, 2 * fee), ours[3]]
    assert differ(result_of(turned, BARS, contract), contract, targets, ours=targets).to_the_cent
    half = [(*one[:2], one[2] / 2, one[3], one[4] / 2) for one in ours for _ in "12"]
    assert differ(result_of(half, BARS, contract), contract, targets, ours=targets).to_the_cent


def test_an_order_filled_over_two_bars_is_late_in_part() -> None:
    ours = fills_of(simulate_exact(BARS, TARGETS, FIXED))
    bar, side, _, price, _ = ours[0]
    fee = Decimal("0.005")
    opened = Decimal(int(BARS.open[bar + 1])) / 10_000 * Decimal("1.0001")
    parts = [
        (bar, side, Decimal(200), price, 200 * fee),
        (bar + 1, side, Decimal(133), opened, 133 * fee),
    ]
    bar, side, _, price, _ = ours[1]
    later = Decimal(int(BARS.open[bar + 1])) / 10_000 * Decimal("0.9999")
    parts += [
        (bar, side, Decimal(33), price, 33 * fee),
        (bar + 1, side, Decimal(300), later, 300 * fee),
    ]
    agreement = differ(result_of([*parts, *ours[2:]], BARS, FIXED), FIXED)
    assert kinds(agreement) == {Kind.TIMING}
    assert agreement.causes[0].fills == 2


PRICES = st.lists(st.integers(500, 5_000), min_size=12, max_size=12)
CHOICES = st.lists(st.sampled_from([-1, 0, 1]), min_size=12, max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    PRICES,
    PRICES,
    CHOICES,
    CHOICES,
    st.sampled_from(list(CashPolicy)),
    st.sampled_from(list(Sizing)),
    st.sets(
        st.sampled_from(
            ["same bar", "cents", "fractions", "wrong side", "closed", "dropped", "late", "moved"]
        )
    ),
    st.integers(1_000, 100_000),
)
def test_every_mixture_adds_up_exactly(
    opens: list[int],
    closes: list[int],
    ours: list[int],
    theirs: list[int],
    policy: CashPolicy,
    sizing: Sizing,
    plants: set[str],
    volume: int,
) -> None:
    bars = bars_of(opens, closes, volume)
    contract = Contract(cash_policy=policy, sizing=sizing, shares=700, allow_short=True)
    mine, engine = np.array(ours, np.int8), np.array(theirs, np.int8)
    own = simulate_exact(bars, engine, contract)
    fills = same_bar(bars, engine, contract) if "same bar" in plants else fills_of(own)
    if "cents" in plants:
        fills = in_cents(fills)
    if "wrong side" in plants:
        fills = wrong_side(fills, bars)
    if "fractions" in plants:
        fills = fractional(fills, Decimal("0.123"))
    if "dropped" in plants:
        fills = fills[::3]
    if "late" in plants and fills and fills[0][0] + 1 < len(bars):
        fills = sorted(late(fills, bars, Decimal("0.0001")), key=lambda fill: fill[0])
    if "closed" in plants and sum((one[1] * one[2] for one in fills), Decimal(0)) > 0:
        fills = closed_at_the_end(fills, bars)
    result = result_of(fills, bars, contract, Decimal("0.3") if "closed" in plants else Decimal(0))
    result = moved(result, -5) if "moved" in plants else result
    agreement = differ(result, contract, engine, bars, mine)
    assert any(one.kind is Kind.CALENDAR for one in agreement.causes) == ("moved" in plants)
    if not plants:
        assert kinds(agreement) <= {Kind.SIGNAL}


def test_nobody_trades() -> None:
    still = np.zeros(len(BARS), np.int8)
    nothing = simulate_exact(BARS, still, FIXED)
    assert differ(nothing, FIXED, still, ours=still).to_the_cent
    assert isinstance(nothing.fills, pa.Table)


def test_a_fill_at_the_close_is_told_from_the_open_that_is_a_cent_away() -> None:
    bars = bars_of([3000, 3002, 3004, 3006, 3008, 3010], [3001, 3003, 3005, 3007, 3009, 3011])
    targets = np.array([1, 1, 0, 0, 0, 0], np.int8)
    ours = fills_of(simulate_exact(bars, targets, FIXED))
    at_close = [
        (
            bar,
            side,
            shares,
            Decimal(int(bars.close[bar])) / 10_000 * (1 + side * Decimal("0.0001")),
            fee,
        )
        for bar, side, shares, _, fee in ours
    ]
    agreement = differ(result_of(at_close, bars, FIXED), FIXED, targets, bars, targets)
    assert kinds(agreement) == {Kind.TIMING}
    assert agreement.causes[0].fills == 2
    assert (
        agreement.causes[0].example == "the buy ordered after bar 0 is filled at the close of bar 1"
    )
