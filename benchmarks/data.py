"""Stores full of trades for measuring: the same made-up rows in both kinds of store.

Rows are shaped like a FluxHero bot's: twenty columns and a JSON explanation of some 700 bytes. They are
drawn from a seeded generator and are nobody's real trades.
"""

from pathlib import Path

import adbc_driver_sqlite.dbapi as adbc
import duckdb

from fluxhero.engine import literal
from fluxhero.ledger.duckdb_store import DuckDBStore

_CHUNK = 250_000

_TRADES = """
WITH drawn AS (
    SELECT i, random() AS a, random() AS b, random() AS c, random() AS d, random() AS e,
        20 + random() * 400 AS price, 1 + (random() * 200)::INT AS shares,
        ['AAPL','MSFT','IBM','SPY','QQQ','NVDA','TSLA','AMD','BRK/B'][1 + (random() * 8)::INT] AS symbol,
        TIMESTAMP '2020-01-01 14:30:00' + to_seconds(i * {spacing}) + to_microseconds((random() * 1e6)::BIGINT)
            AS opened
    FROM range({first}, {last}) t(i) ORDER BY i
)
SELECT i, symbol, CASE WHEN a < 0.6 THEN 1 ELSE -1 END AS side, price AS entry_price, opened,
    price * (1 + (b - 0.5) * 0.04) AS exit_price, opened + to_microseconds((c * 86400e6)::BIGINT) AS closed,
    shares, price * 0.97 AS stop_loss, CASE WHEN d < 0.5 THEN price * 1.05 END AS take_profit,
    shares * price * (b - 0.5) * 0.04 AS pnl,
    CASE WHEN a < 0.5 THEN 'trend' ELSE 'mean_reversion' END AS strategy,
    ['STRONG_TREND', 'NEUTRAL', 'MEAN_REVERSION'][1 + (e * 2)::INT] AS regime,
    'Price crossed above KAMA ' || round(price * 0.995, 2) || ', RSI ' || round(e * 100, 1) AS reason,
    json_object(
        'symbol', symbol, 'timestamp', opened::VARCHAR, 'strategy_mode', 'DUAL', 'regime', 'STRONG_TREND',
        'volatility_state', 'NORMAL', 'price', round(price, 2), 'kama', round(price * 0.995, 4),
        'atr', round(price * 0.01 * (1 + a), 4), 'rsi', round(100 * e, 2), 'adx', round(60 * d, 2),
        'r_squared', round(c, 4), 'risk_amount', round(1000 * b, 2), 'risk_percent', 1.0,
        'stop_loss', round(price * 0.97, 2), 'position_size', shares, 'noise_filter_passed', a < 0.9,
        'volume_validated', b < 0.95, 'entry_trigger', round(price * 0.999, 4),
        'formatted_reason', 'BUY signal for ' || symbol || ': price ' || round(price, 2) ||
            ' closed above KAMA + 0.5 x ATR, ADX ' || round(60 * d, 1) || ' confirms the trend, R squared ' ||
            round(c, 3) || ' is above its threshold, and the volume was ' || round(1 + e, 2) ||
            ' times its twenty-day average',
        'compact_reason', 'KAMA cross, ADX ' || round(60 * d, 1) || ', RSI ' || round(100 * e, 1)
    )::VARCHAR AS explanation, md5(i::VARCHAR) AS broker_order_id
FROM drawn
"""

_SQLITE_TABLE = """
CREATE TABLE live_trades (
    id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, side INTEGER NOT NULL,
    entry_price REAL NOT NULL, entry_time TEXT NOT NULL, exit_price REAL, exit_time TEXT,
    shares INTEGER NOT NULL, stop_loss REAL NOT NULL, take_profit REAL, realized_pnl REAL,
    status INTEGER NOT NULL DEFAULT 0, strategy TEXT, regime TEXT, signal_reason TEXT,
    signal_explanation TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, broker_order_id TEXT
)
"""

_SQLITE_ROWS = """
SELECT i + 1 AS id, symbol, side::BIGINT AS side, entry_price, strftime(opened, '%Y-%m-%dT%H:%M:%S.%f') AS entry_time,
    exit_price, strftime(closed, '%Y-%m-%dT%H:%M:%S.%f') AS exit_time, shares::BIGINT AS shares, stop_loss,
    take_profit, pnl AS realized_pnl, 1::BIGINT AS status, strategy, regime, reason AS signal_reason,
    explanation AS signal_explanation, strftime(opened, '%Y-%m-%dT%H:%M:%S.%f') AS created_at,
    strftime(closed, '%Y-%m-%dT%H:%M:%S.%f') AS updated_at, broker_order_id
FROM ({trades}) ORDER BY i
"""

_DUCKDB_ROWS = """
INSERT INTO hot.trades BY NAME
SELECT 'live_trades:' || i AS trade_id, 'live' AS mode, symbol, CASE side WHEN 1 THEN 'long' ELSE 'short' END AS side,
    shares AS quantity, entry_price, timezone('UTC', opened) AS entry_time, exit_price,
    timezone('UTC', closed) AS exit_time, stop_loss, take_profit, shares * 0.005 AS fees,
    pnl AS realized_pnl, 'closed' AS status, strategy, regime, reason AS signal_reason,
    explanation AS signal_explanation, 'fluxhero' AS source, 'live_trades:' || i AS source_id,
    timezone('UTC', opened) AS created_at, timezone('UTC', closed) AS updated_at,
    json_object('broker_order_id', broker_order_id) AS extra
FROM ({trades}) ORDER BY i
"""


def _chunks(rows: int) -> list[str]:
    spacing = max(1, round(100_000_000 / rows))  # three years of trades, however many
    return [
        _TRADES.format(first=first, last=min(first + _CHUNK, rows), spacing=spacing)
        for first in range(0, rows, _CHUNK)
    ]


def make_sqlite_store(path: Path, rows: int) -> None:
    """A FluxHero `system.db` with this many closed live trades, in WAL mode."""
    path.unlink(missing_ok=True)
    with duckdb.connect() as source, adbc.connect(f"file:{path}", autocommit=True) as target:
        source.execute("SELECT setseed(0.42)").fetchall()
        source.execute("SET threads = 1")
        with target.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.fetchall()
            cursor.adbc_statement.set_sql_query(_SQLITE_TABLE)
            cursor.adbc_statement.execute_update()
            for trades in _chunks(rows):
                table = source.sql(_SQLITE_ROWS.format(trades=trades)).to_arrow_table()
                cursor.adbc_ingest("live_trades", table, mode="append")


def make_duckdb_store(path: Path, rows: int) -> None:
    """A canonical DuckDB store with this many closed live trades."""
    path.unlink(missing_ok=True)
    DuckDBStore(path, lock_timeout=10).ensure()
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(0.42)").fetchall()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {literal(str(path))} AS hot")
        for trades in _chunks(rows):
            connection.execute(_DUCKDB_ROWS.format(trades=trades))
