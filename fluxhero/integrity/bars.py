"""Checking the values of the price bars in the cache, and trades against them.

All files that are due are put side by side in one relation, so that the suite runs once however many
there are. A file that is unchanged since its bars passed is not read again. How fresh the bars of open
trades are, and whether trades' prices lie inside their day's bar, is told every time: both change while
the file does not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.engine import connect, identifier, literal, moment
from fluxhero.errors import BadInputError, FluxHeroError
from fluxhero.integrity.expectations import run_suite, tell_time
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.results import Outcome, Result, errored, failed, object_of, passed
from fluxhero.integrity.rules import RowRule
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suite import Suite, query_over
from fluxhero.integrity.suites.bars import (
    COLUMNS,
    FRESH,
    OF_FILES,
    SESSIONS,
    TRADE_PRICE,
    TYPES,
    bars,
)
from fluxhero.integrity.traded_bars import check_against_trades
from fluxhero.market import cache
from fluxhero.market.cache import BARS, PRICES, Cached, cached_files, name_parts
from fluxhero.market.calendar import Calendar, calendar_of, day_sql
from fluxhero.market.timeframe import Timeframe

SINCE = date(1990, 1, 1)  # older bars are not held against a calendar
_CHECKED, _ABOUT, _KIND = "checked_bars", "bars", "bars"


@dataclass(frozen=True, slots=True)
class _File:
    """A file whose bars are checked now; the stamp was taken before it was read."""

    path: Path
    stamp: Stamp


def check_bars(scope: Scope, memory: Passed) -> list[Result]:
    """Check every file of bars in the cache.

    Args:
        scope: what to check, and how closely.
        memory: what passed before; what passes now is recorded there.

    Returns:
        One result for each rule over all bars, one for each file about its types, and those about
        trades.

    Raises:
        StoreLockedError: another process holds the hot store.
        SourceChangedError: the hot store was rebuilt while it was read.
    """
    suite = bars()
    try:
        if scope.cache_dir.exists():
            next(scope.cache_dir.iterdir(), None)  # a search says nothing of what it may not read
        paths = cached_files(scope.cache_dir)
    except OSError as error:
        every = (TYPES, *suite.rules, FRESH, TRADE_PRICE)
        return [errored(rule, _ABOUT, str(error)) for rule in every]
    version = f"{suite.fingerprint} {scope.exchange}"
    due = [path for path in paths if scope.deep or memory.at(_KIND, path, version) is None]
    with connect(temp_dir=scope.data_dir / "tmp") as connection:
        connection.execute("SET python_enable_replacements = false")
        tell_time(connection, scope.now)
        _make_tables(connection)
        results, files = [], []
        for path in due:
            result, file = _take(connection, scope, path)
            results.append(result)
            files += [file] if file else []
        if not due:
            results.append(passed(TYPES, _ABOUT, 0))
        checked = _run(connection, scope, suite) if files else _nothing_to_check(suite)
        _remember(connection, suite, checked, files, memory, scope.now, version)
    return [*results, *checked, *check_against_trades(scope, paths)]


def _nothing_to_check(suite: Suite) -> list[Result]:
    return [passed(rule, _ABOUT, 0) for rule in suite.rules]


def _make_tables(connection: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"CREATE TABLE {_CHECKED} ({columns})")
    connection.execute(
        f"CREATE TABLE {SESSIONS} (calendar VARCHAR, day DATE, opens TIMESTAMP, closes TIMESTAMP)"
    )


# ------------------------------------------------------------------------------------ reading


def _take(
    connection: duckdb.DuckDBPyConnection, scope: Scope, path: Path
) -> tuple[Result, _File | None]:
    """Put a file's bars with the others; what can be said of its types, and the file if it could be."""
    about = object_of(path, scope.data_dir)
    symbol, timeframe = name_parts(path) or (path.stem, Timeframe.read("1d"))
    try:
        stamp = Stamp.of(path)
        held = cache.read(path)
        faults = list(type_faults(pq.read_schema(path)))
        calendar = calendar_of(symbol, scope.exchange, SINCE)
    except BadInputError as error:
        return failed(TYPES, about, error.what, file=path), None
    except FluxHeroError as error:
        return errored(TYPES, about, f"none of its bars could be checked: {error.what}"), None
    if faults:
        told = f"{'; '.join(faults)}; none of its bars was looked at"
        return failed(TYPES, about, told, count=len(faults), file=path), None
    _insert(connection, path.stem, held, timeframe, calendar)
    return passed(TYPES, about), _File(path, stamp)


def type_faults(schema: pa.Schema) -> Iterator[str]:
    """What is wrong with the types of a file of bars."""
    for field in schema:
        name, kind = field.name.lower(), field.type
        if pa.types.is_null(kind):
            yield f"column {field.name} has no type: nothing is in it"
        elif name == "timestamp" and not pa.types.is_timestamp(kind):
            yield f"column {field.name} is {kind}, not a timestamp"
        elif name == "timestamp" and kind.tz not in {None, "UTC", "+00:00", "Etc/UTC"}:
            yield f"column {field.name} is in the zone {kind.tz}, not in UTC"
        elif name in PRICES and not pa.types.is_floating(kind):
            yield f"column {field.name} is {kind}, not double"
        elif name == "volume" and not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            yield f"column {field.name} is {kind}, not a number"


def _insert(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    held: Cached,
    timeframe: Timeframe,
    calendar: Calendar,
) -> None:
    """Add bars to the relation, each with its session and the bar before it."""
    _tell_sessions(connection, calendar)
    code = literal(calendar.code)
    zone = literal(calendar.zone.key)
    seconds = int(timeframe.length.total_seconds())
    if timeframe.daily:
        day = day_sql("timestamp", zone)
        session = f"LEFT JOIN {SESSIONS} AS due ON due.calendar = {code} AND due.day = bar.day"
        ends = f"coalesce(due.closes, bar.timestamp + to_seconds({seconds}))"
    else:
        day = "timestamp::DATE"
        session = (
            f"ASOF LEFT JOIN (FROM {SESSIONS} WHERE calendar = {code}) AS due "
            f"ON bar.timestamp + to_seconds({seconds}) > due.opens"
        )
        ends = f"bar.timestamp + to_seconds({seconds})"
    first, last = (
        literal(one.day.isoformat()) for one in (calendar.sessions[0], calendar.sessions[-1])
    )
    adjustment = held.origin.adjustment if held.origin else cache.UNKNOWN
    connection.register("incoming", held.bars.select(BARS.names))
    connection.execute(
        f"INSERT INTO {_CHECKED} SELECT {literal(name)}, bar.place, bar.timestamp, bar.open, bar.high, "
        f"bar.low, bar.close, bar.volume, {timeframe.daily}, {literal(adjustment)}, "
        f"CASE WHEN bar.day BETWEEN {first} AND {last} THEN {code} END, bar.day, due.opens, due.closes, "
        f"{ends}, {moment(held.written_at)}::TIMESTAMP, "
        "lag(bar.timestamp) OVER (ORDER BY bar.place), "
        "lag(bar.close) OVER (ORDER BY bar.timestamp, bar.place), "
        "lag(bar.volume) OVER (ORDER BY bar.timestamp, bar.place) "
        f"FROM (SELECT *, {day} AS day, row_number() OVER () AS place FROM incoming) AS bar {session}"
    )
    connection.unregister("incoming")


def _tell_sessions(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> None:
    """Add a calendar's sessions, once."""
    there = f"SELECT 1 FROM {SESSIONS} WHERE calendar = {literal(calendar.code)} LIMIT 1"
    if connection.execute(there).fetchall():
        return
    sessions = pa.table(
        {
            "day": [one.day for one in calendar.sessions],
            "opens": [one.opens.replace(tzinfo=None) for one in calendar.sessions],
            "closes": [one.closes.replace(tzinfo=None) for one in calendar.sessions],
        }
    )
    connection.register("incoming_sessions", sessions)
    connection.execute(
        f"INSERT INTO {SESSIONS} SELECT {literal(calendar.code)}, day, opens, closes "
        "FROM incoming_sessions"
    )
    connection.unregister("incoming_sessions")


# ----------------------------------------------------------------------------------- judging


def _run(connection: duckdb.DuckDBPyConnection, scope: Scope, suite: Suite) -> list[Result]:
    """Check the relation; SQL is shown where a reader can run it on the files alone."""
    pattern = literal(str(scope.cache_dir / "*.parquet"))
    shown = (
        "(SELECT parse_filename(filename, true) AS name, * EXCLUDE (filename) FROM "
        f"read_parquet({pattern}, union_by_name = true, filename = true))"
    )
    results = run_suite(connection, suite, _CHECKED, _ABOUT, shown=shown)
    return [
        result if result.rule.name in OF_FILES else replace(result, sql="")
        for result in results
        if result.rule != suite.schema_rule
    ]


def _remember(
    connection: duckdb.DuckDBPyConnection,
    suite: Suite,
    results: Iterable[Result],
    files: Iterable[_File],
    memory: Passed,
    at: datetime,
    version: str,
) -> None:
    """Record the files of which no bar breaks a rule; none where a rule could not be checked."""
    outcomes = {result.rule.name: result.outcome for result in results}
    if Outcome.ERRORED in outcomes.values():
        return
    bad: set[str] = set()
    for rule in suite.rules:
        if outcomes[rule.name] is Outcome.FAILED:
            breaking = (
                f"{_CHECKED} WHERE {rule.bad}"
                if isinstance(rule, RowRule)
                else f"({query_over(rule, _CHECKED)})"
            )
            rows = connection.execute(f"SELECT DISTINCT name FROM {breaking}").fetchall()
            bad |= {str(name) for (name,) in rows}
    for file in files:
        if file.path.stem not in bad:
            memory.record(_KIND, file.path, file.stamp, at, version)
