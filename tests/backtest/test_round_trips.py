"""Round trips, equity and orders of engines that fill as they like: in parts, across zero, parts of shares."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fluxhero.backtest.bars import Ints
from fluxhero.backtest.results import FILLS, MONEY
from fluxhero.backtest.round_trips import equity_from_fills, orders_from_fills, round_trips
from fluxhero.backtest.tables import (
    PARTS,
    UNITS_A_DOLLAR,
    WHOLE,
    counts,
    decimals,
    fills_table,
    units,
    units_of,
    worth,
)
from fluxhero.errors import BadInputError
from tests.backtest.made import bars_of, rows_of

Fill = tuple[int, int, int, str, str]  # bar, side, shares, price, commission in all

BARS = bars_of(*((price, price, 9) for price in (10, 11, 12, 13, 14, 15)))
TRIP = ("side", "shares", "entry_bar", "entry_price", "exit_bar", "exit_price", "commission", "pnl")


def ints(*values: int) -> Ints:
    return np.array(values, np.int64)


def fills_of(*fills: Fill, kind: int = WHOLE) -> pa.Table:
    bar, side, shares = (ints(*column) for column in list(zip(*fills, strict=True))[:3])
    price, commission = (
        ints(*(units_of(Decimal(one[place])) for one in fills)) for place in (3, 4)
    )
    return fills_table(BARS, np.arange(len(fills)), bar, side, shares, price, commission, kind)


def test_the_oldest_shares_leave_first_and_take_their_part_of_the_commission() -> None:
    fills = fills_of(
        (0, 1, 100, "10", "0.5"),
        (1, 1, 50, "11", "0.25"),
        (2, -1, 120, "12", "0.6"),
        (4, -1, 30, "14", "0.15"),
    )
    assert rows_of(round_trips(fills, BARS), *TRIP, "bars_held") == [
        ("long", 100, 0, 10, 2, 12, Decimal("1"), Decimal("199"), 2),
        ("long", 20, 1, 11, 2, 12, Decimal("0.2"), Decimal("19.8"), 1),
        ("long", 30, 1, 11, 4, 14, Decimal("0.3"), Decimal("89.7"), 3),
    ]
    assert equity_from_fills(fills, BARS, Decimal(1_000))["equity"].to_pylist() == [
        Decimal(one) for one in ("999.5", "1099.25", "1248.65", "1278.65", "1308.5", "1308.5")
    ]


def test_a_fill_across_zero_closes_one_position_and_opens_another() -> None:
    fills = fills_of((0, 1, 10, "10", "0.1"), (1, -1, 25, "12", "0.5"), (5, 1, 15, "11", "0"))
    assert rows_of(round_trips(fills, BARS), *TRIP) == [
        ("long", 10, 0, 10, 1, 12, Decimal("0.3"), Decimal("19.7")),
        ("short", 15, 1, 12, 5, 11, Decimal("0.3"), Decimal("14.7")),
    ]


def test_a_commission_that_does_not_divide_is_cut_and_the_rest_goes_with_the_last() -> None:
    fills = fills_of(
        (0, 1, 3, "10", "0.00000002"),
        (1, -1, 1, "10", "0"),
        (2, -1, 1, "10", "0"),
        (3, -1, 1, "10", "0"),
    )
    paid = round_trips(fills, BARS)["commission"].to_pylist()
    assert paid == [0, Decimal("1e-8"), Decimal("1e-8")]
    many = 10**13  # shares; a product of shares and commission is far beyond 64 bits then
    fills = fills_of(
        (0, 1, 3 * many, "0.0001", "1000000000"),
        (1, -1, many, "0.0001", "0"),
        (2, -1, 2 * many, "0.0001", "0"),
    )
    first, second = round_trips(fills, BARS)["commission"].to_pylist()
    assert first + second == 10**9
    assert abs(first - Decimal(10**9) / 3) < Decimal("0.001")


def test_parts_of_shares_stay_parts() -> None:
    fills = fills_of(
        (0, 1, 150_000_000, "10.5", "0.01"),
        (2, -1, 50_000_000, "12", "0.01"),
        kind=PARTS,
    )
    assert rows_of(fills, "shares", "slippage") == [
        (Decimal("1.5"), Decimal("0.75")),
        (Decimal("0.5"), 0),
    ]
    assert rows_of(round_trips(fills, BARS), *TRIP) == [
        (
            "long",
            Decimal("0.5"),
            0,
            Decimal("10.5"),
            2,
            12,
            Decimal("0.01333333"),
            Decimal("0.73666667"),
        )
    ]
    equity = equity_from_fills(fills, BARS, Decimal(100))
    assert rows_of(equity, "shares", "cash", "equity")[-1] == (
        1,
        Decimal("90.23"),
        Decimal("105.23"),
    )
    orders = orders_from_fills(fills, BARS)
    assert rows_of(orders, "signal_bar", "ordered", "filled", "status", "reason") == [
        (0, Decimal("1.5"), Decimal("1.5"), "filled", ""),
        (1, Decimal("0.5"), Decimal("0.5"), "filled", ""),
    ]
    assert orders.schema.field("ordered").type == MONEY


def test_no_fills_leave_the_cash_alone() -> None:
    nothing = pa.Table.from_pylist([], FILLS)
    assert round_trips(nothing, BARS).num_rows == orders_from_fills(nothing, BARS).num_rows == 0
    assert set(equity_from_fills(nothing, BARS, Decimal("7.5"))["equity"].to_pylist()) == {
        Decimal("7.5")
    }


@pytest.mark.parametrize(
    "fills",
    [
        [(0, 1, 10**10, "10", "0")],  # the fill itself
        [(0, 1, 7 * 10**9, "10", "0"), (1, 1, 7 * 10**9, "10", "0")],  # the cash after two
        [(0, -1, 8 * 10**9, "10", "0")],  # what is held, once a share is 12 USD
    ],
)
def test_amounts_beyond_64_bits_are_refused(fills: list[Fill]) -> None:
    with pytest.raises(BadInputError, match="beyond 92,000,000,000 USD"):
        equity_from_fills(fills_of(*fills), BARS, Decimal(1))


def test_units_are_read_back_as_they_were_written_from_any_chunks() -> None:
    whole = ints(0, 1, -1, 2**63 - 1, -(2**63), 123_456_789)
    written = decimals(whole)
    assert written.to_pylist()[3] == Decimal("92233720368.54775807")
    assert written.to_pylist()[4] == Decimal("-92233720368.54775808")
    assert (units(pa.chunked_array([written[:2], written[2:]])) == whole).all()
    assert (units(pa.chunked_array([written[1:4]])) == whole[1:4]).all()
    assert len(units(pa.chunked_array([], MONEY))) == 0
    with pytest.raises(BadInputError, match="at bar 1,"):
        units(pa.chunked_array([pa.array([Decimal(1), Decimal("92233720368.54775808")], MONEY)]))
    shares, kind = counts(pa.chunked_array([pa.array([Decimal("0.5")], pa.decimal128(5, 1))]))
    assert (shares.tolist(), kind) == ([50_000_000], PARTS)
    assert worth(shares, ints(3 * UNITS_A_DOLLAR), kind).tolist() == [150_000_000]
