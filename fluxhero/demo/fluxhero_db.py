"""A `system.db` as a FluxHero bot leaves it, for trying the SQLite store without owning a bot.

The trades are those of `live_bot` (table live_trades) and `replay` (paper_trades; the oldest ones
in `trades`, from before the bot kept its modes apart). Its settings hold a broker's configuration,
as a real one does, with nothing secret in it: the pipeline must leave it alone.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi as adbc
import pyarrow as pa

from fluxhero.demo import live_bot, records, replay
from fluxhero.demo.records import Row
from fluxhero.engine import identifier

LEGACY_UNTIL = datetime(2004, 1, 1, tzinfo=UTC)

_INT, _REAL, _TEXT = pa.int64(), pa.float64(), pa.string()
_AFFINITY = {_INT: "INTEGER", _REAL: "REAL", _TEXT: "TEXT"}
_SIDES = {"long": 1, "short": -1}
_STATUSES = {"open": 0, "closed": 1, "cancelled": 2}
_OWN = {"live_trades": ("broker_order_id", _TEXT), "paper_trades": ("slippage_applied", _REAL)}
_COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("symbol", _TEXT, "NOT NULL"),
    ("side", _INT, "NOT NULL"),
    ("entry_price", _REAL, "NOT NULL"),
    ("entry_time", _TEXT, "NOT NULL"),
    ("exit_price", _REAL, ""),
    ("exit_time", _TEXT, ""),
    ("shares", _REAL, "NOT NULL"),
    ("stop_loss", _REAL, "NOT NULL"),
    ("take_profit", _REAL, ""),
    ("realized_pnl", _REAL, ""),
    ("status", _INT, "NOT NULL DEFAULT 0"),
    ("strategy", _TEXT, "NOT NULL"),
    ("regime", _TEXT, ""),
    ("signal_reason", _TEXT, ""),
    ("signal_explanation", _TEXT, ""),
    ("created_at", _TEXT, "NOT NULL"),
    ("updated_at", _TEXT, "NOT NULL"),
)
_SETTINGS = pa.table(
    {
        "key": ["max_open_positions", "broker_config:alpaca"],
        "value": ["5", '{"api_key": "demo, not a key", "api_secret": "demo, not a secret"}'],
        "description": ["Positions held at once", "Broker account of the bot"],
        "updated_at": ["2026-03-01T09:00:00", "2026-03-01T09:00:00"],
    }
)


def write(path: Path) -> None:
    """Write the database, replacing one that is there.

    Raises:
        ConfigurationError: a data package is not installed.
    """
    replayed = list(replay.trades())
    tables = {
        "trades": [row for row in replayed if row["entry_time"] < LEGACY_UNTIL],
        "live_trades": list(live_bot.trades()),
        "paper_trades": [row for row in replayed if row["entry_time"] >= LEGACY_UNTIL],
    }
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with adbc.connect(str(partial)) as connection, connection.cursor() as cursor:
        for name, rows in tables.items():
            _write_trades(cursor, name, rows)
        cursor.execute(
            "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL, "
            "description TEXT, updated_at TEXT NOT NULL)"
        )
        cursor.executemany("INSERT INTO settings VALUES (?, ?, ?, ?)", _SETTINGS)
        connection.commit()
    partial.replace(path)


def _write_trades(cursor: adbc.Cursor, table: str, rows: Iterable[Row]) -> None:
    columns = [(name, kind, rule) for name, kind, rule in _COLUMNS]
    if table in _OWN:
        columns.insert(-2, (*_OWN[table], ""))
    # FluxHero declares shares INTEGER and stores fractions in it all the same.
    lines = [
        f"{name} {'INTEGER' if name == 'shares' else _AFFINITY[kind]} {rule}".rstrip()
        for name, kind, rule in columns
    ]
    cursor.execute(
        f"CREATE TABLE {identifier(table)} "
        f"(id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(lines)})"
    )
    schema = pa.schema([(name, kind) for name, kind, _ in columns])
    values = pa.Table.from_pylist([_as_stored(row) for row in rows], schema=schema)
    marks = ", ".join("?" * len(columns))
    cursor.executemany(
        f"INSERT INTO {identifier(table)} ({', '.join(schema.names)}) VALUES ({marks})", values
    )


def _as_stored(row: Row) -> dict[str, Any]:
    """A ledger row as the bot stores it: floats, codes, naive UTC text."""
    stored: dict[str, Any] = {
        "side": _SIDES[row["side"]],
        "status": _STATUSES[row["status"]],
        "shares": float(row["quantity"]),
        "stop_loss": float(row.get("stop_loss") or 0),
        "slippage_applied": 0.0,
        # The bot has no place for a source; what these trades are is said here.
        "signal_explanation": records.text({**row.get("signal_explanation", {}), **row["extra"]}),
    }
    for name, kind, _ in _COLUMNS:
        value = row.get(name)
        if name in stored or value is None:
            continue
        if isinstance(value, datetime):
            stored[name] = value.astimezone(UTC).replace(tzinfo=None).isoformat()
        else:
            stored[name] = float(value) if kind == _REAL else value
    return stored
