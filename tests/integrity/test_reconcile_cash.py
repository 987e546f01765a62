"""Cash: trades and cash flows against recorded equity."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.rules import Severity
from fluxhero.ledger.schema import LEDGER_TABLES
from tests import samples
from tests.house import House
from tests.integrity.reconciling import check, found

START = datetime(2025, 1, 6, 21, tzinfo=UTC)
CAPITAL = Decimal(100_000)


def insert(path: Path, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows as they are; `at` is a word of DuckDB's own."""
    schema = LEDGER_TABLES[table].arrow
    with duckdb.connect(str(path)) as db:
        db.register("incoming", pa.Table.from_pylist(list(rows), schema=schema))
        db.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def trade(number: int, pnl: Decimal, closed: datetime, **changes: Any) -> dict[str, Any]:
    times = {"entry_time": closed - timedelta(hours=30), "exit_time": closed}
    return samples.ledger_trade(number, realized_pnl=pnl, **times, **changes)


def point(at: datetime, equity: Decimal, **changes: Any) -> dict[str, Any]:
    return {"mode": "live", "at": at, "equity": equity, "unrealized_pnl": Decimal(0)} | changes


def flow(number: int, kind: str, amount: Decimal, at: datetime) -> dict[str, Any]:
    return {"flow_id": f"f-{number}", "mode": "live", "at": at, "kind": kind, "amount": amount}


def cash(house: House, **changes: Any) -> Result:
    """The one result of the rule."""
    (result,) = (r for r in check(house, **changes) if r.rule.name == "ledger.cash")
    return result


@pytest.fixture
def account(duckdb_house: House) -> House:
    """Five days: a trade a day, a deposit, a withdrawal and a fee, and an open result."""
    house = duckdb_house
    results = [Decimal(n) for n in ("120.5", "-80.25", "15", "0.01", "-7.13")]
    trades = [trade(n, pnl, day(n) - timedelta(hours=2)) for n, pnl in enumerate(results)]
    insert(house.store, "trades", *trades)
    flows = [
        flow(1, "deposit", Decimal(5000), day(1) - timedelta(hours=1)),
        flow(2, "withdrawal", Decimal(250), day(2) - timedelta(hours=1)),
        flow(3, "fee", Decimal("-1.99"), day(2)),
    ]
    insert(house.store, "cash_flows", *flows)
    moved = [Decimal(0), Decimal(5000), Decimal("-251.99"), Decimal(0), Decimal(0)]
    equity, points = CAPITAL, []
    for n, pnl in enumerate(results):
        equity += pnl + moved[n]
        points.append(point(day(n), equity + 10 * n, unrealized_pnl=Decimal(10 * n)))
    insert(house.store, "equity", *points)
    return house


def test_an_account_that_adds_up_hot_and_archived(account: House) -> None:
    for _ in range(2):
        assert found(account) == {}
        assert (cash(account).checked, cash(account).object) == (5, "equity (live)")
        account.archive()


def test_another_currency_is_no_part_of_the_account(account: House) -> None:
    at = day(3) - timedelta(hours=1)
    abroad = flow(9, "deposit", Decimal(777), at) | {"currency": "EUR"}
    insert(account.store, "cash_flows", abroad)
    insert(account.store, "trades", trade(90, Decimal(5), at, extra='{"currency":"EUR"}'))
    assert found(account) == {}
    insert(account.store, "cash_flows", flow(10, "deposit", Decimal(777), at))
    assert len(found(account)) == 1, "in the account's own it would be missed"


def test_without_equity_points_nothing_is_claimed(house: House) -> None:
    house.add(1)
    assert (cash(house).outcome, cash(house).checked) == (Outcome.PASSED, 0)


def test_one_missing_deposit_shows_where_it_is_missing_and_stays(account: House) -> None:
    account.archive()
    account.execute("DELETE FROM cash_flows WHERE flow_id = 'f-1'")
    (result,) = found(account).values()
    assert (result.rule.name, result.rule.severity) == ("ledger.cash", Severity.CRITICAL)
    assert (result.count, result.keys) == (1, (f"live {day(1).isoformat()}",))
    assert "5,000.00 more than trades and cash flows come to" in result.observed
    assert "stays the same at the 3 points after it" in result.observed
    assert result.sample[0]["since the point before"] == "5,000.00"


def test_several_wrong_items_are_told_apart(account: House) -> None:
    account.execute("UPDATE trades SET realized_pnl = realized_pnl - 1 WHERE trade_id = 't-00001'")
    account.execute("UPDATE trades SET realized_pnl = realized_pnl + 3 WHERE trade_id = 't-00003'")
    result = cash(account)
    assert [row["since the point before"] for row in result.sample] == ["1.00", "-3.00"]
    assert "changes again at 1 later point" in result.observed
    assert "is -2.00 in the end" in result.observed


def test_the_last_point_and_a_wrong_start(account: House) -> None:
    account.execute(f"UPDATE equity SET equity = equity - 4 WHERE \"at\" = '{day(4)}'")
    assert "4.00 less" in cash(account).observed
    assert "it is the last point" in cash(account).observed
    result = cash(account, initial_capital=Decimal(90_000))
    assert result.keys[0] == f"live {day(0).isoformat()}"


def test_an_open_trade_makes_a_point_without_its_open_result_no_witness(account: House) -> None:
    open_trade = samples.ledger_trade(
        9,
        status="open",
        exit_price=None,
        exit_time=None,
        realized_pnl=None,
        entry_time=day(4) + timedelta(hours=2),
    )
    insert(account.store, "trades", open_trade)
    insert(
        account.store,
        "equity",
        point(day(5), Decimal(1), unrealized_pnl=None),
        point(day(4) + timedelta(hours=1), Decimal("104796.14"), unrealized_pnl=None),
    )
    result = cash(account)
    assert (result.outcome, result.checked) == (Outcome.PASSED, 6), "the later one says nothing"


def test_rounding_to_cents_is_no_fault(duckdb_house: House) -> None:
    trades = [trade(n, Decimal("0.00499"), day(0) + timedelta(minutes=n)) for n in range(50)]
    insert(duckdb_house.store, "trades", *trades)
    insert(duckdb_house.store, "equity", point(day(1), CAPITAL))
    assert found(duckdb_house) == {}


# ------------------------------------------------------------------------------ any account


@dataclass(frozen=True)
class Event:
    hours: int
    amount: Decimal
    kind: str  # trade, deposit, withdrawal, point


_CENTS = st.integers(-500_000, 500_000).filter(lambda cents: abs(cents) > 100)
_EVENTS = st.lists(
    st.builds(
        Event,
        st.integers(1, 400),
        _CENTS.map(lambda cents: Decimal(cents).scaleb(-2)),
        st.sampled_from(("trade", "trade", "deposit", "withdrawal", "point")),
    ),
    min_size=2,
    max_size=25,
    unique_by=lambda event: event.hours,
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(events=_EVENTS, pick=st.integers(0, 1_000))
def test_any_account_adds_up_and_a_dropped_trade_is_missed(
    duckdb_house: House, tmp_path: Path, events: list[Event], pick: int
) -> None:
    empty = tmp_path / "empty.duckdb"
    if not empty.exists():
        shutil.copy(duckdb_house.store, empty)
    shutil.copy(empty, duckdb_house.store)
    last = Event(401, Decimal(0), "point")
    balance, trades, flows, points = CAPITAL, [], [], []
    for number, event in enumerate(sorted([*events, last], key=lambda e: e.hours)):
        at = START + timedelta(hours=event.hours)
        if event.kind == "point":
            points.append(point(at, balance))
            continue
        out = event.kind == "withdrawal"
        balance += -abs(event.amount) if out else event.amount
        if event.kind == "trade":
            trades.append(trade(number, event.amount, at))
        else:
            flows.append(flow(number, event.kind, event.amount, at))
    for table, rows in (("trades", trades), ("cash_flows", flows), ("equity", points)):
        if rows:
            insert(duckdb_house.store, table, *rows)
    assert found(duckdb_house) == {}
    if not trades:
        return
    dropped = trades[pick % len(trades)]
    duckdb_house.execute(f"DELETE FROM trades WHERE trade_id = '{dropped['trade_id']}'")
    (result,) = found(duckdb_house).values()
    first = min(p["at"] for p in points if p["at"] >= dropped["exit_time"])
    assert (result.rule.name, result.count) == ("ledger.cash", 1)
    assert result.keys == (f"live {first.isoformat()}",)
    change = Decimal(result.sample[0]["since the point before"].replace(",", ""))
    assert change == dropped["realized_pnl"]
