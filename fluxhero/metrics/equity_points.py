"""The value of every account at every moment that something changed it, as a table in the database.

Both bases are reckoned from what is earned, apart from what is paid in and out: performance does not fall
with a withdrawal. The high-water mark goes up by what is paid in, and down in proportion to the equity by
what is taken out, as Interactive Brokers' High Water Marking for advisors prorates losses. Several things
at one instant are one step, so that their order says nothing; what it pays counts before what it earns. An
account with an item that cannot be used has no steps at all: a value reckoned without it would be wrong.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import groupby
from operator import itemgetter

import duckdb
import pyarrow as pa

from fluxhero.engine import identifier, literal, scalar
from fluxhero.ledger.schema import TRADES

_MONEY = "DECIMAL(38,8)"
_ZERO = f"0::{_MONEY}"
_SO_FAR = "ORDER BY instant ROWS UNBOUNDED PRECEDING"

FLOWS_SQL = """
SELECT mode, "at" AS instant, kind, kind IN ('deposit', 'withdrawal') AS pays,
    CASE WHEN kind IN ('withdrawal', 'fee') THEN -abs(amount) ELSE amount END AS amount
FROM cash_flows
"""
# What was paid in until each step and what the account was worth then, the stretch between payments that the
# step lies in, and the most that the account was worth in it by then. What the source recorded has the
# initial capital in it, what trades earned has not. (`count` with FILTER would take quadratic time here.)
_POINTS_SQL = """
CREATE OR REPLACE TEMP TABLE equity_points AS
WITH flows AS ({flows}),
steps AS (
    SELECT mode, instant, sum(paid) AS paid, sum(earned) AS earned
    FROM (
        SELECT mode, {closed_at} AS instant, {zero} AS paid, realized_pnl AS earned
        FROM trades WHERE status = 'closed' AND {closed_usable}
        UNION ALL
        SELECT mode, instant, CASE WHEN pays THEN amount ELSE 0 END,
            CASE WHEN pays THEN 0 ELSE amount END
        FROM flows WHERE {closed_usable}
    )
    GROUP BY ALL
),
payments AS (
    SELECT mode, instant, sum(amount) OVER (PARTITION BY mode {so_far}) AS paid
    FROM (SELECT mode, instant, sum(amount) AS amount FROM flows WHERE pays GROUP BY ALL)
),
points AS (
    SELECT mode, 'closed' AS basis, instant, sum(paid) OVER until_now AS paid,
        {capital} + sum(paid + earned) OVER until_now AS equity
    FROM steps WINDOW until_now AS (PARTITION BY mode {so_far})
    UNION ALL
    SELECT mode, 'marked', instant, coalesce(paid, 0), equity
    FROM (SELECT mode, "at" AS instant, equity FROM equity WHERE {marked_usable}) AS recorded
    ASOF LEFT JOIN (SELECT mode AS payer, instant AS since, paid FROM payments) AS paying
        ON payer = mode AND since <= instant
),
stretches AS (
    SELECT *, sum((paid <> before)::INT) OVER (PARTITION BY mode, basis {so_far}) AS stretch
    FROM (
        SELECT *, lag(paid, 1, 0) OVER (PARTITION BY mode, basis ORDER BY instant) AS before FROM points
    )
)
SELECT mode, basis, instant, stretch, paid, equity,
    max(equity) OVER (PARTITION BY mode, basis, stretch {so_far}) AS most
FROM stretches
"""
_STRETCHES_SQL = """
SELECT mode, basis, stretch, any_value(paid), max(equity), arg_max(equity, instant)
FROM equity_points GROUP BY mode, basis, stretch ORDER BY mode, basis, stretch
"""
_VALUES_SQL = """
CREATE TEMP TABLE {table} AS
SELECT mode, basis, instant, equity, greatest(most, mark) AS peak
FROM equity_points JOIN equity_marks USING (mode, basis, stretch)
"""
_MARKS = pa.schema(
    [
        ("mode", pa.string()),
        ("basis", pa.string()),
        ("stretch", pa.int64()),
        ("mark", pa.decimal128(38, 8)),
    ]
)
# Two amounts of the ledger multiplied, without rounding.
_PRODUCTS = Context(prec=76)
_LAST_DIGIT = Decimal("1e-8")
_UNUSABLE_SQL = """
SELECT mode, count(*) FILTER (status = 'closed' AND realized_pnl IS NULL),
    count(*) FILTER (status = 'closed' AND {closed_at} IS NULL)
FROM trades GROUP BY mode ORDER BY mode
"""
# By table and mode, the items that say nothing about an account's value, though they should.
_FAULTS_SQL = """
SELECT 'trades', mode,
    count(*) FILTER (status = 'closed' AND (realized_pnl IS NULL OR {closed_at} IS NULL))
FROM trades GROUP BY mode
UNION ALL
SELECT 'cash_flows', mode, count(*) FILTER ("at" IS NULL OR amount IS NULL) FROM cash_flows GROUP BY mode
UNION ALL
SELECT 'equity', mode, count(*) FILTER ("at" IS NULL OR equity IS NULL) FROM equity GROUP BY mode
"""
# As a fraction of the high-water mark; of a mark that is not above zero, any loss is all of it.
RATIO_SQL = """
CASE WHEN peak > 0 THEN (peak - equity)::DOUBLE / peak::DOUBLE WHEN peak > equity THEN 1 ELSE 0 END
"""


@dataclass(frozen=True, slots=True)
class Unusable:
    """How many closed trades of a mode lack a result, and how many a time."""

    no_result: int
    no_time: int


def unusable_trades(connection: duckdb.DuckDBPyConnection) -> dict[str, Unusable]:
    """What cannot be used, by mode, of all modes that have trades."""
    rows = connection.execute(_UNUSABLE_SQL.format(closed_at=TRADES.closed_at_sql)).fetchall()
    return {mode: Unusable(no_result, no_time) for mode, no_result, no_time in rows}


@dataclass(frozen=True, slots=True)
class Modes:
    """Modes by what is known of their accounts.

    Attributes:
        closed: can be reckoned from trades and cash flows.
        marked: can be told from what the source recorded.
        unusable: how many trades, cash flows and recorded values of a mode say nothing; of every mode.
    """

    closed: frozenset[str]
    marked: frozenset[str]
    unusable: dict[str, int]


def known_modes(connection: duckdb.DuckDBPyConnection) -> Modes:
    """What is known of each mode's account."""
    rows = connection.execute(_FAULTS_SQL.format(closed_at=TRADES.closed_at_sql)).fetchall()
    faults: dict[str, dict[str, int]] = {"trades": {}, "cash_flows": {}, "equity": {}}
    unusable: dict[str, int] = {}
    for table, mode, count in rows:
        faults[table][mode] = count
        unusable[mode] = unusable.get(mode, 0) + count
    trades, flows, recorded = faults.values()
    adrift = {mode for mode, count in flows.items() if count}
    return Modes(
        closed=frozenset(m for m in {**flows, **trades} if not trades.get(m)) - adrift,
        marked=frozenset(m for m, count in recorded.items() if not count) - adrift,
        unusable=unusable,
    )


def unusable_by_mode(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many closed trades, cash flows and recorded values of each mode say nothing of its value."""
    return known_modes(connection).unusable


def equity_values(
    connection: duckdb.DuckDBPyConnection, modes: Modes, initial_capital: Decimal
) -> str:
    """The table of every step: mode, basis, instant, equity and peak.

    It is made once a connection and initial capital, as the facts of a connection do not change.
    """
    name = f"equity from {initial_capital:f}"
    table = identifier(name)
    if scalar(connection, "SELECT count(*) FROM duckdb_tables() WHERE table_name = ?", [name]):
        return table
    connection.execute(
        _POINTS_SQL.format(
            flows=FLOWS_SQL,
            closed_at=TRADES.closed_at_sql,
            zero=_ZERO,
            capital=f"{literal(f'{initial_capital:f}')}::{_MONEY}",
            so_far=_SO_FAR,
            closed_usable=_among(modes.closed),
            marked_usable=_among(modes.marked),
        )
    )
    stretches = connection.execute(_STRETCHES_SQL).fetchall()
    marks = pa.Table.from_pylist(list(_marks(stretches, initial_capital)), schema=_MARKS)
    connection.register("equity_marks", marks)
    connection.execute(_VALUES_SQL.format(table=table))
    connection.unregister("equity_marks")
    connection.execute("DROP TABLE equity_points")
    return table


def _marks(
    stretches: Iterable[tuple[str, str, int, Decimal, Decimal, Decimal]], capital: Decimal
) -> Iterator[dict[str, object]]:
    """The high-water mark that each stretch between payments begins with.

    Args:
        stretches: mode, basis, number, everything paid in by then, the largest equity and the last one;
            in order.
        capital: what every account begins with.
    """
    for (mode, basis), account in groupby(stretches, key=itemgetter(0, 1)):
        mark = equity = capital
        paid_before = Decimal(0)
        for *_, stretch, paid, largest, last in account:
            mark = _moved(mark, equity, paid - paid_before)
            yield {"mode": mode, "basis": basis, "stretch": stretch, "mark": mark}
            mark, equity, paid_before = max(mark, largest), last, paid


def _moved(mark: Decimal, equity: Decimal, payment: Decimal) -> Decimal:
    """A high-water mark after a payment, to the eighth digit.

    A deposit leaves the loss as it is, in money; a withdrawal leaves it as it is in per cent: what is taken
    out takes its part of the loss along.
    """
    left = equity + payment
    if payment >= 0 or left < 0:
        return mark + payment
    return _PRODUCTS.quantize(_PRODUCTS.divide(_PRODUCTS.multiply(mark, left), equity), _LAST_DIGIT)


def _among(modes: Iterable[str]) -> str:
    listed = ", ".join(map(literal, sorted(modes)))
    return f"mode IN ({listed})" if listed else "false"
