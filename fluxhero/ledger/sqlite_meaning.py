"""What a FluxHero row means in the ledger's terms, as DuckDB SQL over its own columns.

For the bulk of rows, which are in order, Arrow answers the same questions several times faster;
`judge` tries that first.
"""

import re
from collections.abc import Collection, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import literal
from fluxhero.ledger.rows import CLOSED_AT, DERIVED, TABLE
from fluxhero.ledger.schema import TRADES
from fluxhero.ledger.sqlite_schema import (
    LARGEST,
    MODES,
    MONEY,
    OWN_SCHEMA,
    PROBLEM,
    REQUIRED,
    TIMES,
)

# Microseconds since 1970 of 0002-01-01 and 9999-12-31: what `_looks_iso` admits.
_EARLIEST, _LATEST = -62_104_060_800_000_000, 253_402_214_400_000_000


def time_sql(column: str, timezone: str) -> str:
    """DuckDB SQL that reads ISO text as TIMESTAMPTZ, naive text in `timezone`; NULL if it is none.

    An hour that daylight saving repeats is read as the later one, so that nothing moves early.
    """
    if timezone == "UTC":
        return f"CASE WHEN {_looks_iso(column)} THEN TRY_CAST({column} AS TIMESTAMPTZ) END"
    naive = f"timezone({literal(timezone)}, TRY_CAST({column} AS TIMESTAMP))"
    has_zone = f"regexp_matches({column}[11:], '(Z|z|[+-]\\d\\d(:?\\d\\d)?)$')"
    return (
        f"CASE WHEN NOT ({_looks_iso(column)}) THEN NULL "
        f"WHEN {has_zone} THEN TRY_CAST({column} AS TIMESTAMPTZ) ELSE {naive} END"
    )


def _looks_iso(column: str) -> str:
    """DuckDB SQL that keeps 'infinity', 'epoch' and the like out: they would cast, too.

    Neither is a time outside the calendar that Python, manifests and folders of months can name.
    """
    return f"{column} LIKE '____-__-__%' AND {column} BETWEEN '0002' AND '9999-12-31'"


def problem_sql() -> str:
    """DuckDB SQL of why a row cannot be used: 'rule|reason', NULL when nothing speaks against it."""
    cases = [f"WHEN {PROBLEM} IS NOT NULL THEN {PROBLEM}"]
    cases += [f"WHEN {name} IS NULL THEN 'required|{name} is missing'" for name in REQUIRED]
    cases += [
        f"WHEN abs({name}) > {LARGEST} THEN 'range|{name} is ' || {name} || ', beyond what the ledger holds'"
        for name in MONEY
    ]
    cases.append("WHEN side NOT IN (1, -1) THEN 'side|side is ' || side || ', neither 1 nor -1'")
    cases += [
        f"WHEN NOT ({_looks_iso(name)} AND TRY_CAST({name} AS TIMESTAMP) IS NOT NULL) "
        f"THEN 'time|{name} is not a time: ' || {name}"
        for name in TIMES
    ]
    return f"CASE {' '.join(cases)} END"


def closed_at_sql(timezone: str) -> str:
    """DuckDB SQL of when a finished row was finished: exit time, where there is none the last update."""
    exit_time, updated_at = time_sql("exit_time", timezone), time_sql("updated_at", timezone)
    return f"CASE WHEN exit_time IS NOT NULL THEN {exit_time} ELSE {updated_at} END"


def key_sql(prefix: str = "") -> str:
    """DuckDB SQL of a row's identity, which is also its `trade_id` in the ledger.

    `created_at`, for want of it `entry_time`, is part of it because ids start again when a FluxHero
    file is deleted.
    """
    return f"({prefix}{TABLE} || ':' || {prefix}id || ':' || {born_sql(prefix)})"


def split_key(key: str) -> tuple[str, int, str] | None:
    """Take a key apart into table, id and created_at; None when it is not one of ours."""
    name, _, rest = key.partition(":")
    row_id, colon, created = rest.partition(":")
    if name not in MODES or not colon or not row_id.lstrip("-").isdigit():
        return None
    return name, int(row_id), created


def born_sql(prefix: str = "") -> str:
    """SQL (DuckDB's and SQLite's) of the part of a row's key that tells it from a later one of that id."""
    return f"coalesce({prefix}created_at, {prefix}entry_time, '')"


def key_range_sql() -> tuple[str, str]:
    """DuckDB SQL aggregates of the keys of the lowest and the highest id.

    Put together after aggregating, which spares making a key for every row.
    """
    first, last = (
        f"min({TABLE}) || ':' || {end}(id) || ':' || arg_{end}({born_sql()}, id)"
        for end in ("min", "max")
    )
    return first, last


def canonical_sql(relation: str, timezone: str, *, carried: Sequence[str] = ()) -> str:
    """SELECT the ledger's `trades` columns from a relation of `OWN_SCHEMA` plus `_table`.

    Columns `carried` are selected behind them as they are.
    """
    selected = [f"{sql} AS {name}" for name, sql in _canonical(timezone).items()]
    return f"SELECT {', '.join([*selected, *carried])} FROM {relation}"


def own_columns_of(columns: Collection[str], timezone: str) -> list[str]:
    """Columns of `OWN_SCHEMA` that these columns of the ledger, and its key, are made of."""
    made_of = _canonical(timezone)
    wanted = [sql for name, sql in made_of.items() if name in columns or name in TRADES.key]
    words = set(re.findall(r"\w+", " ".join(wanted))) | set(columns)
    return [name for name in OWN_SCHEMA.names if name in words]


def _canonical(timezone: str) -> dict[str, str]:
    """DuckDB SQL of each of the ledger's `trades` columns."""
    modes = " ".join(f"WHEN {literal(name)} THEN {literal(mode)}" for name, mode in MODES.items())
    exact = ", ".join(
        f"{literal(name)}, CASE WHEN TRY_CAST({name} AS DECIMAL(18,8))::DOUBLE IS DISTINCT FROM {name} "
        f"THEN {name}::VARCHAR END"
        for name in MONEY
    )
    extra = (
        "json_merge_patch('{}', json_object('broker_order_id', broker_order_id, "
        "'slippage_applied', slippage_applied, 'columns', _extra::JSON, "
        f"'exact', nullif(json_merge_patch('{{}}', json_object({exact})), '{{}}')))"
    )
    values = {
        "trade_id": key_sql(),
        "mode": f"CASE {TABLE} {modes} END",
        "symbol": "symbol",
        "side": "CASE side WHEN 1 THEN 'long' WHEN -1 THEN 'short' ELSE 'unknown:' || side END",
        "quantity": "TRY_CAST(shares AS DECIMAL(18,8))",
        "fees": "NULL::DECIMAL(18,8)",
        "status": "CASE status WHEN 0 THEN 'open' WHEN 1 THEN 'closed' WHEN 2 THEN 'cancelled' "
        "ELSE 'unknown:' || status END",
        "strategy": "strategy",
        "regime": "regime",
        "signal_reason": "signal_reason",
        "signal_explanation": "CASE WHEN signal_explanation IS NULL THEN NULL "
        "WHEN json_valid(signal_explanation) THEN signal_explanation::JSON "
        "ELSE to_json(signal_explanation) END",
        "source": "'fluxhero'",
        "source_id": f"{TABLE} || ':' || id",
        "extra": f"nullif({extra}, '{{}}')::JSON",
    }
    for name in TIMES:
        values[name] = time_sql(name, timezone)
    return {name: values.get(name, f"TRY_CAST({name} AS DECIMAL(18,8))") for name in TRADES.names}


def read_times(texts: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray | None:
    """Read naive ISO text, all of it or nothing: None as soon as one is written in another way.

    The same reading as `time_sql`: an hour that daylight saving repeats is the later one.
    """
    try:
        naive = pc.cast(texts, pa.timestamp("us"))
        aware = (
            naive
            if timezone == "UTC"
            else pc.assume_timezone(naive, timezone, ambiguous="latest", nonexistent="raise")
        )
    except pa.ArrowInvalid:
        return None
    bounds = pc.min_max(naive)
    if bounds["min"].is_valid and not (_EARLIEST <= bounds["min"].value <= _LATEST):
        return None
    if bounds["max"].is_valid and bounds["max"].value > _LATEST:
        return None
    return aware.cast(DERIVED[CLOSED_AT])


def judge(
    engine: duckdb.DuckDBPyConnection, rows: pa.Table, timezone: str
) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Say of each row when it was closed, and what speaks against using it.

    Args:
        engine: a DuckDB connection.
        rows: `OWN_SCHEMA` and `PROBLEM`.
        timezone: zone of times without an offset.

    Returns:
        (close times, problems as 'rule|reason' or NULL).
    """
    if _in_order(rows):
        times = {name: read_times(rows[name], timezone) for name in TIMES}
        exits, updates = times["exit_time"], times["updated_at"]
        if exits is not None and updates is not None and None not in times.values():
            return pc.coalesce(exits, updates), pa.chunked_array(
                [pa.nulls(rows.num_rows, pa.string())]
            )
    engine.register("judged", rows)
    found = engine.sql(
        f"SELECT {closed_at_sql(timezone)} AS closed, {problem_sql()} AS problem FROM judged"
    ).to_arrow_table()
    engine.unregister("judged")
    return found["closed"].cast(DERIVED[CLOSED_AT]), found["problem"]


def _in_order(rows: pa.Table) -> bool:
    """Whether nothing but the times can speak against any of these rows."""
    if rows[PROBLEM].null_count < rows.num_rows or any(rows[name].null_count for name in REQUIRED):
        return False
    largest = (pc.max(pc.abs(rows[name])).as_py() for name in MONEY)
    if any(value is not None and value > float(LARGEST) for value in largest):
        return False
    return bool(pc.all(pc.equal(pc.abs(rows["side"]), 1)).as_py())
