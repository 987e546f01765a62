"""Every rule of the other tables has a planted fault, found in a real store by that rule alone."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fluxhero.engine import connect
from fluxhero.integrity.expectations import run_suite, tell_time
from fluxhero.integrity.values import suite_of
from tests import samples
from tests.house import House
from tests.integrity import planted
from tests.integrity.planted import broken, check, scope_of


@pytest.fixture
def house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return planted.house_of("duckdb", clean_environment, monkeypatch)


def key_of(table: str, row: dict[str, Any]) -> str:
    names = {"orders": ["order_id"], "fills": ["fill_id"], "cash_flows": ["flow_id"]}
    return " ".join(str(row[name]) for name in names.get(table, ["mode", "symbol", "side"]))


@pytest.mark.parametrize(
    ("table", "row", "faults"),
    [
        ("orders", planted.ledger_order, planted.ORDERS),
        ("fills", planted.fill, planted.FILLS),
        ("cash_flows", planted.cash_flow, planted.CASH_FLOWS),
        ("positions", planted.position, planted.POSITIONS),
    ],
)
def test_each_fault_is_found_by_its_rule_alone(
    house: House,
    table: str,
    row: Callable[..., dict[str, Any]],
    faults: dict[str, planted.Fault],
) -> None:
    rows = [row(number, **each.changes) for number, each in enumerate(faults.values())]
    samples.insert_duckdb(house.store, table, *rows)
    expected = {
        key_of(table, made): set(each.breaks)
        for made, each in zip(rows, faults.values(), strict=True)
        if each.breaks
    }
    results = check(house, table)
    assert broken(results) == expected
    unplanted = {result.rule.name for result in results} - set().union(*expected.values())
    assert unplanted == {f"{table}.schema", f"{table}.unique-key"}, "the store itself forbids them"


@pytest.mark.parametrize("table", ["orders", "fills", "cash_flows", "equity", "positions"])
def test_a_key_twice(house: House, table: str) -> None:
    """The store has a key on each; a copy of the table without one has not."""
    rows = {
        "orders": planted.ledger_order(1),
        "fills": planted.fill(1),
        "cash_flows": planted.cash_flow(1),
        "positions": planted.position(1),
        "equity": {"mode": "live", "at": planted.ENTRY, "equity": 10},
    }
    samples.insert_duckdb(house.store, table, rows[table])
    with connect() as connection:
        tell_time(connection, samples.AS_OF)
        connection.execute(f"ATTACH '{house.store}' AS file (READ_ONLY)")
        connection.execute("CREATE SCHEMA hot")
        connection.execute("CREATE TABLE hot.cash_flows AS FROM file.cash_flows")
        connection.execute(
            f"CREATE TABLE twice AS SELECT *, '' AS _batch_id, false AS _not_a_number, false AS _not_a_time, "
            f"false AS _unclear_time FROM file.{table}, range(2)"
        )
        results = run_suite(connection, suite_of(scope_of(house), table), "twice", f"{table} (hot)")
    (key,) = broken(results)
    assert broken(results)[key] == {f"{table}.unique-key"}


# ------------------------------------------------------------------------------------ equity

FIRST = datetime.combine(date(2025, 1, 6), datetime.min.time(), planted.ENTRY.tzinfo)  # a Monday


def points(days: int = 100, *, weekends: bool = False, mode: str = "live") -> list[dict[str, Any]]:
    """Daily points as an account has them, none on weekends and on the exchange's holidays."""
    closed = {date(2025, 1, 9), date(2025, 1, 20), date(2025, 2, 17)}
    every = (FIRST + timedelta(days=number) for number in range(days))
    return [
        {"mode": mode, "at": at, "equity": 1000 + at.day}
        for at in every
        if weekends or (at.weekday() < 5 and at.date() not in closed)
    ]


def put(house: House, rows: list[dict[str, Any]], *lost: int) -> None:
    kept = [row for number, row in enumerate(rows) if number not in lost]
    samples.insert_duckdb(house.store, "equity", *kept)


def test_a_sound_account(house: House) -> None:
    put(house, points())
    put(house, points(weekends=True, mode="paper"))
    put(house, points(5, mode="legacy"), 2)
    assert not broken(check(house, "equity"))


def test_missing_days(house: House) -> None:
    """A day is missing by the account's own habit, one that the exchange is closed on is not."""
    rows, always = points(), points(weekends=True, mode="paper")
    put(house, rows, 20, 21)
    put(house, always, 5)
    lost = [f"live {row['at'].date()}" for row in (rows[20], rows[21])]
    lost.append(f"paper {always[5]['at'].date()}")
    assert always[5]["at"].weekday() == 5
    assert broken(check(house, "equity")) == {key: {"equity.gap"} for key in lost}


def test_points_of_one_day_are_no_gap(house: House) -> None:
    hourly = [{"mode": "live", "at": FIRST + timedelta(hours=n), "equity": 9} for n in range(6)]
    put(house, hourly)
    assert not broken(check(house, "equity"))


def test_steps(house: House) -> None:
    """A deposit explains a step; half of the value is the limit."""
    rows = [
        {"mode": "live", "at": FIRST + timedelta(hours=number), "equity": equity}
        for number, equity in enumerate((1000, 1500, 740, 740, 2740, 2000))
    ]
    samples.insert_duckdb(house.store, "equity", *rows)
    flow = planted.cash_flow(1, at=FIRST + timedelta(hours=3, minutes=30), amount=2000)
    other = planted.cash_flow(
        2, at=FIRST + timedelta(hours=2), amount=-760, kind="withdrawal", mode="paper"
    )
    samples.insert_duckdb(house.store, "cash_flows", flow, other)
    assert broken(check(house, "equity")) == {"live 2025-01-06 02:00:00+00": {"equity.step"}}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"mode": "demo"}, "equity.mode"),
        ({"mode": " "}, "equity.required"),
        ({"equity": -1}, "equity.positive"),
        ({"at": samples.AS_OF + timedelta(days=1)}, "equity.not-in-future"),
        ({"at": datetime(1970, 1, 1, tzinfo=planted.ENTRY.tzinfo)}, "equity.sane-times"),
    ],
)
def test_points_by_themselves(house: House, changes: dict[str, Any], rule: str) -> None:
    samples.insert_duckdb(
        house.store, "equity", {"mode": "live", "at": FIRST, "equity": 1000, **changes}
    )
    (names,) = broken(check(house, "equity")).values()
    assert names == {rule}


def test_a_fluxhero_store_has_trades_only(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("sqlite", clean_environment, monkeypatch)
    for table in ("orders", "fills", "cash_flows", "equity", "positions"):
        results = check(house, table)
        assert {(r.outcome, r.object) for r in results} == {("passed", f"{table} (hot)")}
