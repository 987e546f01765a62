"""Which of the broker's orders a trade was made of: cases by hand."""

from fluxhero.reconcile.differences import Kind
from fluxhero.reconcile.symbols import symbol_key
from tests.reconcile.by_hand import DAY, HOUR, MINUTE, D, differences, fill, kinds, trade


def test_a_symbol_is_the_same_however_it_is_written() -> None:
    assert len({symbol_key(name) for name in ("BRK.B", "BRK B", "BRK/B", "brk-b")}) == 1
    assert symbol_key("BTC/USD") == symbol_key("BTCUSD")
    assert symbol_key("//") == "//"


def test_one_order_that_closes_and_opens_is_both_legs() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "sell", "25", "110", 1 * HOUR),
        fill("c", "buy", "15", "105", 2 * HOUR),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), ("110", 1 * HOUR)),
        trade("t2", "short", "15", ("110", 1 * HOUR), ("105", 2 * HOUR)),
    ]
    assert not differences(fills, trades)


def test_two_positions_closed_by_one_order_share_it() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "buy", "5", "104", 1 * HOUR),
        fill("c", "sell", "15", "110", 2 * HOUR, fees=D("0.30")),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), ("110", 2 * HOUR)),
        trade("t2", "long", "5", ("104", 1 * HOUR), ("110", 2 * HOUR)),
    ]
    assert not differences(fills, trades)


def test_a_position_closed_in_parts_may_be_several_trades() -> None:
    fills = [
        fill("a", "sell", "10", "100", 0 * HOUR),
        fill("b", "buy", "4", "90", 1 * HOUR),
        fill("c", "buy", "6", "80", 2 * HOUR),
    ]
    trades = [
        trade("t1", "short", "4", ("100", 0 * HOUR), ("90", 1 * HOUR)),
        trade("t2", "short", "6", ("100", 0 * HOUR), ("80", 2 * HOUR)),
    ]
    assert not differences(fills, trades)


def test_what_is_left_of_a_position_may_be_what_the_bot_says() -> None:
    fills = [fill("a", "buy", "10", "100", 0 * HOUR), fill("b", "sell", "4", "110", 1 * HOUR)]
    assert not differences(fills, [trade("t1", "long", "6", ("100", 0 * HOUR))])
    assert not differences(fills, [trade("t1", "long", "10", ("100", 0 * HOUR))])


def test_the_order_that_the_bot_names_is_taken_however_far_away() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("b", "sell", "10", "110", 5 * HOUR),
        fill("c", "buy", "10", "100", 20 * HOUR),
        fill("d", "sell", "10", "120", 25 * HOUR),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 20 * HOUR), ("110", 5 * HOUR), order_id="a"),
        trade("t2", "long", "10", ("100", 20 * HOUR), ("120", 25 * HOUR), order_id="unknown"),
    ]
    assert kinds(fills, trades) == [("time", "t1", "entry")]
    (late,) = differences(fills, trades)
    assert (late.difference, late.orders) == (D(-20 * 3600), ("alpaca:a",))


def test_of_two_trades_that_want_one_order_the_nearer_one_has_it() -> None:
    fills = [fill("a", "buy", "10", "100", 0 * HOUR), fill("b", "buy", "10", "100", 4 * MINUTE)]
    trades = [
        trade("t1", "long", "10", ("100", MINUTE / 2)),
        trade("t2", "long", "10", ("100", MINUTE / 6)),
    ]
    (late,) = differences(fills, trades)
    assert (late.kind, late.trade_id, late.orders) == (Kind.TIME, "t1", ("alpaca:b",))


def test_by_hand_bought_shares_are_missing_and_the_bots_own_are_not() -> None:
    fills = [
        fill("h1", "buy", "20", "99", -2 * HOUR + 3 * DAY),
        fill("a", "buy", "10", "100", 3 * DAY),
        fill("b", "sell", "10", "110", 3 * DAY + HOUR),
        fill("h2", "sell", "20", "111", 3 * DAY + 2 * HOUR),
    ]
    before = [fill("z1", "buy", "1", "90", 0 * HOUR), fill("z2", "sell", "1", "91", HOUR)]
    trades = [
        trade("t0", "long", "1", ("90", 0 * HOUR), ("91", HOUR)),
        trade("t1", "long", "10", ("100", 3 * DAY), ("110", 3 * DAY + HOUR)),
    ]
    (lost,) = differences([*before, *fills], trades)
    assert (lost.kind, lost.side, lost.orders) == (Kind.MISSING, "long", ("alpaca:h1", "alpaca:h2"))
    assert (lost.pnl_effect, lost.difference) == (D(240), D(20))
    assert lost.broker.startswith("buy 20 at 99 on 2026-03-05 12:30:00 UTC and sell 20 at 111")


def test_an_exit_that_the_broker_does_not_have() -> None:
    """The shares were moved elsewhere: nothing is held, and nothing was sold."""
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("m", "sell", "10", "0", HOUR, kind="transfer"),
        fill("c", "buy", "1", "5", 9 * HOUR, symbol="QQQ"),
    ]
    trades = [
        trade("t1", "long", "10", ("100", 0 * HOUR), ("110", 2 * HOUR)),
        trade("t2", "long", "1", ("5", 9 * HOUR), symbol="QQQ"),
    ]
    (never,) = differences(fills, trades)
    assert (never.kind, never.leg, never.broker) == (Kind.EXTRA, "exit", "no such order")
    assert never.pnl_effect == -100


def test_what_is_still_held_was_not_closed_by_an_order_of_somebody_else() -> None:
    fills = [
        fill("x", "buy", "1", "9", -HOUR, symbol="QQQ"),
        fill("h1", "buy", "10", "90", -MINUTE * 30),
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("h2", "sell", "10", "95", HOUR),
    ]
    trades = [
        trade("t0", "long", "1", ("9", -HOUR), symbol="QQQ"),
        trade("t1", "long", "10", ("100", 0 * HOUR)),
    ]
    (by_hand,) = differences(fills, trades)
    assert (by_hand.kind, by_hand.orders) == (Kind.MISSING, ("alpaca:h1", "alpaca:h2"))


def test_the_bot_takes_for_open_what_was_closed() -> None:
    fills = [
        fill("a", "buy", "10", "100", 0 * HOUR),
        fill("c", "buy", "7", "50", 10 * MINUTE),
        fill("b", "sell", "10", "90", HOUR, fees=D(1)),
    ]
    (gone,) = differences(
        fills,
        [
            trade("t1", "long", "10", ("100", 0 * HOUR)),
            trade("t2", "long", "7", ("50", 10 * MINUTE)),
        ],
    )
    assert (gone.kind, gone.trade_id, gone.bot) == (Kind.STATUS, "t1", "open")
    assert gone.pnl_effect == -101
    assert gone.broker == "closed: sell 10 at 90 on 2026-03-02 15:30:00 UTC"
