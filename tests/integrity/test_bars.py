"""Bars: a clean cache has no fault, and each planted one is found by the rule that is about it."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import bokeh_sampledata.stocks as real
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import DamagedFileError, StoreLockedError
from fluxhero.integrity.bars import check_bars
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suites.bars import FRESH, OF_FILES, TRADE_PRICE, TYPES, bars
from fluxhero.integrity.traded_bars import check_against_trades
from fluxhero.market import cache
from fluxhero.market.cache import BARS, Origin
from fluxhero.market.calendar import calendar_of
from fluxhero.market.timeframe import Timeframe
from tests.house import House

NEW_YORK = calendar_of("AAPL", "XNYS", date(1990, 1, 1))
ALWAYS = calendar_of("BTC/USD", "XNYS", date(1990, 1, 1))
SESSIONS = NEW_YORK.between(date(2024, 11, 1), date(2025, 1, 31))  # holidays and early closes in it
NOW = datetime(2025, 2, 1, 12, tzinfo=UTC)  # a Saturday
EVERY_RULE = (TYPES, *bars().rules, FRESH, TRADE_PRICE)
Row = dict[str, Any]


def row(at: datetime, price: float, volume: float = 1_000.0) -> Row:
    values = {"open": price, "high": price + 2, "low": price - 2, "close": price + 1}
    return {"timestamp": at.astimezone(UTC).replace(tzinfo=None), **values, "volume": volume}


def daily_rows() -> list[Row]:
    return [
        row(NEW_YORK.midnight(one.day), 100.0 + place % 7) for place, one in enumerate(SESSIONS)
    ]


def minute_rows() -> list[Row]:
    last = SESSIONS[-3:]
    times = [one.opens + timedelta(minutes=n) for one in last for n in range(0, 390, 5)]
    return [row(at, 50.0) for at in times]


def store(
    folder: Path,
    rows: Sequence[Row],
    symbol: str = "AAPL",
    timeframe: str = "1d",
    adjustment: str = "split",
    at: datetime = NOW,
) -> Path:
    table = pa.Table.from_pylist(list(rows), schema=BARS)
    origin = Origin(symbol=symbol, timeframe=timeframe, provider="alpaca", adjustment=adjustment)
    return cache.write(folder, table, origin, at)


@pytest.fixture
def scope(duckdb_house: House) -> Scope:
    """A clean cache with a file of each kind, and a trade that was open meanwhile."""
    scope = Scope.of(duckdb_house.settings, now=NOW, deep=False)
    folder = scope.cache_dir
    store(folder, daily_rows())
    store(folder, minute_rows(), timeframe="5m")
    days = ALWAYS.between(date(2025, 1, 1), date(2025, 1, 31))
    store(folder, [row(one.opens, 40_000) for one in days], "BTC/USD")
    hours = [
        row(one.opens - timedelta(minutes=30) + timedelta(hours=n), 9)
        for one in SESSIONS[-2:]
        for n in range(7)
    ]
    store(folder, hours, "SPY", "1h")
    duckdb_house.add(
        1, entry_price=Decimal(106), exit_price=Decimal(101),
        entry_time=datetime(2025, 1, 2, 15, tzinfo=UTC), exit_time=datetime(2025, 1, 3, 15, tzinfo=UTC),
    )  # fmt: skip
    still_open = {"status": "open", "exit_price": None, "exit_time": None}
    duckdb_house.add(
        2, entry_price=Decimal(104), entry_time=datetime(2025, 1, 31, 15, tzinfo=UTC), **still_open
    )
    return scope


def check(scope: Scope, *, remembering: bool = False) -> list[Result]:
    memory = Passed(scope.home / "passed.json")
    results = check_bars(scope, memory)
    if remembering:
        memory.save()
    return results


def check_trades(scope: Scope) -> list[Result]:
    """Only what holds bars against trades: it needs no Great Expectations."""
    return check_against_trades(scope, cache.cached_files(scope.cache_dir))


def broken(results: Sequence[Result]) -> list[str]:
    return sorted(result.rule.name for result in results if result.outcome is not Outcome.PASSED)


def test_a_clean_cache_has_no_fault(scope: Scope) -> None:
    results = check(scope)
    assert broken(results) == []
    checked = {result.rule.name: result.checked for result in results}
    assert set(checked) == {rule.name for rule in EVERY_RULE}
    assert checked["bars.inside-range"] == len(SESSIONS) + 3 * 78 + 31 + 14
    assert checked["bars.trade-price-inside"] == 3


def change(place: int, **values: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [one | values if n == place else one for n, one in enumerate(rows)]


def with_row(*more: Row) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: sorted([*rows, *more], key=lambda one: str(one["timestamp"]))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00")


def midnight(day: str) -> datetime:
    return NEW_YORK.midnight(date.fromisoformat(day))


FAULTS: dict[str, tuple[str, Callable[[list[Row]], list[Row]], list[str]]] = {
    "NaN": ("bars.finite", change(5, close=float("nan")), ["2024-11-08T05:00:00"]),
    "infinity": ("bars.finite", change(5, high=float("inf")), ["2024-11-08T05:00:00"]),
    "null": ("bars.finite", change(5, volume=None), ["2024-11-08T05:00:00"]),
    "zero": ("bars.positive", change(5, low=0.0), ["2024-11-08T05:00:00"]),
    "negative": ("bars.positive", change(5, open=-3.0), ["2024-11-08T05:00:00"]),
    "high < low": ("bars.high-not-below-low", change(5, high=90.0), ["2024-11-08T05:00:00"]),
    "close above": ("bars.inside-range", change(5, close=108.0), ["2024-11-08T05:00:00"]),
    "open below": ("bars.inside-range", change(5, open=102.9), ["2024-11-08T05:00:00"]),
    "volume": ("bars.volume", change(5, volume=-1.0), ["2024-11-08T05:00:00"]),
    "doubled": (
        "bars.unique",
        lambda rows: [*rows[:5], rows[4], *rows[5:]],
        ["2024-11-07T05:00:00"],
    ),
    "unsorted": (
        "bars.in-order",
        lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]],
        ["2024-11-08T05:00:00"],
    ),
    "missing": (
        "bars.missing-sessions",
        lambda rows: [*rows[:5], *rows[7:]],
        ["2024-11-08", "2024-11-11"],
    ),
    "holiday": (
        "bars.extra-sessions",
        with_row(row(midnight("2024-11-28"), 101.0)),
        ["2024-11-28T05:00:00"],
    ),
    "weekend": (
        "bars.extra-sessions",
        with_row(row(midnight("2024-12-01"), 101.0)),
        ["2024-12-01T05:00:00"],
    ),
    "split": (
        "bars.unadjusted-split",
        lambda rows: [*rows[:30], *(scaled(one, 0.25) for one in rows[30:])],
        ["2024-12-16T05:00:00"],
    ),
    "reverse split": (
        "bars.unadjusted-split",
        lambda rows: [*rows[:30], *(scaled(one, 10) for one in rows[30:])],
        ["2024-12-16T05:00:00"],
    ),
}


def scaled(one: Row, factor: float) -> Row:
    return one | {name: one[name] * factor for name in cache.PRICES}


WRONG_TIMES = {
    ("A", "5m", "2025-01-30T13:30"): "bars.in-hours",
    ("B", "5m", "2025-01-30T21:00"): "bars.in-hours",
    ("C", "5m", "2024-11-29T18:00"): "bars.in-hours",  # an early close
    ("D", "5m", "2024-11-28T15:00"): "bars.in-hours",  # a holiday
    ("E", "1h", "2025-01-30T13:00"): "bars.in-hours",
    ("F/USD", "5m", "2025-02-01T11:56"): "bars.complete",
    ("G/USD", "5m", "2030-02-01T11:56"): "bars.complete",
}


def test_each_planted_fault_is_found_by_the_rule_about_it_and_no_other(scope: Scope) -> None:
    planted: dict[str, set[str]] = {}
    for number, (rule, plant, keys) in enumerate(FAULTS.values()):
        store(scope.cache_dir, plant(daily_rows()), f"S{number}")
        planted.setdefault(rule, set()).update(f"S{number}_1d {key}" for key in keys)
    for (symbol, timeframe, at), rule in WRONG_TIMES.items():
        path = store(scope.cache_dir, [row(utc(at), 50.0)], symbol, timeframe)
        planted.setdefault(rule, set()).add(f"{path.stem} {at}:00")
    results = {one.rule.name: one for one in check(scope)}
    assert broken(list(results.values())) == sorted(planted)
    assert set(planted) == {rule.name for rule in bars().rules}, "a fault for every rule"
    for name, wanted in planted.items():
        result = results[name]
        assert (result.outcome, result.object) == (Outcome.FAILED, "bars")
        assert set(result.keys) == wanted, name
        assert result.count == len(wanted)
        assert {one["key"] for one in result.sample} == wanted
        if name in OF_FILES:
            with duckdb.connect() as db:
                assert {str(one[0]) for one in db.execute(result.sql).fetchall()} == wanted
        else:
            assert not result.sql, "it could not be run without the calendar"


def test_a_bar_that_was_still_forming(scope: Scope) -> None:
    noon = datetime(2025, 1, 31, 17, tzinfo=UTC)
    path = store(scope.cache_dir, daily_rows(), at=noon)
    results = check(scope)
    assert broken(results) == ["bars.complete"]
    store(scope.cache_dir, daily_rows())
    pq.write_table(pq.read_table(path).replace_schema_metadata(), path)  # as another program would
    os.utime(path, (noon.timestamp(), noon.timestamp()))
    assert broken(check(scope)) == ["bars.complete"]
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    assert broken(check(scope)) == []


def test_raw_prices_may_jump_and_days_without_a_time_are_days(scope: Scope) -> None:
    rows = [*daily_rows()[:30], *(scaled(one, 0.25) for one in daily_rows()[30:])]
    store(scope.cache_dir, rows, "MSFT", adjustment="raw")
    days = [one | {"timestamp": one["timestamp"].replace(hour=0)} for one in daily_rows()]
    store(scope.cache_dir, days, "IBM", adjustment=cache.UNKNOWN)
    old = [row(datetime(1985, 1, 5, tzinfo=UTC), 10.0)]  # a Saturday, before the calendar
    store(scope.cache_dir, old, "OLD")
    assert broken(check(scope)) == []


# ----------------------------------------------------------------------------------- real prices


def history(symbol: str, *, adjusted: bool) -> list[Row]:
    data: dict[str, list[Any]] = getattr(real, symbol)
    rows = []
    for place, day in enumerate(data["date"]):
        factor = data["adj_close"][place] / data["close"][place] if adjusted else 1.0
        prices = {name: data[name][place] * factor for name in cache.PRICES}
        rows.append(
            row(NEW_YORK.midnight(date.fromisoformat(day)), 1.0, data["volume"][place]) | prices
        )
    return rows


def test_real_prices_have_splits_where_there_were_some(scope: Scope) -> None:
    symbols = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    for symbol in symbols:
        store(scope.cache_dir, history(symbol, adjusted=True), symbol)
    assert "bars.unadjusted-split" not in broken(check(scope))
    for symbol in symbols:
        store(scope.cache_dir, history(symbol, adjusted=False), symbol)
    (found,) = [one for one in check(scope) if one.rule.name == "bars.unadjusted-split"]
    assert [key[:18] for key in found.keys] == [
        "AAPL_1d 2000-06-21",
        "AAPL_1d 2005-02-28",
        "MSFT_1d 2003-02-18",
    ]


# ------------------------------------------------------------------------------------ the files


COUNT = len(SESSIONS)
DRIFTED: dict[str, tuple[str, pa.Array]] = {
    "column close has no type: nothing is in it": ("close", pa.nulls(COUNT)),
    "column rsi has no type: nothing is in it": ("rsi", pa.nulls(COUNT)),
    "column open is int64, not double": ("open", pa.array([100] * COUNT)),
    "column volume is string, not a number": ("volume", pa.array(["1000"] * COUNT)),
    "column timestamp is double, not a timestamp": ("timestamp", pa.array([1.7e9] * COUNT)),
    "column timestamp is in the zone America/New_York, not in UTC": (
        "timestamp",
        pa.array([one.opens for one in SESSIONS], pa.timestamp("us", "America/New_York")),
    ),
}


def test_types_that_drifted(scope: Scope) -> None:
    for number, (column, values) in enumerate(DRIFTED.values()):
        table = pa.Table.from_pylist(daily_rows(), schema=BARS)
        place = table.schema.get_field_index(column)
        table = (
            table.append_column(column, values)
            if place < 0
            else table.set_column(place, column, values)
        )
        pq.write_table(table, scope.cache_dir / f"S{number}_1d.parquet")
    results = check(scope)
    assert set(broken(results)) == {"bars.types"}
    found = [one for one in results if one.outcome is Outcome.FAILED]
    assert [one.object for one in found] == [f"cache/S{n}_1d.parquet" for n in range(len(DRIFTED))]
    for one, told in zip(found, DRIFTED, strict=True):
        assert one.observed == f"{told}; none of its bars was looked at"


def test_a_file_that_holds_no_bars_or_cannot_be_read(scope: Scope) -> None:
    pq.write_table(pa.table({"a": [1]}), scope.cache_dir / "MSFT_1d.parquet")
    whole = pa.Table.from_pylist(daily_rows(), schema=BARS)
    whole = whole.set_column(5, "volume", pa.array([10] * len(SESSIONS)))  # as yfinance has it
    pq.write_table(whole, scope.cache_dir / "SPY_1d.parquet")
    path = cache.path_of(scope.cache_dir, "AAPL", Timeframe.read("1d"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFileError):
        cache.read(path)
    outcomes = {
        (one.rule.name, one.object): one
        for one in check(scope)
        if one.outcome is not Outcome.PASSED
    }
    assert {key: one.outcome for key, one in outcomes.items()} == {
        ("bars.types", "cache/MSFT_1d.parquet"): Outcome.FAILED,
        ("bars.types", "cache/AAPL_1d.parquet"): Outcome.ERRORED,
        ("bars.fresh", "cache/AAPL_1d.parquet"): Outcome.ERRORED,
        ("bars.trade-price-inside", "trades against bars"): Outcome.ERRORED,
    }


def test_an_unknown_exchange_is_an_error_and_no_pass(scope: Scope) -> None:
    results = check(replace(scope, exchange="QQQQ"))
    assert {one.object for one in results if one.rule.name == "bars.types" and one.outcome is Outcome.ERRORED} == {
        "cache/AAPL_1d.parquet", "cache/AAPL_5m.parquet", "cache/SPY_1h.parquet"
    }  # fmt: skip
    assert {"bars.fresh", "bars.trade-price-inside"} <= set(broken(results))


def test_only_what_changed_is_read_again(scope: Scope) -> None:
    whole = {one.rule.name: one.checked for one in check(scope, remembering=True)}
    store(scope.cache_dir, change(5, volume=-1.0)(daily_rows()), "MSFT")

    def bars_read(scope: Scope) -> int:
        results = check(scope, remembering=True)
        assert broken(results) == ["bars.volume"]
        return next(one.checked for one in results if one.rule.name == "bars.volume")

    for _ in range(2):
        assert bars_read(scope) == len(SESSIONS), "what breaks a rule is read every time"
    assert bars_read(replace(scope, deep=True)) == whole["bars.volume"] + len(SESSIONS)
    store(scope.cache_dir, daily_rows(), "MSFT")
    assert broken(check(scope, remembering=True)) == []
    nothing = check(scope)
    assert {one.checked for one in nothing if one.rule.name == "bars.volume"} == {0}
    assert {rule.name for rule in EVERY_RULE} == {one.rule.name for one in nothing}


def test_a_rule_that_cannot_be_told_is_remembered_as_nothing(
    scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhero.integrity.bars.SESSIONS", "somewhere_else")
    assert "bars.missing-sessions" in broken(check(scope, remembering=True))
    monkeypatch.undo()
    results = check(scope)
    assert broken(results) == []
    assert next(one.checked for one in results if one.rule.name == "bars.volume") > 0


def test_an_empty_cache(duckdb_house: House) -> None:
    results = check(Scope.of(duckdb_house.settings, now=NOW, deep=True))
    assert broken(results) == []
    assert {one.rule.name for one in results} == {rule.name for rule in EVERY_RULE}


# ------------------------------------------------------------------------------------ freshness


FRESHNESS = [  # last session in the file, now, stale
    ("2025-01-31", "2025-02-03T18:00", False),
    ("2025-01-30", "2025-02-01T23:00", False),  # Friday's bar is needed when Monday opens
    ("2025-01-30", "2025-02-03T14:00", False),
    ("2025-01-30", "2025-02-03T15:00", True),
    ("2025-01-31", "2025-02-04T20:00", False),  # Monday closed less than a day ago
    ("2025-01-31", "2025-02-04T22:00", True),
    ("2024-12-24", "2024-12-26T15:00", False),  # nothing was traded between them
    ("2024-12-23", "2024-12-26T15:00", True),
]


def test_bars_of_an_open_trade_are_fresh(duckdb_house: House) -> None:
    still_open = {"status": "open", "exit_price": None, "exit_time": None}
    for number, symbol in enumerate(("AAPL", "ETH/USD")):
        entry = {"entry_price": Decimal(50), "entry_time": utc("2024-10-01T15:00")}
        duckdb_house.add(number, symbol=symbol, **entry, **still_open)
    scope = Scope.of(duckdb_house.settings, now=NOW, deep=False)
    for timeframe in ("1d", "5m"):
        for last, now, stale in FRESHNESS:
            session = NEW_YORK.session(date.fromisoformat(last))
            assert session is not None
            begins = session.closes - timedelta(minutes=5) if timeframe == "5m" else midnight(last)
            path = store(scope.cache_dir, [row(begins, 50.0)], timeframe=timeframe)
            store(scope.cache_dir, [row(begins - timedelta(days=90), 50.0)], "OLD", "1h")
            results = check_trades(replace(scope, now=utc(now)))[:-1]
            assert [one.object for one in results] == [f"cache/{path.name}"], "traded ones alone"
            assert broken(results) == ["bars.fresh"] * stale, (last, now)
            if stale:
                assert "is missing, which closed at 202" in results[0].observed
        path.unlink()
    store(scope.cache_dir, [row(utc("2025-01-30T00:00"), 50.0)], "ETH/USD")
    for now, stale in (("2025-02-01T23:59", False), ("2025-02-02T00:01", True)):
        (result,) = check_trades(replace(scope, now=utc(now)))[:-1]
        assert (result.outcome is Outcome.FAILED) == stale, (
            "a day never closes later than the next opens"
        )


def test_a_file_without_bars_is_not_fresh(scope: Scope) -> None:
    store(scope.cache_dir, [])
    results = check_trades(scope)
    assert broken(results) == ["bars.fresh"]
    assert "it has no bar; the session of 2025-01-30 is missing" in next(
        one.observed for one in results if one.outcome is Outcome.FAILED
    )


def test_trades_that_cannot_be_read_are_no_pass(scope: Scope, duckdb_house: House) -> None:
    scope.workspace.store.close()
    duckdb_house.store.write_bytes(b"no store " * 1000)
    results = check_trades(scope)
    assert broken(results) == ["bars.fresh", "bars.trade-price-inside"]
    assert {one.outcome for one in results if "trade" in one.rule.name} == {Outcome.ERRORED}


_HOLDER = """
import duckdb, sys, time
db = duckdb.connect(sys.argv[1])
print("holding", flush=True)
time.sleep(60)
"""


def test_a_store_that_another_process_holds_is_waited_for(
    scope: Scope, duckdb_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.1")
    scope.workspace.store.close()
    impatient = Scope.of(duckdb_house.settings, now=NOW, deep=False)
    command = [sys.executable, "-c", _HOLDER, str(duckdb_house.store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        with pytest.raises(StoreLockedError):  # so that the task is tried again
            check_trades(impatient)
        holder.kill()


# --------------------------------------------------------------------------------- trades' prices


def trade(house: House, number: int, entry: str, leave: str, at: str, **more: Any) -> None:
    times = {"entry_time": utc(at), "exit_time": utc(at) + timedelta(days=1)}
    prices = {"entry_price": Decimal(entry), "exit_price": Decimal(leave)}
    house.add(number, **(times | prices | more))


PRICES_OF_TRADES = [
    ("108.5", "101", "raw", []),  # 104 to 108, and half a percent
    ("109", "101", "raw", ["entry"]),
    ("106", "1010", "raw", ["exit"]),
    ("106", "1010", "split", ["exit"]),
    ("106", "1010", "unknown", ["exit"]),
    ("1060", "1010", "raw", ["entry", "exit"]),
    ("1060", "1010", "split", []),  # ten for one, since then
    ("53", "50.5", "unknown", []),
    ("1060", "505", "split", ["entry", "exit"]),
    ("106", "1010", "all", []),  # what dividends did to prices nobody can say
]


def test_prices_of_trades(scope: Scope, duckdb_house: House) -> None:
    wanted = []
    for number, (entry, leave, adjustment, found) in enumerate(PRICES_OF_TRADES, start=10):
        store(scope.cache_dir, daily_rows(), f"S{number}", adjustment=adjustment)
        trade(duckdb_house, number, entry, leave, "2025-01-02T15:00", symbol=f"S{number}")
        wanted += [(f"t-{number:05}", leg) for leg in found]
    results = check_trades(scope)
    assert broken(results) == ["bars.trade-price-inside"]
    result = results[-1]
    assert [(one["key"], one["leg"]) for one in result.sample] == wanted
    assert (result.count, result.checked) == (len(wanted), 3 + 2 * (len(PRICES_OF_TRADES) - 1))
    assert result.keys == tuple(dict.fromkeys(key for key, _ in wanted))


def test_a_trade_of_a_day_and_one_on_a_day_without_bars(scope: Scope, duckdb_house: House) -> None:
    trade(duckdb_house, 7, "500", "600", "2025-01-04T15:00")  # a Saturday, a Sunday
    assert broken(check_trades(scope)) == []
    duckdb_house.edit(
        7, "entry_time = '2025-01-03 00:00:00+00', entry_price = 101.5, exit_price = 0"
    )
    assert broken(check_trades(scope)) == []
    duckdb_house.edit(7, "entry_price = 115")
    (result,) = [one for one in check_trades(scope) if one.outcome is Outcome.FAILED]
    assert result.observed.endswith(
        "as the entry of t-00007 at 115 on 2025-01-03, when AAPL was between 98 and 102"
    )


def test_a_fluxhero_store(sqlite_house: House) -> None:
    scope = Scope.of(sqlite_house.settings, now=NOW, deep=False)
    store(scope.cache_dir, daily_rows())
    sqlite_house.add(
        1,
        symbol="AAPL",
        entry_price=300.0,
        entry_time="2025-01-02T15:00:00",
        exit_price=99.0,
        exit_time="2025-01-03T15:00:00",
    )
    assert broken(check_trades(scope)) == ["bars.trade-price-inside"]
