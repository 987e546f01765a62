"""What the ledger's columns do not tell of a row: whether its source wrote more than could be read.

The ledger has numbers and instants. A FluxHero row may hold infinity or text that is no time, for which
the ledger has NULL; and a time may have been written without an offset in an hour that a change of
clocks made happen twice. These conditions are columns beside the ledger's own (`parts.ORIGIN`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fluxhero.engine import identifier, literal
from fluxhero.integrity.results import MOST_SAMPLED, Result
from fluxhero.integrity.suites.parts import (
    BATCH,
    NOT_A_NUMBER,
    NOT_A_TIME,
    ORIGIN,
    UNCLEAR_TIME,
    any_of,
)
from fluxhero.ledger.schema import TRADES, Kind, Table
from fluxhero.ledger.sqlite_meaning import time_sql
from fluxhero.ledger.sqlite_schema import LARGEST, MONEY, PROBLEM, TIMES
from fluxhero.ledger.store import HotStore

_HOT = (BATCH, "")  # a row's batch where it is in none
_OFFSET = r"(Z|z|[+-]\d\d(:?\d\d)?| UTC)$"
_FINER = r"\.\d{6}\d*[1-9]"  # finer than a microsecond: why a time was kept as text, too


def origin_columns(store: HotStore, table: Table, *, hot: bool) -> tuple[str, ...]:
    """SQL of these columns over a table's rows as the store keeps them; none for a table without.

    Args:
        store: the store.
        table: the table.
        hot: whether the rows were loaded from the store, where anything may be in a column; what was
            archived is of its column's type.
    """
    if not table.archivable:
        return ()
    conditions = dict.fromkeys((NOT_A_NUMBER, NOT_A_TIME, UNCLEAR_TIME), "false")
    if _in_own_columns(store, table):
        conditions |= _of_fluxhero(store.timezone)
        if hot:
            conditions[NOT_A_NUMBER] += f" OR {_of_another_type(MONEY)}"
            conditions[NOT_A_TIME] += f" OR {_of_another_type(TIMES)}"
    elif store.kind == "duckdb":
        conditions[UNCLEAR_TIME] = _kept_as_text(table)
    return _as_columns(conditions)


def own_rows(store: HotStore, table: Table, loaded: str, carried: Sequence[str]) -> str:
    """SELECT a loaded table's canonical columns and, from its rows as the store keeps them, others."""
    if _in_own_columns(store, table):
        return store.canonical_sql(table.name, f"{loaded}_loaded", carried=carried)
    names = ", ".join(map(identifier, table.names))
    return f"SELECT {', '.join([names, *carried])} FROM {loaded}"


def rows_in_view(store: HotStore, table: Table, location: str) -> str:
    """What a reader finds these rows under with `fluxhero query`."""
    if table.name not in store.archived_tables:
        return table.name
    return f"(FROM {table.name} WHERE _location = {literal(location)})"


def in_view(store: HotStore, table: Table, result: Result, rows: str) -> Result:
    """The result in a reader's terms: its rows without these columns, its SQL over `rows` of the view."""
    sample = tuple(
        {name: value for name, value in row.items() if name not in ORIGIN and (name, value) != _HOT}
        for row in result.sample
    )
    return replace(result, sample=sample, sql=_sql_in_view(store, table, result, rows))


def _sql_in_view(store: HotStore, table: Table, result: Result, rows: str) -> str:
    """The result's SQL with what these columns stand for.

    No view has what a bot's database has: then the first rows are named by their keys.
    """
    sql = result.sql
    if not any(name in sql for name in ORIGIN):
        return sql
    if _in_own_columns(store, table):
        keys = ", ".join(map(literal, result.keys[:MOST_SAMPLED]))
        key = table.key[0]
        return f"SELECT {key} AS key, * FROM {rows} WHERE {key} IN ({keys})"
    conditions = {
        NOT_A_NUMBER: "false",
        NOT_A_TIME: "false",
        UNCLEAR_TIME: f"coalesce({_kept_as_text(table)}, false)",
    }
    for name, condition in conditions.items():
        sql = sql.replace(name, f"({condition})")
    return sql


def _in_own_columns(store: HotStore, table: Table) -> bool:
    return store.kind == "sqlite" and table.name == TRADES.name


def _as_columns(conditions: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"coalesce({condition}, false) AS {name}" for name, condition in conditions.items()
    )


def _of_fluxhero(timezone: str) -> dict[str, str]:
    numbers = [f"NOT isfinite({name}) OR abs({name}) > {LARGEST}" for name in MONEY]
    times = [f"{name} IS NOT NULL AND {time_sql(name, timezone)} IS NULL" for name in TIMES]
    unclear = [] if timezone == "UTC" else [_happened_twice_or_never(n, timezone) for n in TIMES]
    return {
        NOT_A_NUMBER: any_of(numbers),
        NOT_A_TIME: any_of(times),
        UNCLEAR_TIME: any_of(unclear) or "false",
    }


def _of_another_type(names: Sequence[str]) -> str:
    return f"regexp_matches({PROBLEM}, '^type.({'|'.join(names)}) ')"


def _happened_twice_or_never(column: str, timezone: str) -> str:
    """Whether naive text is a local time that clocks showed twice, or never.

    DuckDB reads the first as the later of the two, the second as an hour later.
    """
    zone, naive = literal(timezone), f"TRY_CAST({column} AS TIMESTAMP)"
    instant = f"timezone({zone}, {naive})"
    return (
        f"NOT regexp_matches({column}[11:], '{_OFFSET}') AND (timezone({zone}, {instant}) <> {naive} "
        f"OR timezone({zone}, {instant} - INTERVAL 1 HOUR) = {naive})"
    )


def _kept_as_text(table: Table) -> str:
    """Whether ingest kept the text of a time because the instant says less: it was not clear which one."""
    names = [column.name for column in table.columns if column.kind is Kind.TIME]
    conditions = []
    for name in names:
        text = f"json_extract_string(extra, {literal(f'$.exact.{name}')})"
        conditions.append(
            f"{text} IS NOT NULL AND NOT regexp_matches({text}[11:], '{_OFFSET}') "
            f"AND NOT regexp_matches({text}, '{_FINER}')"
        )
    extra = identifier("extra")
    return f"CASE WHEN contains({extra}::VARCHAR, '\"exact\"') THEN {any_of(conditions)} END"
