"""Orders against trades, the same fill under two ids, and the shipped real data."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fluxhero.demo import DemoFiles, write_demo_files
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Severity
from fluxhero.ledger.view import open_view
from tests import samples
from tests.house import House
from tests.integrity.reconciling import check, found

OPENED = datetime(2025, 1, 2, 10, tzinfo=UTC)


def add_traded(house: House, *numbers: int, at: datetime = OPENED) -> None:
    """Long trades of ten shares, each with the two orders that made it."""
    for number in numbers:
        opened = at + timedelta(minutes=number)
        closed = opened + timedelta(minutes=30)
        times = {"entry_time": opened, "exit_time": closed, "source": "broker"}
        samples.insert_duckdb(house.store, "trades", samples.ledger_trade(number, **times))
        orders = [
            samples.ledger_order(
                2 * number + place,
                side=side,
                broker="alpaca",
                filled_quantity=Decimal(10),
                average_fill_price=Decimal(100),
                submitted_at=filled - timedelta(seconds=1),
                filled_at=filled,
                trade_id=f"t-{number:05d}",
            )
            for place, (side, filled) in enumerate((("buy", opened), ("sell", closed)))
        ]
        samples.insert_duckdb(house.store, "orders", *orders)


@pytest.fixture
def traded(duckdb_house: House) -> House:
    """Archived trades with their orders, and younger ones that are hot."""
    add_traded(duckdb_house, 1, 2, 3)
    duckdb_house.archive()
    add_traded(duckdb_house, 4, 5, 6, at=datetime(2025, 5, 20, tzinfo=UTC))
    assert found(duckdb_house) == {}
    return duckdb_house


FAULTS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "an order of a trade that is nowhere": (
        "UPDATE orders SET trade_id = 'gone' WHERE order_id = 'o-00013'",
        "ledger.order-has-trade",
        ("o-00013",),
        "1 order of a trade that is neither hot nor archived",
    ),
    "a trade whose orders were deleted": (
        "DELETE FROM orders WHERE trade_id = 't-00005'",
        "ledger.trade-has-orders",
        ("t-00005",),
        "1 trade without an order",
    ),
    "a fill that is missing": (
        "UPDATE orders SET filled_quantity = 7 WHERE order_id = 'o-00009'",
        "ledger.order-agrees",
        ("t-00004",),
        "of another quantity",
    ),
    "an order of another symbol": (
        "UPDATE orders SET symbol = 'MSFT' WHERE order_id = 'o-00009'",
        "ledger.order-agrees",
        ("t-00004",),
        "symbol",
    ),
    "an order of another mode": (
        "UPDATE orders SET mode = 'paper' WHERE order_id = 'o-00009'",
        "ledger.order-agrees",
        ("t-00004",),
        "mode",
    ),
    "one order under two ids": (
        (
            "INSERT INTO orders BY NAME SELECT * REPLACE ('twin' AS order_id, NULL AS trade_id) "
            "FROM orders WHERE order_id = 'o-00008'"
        ),
        "ledger.same-fill-twice",
        ("o-00008", "twin"),
        "2 orders that have the same fill",
    ),
    "one trade under two ids": (
        (
            "INSERT INTO trades BY NAME SELECT * REPLACE ('twin' AS trade_id, 'other' AS source) "
            "FROM trades WHERE trade_id = 't-00004'"
        ),
        "ledger.same-fill-twice",
        ("t-00004", "twin"),
        "2 trades that have the same fill",
    ),
}


def test_each_fault_is_found_by_its_rule_alone(
    traded: House, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    sound = shutil.copy(traded.store, tmp_path / "sound")
    for fault, (sql, name, keys, says) in FAULTS.items():
        with subtests.test(fault):
            shutil.copy(sound, traded.store)
            traded.execute(sql)
            (result,) = found(traded).values()
            assert (result.rule.name, result.keys) == (name, keys)
            assert result.outcome is Outcome.FAILED
            assert says in result.observed
            assert {row["key"] for row in result.sample} == set(keys)
            with open_view(traded.workspace) as connection:
                listed = {str(row[0]) for row in connection.execute(result.sql).fetchall()}
            assert set(keys) <= listed


def test_a_finding_in_the_archive_stays_one_until_it_is_mended(duckdb_house: House) -> None:
    house, memory = duckdb_house, Passed(duckdb_house.data / "passed.json")
    add_traded(house, 1, 2, 3)
    house.execute("UPDATE orders SET trade_id = 'gone' WHERE order_id = 'o-00007'")
    house.archive()
    for _ in range(2):
        (result,) = found(house, memory).values()
        assert (result.rule.name, result.keys) == ("ledger.order-has-trade", ("o-00007",))
    samples.insert_duckdb(house.store, "trades", samples.ledger_trade(trade_id="gone"))
    house.execute("UPDATE trades SET source = 'broker', quantity = 10 WHERE trade_id = 'gone'")
    assert found(house, memory) == {}
    assert found(house, memory) == {}


def test_a_hot_trade_whose_twin_passed_in_the_archive_long_ago(traded: House) -> None:
    memory = Passed(traded.data / "passed.json")
    assert found(traded, memory) == {}
    opened = OPENED + timedelta(minutes=2)
    times = {"entry_time": opened, "exit_time": opened + timedelta(minutes=30)}
    twin = samples.ledger_trade(2, trade_id="twin", source="another file", **times)
    samples.insert_duckdb(traded.store, "trades", twin)
    (result,) = found(traded, memory).values()
    assert (result.keys, result.rule.severity) == (("t-00002", "twin"), Severity.ERROR)


def test_trades_from_before_the_first_order_need_none(traded: House) -> None:
    early = samples.ledger_trade(
        9, source="broker", entry_time=OPENED - timedelta(days=1), exit_time=OPENED
    )
    unordered = samples.ledger_trade(10, source="by hand", exit_time=OPENED + timedelta(hours=9))
    samples.insert_duckdb(traded.store, "trades", early, unordered)
    assert found(traded) == {}


def test_a_corrected_fill_settles_it(traded: House) -> None:
    traded.execute("UPDATE orders SET filled_quantity = 7 WHERE order_id = 'o-00009'")
    assert set(found(traded)) == {"ledger.order-agrees"}
    traded.execute(
        "INSERT INTO orders BY NAME SELECT * REPLACE ('rest' AS order_id, 3 AS filled_quantity) "
        "FROM orders WHERE order_id = 'o-00009'"
    )
    assert found(traded) == {}


# ----------------------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return write_demo_files(tmp_path_factory.mktemp("demo"))


@pytest.fixture
def ingest(duckdb_house: House) -> Callable[..., object]:
    from flows import ingest_trades as module
    from tests.house import plain_tasks

    def run(*paths: Path, table: str) -> None:
        with plain_tasks(module, {}):
            module.ingest_trades.fn(paths=[str(path) for path in paths], table=table)

    return run


def test_the_real_data_is_sound(
    duckdb_house: House, files: DemoFiles, ingest: Callable[..., object]
) -> None:
    ingest(files.trades_live, files.trades_replay, table="trades")
    ingest(files.orders_replay, table="orders")
    now = datetime(2026, 11, 25, tzinfo=UTC)
    results = {(r.rule.name, r.object): r for r in check(duckdb_house, now=now)}
    assert {r.outcome for r in results.values()} == {Outcome.PASSED}
    both = "{} (hot and archive)"
    assert results["ledger.same-fill-twice", both.format("trades")].checked == 438
    assert results["ledger.same-fill-twice", both.format("orders")].checked == 257
    assert results["ledger.order-has-trade", both.format("orders")].checked == 257


def test_the_bot_s_own_database_is_sound(sqlite_house: House, files: DemoFiles) -> None:
    sqlite_house.store.write_bytes(files.system_db.read_bytes())
    for journal in sqlite_house.store.parent.glob("*-*"):
        journal.unlink()
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert found(sqlite_house, now=now) == {}
    sqlite_house.archive(as_of=datetime(2026, 5, 1, tzinfo=UTC))
    assert found(sqlite_house, now=now) == {}
