"""What is a difference, what it costs, and what the period leaves out: cases by hand."""

from dataclasses import replace

import pytest

from fluxhero.reconcile.comparing import compare
from fluxhero.reconcile.differences import Kind
from fluxhero.reconcile.pairing import Pair
from fluxhero.reconcile.period import Period
from fluxhero.reconcile.reconciling import Asked, reconcile
from fluxhero.reconcile.tolerances import Tolerances
from tests.reconcile.by_hand import DAY, HOUR, MINUTE, START, D, differences, fill, kinds, trade


def test_what_was_there_before_the_bot_is_not_missing() -> None:
    """Neither what was bought and sold before its first trade, nor the sale of what was held before."""
    fills = [
        fill("h1", "buy", "20", "99", -9 * HOUR),
        fill("h2", "buy", "3", "99", -8 * HOUR),
        fill("h3", "sell", "3", "98", -7 * HOUR),
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("h4", "sell", "12", "111", HOUR),
        fill("b", "sell", "10", "110", 2 * HOUR),
        fill("h5", "sell", "8", "111", 3 * HOUR),
        fill("h6", "sell", "1", "111", 4 * HOUR),
    ]
    trades = [trade("t1", "long", "10", ("100", 0 * HOUR), ("110", 2 * HOUR))]
    (short,) = differences(fills, trades)
    assert (short.kind, short.side, short.orders) == (Kind.MISSING, "sell", ("alpaca:h6",))
    assert short.pnl_effect is None
    everything = Asked(period=Period(start=START - DAY))
    assert {one.orders[0] for one in differences(fills, trades, everything)} > {"alpaca:h6"}


def test_what_the_export_does_not_cover_is_not_extra() -> None:
    fills = [
        fill("x", "sell", "10", "110", 0 * HOUR),
        fill("a", "buy", "5", "100", 1 * HOUR),
        fill("b", "sell", "5", "101", 2 * HOUR),
    ]
    trades = [
        trade("early", "long", "1", ("90", -3 * DAY), ("91", -2 * DAY)),
        trade("across", "long", "10", ("100", -1 * HOUR), ("110", 0 * HOUR)),
        trade("t1", "long", "5", ("100", 1 * HOUR), ("101", 2 * HOUR)),
        trade("later", "long", "7", ("100", 3 * HOUR), ("101", 4 * HOUR)),
    ]
    assert not differences(fills, trades)
    found = reconcile(fills, trades, Asked(), Tolerances())
    assert found.compared[0].outside == 2
    until = Asked(period=Period(end=START + DAY))
    assert kinds(fills, trades, until) == [("extra", "later", "")]
    since = Asked(period=Period(start=START - 2 * HOUR, end=START + HOUR))
    assert kinds(fills, trades, since) == [("extra", "across", "entry")]


def test_a_trade_outside_the_period_is_no_difference() -> None:
    early = Pair(trade("t1", "long", "1", ("90", -DAY)))
    assert not list(compare(early, Period(start=START), Tolerances(), held=D(0)))


def test_a_trade_that_ends_after_the_period_is_compared_at_its_entry_only() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "buy", "1", "5", HOUR, symbol="QQQ"),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), ("110", 9 * HOUR)),
        trade("t2", "long", "1", ("5", HOUR), symbol="QQQ"),
    ]
    assert not differences(fills, trades)
    until = Asked(period=Period(end=START + DAY))
    (held,) = differences(fills, trades, until)
    assert (held.kind, held.leg, held.broker, held.pnl_effect) == (
        Kind.STATUS, "exit", "still held", D(-100),
    )  # fmt: skip


def test_the_bot_closed_only_a_part_of_it() -> None:
    """The broker sold less than the bot says: a difference of quantity, and nothing else."""
    fills = [fill("a", "buy", "10", "100", 0 * HOUR), fill("b", "sell", "6", "110", HOUR)]
    trades = [trade("t1", "long", "10", ("100", 0 * HOUR), ("110", HOUR))]
    (less,) = differences(fills, trades)
    assert (less.kind, less.leg, less.difference, less.pnl_effect) == (
        Kind.QUANTITY, "exit", D(-4), D(-40),
    )  # fmt: skip


def test_a_result_belongs_to_the_exit_and_a_price_to_its_leg() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "sell", "10", "110", 9 * HOUR),
    ]
    made = trade("t1", "long", "10", ("101", 0 * HOUR), ("110", 9 * HOUR))
    stated = replace(made, realized_pnl=D(5000))
    until = Asked(period=Period(end=START + HOUR))
    assert kinds(fills, [stated], until) == [("price", "t1", "entry")]
    since = Asked(period=Period(start=START + HOUR))
    assert kinds(fills, [stated], since) == [("pnl", "t1", "")]
    assert not differences(fills, [made], since)


@pytest.mark.parametrize(("entry_price", "at_split"), [("400", "10"), ("100", "40")])
def test_a_split_is_counted_as_the_bot_counts(entry_price: str, at_split: str) -> None:
    fills = [
        fill("a", "buy", "10", "400", 0 * HOUR),
        fill("s", "buy", "30", "0", HOUR, kind="split", order_id=None),
        fill("b", "sell", "40", "110", 2 * HOUR),
    ]
    exit_price = "110" if at_split == "40" else "440"
    trades = [
        trade("t1", "long", at_split, (entry_price, 0 * HOUR), (exit_price, 2 * HOUR)),
    ]
    assert not differences(fills, trades)


def test_a_split_of_nothing_is_a_difference() -> None:
    fills = [
        fill("a", "buy", "10", "400", 0 * HOUR),
        fill("b", "sell", "10", "410", HOUR),
        fill("s", "buy", "30", "0", HOUR, kind="split", symbol="QQQ", order_id=None),
    ]
    trades = [trade("t1", "long", "10", ("400", 0 * HOUR), ("410", HOUR))]
    (one,) = differences(fills, trades)
    assert (one.kind, one.orders) == (Kind.UNPLACED, ("s",))
    assert one.broker == "a split while nothing was held: buy 30"


def test_transferred_shares_are_no_order() -> None:
    fills = [
        fill("m", "buy", "10", "0", 0 * HOUR, kind="transfer"),
        fill("a", "buy", "1", "100", MINUTE),
        fill("b", "sell", "11", "110", HOUR),
    ]
    trades = [trade("t1", "long", "1", ("100", MINUTE), ("110", HOUR))]
    (by_hand,) = differences(fills, trades)
    assert (by_hand.kind, by_hand.difference) == (Kind.MISSING, D(10))


def test_several_differences_of_one_trade_share_its_result() -> None:
    fills = [fill("a", "buy", "10", "100", 0 * HOUR), fill("b", "sell", "10", "110", HOUR)]
    wrong = trade("t1", "long", "9", ("101", 2 * MINUTE), ("112", HOUR))
    found = differences(fills, [replace(wrong, realized_pnl=D(500))])
    assert [str(one.kind) for one in found] == ["quantity", "price", "price", "pnl", "time"]
    assert [one.pnl_effect for one in found] == [10, 9, -18, -401, 0]
    assert sum(one.pnl_effect or 0 for one in found) == 100 - 500
    stated_by_broker = differences(fills, [replace(wrong, realized_pnl=D(100))])
    assert "pnl" not in {str(one.kind) for one in stated_by_broker}
    assert sum(one.pnl_effect or 0 for one in stated_by_broker) == 0
    unstated = differences(fills, [replace(wrong, realized_pnl=None)])
    assert "pnl" not in {str(one.kind) for one in unstated}


@pytest.mark.parametrize(
    ("bot_fees", "pnl", "expected"),
    [
        (None, "100", []),
        (None, "98", []),  # after the broker's fees
        ("0", "100", []),  # keeps none
        ("2", "98", []),
        ("2.01", "97.99", []),
        ("3", "97", ["fees"]),
        ("3", "98", ["fees"]),  # the fees are wrong and the result is right
        ("2", "100", ["pnl"]),
        (None, "99", ["pnl"]),
    ],
)
def test_fees(bot_fees: str | None, pnl: str, expected: list[str]) -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR, fees=D(1)),
        fill("b", "sell", "10", "110", HOUR, fees=D(1)),
    ]
    made = trade("t1", "long", "10", ("100", 0 * HOUR), ("110", HOUR))
    kept = None if bot_fees is None else D(bot_fees)
    found = differences(fills, [replace(made, fees=kept, realized_pnl=D(pnl))])
    assert [str(one.kind) for one in found] == expected


def test_a_price_below_one_has_a_finer_tolerance() -> None:
    fills = [fill("a", "buy", "10", "0.0100", 0 * HOUR), fill("b", "sell", "10", "5.004", HOUR)]
    fine = trade("t1", "long", "10", ("0.01", 0 * HOUR), ("5.00", HOUR))
    assert not differences(fills, [fine])
    coarse = replace(fine, entry_price=D("0.0102"))
    assert kinds(fills, [coarse]) == [("price", "t1", "entry")]


def test_two_accounts_of_one_mode_are_told_apart() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "sell", "10", "110", HOUR),
        fill("c", "buy", "10", "100", 0 * HOUR, account="U2"),
        fill("d", "sell", "10", "110", HOUR, account="U2"),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), ("110", HOUR), account="U1"),
        trade("t9", "long", "3", ("100", 0 * HOUR), ("110", HOUR), account="U1"),
    ]
    assert kinds(fills, trades) == [("missing", None, ""), ("extra", "t9", "")]
    assert kinds(fills, trades, Asked(account="U2")) == [("missing", None, "")]
    assert kinds(fills, trades, Asked(account="U1")) == [("extra", "t9", "")]
    untold = [replace(one, account=None) for one in trades]
    assert kinds(fills, untold) == [("quantity", "t9", "")]


def test_of_what_expired_the_broker_says_the_day_only() -> None:
    hundred = {"multiplier": D(100), "symbol": "SPY260302C00500000"}
    fills = [
        fill("a", "buy", "1", "2.50", 0 * HOUR, **hundred),
        fill("e", "sell", "1", "0", 14 * HOUR, kind="expiry", order_id=None, **hundred),
    ]
    made = trade("t1", "long", "1", ("2.50", 0 * HOUR), ("0", 6 * HOUR))
    expired = replace(made, symbol="SPY 260302C00500000", realized_pnl=D(-250))
    assert not differences(fills, [expired])


def test_a_currency_that_the_bot_names_has_to_be_the_brokers() -> None:
    fills = [
        fill("e", "buy", "10", "100", 0 * HOUR, currency="EUR"),
        fill("u", "buy", "10", "100", MINUTE, currency="USD"),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), currency="USD"),
        trade("t2", "long", "10", ("100", MINUTE), currency="EUR"),
    ]
    assert not differences(fills, trades)
    nearer = [replace(one, currency=None) for one in trades]
    assert not differences(fills, nearer)
    late = [replace(trades[0], currency="GBP"), trades[1]]
    assert {one.currency for one in differences(fills, late)} == {"GBP", "USD"}


def test_a_trade_from_the_brokers_own_source_is_no_bots() -> None:
    fills = [fill("a", "buy", "10", "100", 0 * HOUR)]
    bought = trade("t1", "long", "10", ("100", 0 * HOUR))
    assert not differences(fills, [bought, replace(bought, trade_id="x", source="alpaca")])


def test_what_came_of_an_option_is_not_held_against_the_brokers_result() -> None:
    made = trade("t1", "long", "10", ("100", 0 * HOUR), ("110", HOUR))
    said = {"realized_pnl": D("55")}
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "sell", "10", "110", HOUR, **said),
    ]
    (other,) = differences(fills, [made])
    assert (other.kind, other.difference, other.pnl_effect) == (Kind.BROKER_PNL, D(-45), None)
    assigned = [replace(fills[0], kind="assignment"), fills[1]]
    assert not differences(assigned, [made])
    before = [replace(fills[0], realized_pnl=D(3)), fills[1]]
    found = reconcile(before, [made], Asked(), Tolerances())
    assert not found.compared[0].differences
    assert found.compared[0].carried_in == 1


def test_an_account_of_another_mode_is_left_out() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "buy", "10", "100", 0 * HOUR, mode="paper", account="P1"),
    ]
    bought = trade("t1", "long", "10", ("100", 0 * HOUR))
    trades = [bought, replace(bought, trade_id="t2", mode="paper")]
    found = reconcile(fills, trades, Asked(account="P1"), Tolerances())
    assert [compared.mode for compared in found.compared] == ["paper"]
