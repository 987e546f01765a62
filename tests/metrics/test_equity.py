"""What accounts are worth: against an independent reckoning, and where the audited system was wrong."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import empyrical  # type: ignore[import-untyped]
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.metrics.equity import account_samples, accounts, equity_curve
from fluxhero.metrics.equity_points import unusable_by_mode
from fluxhero.metrics.facts import Account, Basis
from tests.metrics.tables import (
    START,
    Row,
    assert_fit,
    flow,
    hours,
    mark,
    of,
    tables,
    trade,
    values,
)

CAPITAL = Decimal(100_000)
NOW = START + timedelta(days=100)


def measured(
    *,
    capital: object = CAPITAL,
    now: datetime = NOW,
    trades: list[Row] | None = None,
    cash_flows: list[Row] | None = None,
    equity: list[Row] | None = None,
) -> tuple[dict[tuple[str, str], Account], list[Row], dict[str, dict[tuple[str, ...], float]]]:
    """Accounts by (mode, basis), the curve's rows, and the samples' values by name and labels."""
    rows = {"trades": trades or [], "cash_flows": cash_flows or [], "equity": equity or []}
    with tables(**rows) as connection:
        start = Decimal(str(capital))
        found = accounts(connection, start)
        samples = account_samples(found, connection, now)
        curve = equity_curve(connection, start).to_pylist()
    assert_fit(samples)
    names = {one.name.removeprefix("trading_") for one in samples}
    by_account = {(one.mode, one.basis.value): one for one in found}
    assert len(by_account) == len(found)
    return by_account, curve, {name: values(samples, name) for name in names}


LIVE = ("live", "closed")
MARKED = ("live", "marked")


def test_a_fifth_lost_is_exactly_a_fifth_in_whatever_order_rows_come() -> None:
    """The audited system showed 30 %: it took the newest first, and its own idea of the start."""
    newest_first = [
        trade(-20_000, hours(3)),
        trade(5_000, hours(2)),
        trade(-15_000, hours(1)),
    ]
    found, curve, shown = measured(capital=150_000, trades=newest_first)
    account = found[LIVE]
    assert of(account, "equity", "peak", "drawdown") == (120_000, 150_000, 30_000)
    assert account.drawdown * 5 == account.peak
    assert account.worst_ratio == Decimal("0.2")
    assert shown["drawdown_ratio"] == shown["drawdown_max_ratio"] == {LIVE: 0.2}
    assert shown["drawdown_usd"] == {LIVE: 30_000}
    assert shown["equity_timestamp_seconds"] == {LIVE: hours(3).timestamp()}
    assert [point["drawdown_ratio"] for point in curve] == [0.2]


def test_what_nobody_has_closed_yet_moves_nothing() -> None:
    opened: Row = {"status": "open", "exit_time": None, "realized_pnl": Decimal(-50_000)}
    found, curve, shown = measured(
        trades=[trade(None) | opened, trade(-90_000, status="cancelled", mode="paper")]
    )
    for mode in ("live", "paper"):
        account = found[mode, "closed"]
        assert of(account, "equity", "peak", "at") == (CAPITAL, CAPITAL, None)
        assert account.worst_ratio == 0
    assert len(found) == 2
    assert curve == []
    assert "equity_timestamp_seconds" not in shown
    assert shown["trades_unusable"][("live", "no_result")] == 0
    assert measured() == ({}, [], {})


def test_a_trade_counts_when_it_was_closed_not_when_it_was_entered() -> None:
    early_and_long = trade(-10_000, hours(72), entry_time=hours(-900))
    undated = trade(2_000, None, updated_at=hours(50), exit_price=Decimal(1))
    found, curve, _ = measured(trades=[early_and_long, trade(5_000, hours(24)), undated])
    days = [(point["day"], point["equity"]) for point in curve]
    assert days == [
        (date(2025, 1, 2), 105_000),
        (date(2025, 1, 3), 107_000),
        (date(2025, 1, 4), 97_000),
    ]
    assert found[LIVE].peak == 107_000


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(trade(None, hours(2)), "no_result"), (trade(-99, None), "no_time")],
    ids=["no result", "no time"],
)
def test_while_a_trade_cannot_be_used_there_is_no_equity(bad: Row, reason: str) -> None:
    """Neither a zero nor what the others come to: a loss might be what is missing."""
    sound = [trade(500, hours(1)), trade(1, hours(1), mode="paper")]
    found, curve, shown = measured(
        trades=[*sound, bad], equity=[mark(99_000, hours(3))], cash_flows=[flow("deposit", 1)]
    )
    assert set(found) == {MARKED, ("paper", "closed")}
    assert {(point["mode"], point["basis"]) for point in curve} == set(found)
    assert shown["trades_unusable"] == {
        ("live", "no_result"): reason == "no_result",
        ("live", "no_time"): reason == "no_time",
        ("paper", "no_result"): 0,
        ("paper", "no_time"): 0,
    }
    with tables(trades=[*sound, bad, bad]) as connection:
        assert unusable_by_mode(connection) == {"live": 2, "paper": 0}


@pytest.mark.parametrize("bad", [mark(None, hours(1)), mark(5, None)], ids=["value", "time"])
def test_a_recorded_value_that_is_missing_counts_as_nothing_known(bad: Row) -> None:
    found, _, shown = measured(equity=[mark(100_000), bad, mark(90_000, hours(2), mode="paper")])
    assert set(found) == {("paper", "marked")}
    assert shown["drawdown_ratio"] == {("paper", "marked"): 0.1}


@pytest.mark.parametrize("bad", [flow("deposit", None), flow("fee", 5, None)])
def test_a_cash_flow_without_amount_or_time_leaves_both_bases_unknown(bad: Row) -> None:
    found, _, shown = measured(trades=[trade(5)], equity=[mark(100_000)], cash_flows=[bad])
    assert found == {}
    assert set(shown) <= {"trades_unusable", "cash_flow_usd"}
    assert ("live", "deposit") not in shown.get("cash_flow_usd", {})


def test_a_withdrawal_takes_its_part_of_the_loss_and_a_deposit_none() -> None:
    """10 % below the mark before, 10 % below it after: taking money out trips no breaker."""
    lost = trade(-10_000, hours(1))
    half, _, _ = measured(trades=[lost], cash_flows=[flow("withdrawal", 45_000, hours(2))])
    assert of(half[LIVE], "equity", "peak", "drawdown") == (45_000, 50_000, 5_000)
    assert half[LIVE].worst_ratio == Decimal("0.1")
    more, _, _ = measured(trades=[lost], cash_flows=[flow("deposit", 100_000, hours(2))])
    assert of(more[LIVE], "equity", "peak", "drawdown") == (190_000, 200_000, 10_000)
    uneven, _, _ = measured(trades=[lost], cash_flows=[flow("withdrawal", 1, hours(2))])
    assert uneven[LIVE].peak == Decimal("99998.88888889"), "100,000 times 89,999 in 90,000"
    overdrawn, _, _ = measured(trades=[lost], cash_flows=[flow("withdrawal", 95_000, hours(2))])
    assert of(overdrawn[LIVE], "equity", "peak") == (-5_000, 5_000)


def test_one_connection_tells_of_any_initial_capital() -> None:
    with tables(trades=[trade(-10_000)]) as connection:
        for capital in (Decimal(100_000), Decimal("50_000.5"), Decimal(100_000)):
            (account,) = accounts(connection, capital)
            assert of(account, "equity", "peak") == (capital - 10_000, capital)


def test_only_deposits_and_withdrawals_move_the_high_water_mark() -> None:
    found, _, shown = measured(
        trades=[trade(10_000, hours(1)), trade(-11_000, hours(3)), trade(0, hours(9))],
        cash_flows=[
            flow("withdrawal", 50_000, hours(2)),  # a source that writes no sign
            flow("withdrawal", -10_000, hours(4)),
            flow("deposit", 1_000, hours(5)),
            flow("fee", 300, hours(6)),
            flow("fee", -200, hours(6)),
            flow("interest", 400, hours(7)),
            flow("dividend", 100, hours(8)),
            flow("gift", 7, hours(8)),
        ],
    )
    account = found[LIVE]
    # 110,000 at best, 60,000 of it left; then 10,000 of the 49,000 left by a loss; then 1,000 more.
    worst_mark = Decimal("48755.10204082")
    assert account.peak == worst_mark == round(Decimal(60_000) * 39_000 / 49_000, 8) + 1_000
    assert account.equity == 110_000 - 59_000 - 11_000 - 500 + 500 + 7
    # At the worst moment 39,500 were left of it.
    assert account.worst_ratio == (worst_mark - 39_500) / worst_mark
    assert shown["cash_flow_usd"] == {
        ("live", "deposit"): 1_000,
        ("live", "dividend"): 100,
        ("live", "fee"): -500,
        ("live", "interest"): 400,
        ("live", "other"): 7,
        ("live", "withdrawal"): -60_000,
    }


def test_what_happens_at_one_instant_is_one_step() -> None:
    at_once = [trade(30_000, hours(1)), trade(-40_000, hours(1)), trade(12_000, hours(1))]
    found, _, _ = measured(
        trades=at_once, cash_flows=[flow("withdrawal", 5_000, hours(1)), flow("fee", 1, hours(1))]
    )
    account = found[LIVE]
    assert of(account, "equity", "peak", "worst_ratio") == (96_999, 96_999, 0)


def test_marked_values_know_what_was_paid_in_by_then() -> None:
    found, _, shown = measured(
        equity=[
            mark(100_000, hours(1)),
            mark(140_000, hours(3), unrealized_pnl=Decimal(77)),
            mark(119_000, hours(5), unrealized_pnl=Decimal(-21_000)),
        ],
        cash_flows=[
            flow("deposit", 40_000, hours(3)),  # at the very moment of a point: it is in it
            flow("withdrawal", 1_000, hours(4)),
            flow("withdrawal", 60_000, hours(6)),  # after the last point: it is not
            flow("deposit", 10, hours(2), mode="paper"),
        ],
    )
    account = found[MARKED]
    assert of(account, "equity", "peak") == (119_000, 139_000)
    assert account.worst_ratio == Decimal(20_000) / Decimal(139_000)
    assert account.at == hours(5)
    assert shown["unrealized_pnl_usd"] == {("live",): -21_000}
    assert found[LIVE].equity == 79_000
    assert found["paper", "closed"].equity == 100_010


def test_a_mode_known_by_its_recorded_values_alone_has_no_other_account() -> None:
    stale = [mark(1, hours(1), unrealized_pnl=Decimal(5)), mark(80_000, hours(2))]
    found, _, shown = measured(equity=stale)
    assert set(found) == {MARKED}
    assert shown["drawdown_usd"] == {MARKED: 20_000}
    assert "unrealized_pnl_usd" not in shown, "the last point says nothing of it"


def test_an_account_may_lose_everything_and_more() -> None:
    found, curve, shown = measured(trades=[trade(-130_000)])
    assert of(found[LIVE], "equity", "worst_ratio") == (-30_000, Decimal("1.3"))
    assert shown["equity_usd"] == {LIVE: -30_000}
    taken = [flow("withdrawal", 100_000, hours(1))]
    emptied, _, shown = measured(cash_flows=taken)
    assert of(emptied[LIVE], "equity", "peak") == (0, 0)
    assert shown["drawdown_ratio"] == {LIVE: 0}
    _, curve, shown = measured(cash_flows=taken, trades=[trade(-5, hours(2))])
    assert shown["drawdown_ratio"] == shown["drawdown_max_ratio"] == {LIVE: 1}
    assert curve[-1]["drawdown_ratio"] == 1


def test_time_under_water_runs_until_the_mark_is_reached_again() -> None:
    steps = [(1, 0), (2, -10), (4, -10), (6, 20), (7, -5), (8, 4)]
    rows = [trade(result, hours(at)) for at, result in steps]
    found, _, shown = measured(trades=rows, now=hours(9))
    account = found[LIVE]
    assert account.under_water_since == hours(7)
    assert account.longest_under_water == timedelta(hours=4)
    assert shown["drawdown_duration_seconds"] == {LIVE: 2 * 3600}
    assert shown["drawdown_duration_max_seconds"] == {LIVE: 4 * 3600}
    _, _, later = measured(trades=rows, now=hours(20))
    assert later["drawdown_duration_max_seconds"] == {LIVE: 13 * 3600}
    _, _, set_back = measured(trades=rows, now=hours(-20))
    assert set_back["drawdown_duration_seconds"] == {LIVE: 0}
    lasting, _, _ = measured(trades=[*rows, trade(-1, hours(15))])
    assert lasting[LIVE].longest_under_water == timedelta(hours=8), "the present one counts, too"
    healed, _, shown = measured(trades=[*rows, trade(1, hours(10))])
    assert healed[LIVE].under_water_since is None
    assert shown["drawdown_duration_seconds"] == {LIVE: 0}


def test_the_largest_drawdown_is_a_fraction_not_an_amount() -> None:
    results = [-50_000, 950_000, -100_000]
    found, _, _ = measured(trades=[trade(one, hours(at)) for at, one in enumerate(results)])
    assert found[LIVE].worst_ratio == Decimal("0.5")


def test_a_day_ends_at_midnight_utc_and_shows_its_worst() -> None:
    _, curve, _ = measured(
        trades=[
            trade(-30_000, datetime(2025, 3, 1, 12, tzinfo=UTC)),
            trade(30_000, datetime(2025, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)),
            trade(7, datetime(2025, 3, 2, tzinfo=UTC)),
        ]
    )
    first, second = curve
    assert first == {
        "mode": "live",
        "basis": "closed",
        "day": date(2025, 3, 1),
        "at": datetime(2025, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        "equity": 100_000,
        "peak": 100_000,
        "drawdown_ratio": 0.3,
    }
    assert (second["day"], second["drawdown_ratio"]) == (date(2025, 3, 2), 0)


def test_money_is_summed_to_the_last_digit() -> None:
    """Sums of floats depend on their order, and lose what is small."""
    rows = [trade("0.00000001", hours(i)) for i in range(30)]
    rows += [trade("9999999999.99999999", hours(40)), trade("-9999999999.99999999", hours(41))]
    found, _, _ = measured(trades=rows, capital="1E-1")
    assert found[LIVE].equity == Decimal("0.10000030")
    assert found[LIVE].drawdown == Decimal("9999999999.99999999")


def test_the_largest_drawdown_is_that_of_empyrical() -> None:
    rng = random.Random(7)
    results = [round(rng.gauss(5, 900), 2) for _ in range(2_000)]
    rows = [trade(result, hours(i)) for i, result in enumerate(results)]
    rng.shuffle(rows)
    found, curve, _ = measured(trades=rows)
    equity = pd.Series([0.0, *results]).cumsum() + float(CAPITAL)
    expected = empyrical.max_drawdown(equity.pct_change().dropna())
    assert float(found[LIVE].worst_ratio) == pytest.approx(-expected, rel=1e-9)
    assert max(point["drawdown_ratio"] for point in curve) == pytest.approx(-expected, rel=1e-9)


cents = st.integers(-6_000_000, 6_000_000).map(lambda n: Decimal(n).scaleb(-2))
instants = st.integers(0, 30).map(hours)  # few, so that many things happen at once
closed = st.builds(trade, cents, instants)
flows = st.builds(
    flow, st.sampled_from(["deposit", "withdrawal", "fee", "interest"]), cents, instants
)
marks = st.lists(st.builds(mark, cents, instants), unique_by=lambda row: row["at"], max_size=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(closed, max_size=25), st.lists(flows, max_size=6), marks)
def test_accounts_are_those_of_a_reckoning_in_pandas(
    trades: list[Row], cash_flows: list[Row], recorded: list[Row]
) -> None:
    found, _, _ = measured(trades=trades, cash_flows=cash_flows, equity=recorded)
    paid = pd.Series(
        [_signed(row) for row in cash_flows if row["kind"] in {"deposit", "withdrawal"}],
        [row["at"] for row in cash_flows if row["kind"] in {"deposit", "withdrawal"}],
        dtype=object,
    )
    earned = pd.Series(
        [row["realized_pnl"] for row in trades]
        + [_signed(row) for row in cash_flows if row["kind"] in {"fee", "interest"}],
        [row["exit_time"] for row in trades]
        + [row["at"] for row in cash_flows if row["kind"] in {"fee", "interest"}],
        dtype=object,
    )
    times = sorted({*paid.index, *earned.index})
    by_steps = {at: CAPITAL + earned[earned.index <= at].sum() + _paid(paid, at) for at in times}
    _agree(found.get(LIVE), by_steps, paid)
    _agree(found.get(MARKED), {row["at"]: row["equity"] for row in recorded}, paid)


def _signed(row: Row) -> Decimal:
    amount: Decimal = row["amount"]
    return -abs(amount) if row["kind"] in {"withdrawal", "fee"} else amount


def _paid(paid: Any, until: datetime) -> Decimal:
    return Decimal(paid[paid.index <= until].sum())


def _agree(account: Account | None, values: dict[datetime, Decimal], paid: Any) -> None:
    """Step by step: up by deposits, down by the part that a withdrawal takes, and up to each new best."""
    if not values:
        assert account is None
        return
    assert account is not None
    peak, equity, before, worst = CAPITAL, CAPITAL, Decimal(0), Decimal(0)
    since, longest = None, timedelta()
    for at in sorted(values):
        now_paid = _paid(paid, at)
        left = equity + now_paid - before
        if now_paid < before and left >= 0:
            peak = Decimal(
                round(Fraction(peak) * Fraction(left) / Fraction(equity) * 10**8)
            ).scaleb(-8)
        else:
            peak += now_paid - before
        peak, equity, before = max(peak, values[at]), values[at], now_paid
        loss = peak - equity
        worst = max(worst, loss / peak if peak > 0 else Decimal(int(loss > 0)))
        if loss and since is None:
            since = at
        if since is not None:
            longest = max(longest, at - since)
        if not loss:
            since = None
    last = max(values)
    assert (account.at, account.equity, account.peak) == (last, values[last], peak)
    assert float(account.worst_ratio) == pytest.approx(float(worst), rel=1e-12)
    assert (account.under_water_since, account.longest_under_water) == (since, longest)
    assert account.basis in set(Basis)
