"""Sample stores of both kinds, with every kind of value a real one may hold, the same on every run.

Everything in a sample happened before `AS_OF`; with a retention of `RETENTION_DAYS` the rows in
`Sample.due` are what an archive run moves. They are written with SQLite and DuckDB themselves, not
with the product.
"""

import json
import math
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from fluxhero.ledger.migrations import migrate
from fluxhero.ledger.schema import LEDGER_TABLES

AS_OF = datetime(2025, 6, 1, tzinfo=UTC)
RETENTION_DAYS = 30
CUTOFF = AS_OF - timedelta(days=RETENTION_DAYS)
CANARY = "broker-canary-7e1d0c"  # stands for the broker's secrets in a FluxHero store

SYMBOLS = ("AAPL", "BRK/B", "BTC/USD", "Grüße AG", "東京 7203", "A B  C", "it's", '"quoted"', "Ω😀")
TEXTS = (
    None,
    "",
    "crossed the 20-day mean",
    "naïve – “quotes”",
    "line one\nline two\ttab",
    "a;b'c--",
)
FLOATS = (
    0.1 + 0.2,
    1 / 3,
    5e-324,
    2.2250738585072014e-308,
    123456.789012345,
    9_999_999_999.0,
    1e-8,
)


@dataclass(frozen=True)
class Sample:
    """A store and what is expected of it."""

    kind: str
    path: Path
    due: frozenset[str]
    staying: frozenset[str]

    @property
    def url(self) -> str:
        return f"{self.kind}:///{self.path}"


def write_sample(kind: str, path: Path, *, scale: int = 1, seed: int = 7) -> Sample:
    """Write the sample of this kind; about 1,400 rows at scale 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = write_sqlite_sample if kind == "sqlite" else write_duckdb_sample
    return writer(path, scale, random.Random(seed))


def _times(rng: random.Random, month: int) -> tuple[datetime, datetime]:
    """Entry and exit within a month of 2025."""
    leave = datetime(2025, month, 1, tzinfo=UTC) + timedelta(
        seconds=rng.randrange(27 * 86_400), microseconds=rng.randrange(1_000_000)
    )
    return leave - timedelta(minutes=rng.randrange(1, 5000)), leave


# ------------------------------------------------------------------------------------- SQLite

_BEGINNING = (
    "id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, side INTEGER NOT NULL, "
    "entry_price REAL NOT NULL, entry_time TEXT NOT NULL, exit_price REAL, exit_time TEXT, "
    "shares INTEGER NOT NULL, stop_loss REAL NOT NULL, take_profit REAL, realized_pnl REAL, "
    "status INTEGER NOT NULL DEFAULT 0, strategy TEXT NOT NULL, regime TEXT, signal_reason TEXT"
)
_END = "created_at TEXT NOT NULL, updated_at TEXT NOT NULL"
SQLITE_DDL = {
    "trades": f"CREATE TABLE trades ({_BEGINNING}, {_END})",
    "live_trades": f"CREATE TABLE live_trades ({_BEGINNING}, signal_explanation TEXT, "
    f"broker_order_id TEXT, {_END})",
    "paper_trades": f"CREATE TABLE paper_trades ({_BEGINNING}, signal_explanation TEXT, "
    f'slippage_applied REAL, {_END}, "my ""note""" TEXT, payload BLOB, anything, weight REAL)',
}
SETTINGS_DDL = (
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, description TEXT, "
    "updated_at TEXT NOT NULL)"
)
_ANYTHING: tuple[Any, ...] = (
    None, 5, -(2**63), 2.5, "text", "nul\x00inside", "it's", b"\x00\xffblob", b"", math.inf, 0.1 + 0.2,
)  # fmt: skip


def create_fluxhero_store(
    path: Path,
    tables: Sequence[str] = ("trades", "live_trades", "paper_trades"),
    *,
    wal: bool = True,
) -> None:
    """Create an empty FluxHero store, with a broker's configuration in its settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        for name in tables:
            db.execute(SQLITE_DDL[name])
        db.execute(SETTINGS_DDL)
        db.executemany(
            "INSERT INTO settings VALUES (?, ?, '', '2025-01-01T00:00:00')",
            [("max_open_positions", "5"), ("broker_config:alpaca", json.dumps({"secret": CANARY}))],
        )
    db.close()


def fluxhero_trade(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One closed trade of a FluxHero store, due at `AS_OF`, in the columns all tables have."""
    row: dict[str, Any] = {
        "id": number,
        "symbol": "AAPL",
        "side": 1,
        "entry_price": 100.25,
        "entry_time": f"2025-01-02T09:30:00.{number:06d}",
        "exit_price": 101.5,
        "exit_time": f"2025-01-03T10:00:00.{number:06d}",
        "shares": 10,
        "stop_loss": 95.0,
        "take_profit": None,
        "realized_pnl": 12.5,
        "status": 1,
        "strategy": "trend",
        "regime": "bull",
        "signal_reason": f"reason {number}",
        "created_at": f"2025-01-02T09:30:01.{number:06d}",
        "updated_at": f"2025-01-03T10:00:01.{number:06d}",
    }
    return row | changes


def insert_sqlite(path: Path, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows as they are."""
    with sqlite3.connect(path, timeout=30) as db:
        for row in rows:
            names = ", ".join('"' + name.replace('"', '""') + '"' for name in row)
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    db.close()


def _sqlite_rows(table: str, scale: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    plan = {"live_trades": (450, 60), "paper_trades": (150, 90), "trades": (0, 120)}[table]
    months = [month for month, count in enumerate(plan, start=2) for _ in range(count * scale)]
    months += [5] * (60 * scale)  # the later ones are younger than the retention
    for number, month in enumerate(months, start=1):
        enter, leave = _times(rng, month)
        naive = rng.random() < 0.5
        stamp = [
            t.replace(tzinfo=None).isoformat(" " if naive else "T") + ("" if naive else "Z")
            for t in (enter, leave)
        ]
        status = rng.choices((1, 2, 0, 7), (80, 8, 10, 2))[0]
        row: dict[str, Any] = {
            "id": number,
            "symbol": rng.choice(SYMBOLS),
            "side": rng.choice((1, -1)),
            "entry_price": rng.choice((*FLOATS, rng.uniform(0.01, 5000))),
            "entry_time": stamp[0],
            "exit_price": None if status == 0 else rng.uniform(0.01, 5000),
            "exit_time": None if status == 0 or rng.random() < 0.03 else stamp[1],
            "shares": rng.choice((1, 10, 2.5, 0.00012345, 10_000)),
            "stop_loss": rng.uniform(0.01, 5000),
            "take_profit": rng.choice((None, rng.uniform(0.01, 5000))),
            "realized_pnl": rng.choice((None, 0.0, -rng.uniform(0, 900), rng.uniform(0, 900))),
            "status": status,
            "strategy": rng.choice(("trend", "mean reversion", "Δ-neutral")),
            "regime": rng.choice(TEXTS),
            "signal_reason": rng.choice(TEXTS),
            "created_at": stamp[0],
            "updated_at": stamp[1],
        }
        if table != "trades":
            row["signal_explanation"] = rng.choice((None, '{"rsi": 30.5, "é": null}', "not json {"))
        if table == "live_trades":
            row["broker_order_id"] = rng.choice((None, f"ord-{number}"))
        if table == "paper_trades":
            row |= {
                "slippage_applied": rng.choice((None, 0.0005, -1e-9)),
                'my "note"': rng.choice(TEXTS),
                "payload": rng.choice((None, b"\x00\x01\xfe", b"")),
                "anything": rng.choice(_ANYTHING),
                "weight": rng.choice((None, *FLOATS)),
            }
        yield row


def write_sqlite_sample(path: Path, scale: int, rng: random.Random) -> Sample:
    create_fluxhero_store(path)
    due: set[str] = set()
    staying: set[str] = set()
    for table in SQLITE_DDL:
        rows = list(_sqlite_rows(table, scale, rng))
        insert_sqlite(path, table, *rows)
        for row in rows:
            key = f"{table}:{row['id']}:{row['created_at']}"
            closed = datetime.fromisoformat(row["exit_time"] or row["updated_at"])
            is_due = row["status"] in {1, 2} and closed.replace(tzinfo=UTC) < CUTOFF
            (due if is_due else staying).add(key)
    return Sample("sqlite", path, frozenset(due), frozenset(staying))


# ------------------------------------------------------------------------------------- DuckDB


def create_duckdb_store(path: Path) -> None:
    """Create an empty ledger."""
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate(path, timeout=10)


def ledger_trade(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One closed trade of the ledger, due at `AS_OF`."""
    leave = datetime(2025, 1, 3, 10, tzinfo=UTC) + timedelta(microseconds=number)
    row: dict[str, Any] = {
        "trade_id": f"t-{number:05d}",
        "mode": "live",
        "symbol": "AAPL",
        "side": "long",
        "quantity": Decimal(10),
        "entry_price": Decimal("100.25"),
        "entry_time": leave - timedelta(days=1),
        "exit_price": Decimal("101.5"),
        "exit_time": leave,
        "realized_pnl": Decimal("12.5"),
        "status": "closed",
        "created_at": leave - timedelta(days=1),
        "updated_at": leave,
    }
    return row | changes


def ledger_order(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One filled order of the ledger, due at `AS_OF`."""
    at = datetime(2025, 1, 3, 9, tzinfo=UTC) + timedelta(microseconds=number)
    row: dict[str, Any] = {
        "order_id": f"o-{number:05d}",
        "mode": "live",
        "symbol": "AAPL",
        "side": "buy",
        "quantity": Decimal(10),
        "status": "filled",
        "submitted_at": at,
        "filled_at": at,
    }
    return row | changes


def insert_duckdb(path: Path, table: str, *rows: dict[str, Any]) -> None:
    """Insert rows as they are; columns not given are NULL."""
    schema = LEDGER_TABLES[table].arrow
    with duckdb.connect(str(path)) as db:
        db.register("incoming", pa.Table.from_pylist(list(rows), schema=schema))
        db.execute(f"INSERT INTO {table} BY NAME FROM incoming")


_MONEY = (Decimal("0.00000001"), Decimal("9999999999.99999999"), Decimal("-0.5"), Decimal("123.45"))


def _ledger_trades(scale: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    plan = {"live": (420, 60), "paper": (130, 80), "legacy": (0, 90)}
    number = 0
    for mode, counts in plan.items():
        months = [m for m, count in enumerate(counts, start=2) for _ in range(count * scale)]
        for month in [*months, *[5] * (40 * scale)]:
            number += 1
            enter, leave = _times(rng, month)
            status = rng.choices(("closed", "cancelled", "open"), (80, 8, 12))[0]
            yield {
                "trade_id": f"{rng.choice(('é:', 'x/', ''))}{rng.getrandbits(48):012x}-{number}",
                "mode": mode,
                "symbol": rng.choice(SYMBOLS),
                "side": rng.choice(("long", "short")),
                "quantity": rng.choice(_MONEY),
                "entry_price": Decimal(rng.randrange(10**12)).scaleb(-6),
                "entry_time": enter,
                "exit_price": rng.choice((None, Decimal(rng.randrange(10**12)).scaleb(-8))),
                "exit_time": None if status == "open" or rng.random() < 0.03 else leave,
                "stop_loss": rng.choice((None, *_MONEY)),
                "fees": rng.choice((None, Decimal(0))),
                "realized_pnl": rng.choice((None, *_MONEY)),
                "status": status,
                "strategy": rng.choice(("trend", "mean reversion", "Δ-neutral")),
                "regime": rng.choice(TEXTS),
                "signal_reason": rng.choice(TEXTS),
                "signal_explanation": rng.choice((None, '{"b": 1.50, "a": [null, "é"]}', "[ ]")),
                "source": "sample",
                "source_id": str(number),
                "created_at": enter,
                "updated_at": leave,
                "extra": rng.choice((None, '{"z":1,  "y":"\\u00e9"}')),
            }


def _ledger_orders(scale: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    statuses = ("filled", "cancelled", "expired", "rejected", "new")
    for number in range(160 * scale):
        sent, done = _times(rng, rng.choice((3, 3, 3, 5)))
        status = rng.choice(statuses)
        yield {
            "order_id": f"o-{number}",
            "mode": rng.choice(("live", "paper")),
            "broker": rng.choice((None, "alpaca")),
            "symbol": rng.choice(SYMBOLS),
            "side": rng.choice(("buy", "sell")),
            "quantity": rng.choice(_MONEY),
            "limit_price": rng.choice((None, *_MONEY)),
            "status": status,
            "submitted_at": sent,
            "filled_at": done if status == "filled" else None,
            "cancelled_at": done if status == "cancelled" else None,
            "extra": rng.choice((None, "{}")),
        }


def write_duckdb_sample(path: Path, scale: int, rng: random.Random) -> Sample:
    create_duckdb_store(path)
    due: set[str] = set()
    staying: set[str] = set()
    trades, orders = list(_ledger_trades(scale, rng)), list(_ledger_orders(scale, rng))
    insert_duckdb(path, "trades", *trades)
    insert_duckdb(path, "orders", *orders)
    for row in trades:
        closed = row["exit_time"] or row["updated_at"]
        is_due = row["status"] != "open" and closed < CUTOFF
        (due if is_due else staying).add(f"trades/{row['trade_id']}")
    for row in orders:
        closed = row["filled_at"] or row["cancelled_at"] or row["submitted_at"]
        is_due = row["status"] != "new" and closed < CUTOFF
        (due if is_due else staying).add(f"orders/{row['order_id']}")
    return Sample("duckdb", path, frozenset(due), frozenset(staying))
