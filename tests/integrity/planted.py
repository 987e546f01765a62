"""Rows that keep every rule, rows with one fault each and the rules that such a row breaks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.values import check_values
from tests import samples
from tests.archive.conftest import make_house
from tests.house import House

ENTRY = datetime(2025, 1, 2, 10, tzinfo=UTC)
BEFORE_AN_OPEN_ONE = {"exit_price": None, "exit_time": None, "realized_pnl": None}


@dataclass(frozen=True)
class Fault:
    """Changes to a sound row, and the rules that it then breaks."""

    changes: dict[str, Any]
    breaks: frozenset[str] = field(default_factory=frozenset)


def fault(*rules: str, **changes: Any) -> Fault:
    return Fault(changes, frozenset(rules))


def house_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty house; DuckDB's or SQLite's."""
    made = make_house(kind, folder, monkeypatch)
    create = samples.create_duckdb_store if kind == "duckdb" else samples.create_fluxhero_store
    create(made.store)
    return made


def scope_of(house: House, *, deep: bool = False) -> Scope:
    return Scope.of(house.settings, now=samples.AS_OF, deep=deep)


def check(house: House, table: str = "trades", **given: Any) -> list[Result]:
    """Check a table without a memory."""
    return check_values(scope_of(house), table, Passed(house.data / "none.json"), **given)


def broken(results: Iterable[Result], place: str = "hot") -> dict[str, set[str]]:
    """Key → names of the rules that its row breaks; nothing may be errored."""
    found: dict[str, set[str]] = {}
    for result in results:
        assert result.outcome is not Outcome.ERRORED, result
        if result.object.endswith(f"({place})"):
            for key in result.keys:
                found.setdefault(key, set()).add(result.rule.name)
    return found


def ledger_trade(number: int, **changes: Any) -> dict[str, Any]:
    """A closed trade of the ledger that keeps every rule."""
    sound = {"source": "bot", "strategy": "trend", "stop_loss": Decimal(95)}
    return samples.ledger_trade(number, **{**sound, **changes})


_OPEN = {"status": "open", "exit_price": None, "exit_time": None, "realized_pnl": None}
_FUTURE = samples.AS_OF + timedelta(days=1)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# Numbers of trades → what is wrong with them, if anything.
TRADES: dict[str, Fault] = {
    "sound": fault(),
    "sound, half a cent": fault(realized_pnl=Decimal("12.505")),
    "sound, fees": fault(fees=Decimal("1.25"), realized_pnl=Decimal("11.25")),
    "sound, short": fault(side="short", stop_loss=Decimal(110), realized_pnl=Decimal("-12.5")),
    "sound, trailed": fault(stop_loss=Decimal("100.75")),
    "sound, break-even": fault(stop_loss=Decimal("100.25")),
    "sound, open": fault(**_OPEN),
    "sound, cancelled": fault(status="cancelled", exit_price=None, exit_time=None,
                              realized_pnl=None, stop_loss=None),
    "no symbol": fault("trades.required", symbol=" "),
    "mode": fault("trades.mode", mode="demo"),
    "side": fault("trades.side", side="sideways"),
    "status": fault("trades.status", status="done"),
    "negative quantity": fault("trades.positive-quantity", quantity=-10, realized_pnl=Decimal("-12.5")),
    "zero quantity": fault("trades.positive-quantity", quantity=0, realized_pnl=0),
    "negative price": fault("trades.positive-prices", entry_price=-1, stop_loss=-2,
                            realized_pnl=Decimal(1025)),
    "negative exit": fault("trades.positive-prices", exit_price=-1, realized_pnl=Decimal("-1012.5")),
    "price of millions": fault("trades.sane-prices", entry_price=10_000_001, stop_loss=9_000_000,
                               exit_price=10_000_002, realized_pnl=10),
    "a hundredfold": fault("trades.sane-prices", exit_price=10_026, realized_pnl=Decimal("99257.5")),
    "negative fees": fault("trades.fees-not-negative", fees=-1, realized_pnl=Decimal("13.5")),
    "exit before entry": fault("trades.exit-after-entry", entry_time=ENTRY + timedelta(days=9)),
    "updated too early": fault("trades.updated-after-created", updated_at=ENTRY - timedelta(days=2)),
    "future": fault("trades.not-in-future", updated_at=_FUTURE),
    "never set": fault("trades.sane-times", created_at=_LONG_AGO),
    "doubled hour": fault("trades.dst-doubled-hour",
                          extra='{"exact": {"exit_time": "2024-11-03 01:30:00"}}'),
    "sound, finer than microseconds": fault(extra='{"exact": {"exit_time": "2024-11-03T01:30:00.1234567"}}'),
    "sound, more decimals": fault(extra='{"exact": {"exit_price": "101.500000001"}}'),
    "closed without price": fault("trades.closed-has-exit", exit_price=None),
    "closed without time": fault("trades.closed-has-exit", exit_time=None),
    "open with exit": fault("trades.open-has-no-exit", status="open"),
    "cancelled with result": fault("trades.cancelled-has-no-result", status="cancelled"),
    "no result": fault("trades.closed-has-result", realized_pnl=None),
    "a cent off": fault("trades.pnl", realized_pnl=Decimal("12.51")),
    "fees forgotten": fault("trades.pnl", realized_pnl=Decimal("12.4")),
    "wrong sign": fault("trades.pnl", "trades.pnl-sign", realized_pnl=Decimal("-12.5")),
    "no stop": fault("trades.stop-present", stop_loss=None),
    "stop of zero": fault("trades.stop-present", stop_loss=0),
    "stop above": fault("trades.stop-side", stop_loss=110),
    "stop below a short": fault("trades.stop-side", side="short", realized_pnl=Decimal("-12.5")),
    "first stop above": fault("trades.stop-side", **_OPEN, stop_loss=110,
                              created_at=ENTRY, updated_at=ENTRY),
    "stop of an open one above": fault("trades.stop-trailed", **_OPEN, stop_loss=110),
    "cancelled, stop above": fault("trades.stop-side", status="cancelled", exit_price=None, exit_time=None,
                                   realized_pnl=None, stop_loss=110),
    "target below": fault("trades.target-side", take_profit=90),
}  # fmt: skip

_SQLITE_OPEN = {"status": 0, "exit_price": None, "exit_time": None, "realized_pnl": None}

# The same for a bot's own table, read in New York's time.
FLUXHERO_TRADES: dict[str, Fault] = {
    "sound": fault(),
    "sound, offset in the doubled hour": fault(exit_time="2024-11-03T01:30:00-05:00", entry_time="2024-11-01"),
    "sound, open": fault(**_SQLITE_OPEN),
    "no symbol": fault("trades.required", symbol=""),
    "side": fault("trades.side", side=7),
    "status": fault("trades.status", status=9),
    "infinite entry": fault("trades.finite-prices", entry_price=math.inf),
    "infinite exit": fault("trades.finite-prices", exit_price=-math.inf),
    "infinite result": fault("trades.finite-prices", realized_pnl=math.inf),
    "infinite stop": fault("trades.finite-prices", stop_loss=math.inf),
    "overflow": fault("trades.finite-prices", shares=1e300),
    "text for a price": fault("trades.finite-prices", exit_price="NaN"),
    "bytes for a time": fault("trades.readable-times", entry_time=b"2025"),
    "NaN, which SQLite keeps as nothing": fault("trades.closed-has-exit", exit_price=math.nan),
    "negative shares": fault("trades.positive-quantity", shares=-10, realized_pnl=-12.5),
    "no time": fault("trades.readable-times", exit_time="yesterday"),
    "no entry time": fault("trades.readable-times", entry_time="02/01/2025"),
    "doubled hour": fault("trades.dst-doubled-hour", exit_time="2024-11-03T01:30:00",
                          entry_time="2024-11-01T01:30:00"),
    "skipped hour": fault("trades.dst-doubled-hour", exit_time="2025-03-09 02:30:00"),
    "exit before entry": fault("trades.exit-after-entry", exit_time="2024-12-31T10:00:00"),
    "future": fault("trades.not-in-future", updated_at="2026-01-01T00:00:00"),
    "closed without exit": fault("trades.closed-has-exit", exit_price=None, exit_time=None),
    "a cent off": fault("trades.pnl", realized_pnl=12.51),
    "wrong sign": fault("trades.pnl", "trades.pnl-sign", realized_pnl=-12.5),
    "no stop": fault("trades.stop-present", stop_loss=0),
    "stop above": fault("trades.stop-side", stop_loss=110),
}  # fmt: skip

SENT = datetime(2025, 1, 3, 9, tzinfo=UTC)


def ledger_order(number: int, **changes: Any) -> dict[str, Any]:
    """A filled order of the ledger that keeps every rule."""
    sound = {
        "source": "bot",
        "broker": "alpaca",
        "filled_quantity": 10,
        "average_fill_price": Decimal("100.25"),
        "submitted_at": SENT,
        "acknowledged_at": SENT,
        "filled_at": SENT + timedelta(minutes=1),
    }
    return samples.ledger_order(number, **{**sound, **changes})


_CANCELLED = {
    "status": "cancelled",
    "filled_at": None,
    "cancelled_at": SENT + timedelta(hours=1),
    "filled_quantity": 4,
}
ORDERS: dict[str, Fault] = {
    "sound": fault(),
    "sound, clocks differ": fault(acknowledged_at=SENT - timedelta(milliseconds=400)),
    "sound, cancelled": fault(**_CANCELLED),
    "sound, new": fault(status="new", filled_at=None, filled_quantity=0, average_fill_price=None),
    "blank status": fault("orders.required", status=""),
    "mode": fault("orders.mode", mode="demo"),
    "side": fault("orders.side", side="long"),
    "negative quantity": fault("orders.positive-quantity", quantity=-10, filled_quantity=None),
    "overfilled": fault("orders.filled-at-most-ordered", filled_quantity=11),
    "half filled": fault("orders.filled-whole", filled_quantity=4),
    "fill for nothing": fault("orders.positive-prices", average_fill_price=0),
    "negative limit": fault("orders.positive-prices", limit_price=-1),
    "limit of millions": fault("orders.sane-prices", limit_price=20_000_000, average_fill_price=None),
    "a hundredfold": fault("orders.sane-prices", limit_price=Decimal("0.9")),
    "spelling": fault("orders.status", **{**_CANCELLED, "status": "canceled"}),
    "no fill time": fault("orders.filled-has-time", filled_at=None),
    "no cancel time": fault("orders.cancelled-has-time", **{**_CANCELLED, "cancelled_at": None}),
    "rejected and filled": fault("orders.status-fits-times", status="rejected"),
    "filled before sent": fault("orders.times-in-order", filled_at=SENT - timedelta(seconds=2)),
    "future": fault("orders.not-in-future", filled_at=_FUTURE),
    "never set": fault("orders.sane-times", submitted_at=_LONG_AGO),
    "doubled hour": fault("orders.dst-doubled-hour", extra='{"exact":{"filled_at":"2024-11-03T01:30"}}'),
}  # fmt: skip


def fill(number: int, **changes: Any) -> dict[str, Any]:
    sound = {
        "fill_id": f"b:{number}",
        "mode": "live",
        "broker": "b",
        "symbol": "AAPL",
        "currency": "USD",
        "side": "buy",
        "quantity": 10,
        "price": 100,
        "executed_at": ENTRY,
        "kind": "trade",
    }
    return {**sound, **changes}


FILLS: dict[str, Fault] = {
    "sound": fault(),
    "sound, in euros": fault(currency="EUR", fees=1, multiplier=100),
    "sound, expired for nothing": fault(kind="expiry", price=0),
    "sound, split": fault(kind="split", price=0),
    "mode": fault("fills.mode", mode="demo"),
    "side": fault("fills.side", side="long"),
    "kind": fault("fills.kind", kind="gift"),
    "blank currency": fault("fills.required", currency=""),
    "quantity": fault("fills.positive-quantity", quantity=0),
    "for nothing": fault("fills.price", price=0),
    "paid for being taken": fault("fills.price", kind="expiry", price=-1),
    "rebate": fault("fills.fees-not-negative", fees=-1),
    "multiplier": fault("fills.multiplier", multiplier=0),
    "future": fault("fills.not-in-future", executed_at=_FUTURE),
    "never set": fault("fills.sane-times", executed_at=_LONG_AGO),
}


def cash_flow(number: int, **changes: Any) -> dict[str, Any]:
    sound = {"flow_id": f"f-{number}", "mode": "live", "at": ENTRY, "kind": "deposit", "amount": 5}
    return {**sound, **changes}


CASH_FLOWS: dict[str, Fault] = {
    "sound": fault(),
    "sound, withdrawal": fault(kind="withdrawal", amount=-5),
    "sound, interest paid": fault(kind="interest", amount=-5),
    "mode": fault("cash_flows.mode", mode="demo"),
    "kind": fault("cash_flows.kind", kind="gift"),
    "blank kind": fault("cash_flows.required", kind=""),
    "withdrawal": fault("cash_flows.sign", kind="withdrawal"),
    "deposit": fault("cash_flows.sign", amount=-5),
    "fee": fault("cash_flows.fee-sign", kind="fee"),
    "future": fault("cash_flows.not-in-future", at=_FUTURE),
    "never set": fault("cash_flows.sane-times", at=_LONG_AGO),
}


def position(number: int, **changes: Any) -> dict[str, Any]:
    sound = {
        "mode": "live",
        "symbol": f"S{number}",
        "side": "long",
        "quantity": 10,
        "entry_price": 100,
        "current_price": 105,
        "stop_loss": 95,
        "entry_time": ENTRY,
        "updated_at": ENTRY,
    }
    return {**sound, **changes}


POSITIONS: dict[str, Fault] = {
    "sound": fault(),
    "sound, trailed": fault(stop_loss=104),
    "sound, short": fault(side="short", stop_loss=110),
    "mode": fault("positions.mode", mode="demo"),
    "side": fault("positions.side", side="both"),
    "blank symbol": fault("positions.required", symbol=""),
    "quantity": fault("positions.positive-quantity", quantity=-10),
    "price": fault("positions.positive-prices", current_price=None, entry_price=0, stop_loss=-1),
    "a hundredfold": fault("positions.sane-prices", current_price=10_001),
    "no stop": fault("positions.stop-present", stop_loss=None),
    "stop above": fault("positions.stop-side", stop_loss=105),
    "stop of a short below": fault("positions.stop-side", side="short"),
    "updated too early": fault("positions.updated-after-entry", updated_at=ENTRY - timedelta(days=1)),
    "future": fault("positions.not-in-future", updated_at=_FUTURE),
    "never set": fault("positions.sane-times", entry_time=_LONG_AGO),
}  # fmt: skip
