"""Bars and trades held against each other.

Are the bars of open trades fresh, and are the prices of trades ones that the market had that day?
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import scalar
from fluxhero.errors import FluxHeroError, SourceChangedError, StoreLockedError, first_line
from fluxhero.integrity.results import MOST_SAMPLED, Result, errored, failed, object_of, passed
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suites.bars import FRESH, TRADE_PRICE
from fluxhero.ledger.view import open_view
from fluxhero.market import cache
from fluxhero.market.cache import name_parts
from fluxhero.market.calendar import Calendar, Session, calendar_of, day_sql
from fluxhero.market.held import OPEN_SYMBOLS
from fluxhero.market.timeframe import DAILY, Timeframe
from fluxhero.wording import counted

_ABOUT = "trades against bars"
_TOLERANCE = 0.005
_DAY = timedelta(days=1)
_LOOKED_BACK = timedelta(days=60)  # the time zone and the last sessions are all that is needed
_COMPARABLE = ("raw", "split", cache.UNKNOWN)  # a dividend moves older prices by any amount
_DAYS = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", pa.timestamp("us")),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
_TRADED = pa.schema([(name, pa.string()) for name in ("symbol", "zone", "adjustment")])
# Ratios by which splits since then have divided the prices of a day, several splits together too.
_RATIOS = (1.5, *range(2, 41), *(1 / n for n in range(2, 41)))


def check_against_trades(scope: Scope, paths: Sequence[Path]) -> list[Result]:
    """Check freshness and trades' prices.

    Args:
        scope: what to check.
        paths: every file of bars in the cache.

    Raises:
        StoreLockedError: another process holds the hot store.
        SourceChangedError: the hot store was rebuilt while it was read.
    """
    if not paths:
        return [passed(FRESH, "bars", 0), passed(TRADE_PRICE, _ABOUT, 0)]
    try:
        scope.workspace.store.check_there()
        with open_view(scope.workspace, ["trades", "positions"]) as connection:
            opened = {str(name) for (name,) in connection.execute(OPEN_SYMBOLS).fetchall()}
            return [*_freshness(scope, paths, opened), _prices(connection, scope, paths)]
    except (StoreLockedError, SourceChangedError):
        raise
    except (FluxHeroError, duckdb.Error) as error:
        why = f"the trades could not be read: {first_line(error)}"
        return [errored(FRESH, "bars", why), errored(TRADE_PRICE, _ABOUT, why)]


# --------------------------------------------------------------------------------- freshness


def _freshness(scope: Scope, paths: Sequence[Path], opened: set[str]) -> list[Result]:
    """A result for each file whose symbol is traded now."""
    results = []
    for path in paths:
        symbol, timeframe = name_parts(path) or (path.stem, DAILY)
        if symbol not in opened:
            continue
        about = object_of(path, scope.data_dir)
        try:
            times = cache.read(path).bars["timestamp"]
            calendar = calendar_of(symbol, scope.exchange, scope.now.date() - _LOOKED_BACK)
        except FluxHeroError as error:
            results.append(errored(FRESH, about, error.what))
            continue
        due = _session_due(calendar, scope.now)
        last = pc.max(times).as_py()
        last_day = None if last is None else _day_of(last.replace(tzinfo=UTC), timeframe, calendar)
        if due is None or (last_day is not None and last_day >= due.day):
            results.append(passed(FRESH, about))
            continue
        told = "it has no bar" if last is None else f"its last bar is of {last:%Y-%m-%d %H:%M} UTC"
        observed = f"{told}; the session of {due.day} is missing, which closed at {due.closes:%Y-%m-%d %H:%M} UTC"
        results.append(failed(FRESH, about, observed, file=path))
    return results or [passed(FRESH, "bars", 0)]


def _session_due(calendar: Calendar, now: datetime) -> Session | None:
    """The last session that closed more than a day ago, and before another one opened."""
    closed, opened = calendar.last_closed(now - _DAY), calendar.last_open(now)
    if closed is None or opened is None or closed.day < opened.day:
        return closed
    return calendar.last_before(closed.day)


def _day_of(at: datetime, timeframe: Timeframe, calendar: Calendar) -> date:
    if timeframe.daily:
        return calendar.day_of(at)
    begun = calendar.last_open(at + timeframe.length)
    return begun.day if begun else at.date()


# ------------------------------------------------------------------------------- trades' prices

_FILLS = """
    SELECT trade_id, symbol, 'entry' AS leg, entry_price::DOUBLE AS price, entry_time AS filled_at
    FROM trades WHERE status <> 'cancelled' AND entry_price > 0
    UNION ALL
    SELECT trade_id, symbol, 'exit', exit_price::DOUBLE, exit_time
    FROM trades WHERE status = 'closed' AND exit_price > 0 AND exit_time IS NOT NULL
"""


def _prices(connection: duckdb.DuckDBPyConnection, scope: Scope, paths: Sequence[Path]) -> Result:
    """Hold entries and exits against the daily bars there are."""
    unreadable = _load_days(connection, scope, paths)
    if unreadable:
        return errored(TRADE_PRICE, _ABOUT, unreadable)
    ratios = f"[1.0, {', '.join(map(str, _RATIOS))}]"
    within = f"price / r BETWEEN low * {1 - _TOLERANCE} AND high * {1 + _TOLERANCE}"
    day = day_sql("timezone('UTC', fill.filled_at)", "traded.zone")
    connection.execute(
        f"CREATE TABLE held AS WITH filled AS (SELECT fill.*, traded.adjustment, {day} AS day "
        f"FROM ({_FILLS}) AS fill JOIN traded USING (symbol)) "
        f"SELECT filled.*, bar.low, bar.high, list_filter(CASE adjustment WHEN 'raw' THEN [1.0] "
        f"ELSE {ratios} END, lambda r: {within}) AS fits "
        "FROM filled JOIN day_bars AS bar USING (symbol, day)"
    )
    checked = scalar(connection, "SELECT count(*) FROM held")
    legs = "list(fits ORDER BY leg)"
    rows = connection.execute(
        f"SELECT trade_id, symbol, leg, price, filled_at, low, high FROM held SEMI JOIN ("
        f"SELECT trade_id FROM held GROUP BY trade_id HAVING len(list_intersect({legs}[1], {legs}[-1])) = 0"
        ") USING (trade_id) WHERE NOT list_contains(fits, 1.0) ORDER BY trade_id, leg"
    ).fetchall()
    if not rows:
        return passed(TRADE_PRICE, _ABOUT, checked)
    names = ("key", "symbol", "leg", "price", "at", "low", "high")
    sample = tuple(
        {
            name: value if isinstance(value, str) else str(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in rows[:MOST_SAMPLED]
    )
    key, symbol, leg, price, at, low, high = rows[0]
    return failed(
        TRADE_PRICE,
        _ABOUT,
        f"{counted(len(rows), 'price')} of {checked:,}, as the {leg} of {key} at {price:g} on "
        f"{at:%Y-%m-%d}, when {symbol} was between {low:g} and {high:g}",
        count=len(rows),
        checked=checked,
        keys=tuple({str(row[0]) for row in rows}),
        sample=sample,
    )


def _load_days(connection: duckdb.DuckDBPyConnection, scope: Scope, paths: Sequence[Path]) -> str:
    """Make `day_bars` of the symbols that were traded, and `traded`; says what could not be read."""
    names = connection.execute("SELECT DISTINCT symbol FROM trades").fetchall()
    symbols = {str(name) for (name,) in names}
    faults: list[str] = []
    bars: list[pa.Table] = [_DAYS.empty_table()]
    traded: list[dict[str, str]] = []
    for path in paths:
        symbol, timeframe = name_parts(path) or (path.stem, DAILY)
        if not timeframe.daily or symbol not in symbols:
            continue
        try:
            held = cache.read(path)
            calendar = calendar_of(symbol, scope.exchange, scope.now.date() - _LOOKED_BACK)
        except FluxHeroError as error:
            faults.append(error.what)
            continue
        adjustment = held.origin.adjustment if held.origin else cache.UNKNOWN
        if adjustment in _COMPARABLE:
            traded.append({"symbol": symbol, "zone": calendar.zone.key, "adjustment": adjustment})
            named = pa.array([symbol] * held.bars.num_rows, pa.string())
            bars.append(held.bars.select(_DAYS.names[1:]).add_column(0, "symbol", named))
    connection.register("incoming", pa.concat_tables(bars))
    connection.register("incoming_traded", pa.Table.from_pylist(traded, schema=_TRADED))
    connection.execute("CREATE TABLE traded AS SELECT DISTINCT ON (symbol) * FROM incoming_traded")
    connection.execute(
        f"CREATE TABLE day_bars AS SELECT symbol, {day_sql('timestamp', 'zone')} AS day, "
        "min(low) AS low, max(high) AS high FROM incoming JOIN traded USING (symbol) "
        "WHERE isfinite(low) AND isfinite(high) AND low <= high GROUP BY ALL"
    )
    return "; ".join(faults)
