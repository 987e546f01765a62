"""What the rules of a backtest give, reckoned by hand; by both simulators."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pytest

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.fast import equity_units, simulate
from fluxhero.backtest.results import Result
from fluxhero.backtest.sources import sample_bars
from fluxhero.errors import BadInputError, StrategyError
from tests.backtest.made import Backtest, bars_of, equity_of, fortunes, rows_of, targets_of

Simulate = Callable[[Bars, npt.ArrayLike, Contract], Result]

PLAIN = {"commission": Decimal(0), "slippage_bp": 0, "impact_bp": 0}
FIXED = {"sizing": Sizing.FIXED, "shares": 10}


@pytest.fixture(params=[simulate, simulate_exact], ids=["fast", "exact"])
def run(request: pytest.FixtureRequest) -> Simulate:
    """Either simulator."""
    simulator: Simulate = request.param
    return simulator


def contract(**rules: object) -> Contract:
    """1,000 USD, and rules that cost nothing but what is said."""
    return Contract.model_validate({"cash": Decimal(1_000)} | PLAIN | rules)


def test_all_in_is_sized_at_the_close_and_cut_to_the_cash_at_the_open(run: Simulate) -> None:
    bars = bars_of((10, 10, 50_000), (10.10, 11, 50_000), (11, 12, 50_000))
    done = run(bars, targets_of(1, 1, 1), Contract(cash=Decimal(10_000)))
    # Ordered: 10,000 / (10 x 1.0001 + 0.005) = 999.4. At the open: 10,000 / (10.10 x 1.0001 + 0.005) = 989.5.
    assert rows_of(done.orders, "signal_bar", "side", "ordered", "filled", "status", "reason") == [
        (0, "buy", 999, 989, "shrunk", "cash is not enough")
    ]
    assert rows_of(done.fills, "bar", "shares", "price", "commission", "slippage") == [
        (1, 989, Decimal("10.10101"), Decimal("4.945"), Decimal("0.99889"))
    ]
    # 10,000 - 989 x 10.10101 - 4.945 = 5.15611, and 989 shares at 11, then 12.
    assert equity_of(done) == [Decimal(10_000), Decimal("10884.15611"), Decimal("11873.15611")]
    assert done.round_trips.num_rows == 0  # what is still open is marked, and no round trip


@pytest.mark.parametrize("symbol", ["AAPL", "GOOG"])
def test_buying_and_holding_real_shares_earns_what_they_did(run: Simulate, symbol: str) -> None:
    bars = sample_bars(symbol).bars
    done = run(bars, np.ones(len(bars)), Contract())
    opened, last = (Decimal(int(one)) / 10_000 for one in (bars.open[1], bars.close[-1]))
    (shares,) = done.fills["shares"].to_pylist()
    spent = shares * (opened * Decimal("1.0001") + Decimal("0.005"))
    assert 0 <= 100_000 - spent < 100_000 * Decimal("0.03")  # all but the overnight gap is invested
    assert equity_of(done)[-1] == 100_000 - spent + shares * last


def test_a_round_trip_costs_commission_and_slippage_twice(run: Simulate) -> None:
    bars = bars_of((10, 10, 900), (10, 10, 900), (12, 12, 900), (12, 12, 900))
    rules = contract(**FIXED, commission=Decimal("0.01"), slippage_bp=100)
    done = run(bars, targets_of(1, 0, 0, 0), rules)
    columns = ("side", "shares", "entry_bar", "entry_price", "exit_bar", "exit_price")
    assert rows_of(done.round_trips, *columns, "commission", "pnl", "bars_held") == [
        ("long", 10, 1, Decimal("10.1"), 2, Decimal("11.88"), Decimal("0.2"), Decimal("17.6"), 1)
    ]
    assert rows_of(done.fills, "order", "side", "slippage") == [
        (0, "buy", Decimal("1")),
        (1, "sell", Decimal("1.2")),
    ]
    # 1,000 - 101 - 0.10 + 10 x 10 while held.
    assert equity_of(done) == [1_000, Decimal("998.9"), Decimal("1017.6"), Decimal("1017.6")]
    assert done.equity["at"].cast("int64").to_pylist() == bars.ends.tolist()


def test_without_costs_a_share_bought_at_a_gap_is_bought_at_the_open_behind_it(
    run: Simulate,
) -> None:
    bars = bars_of((10, 10, 9), (20, 15, 9), (5, 5, 9))
    done = run(bars, targets_of(1, 0, 0), contract(sizing=Sizing.FIXED, shares=1))
    assert rows_of(done.fills, "side", "shares", "price", "commission", "slippage") == [
        ("buy", 1, 20, 0, 0),
        ("sell", 1, 5, 0, 0),
    ]
    assert equity_of(done) == [1_000, 995, 985]


def test_turning_round_is_two_orders_of_one_bar(run: Simulate) -> None:
    bars = bars_of((10, 10, 9), (10, 10, 9), (8, 6, 9), (4, 4, 9))
    done = run(bars, targets_of(1, -1, 0, 0), contract(**FIXED, allow_short=True))
    assert rows_of(done.orders, "order", "signal_bar", "side", "ordered", "status") == [
        (0, 0, "buy", 10, "filled"),
        (1, 1, "sell", 10, "filled"),
        (2, 1, "sell", 10, "filled"),
        (3, 2, "buy", 10, "filled"),
    ]
    assert rows_of(done.equity, "shares", "cash") == [
        (0, 1_000),
        (10, 900),
        (-10, 1_060),
        (0, 1_020),
    ]
    assert equity_of(done) == [1_000, 1_000, 1_000, 1_020]
    assert rows_of(done.round_trips, "side", "pnl") == [("long", -20), ("short", 40)]


def test_unchanged_targets_trade_nothing_and_an_order_of_the_last_bar_expires(
    run: Simulate,
) -> None:
    bars = bars_of((10, 10, 9), (10, 20, 9), (30, 30, 9))
    done = run(bars, targets_of(1, 1, 0), contract(**FIXED))
    assert rows_of(done.orders, "signal_bar", "side", "ordered", "filled", "status", "reason") == [
        (0, "buy", 10, 10, "filled", ""),
        (2, "sell", 10, 0, "expired", "no bar follows"),
    ]
    assert done.fills.num_rows == 1
    assert equity_of(done)[-1] == 1_000 - 10 * 10 + 10 * 30


@pytest.mark.parametrize(
    ("policy", "filled", "status", "cash"),
    [
        (CashPolicy.SHRINK, 8, "shrunk", 40),
        (CashPolicy.REJECT, 0, "rejected", 1_000),
        (CashPolicy.ALLOW, 10, "filled", -200),
    ],
)
def test_what_happens_when_the_cash_is_not_enough(
    run: Simulate, policy: CashPolicy, filled: int, status: str, cash: int
) -> None:
    bars = bars_of((100, 100, 9), (120, 120, 9), (120, 120, 9), (120, 120, 9))
    done = run(bars, targets_of(1, 1, 0, 0), contract(cash_policy=policy))
    exits = [("sell", filled, "filled")] if filled else []  # nothing is held, so nothing is given
    assert rows_of(done.orders, "side", "ordered", "status") == [("buy", 10, status), *exits]
    assert done.orders["filled"][0].as_py() == filled
    assert done.orders["reason"][0].as_py() == ("" if filled == 10 else "cash is not enough")
    assert done.equity["cash"][1].as_py() == cash


def test_not_one_share_is_affordable(run: Simulate) -> None:
    bars = bars_of((600, 600, 9), (600, 600, 9), (2_000, 2_000, 9), (2_000, 2_000, 9))
    done = run(bars, targets_of(0, 0, 1, 1), contract())
    assert rows_of(done.orders, "ordered", "filled", "status", "reason") == [
        (0, 0, "rejected", "not one share is affordable")
    ]
    gap = bars_of((600, 600, 9), (2_000, 2_000, 9))
    assert rows_of(
        run(gap, targets_of(1, 1), contract()).orders, "ordered", "status", "reason"
    ) == [(1, "rejected", "cash is not enough")]


def test_a_turn_whose_entry_is_not_affordable_still_leaves(run: Simulate) -> None:
    bars = bars_of((10, 10, 9), (10, 80, 9), (200, 200, 9), (200, 200, 9))
    rules = contract(**FIXED, allow_short=True, cash_policy=CashPolicy.REJECT)
    done = run(bars, targets_of(-1, 1, 1, 0), rules)
    assert rows_of(done.orders, "side", "ordered", "filled", "status") == [
        ("sell", 10, 10, "filled"),
        ("buy", 10, 10, "filled"),
        ("buy", 10, 0, "rejected"),
    ]
    assert equity_of(done)[-1] == 1_000 + 100 - 2_000  # a short may lose more than there is
    # The same all-in: with nothing left there is no share to order, and what is held is left all the same.
    broke = run(
        bars_of((10, 10, 9), (10, 200, 9), (200, 200, 9)),
        targets_of(-1, 1, 1),
        contract(allow_short=True),
    )
    assert rows_of(broke.orders, "side", "filled", "reason") == [
        ("sell", 100, ""),
        ("buy", 100, ""),
        ("buy", 0, "not one share is affordable"),
    ]


def test_a_short_must_be_covered_by_cash_and_brings_its_price(run: Simulate) -> None:
    bars = bars_of((10, 10, 9), (30, 30, 9), (30, 33, 9))
    rules = contract(allow_short=True, commission=Decimal("0.5"), slippage_bp=100)
    done = run(bars, targets_of(-1, -1, -1), rules)
    # Ordered 1,000 / (10.10 + 0.50) = 94.3; covered are 1,000 / (29.70 + 0.50) = 33.1.
    assert rows_of(done.fills, "side", "shares", "price", "commission", "slippage") == [
        ("sell", 33, Decimal("29.7"), Decimal("16.5"), Decimal("9.9"))
    ]
    assert equity_of(done)[1:] == [Decimal("973.6"), Decimal("874.6")]


@pytest.mark.parametrize(("shares", "bp"), [(100, 1), (101, 6)])
def test_more_than_a_tenth_of_the_average_volume_fills_worse(
    run: Simulate, shares: int, bp: int
) -> None:
    # The last two bars up to the signal's: 500 and 1,500. Neither the first nor that of the fill counts.
    bars = bars_of((10, 10, 9), (10, 10, 500), (10, 10, 1_500), (10, 10, 9))
    rules = Contract(sizing=Sizing.FIXED, shares=shares, volume_window=2)
    (price,) = run(bars, targets_of(0, 0, 1, 1), rules).fills["price"].to_pylist()
    assert price == 10 + bp * Decimal("0.001")


def test_fewer_bars_than_the_window_are_averaged_as_far_as_they_go(run: Simulate) -> None:
    bars = bars_of((10, 10, 1_000), (10, 10, 9))
    for shares, price in ((100, "10.001"), (101, "10.006")):
        rules = Contract(sizing=Sizing.FIXED, shares=shares)
        assert run(bars, [1, 1], rules).fills["price"].to_pylist() == [Decimal(price)]


@pytest.mark.parametrize("backtest", list(fortunes()))
def test_what_64_bits_do_not_hold_is_refused(run: Simulate, backtest: Backtest) -> None:
    with pytest.raises(BadInputError, match=r"92,000,000,000 USD at bar \d.*--shares") as raised:
        run(*backtest)
    with pytest.raises(BadInputError) as fast:
        equity_units(*backtest)
    assert str(fast.value) == str(raised.value)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1, 0], "2 targets for 3 bars"),
        ([[1, 0, 1]], "an array of 2 dimensions for 3 bars"),
        ([0, 0, float("nan")], "the target nan after bar 2"),
        ([0, 0.5, 0], "the target 0.5 after bar 1"),
        (targets_of(0, 2, 0), "the target 2 after bar 1"),
        (["in", "out", "in"], "no numbers"),
        ([1, -1, 0], "short after bar 1, and shorting is not allowed"),
    ],
)
def test_targets_that_are_none(run: Simulate, targets: npt.ArrayLike, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        run(bars_of((10, 10, 9), (10, 10, 9), (10, 10, 9)), targets, contract())


def test_targets_may_be_any_numbers_of_the_three() -> None:
    bars = bars_of((10, 10, 9), (10, 11, 9), (10, 12, 9))
    given: list[npt.ArrayLike] = [[True, True, False], [1.0, 1.0, 0.0], np.array([1, 1, 0], "u1")]
    wanted: Int8s = targets_of(1, 1, 0)
    for one in given:
        assert (equity_units(bars, one, contract()) == equity_units(bars, wanted, contract())).all()
