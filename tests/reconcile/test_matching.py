"""Matching fills first in, first out: examples by hand, and what holds for any sequence of fills."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.reconcile.exact import UNIT, nearest
from fluxhero.reconcile.fills import Fill, without_cancelled
from fluxhero.reconcile.matching import Matched, match
from fluxhero.reconcile.round_trips import RoundTrip

D = Decimal
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MICRO = D("0.00000001")


def fill(number: int, side: str, quantity: str, price: str, **others: object) -> Fill:
    base = Fill(
        fill_id=f"f{number:03}",
        mode="live",
        broker="ibkr",
        account="U1",
        symbol="SPY",
        currency="USD",
        side=side,
        quantity=D(quantity),
        price=D(price),
        executed_at=START + timedelta(minutes=number),
    )
    return replace(base, **others)  # type: ignore[arg-type]


def only_trip(fills: Sequence[Fill]) -> RoundTrip:
    matched = match(fills)
    (trip,) = matched.trips
    assert not matched.unplaced
    return trip


def test_partial_fills_in_and_out_are_one_round_trip() -> None:
    trip = only_trip(
        [
            fill(1, "buy", "4", "100", fees=D("0.40")),
            fill(2, "buy", "6", "101", fees=D("0.60")),
            fill(3, "sell", "7", "110", fees=D("0.70"), realized_pnl=D("60.00")),
            fill(4, "sell", "3", "90", fees=D("0.30"), realized_pnl=D("-34.00")),
        ]
    )
    assert (trip.side, trip.status) == ("long", "closed")
    assert (trip.quantity, trip.max_position, trip.open_quantity) == (D(10), D(10), D(0))
    assert (trip.entry_price, trip.exit_price) == (D("100.6"), D("104"))
    assert (trip.entry_time, trip.exit_time) == (
        START + timedelta(minutes=1),
        START + timedelta(minutes=4),
    )
    assert (trip.gross, trip.fees, trip.realized_pnl) == (D("34"), D("2"), D("32"))
    assert trip.source_pnl == D("26")
    assert [part.opening for part in trip.parts] == [True, True, False, False]


def test_a_short_with_a_multiplier_gains_when_the_price_falls() -> None:
    hundred = D(100)
    trip = only_trip(
        [
            fill(1, "sell", "2", "3.20", multiplier=hundred),
            fill(2, "buy", "2", "1.05", multiplier=hundred),
        ]
    )
    assert (trip.side, trip.gross, trip.entry_price) == ("short", D("430"), D("3.20"))
    assert trip.source_pnl is None


def test_a_fill_that_closes_and_opens_is_split_with_its_fees() -> None:
    matched = match(
        [
            fill(1, "buy", "1", "10", fees=D("0.10")),
            fill(2, "sell", "3", "12", fees=D("0.10"), realized_pnl=D("1.87")),
            fill(3, "buy", "2", "11", fees=D("0.10"), realized_pnl=D("1.83")),
        ]
    )
    first, second = matched.trips
    assert (first.side, second.side) == ("long", "short")
    assert (first.first.fill_id, second.first.fill_id) == ("f001", "f002")
    assert (first.gross, second.gross) == (D(2), D(2))
    # a third of 0.10 is no number of eight decimals; what one lacks the other has
    assert (first.fees, second.fees) == (D("0.13333333"), D("0.16666667"))
    assert (first.source_pnl, second.source_pnl) == (D("1.87"), D("1.83"))
    assert not first.carried_in
    assert not second.carried_in


def test_what_was_closed_of_an_open_position_is_realised_first_in_first_out() -> None:
    matched = match(
        [
            fill(1, "buy", "10", "100", fees=D("1")),
            fill(2, "buy", "10", "120", fees=D("2")),
            fill(3, "sell", "15", "130", fees=D("3")),
        ]
    )
    (trip,) = matched.trips
    assert (trip.status, trip.exit_time, trip.open_quantity) == ("open", None, D(5))
    assert (trip.gross, trip.fees, trip.realized_pnl) == (D(350), D(5), D(345))
    (lot,) = matched.lots
    assert (lot.fill.fill_id, lot.side, lot.quantity, lot.cost, lot.fees) == (
        "f002", "long", D(5), D(600), D(1),
    )  # fmt: skip


def test_a_split_multiplies_what_is_held_and_costs_nothing() -> None:
    trip = only_trip(
        [
            fill(1, "buy", "10", "400"),
            fill(2, "buy", "30", "0", kind="split"),
            fill(3, "sell", "40", "110"),
        ]
    )
    assert (trip.quantity, trip.max_position, trip.entry_price) == (D(40), D(40), D(100))
    assert (trip.gross, trip.exit_price) == (D(400), D(110))
    reverse = only_trip(
        [
            fill(1, "sell", "9", "1"),
            fill(2, "buy", "6", "0", kind="split"),
            fill(3, "buy", "1", "2"),
        ]
    )
    assert (reverse.side, reverse.status, reverse.gross) == ("short", "open", D(1))
    assert (reverse.open_quantity, reverse.entry_price) == (D(2), D(3))


def test_a_split_under_a_new_number_comes_as_old_shares_out_and_new_ones_in() -> None:
    trip = only_trip(
        [
            fill(1, "buy", "100", "1"),
            fill(2, "sell", "100", "0", kind="split"),
            fill(3, "buy", "10", "0", kind="split", executed_at=START + timedelta(minutes=2)),
            fill(4, "sell", "10", "12"),
        ]
    )
    assert (trip.quantity, trip.entry_price, trip.gross) == (D(10), D(10), D(20))
    renamed = [fill(1, "buy", "5", "0", kind="split"), fill(1, "sell", "5", "0", kind="split")]
    assert not match(renamed).unplaced


@pytest.mark.parametrize(
    ("fills", "why"),
    [
        ([fill(1, "buy", "10", "0", kind="split")], "a split while nothing was held"),
        (
            [fill(1, "buy", "10", "5"), fill(2, "sell", "10", "0", kind="split")],
            "a split that would leave nothing of what was held",
        ),
        ([fill(1, "buy", "0", "5", fees=D(1))], "a fill of no quantity"),
    ],
)
def test_what_cannot_be_placed_is_said_and_changes_nothing(fills: list[Fill], why: str) -> None:
    matched = match(fills)
    (unplaced,) = matched.unplaced
    assert (unplaced.fill, unplaced.why) == (fills[-1], why)
    assert [trip.open_quantity for trip in matched.trips] == [f.quantity for f in fills[:-1]]


def test_an_option_that_expires_is_closed_for_nothing() -> None:
    trip = only_trip(
        [
            fill(1, "buy", "1", "2.50", multiplier=D(100)),
            fill(2, "sell", "1", "0", multiplier=D(100), kind="expiry"),
        ]
    )
    assert (trip.status, trip.realized_pnl, trip.exit_price) == ("closed", D(-250), D(0))


def test_shares_that_are_transferred_realise_nothing() -> None:
    out = only_trip(
        [
            fill(1, "buy", "10", "100", fees=D(1)),
            fill(2, "sell", "4", "130", kind="transfer"),
            fill(3, "sell", "6", "110"),
        ]
    )
    assert (out.gross, out.realized_pnl) == (D(60), D(59))
    known = [fill(1, "buy", "10", "100", kind="transfer"), fill(2, "sell", "10", "110")]
    assert only_trip(known).realized_pnl == 100
    unknown = [replace(known[0], price=D(0)), known[1]]
    trip = only_trip(unknown)
    assert (trip.gross, trip.realized_pnl, trip.status) == (None, None, "closed")


def test_a_result_stated_for_what_opens_tells_of_a_position_carried_in() -> None:
    trip = only_trip([fill(1, "sell", "5", "10", realized_pnl=D("7")), fill(2, "buy", "5", "9")])
    assert trip.carried_in
    assert only_trip([fill(1, "sell", "5", "10", closes=True)]).carried_in
    closed = [fill(1, "buy", "5", "10"), fill(2, "sell", "5", "10", closes=True)]
    assert not only_trip(closed).carried_in


def test_groups_do_not_mix() -> None:
    fills = [
        fill(1, "buy", "1", "10"),
        fill(2, "sell", "1", "11", account="U2"),
        fill(3, "sell", "1", "11", currency="EUR"),
        fill(4, "sell", "1", "11", mode="paper"),
        fill(5, "sell", "1", "11", trade_id="freqtrade:1"),
        fill(6, "sell", "1", "11", symbol="QQQ"),
    ]
    assert all(trip.status == "open" for trip in match(fills).trips)
    assert len(match(fills).trips) == 6


def test_a_fill_that_was_taken_back_never_was() -> None:
    fills = [
        fill(1, "buy", "5", "10"),
        fill(2, "sell", "5", "10", cancels="f001"),
        fill(3, "buy", "5", "11", cancelled_as="trade:3"),
        fill(4, "sell", "5", "11", cancels="trade:3"),
        fill(5, "buy", "5", "12"),
        fill(6, "sell", "9", "12", cancels="trade:9"),
    ]
    # what takes back a fill of another, earlier export is a deal the other way
    assert [one.fill_id for one in without_cancelled(fills)] == ["f005", "f006"]


# ------------------------------------------------------------------ any sequence of fills

quantities = st.decimals("0.00000001", 50, places=8) | st.integers(1, 20).map(Decimal)
prices = st.decimals("0.01", 500, places=8)
kinds = st.sampled_from(["trade"] * 8 + ["expiry", "assignment", "split", "transfer"])


@st.composite
def sequences(draw: st.DrawFn, kind: st.SearchStrategy[str] = kinds) -> list[Fill]:
    fills = []
    for number in range(draw(st.integers(1, 25))):
        what = draw(kind)
        fills.append(
            fill(
                number,
                draw(st.sampled_from(["buy", "sell"])),
                str(draw(quantities)),
                "0" if what in {"split", "expiry"} else str(draw(prices)),
                fees=draw(st.none() | st.decimals("-1", 5, places=8)),
                multiplier=draw(st.sampled_from([None, None, D(100), D("0.1")])),
                kind=what,
                symbol=draw(st.sampled_from(["SPY", "QQQ"])),
            )
        )
    return fills


def sign(one: Fill) -> int:
    return 1 if one.side == "buy" else -1


def value(one: Fill) -> Fraction:
    multiplier = 1 if one.multiplier is None else one.multiplier
    return Fraction(one.quantity) * Fraction(one.price) * Fraction(multiplier)


def placed(fills: Sequence[Fill], matched: Matched) -> dict[str, list[Fill]]:
    left_out = {one.fill.fill_id for one in matched.unplaced}
    found: dict[str, list[Fill]] = defaultdict(list)
    for one in fills:
        if one.fill_id not in left_out:
            found[one.symbol].append(one)
    return found


@settings(max_examples=60, deadline=None)
@given(sequences())
def test_quantities_are_conserved(fills: list[Fill]) -> None:
    """All that was bought less all that was sold, splits too, is what is open."""
    matched = match(fills)
    for symbol, of_symbol in placed(fills, matched).items():
        held = sum((sign(one) * one.quantity for one in of_symbol), D(0))
        trips = [trip for trip in matched.trips if trip.first.symbol == symbol]
        *done, last = trips
        assert all(trip.status == "closed" and not trip.open_quantity for trip in done)
        assert (last.open_quantity if last.side == "long" else -last.open_quantity) == held
        lots = [lot for lot in matched.lots if lot.fill.symbol == symbol]
        assert sum((lot.quantity for lot in lots), D(0)) == abs(held)
        assert all(trip.max_position <= trip.quantity for trip in trips)


@settings(max_examples=60, deadline=None)
@given(sequences())
def test_cash_and_fees_are_conserved(fills: list[Fill]) -> None:
    """Cash of the fills = gross results - cost of open lots, rounded once; and fees to the last decimal.

    What transfers out took along has no price: a group with one is left out of the sum of cash.
    """
    with localcontext(prec=60):
        matched = match(fills)
        for symbol, of_symbol in placed(fills, matched).items():
            trips = [trip for trip in matched.trips if trip.first.symbol == symbol]
            lots = [lot for lot in matched.lots if lot.fill.symbol == symbol]
            paid = sum((one.fees or D(0) for one in of_symbol if one.kind != "split"), D(0))
            of_results = sum((t.fees for t in trips), D(0)) + sum((lot.fees for lot in lots), D(0))
            assert of_results == paid
            for trip in trips:
                assert trip.gross is not None
                assert trip.realized_pnl == trip.gross - trip.fees
            if any(one.kind == "transfer" for one in of_symbol):
                continue
            cash = sum((-sign(one) * value(one) for one in of_symbol), Fraction(0))
            gross = sum((trip.gross or D(0) for trip in trips), D(0))
            cost = sum((lot.cost if lot.side == "long" else -lot.cost for lot in lots), D(0))
            assert gross - cost == D(nearest(cash * UNIT)) * MICRO


@settings(max_examples=40, deadline=None)
@given(sequences(), st.randoms(use_true_random=False))
def test_the_order_of_listing_does_not_matter(fills: list[Fill], chance: random.Random) -> None:
    mixed = list(fills)
    chance.shuffle(mixed)
    by_key = sorted(match(fills).trips, key=lambda trip: trip.first.fill_id)
    assert sorted(match(mixed).trips, key=lambda trip: trip.first.fill_id) == by_key


@settings(max_examples=40, deadline=None)
@given(sequences(st.sampled_from(["trade", "trade", "split"])), st.data())
def test_a_fill_in_two_parts_comes_to_the_same(fills: list[Fill], data: st.DataObject) -> None:
    """Executed in two at one price, its fees by quantity, it changes no result."""
    place = data.draw(st.integers(0, len(fills) - 1))
    one = replace(fills[place], fees=None)
    if one.quantity <= MICRO or one.kind == "split":
        return
    share = data.draw(st.decimals(MICRO, one.quantity - MICRO, places=8))
    parts = [
        replace(one, quantity=share),
        replace(one, fill_id=f"{one.fill_id}b", quantity=one.quantity - share),
    ]
    whole = match([*fills[:place], one, *fills[place + 1 :]])
    in_two = match([*fills[:place], *parts, *fills[place + 1 :]])

    def results(matched: Matched) -> list[object]:
        return [
            (t.side, t.status, t.quantity, t.max_position, t.entry_price, t.exit_price, t.gross)
            for t in matched.trips
        ]

    assert results(in_two) == results(whole)


def test_many_fills_in_one_position_keep_every_fee() -> None:
    chance = random.Random(7)
    fills = [
        fill(
            number,
            chance.choice(["buy", "sell"]),
            str(chance.randint(1, 1000)),
            str(D(chance.randint(100, 99999)) / 100),
            fees=D("0.35"),
        )
        for number in range(20_000)
    ]
    matched = match(fills)
    of_results = sum((t.fees for t in matched.trips), D(0)) + sum(
        (o.fees for o in matched.lots), D(0)
    )
    assert of_results == 20_000 * D("0.35")
