"""What is measured of the ledger, hot ∪ archive and each key once, in tables as narrow as that allows.

The view is read once and let go of: what is measured scans these tables, however often. They have the
columns below and no others, and only rows of the modes there are, as a mode is a label. A time that the
calendar cannot name, such as infinity, counts as none.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from fluxhero.archive.workspace import Workspace
from fluxhero.engine import literal
from fluxhero.ledger.currencies import summable_sql, told_in
from fluxhero.ledger.schema import LEDGER_TABLES, MODES, Column, Kind
from fluxhero.ledger.view import open_view

FACTS: dict[str, tuple[str, ...]] = {
    "trades": (
        "trade_id",
        "mode",
        "symbol",
        "side",
        "quantity",
        "entry_price",
        "entry_time",
        "exit_price",
        "exit_time",
        "updated_at",
        "stop_loss",
        "fees",
        "realized_pnl",
        "status",
        "strategy",
    ),
    "orders": (
        "order_id",
        "mode",
        "broker",
        "symbol",
        "order_type",
        "status",
        "submitted_at",
        "acknowledged_at",
        "filled_at",
    ),
    "cash_flows": ("mode", "at", "kind", "amount"),
    "equity": ("mode", "at", "equity", "unrealized_pnl"),
    "positions": (
        "mode",
        "symbol",
        "side",
        "quantity",
        "entry_price",
        "current_price",
        "stop_loss",
    ),
}
SUMMED = ("trades", "cash_flows")  # tables with money that is added up
LEFT_OUT = "other_currencies"
_MODE = "mode"
_FIRST, _LAST = "TIMESTAMPTZ '0002-01-01 00:00:00+00'", "TIMESTAMPTZ '9999-12-30 00:00:00+00'"


@contextmanager
def ledger_facts(workspace: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the tables and columns of `FACTS`.

    `LEFT_OUT` has how many rows of which table and mode are in another currency, and so in none of them.

    Raises:
        StoreLockedError: another process holds the hot store.
        ForeignArchiveError: the archive belongs to another store.
        ManifestError: the archive's manifests are damaged or incomplete.
        DamagedFileError: a file of the archive is not the one that was published.
    """
    store = workspace.store
    summable = {name: summable_sql(store, LEDGER_TABLES[name]) for name in SUMMED}
    columns = {name: [*FACTS[name], *told_in(store, LEDGER_TABLES[name])] for name in SUMMED}
    with open_view(workspace, FACTS, {**FACTS, **columns}) as connection:
        values = ", ".join(map(literal, MODES))
        connection.execute(f"CREATE TYPE trade_mode AS ENUM ({values})")
        connection.execute(
            f"CREATE TEMP TABLE {LEFT_OUT} (ledger_table VARCHAR, {_MODE} trade_mode, rows BIGINT)"
        )
        for table, names in FACTS.items():
            shape = {column.name: column for column in LEDGER_TABLES[table].columns}
            selected = ", ".join(f'{_value_sql(shape[name])} AS "{name}"' for name in names)
            rows = f"memory.main.{table} WHERE {_MODE} IN ({values})"
            condition = summable.get(table, "true")
            connection.execute(
                f"CREATE TEMP TABLE {table} AS SELECT {selected} FROM {rows} AND {condition}"
            )
            if table in summable:
                connection.execute(
                    f"INSERT INTO {LEFT_OUT} SELECT '{table}', {_MODE}, count(*) FROM {rows} "
                    f"AND NOT ({condition}) GROUP BY {_MODE}"
                )
        connection.execute("DROP SCHEMA hot CASCADE")
        yield connection


def _value_sql(column: Column) -> str:
    if column.name == _MODE:
        return f"{_MODE}::trade_mode"
    if column.kind is Kind.TIME:
        return f'CASE WHEN "{column.name}" BETWEEN {_FIRST} AND {_LAST} THEN "{column.name}" END'
    return f'"{column.name}"'
