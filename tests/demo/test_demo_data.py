"""The demo data is what it says it is."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from fluxhero.demo import DemoFiles, packages, write_demo_files
from fluxhero.errors import ConfigurationError
from fluxhero.ledger.formats import ReadOptions, detect
from fluxhero.ledger.schema import ORDERS, TRADES, Table

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    return write_demo_files(tmp_path_factory.mktemp("demo"))


def rows(path: Path, table: Table = TRADES) -> list[dict[str, Any]]:
    found = []
    for page in detect(path).pages(path, ReadOptions(table=table)):
        assert page.rejected == []
        found += page.rows.to_pylist()
    return found


def test_live_bot(files: DemoFiles) -> None:
    trades = rows(files.trades_live)
    assert len(trades) == len({t["trade_id"] for t in trades}) == 308
    assert {(t["mode"], t["status"], t["source"]) for t in trades} == {
        ("live", "closed", "cross-signal-data")
    }
    assert trades[0]["symbol"] == "PM:544093/Yes"
    assert trades[0]["exit_time"] == datetime(2026, 3, 28, 16, 21, 30, 406_887, tzinfo=UTC)
    assert all("real trades" in t["extra"] and t["fees"] is None for t in trades)
    off = [
        t
        for t in trades
        if abs((t["exit_price"] - t["entry_price"]) * t["quantity"] - t["realized_pnl"])
        > Decimal("0.001")
    ]
    assert len(off) == 11, "recorded as they are, right or wrong"


def test_replay_follows_its_rule(files: DemoFiles) -> None:
    """The rule once more, with a data frame instead of our code."""
    from bokeh_sampledata import stocks

    by_symbol: dict[str, list[dict[str, Any]]] = {}
    for trade in rows(files.trades_replay):
        by_symbol.setdefault(trade["symbol"], []).append(trade)
    assert set(by_symbol) == {"AAPL", "FB", "GOOG", "IBM", "MSFT"}
    for symbol, trades in by_symbol.items():
        bars = pd.DataFrame(getattr(stocks, symbol))
        close = bars["adj_close"]
        above = close.rolling(20).mean() > close.rolling(50).mean()
        opened = (bars["open"] * close / bars["close"]).round(4)
        # The first day with both averages has no day before to cross from.
        crossings = above.astype(int).diff().where(bars.index > 49, 0).fillna(0)
        expected = [
            (bars["date"][day + 1], opened[day + 1])
            for day in crossings[crossings != 0].index
            if day + 1 < len(bars)
        ]
        if crossings[crossings != 0].iloc[0] < 0:
            expected = expected[1:]
        made = [
            (t[f"{side}_time"], t[f"{side}_price"])
            for t in trades
            for side in ("entry", "exit")
            if t[f"{side}_time"] is not None
        ]
        assert len(made) == len(expected)
        for (at, price), (day, wanted) in zip(made, expected, strict=True):
            assert at.astimezone(NEW_YORK).date().isoformat() == day
            assert at.astimezone(NEW_YORK).time() == time(9, 30)
            assert float(price) == pytest.approx(wanted, abs=1.01e-4)


def test_replay_adds_up(files: DemoFiles) -> None:
    trades = rows(files.trades_replay)
    assert Counter(t["status"] for t in trades) == {"closed": 127, "open": 3}
    for t in trades:
        assert t["quantity"] == int(t["quantity"])
        assert t["entry_price"] * t["quantity"] <= 10_000
        assert abs(t["stop_loss"] - t["entry_price"] * Decimal("0.92")) <= Decimal("0.005")
        assert "simulated" in t["extra"]
        sides = 1 if t["status"] == "open" else 2
        assert t["fees"] == t["quantity"] * Decimal("0.005") * sides
        if t["status"] == "closed":
            gross = (t["exit_price"] - t["entry_price"]) * t["quantity"]
            assert t["realized_pnl"] == gross - t["fees"]


SPLITS = {"AAPL": ["2000-06-21", "2005-02-28"], "MSFT": ["2003-02-18"]}  # each two for one


def test_no_loss_comes_from_a_split(files: DemoFiles) -> None:
    held = [
        t["exit_price"] / t["entry_price"]
        for t in rows(files.trades_replay)
        for split in SPLITS.get(t["symbol"], [])
        if t["exit_time"] and str(t["entry_time"]) < split < str(t["exit_time"])
    ]
    assert held
    assert min(held) > Decimal("0.8")


def test_orders_made_the_trades(files: DemoFiles) -> None:
    trades = {t["trade_id"]: t for t in rows(files.trades_replay)}
    orders = rows(files.orders_replay, ORDERS)
    assert len(orders) == 2 * 127 + 3
    for order in orders:
        trade = trades[order["trade_id"]]
        side = {"buy": "entry", "sell": "exit"}[order["side"]]
        assert order["average_fill_price"] == trade[f"{side}_price"]
        assert order["quantity"] == order["filled_quantity"] == trade["quantity"]
        assert 0 < (order["acknowledged_at"] - order["submitted_at"]).total_seconds() < 0.05
        assert 0 < (order["filled_at"] - trade[f"{side}_time"]).total_seconds() <= 0.5
        assert order["submitted_at"].astimezone(NEW_YORK).time() == time(16, 5)
        assert order["submitted_at"] < order["filled_at"]
        assert order["broker"] == "simulated"


def test_the_database_holds_the_same_trades(files: DemoFiles) -> None:
    stored = rows(files.system_db)
    assert Counter(t["mode"] for t in stored) == {"live": 308, "paper": 97, "legacy": 33}
    originals = rows(files.trades_live) + rows(files.trades_replay)
    what = ("symbol", "side", "quantity", "entry_price", "entry_time", "exit_price", "exit_time")
    results = (*what, "realized_pnl", "status", "strategy")
    assert Counter(tuple(t[n] for n in results) for t in stored) == Counter(
        tuple(t[n] for n in results) for t in originals
    )
    assert all('"label"' in t["signal_explanation"] for t in stored)
    with closing(sqlite3.connect(files.system_db)) as connection:
        keys = {row[0] for row in connection.execute("SELECT key FROM settings")}
        assert "broker_config:alpaca" in keys
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_writing_again_gives_the_same(files: DemoFiles, tmp_path: Path) -> None:
    again = write_demo_files(tmp_path)
    assert again.trades_replay.read_bytes() == files.trades_replay.read_bytes()
    assert again.orders_replay.read_bytes() == files.orders_replay.read_bytes()
    assert write_demo_files(tmp_path) == again
    assert rows(again.system_db) == rows(files.system_db)


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(ConfigurationError, match=r"make setup.*fluxhero-pipeline\[demo\]"):
        packages.load("no_such_data.module")
