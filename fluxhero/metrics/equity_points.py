"""The value of every account at every moment that something changed it, as a table in the database.

Both bases are reckoned from what is earned, apart from what is paid in and out: performance does not fall
with a withdrawal, and the account's high-water mark is that of its performance plus what was paid in by
then. Several things at one instant are one step, so that their order says nothing. An account with an
item that cannot be used has no steps at all: a value reckoned without it would be wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import duckdb

from fluxhero.engine import literal
from fluxhero.ledger.schema import TRADES

_MONEY = "DECIMAL(38,8)"
_ZERO = f"0::{_MONEY}"
_SO_FAR = "ORDER BY instant ROWS UNBOUNDED PRECEDING"

FLOWS_SQL = """
SELECT mode, "at" AS instant, kind, kind IN ('deposit', 'withdrawal') AS pays,
    CASE WHEN kind IN ('withdrawal', 'fee') THEN -abs(amount) ELSE amount END AS amount
FROM cash_flows
"""
# What was paid in and what was earned until each step, and the most that ever was earned. Marked earnings
# begin with the initial capital, those of closed trades with nothing.
_POINTS_SQL = """
CREATE TEMP TABLE IF NOT EXISTS equity_points AS
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
    SELECT mode, false AS marked, instant,
        sum(paid) OVER until_now AS paid, sum(earned) OVER until_now AS earned
    FROM steps WINDOW until_now AS (PARTITION BY mode {so_far})
    UNION ALL
    SELECT mode, true, instant, coalesce(paid, 0), equity - coalesce(paid, 0)
    FROM (SELECT mode, "at" AS instant, equity FROM equity WHERE {marked_usable}) AS recorded
    ASOF LEFT JOIN (SELECT mode AS payer, instant AS since, paid FROM payments) AS paying
        ON payer = mode AND since <= instant
)
SELECT mode, marked, instant, paid, earned,
    max(earned) OVER (PARTITION BY mode, marked {so_far}) AS most
FROM points
"""
_VALUES_SQL = """
SELECT mode, CASE WHEN marked THEN 'marked' ELSE 'closed' END AS basis, instant,
    paid + earned + begun AS equity, paid + greatest(most + begun, {capital}) AS peak
FROM (SELECT *, CASE WHEN marked THEN {zero} ELSE {capital} END AS begun FROM equity_points)
"""
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


def values_sql(
    connection: duckdb.DuckDBPyConnection, modes: Modes, initial_capital: Decimal
) -> str:
    """SELECT mode, basis, instant, equity and peak of every step.

    The steps are reckoned once a connection, as its facts do not change.
    """
    connection.execute(
        _POINTS_SQL.format(
            flows=FLOWS_SQL,
            closed_at=TRADES.closed_at_sql,
            zero=_ZERO,
            so_far=_SO_FAR,
            closed_usable=_among(modes.closed),
            marked_usable=_among(modes.marked),
        )
    )
    return _VALUES_SQL.format(zero=_ZERO, capital=f"{literal(f'{initial_capital:f}')}::{_MONEY}")


def _among(modes: Iterable[str]) -> str:
    listed = ", ".join(map(literal, sorted(modes)))
    return f"mode IN ({listed})" if listed else "false"
