"""Reading a FluxHero SQLite store: its rows' own columns and values, unchanged, in short reads.

Only SELECTs happen here. What the values mean is said in `sqlite_meaning`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxhero.engine import identifier, literal, scratch
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import TABLE
from fluxhero.ledger.schema import TRADES
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_meaning import canonical_sql, problem_sql
from fluxhero.ledger.sqlite_schema import EXTRA, OWN_SCHEMA, PROBLEM, ROWID, SourceTable, inspect

_INT, _REAL, _TEXT = pa.int64(), pa.float64(), pa.string()
_STORAGE = {_INT: "'integer'", _REAL: "'real','integer'", _TEXT: "'text'"}
# About 10 ms of reading: how long a writer in rollback-journal mode may have to wait.
PAGE_ROWS = 4096
TIMES_PAGE_ROWS = 16_384


def _value_sql(table: SourceTable, name: str, kind: pa.DataType, *, guarded: bool) -> str:
    if name == EXTRA:
        # NULLs are left out, so that a column added later changes nothing about older rows.
        pairs = ", ".join(
            f"{literal(extra)}, CASE WHEN {identifier(extra)} IS NOT NULL THEN {_literal_sql(extra)} END"
            for extra in table.extra
        )
        return f"nullif(json_patch('{{}}', json_object({pairs})), '{{}}')" if pairs else "NULL"
    if name not in table.present:
        return "NULL"
    if not guarded:
        return identifier(name)
    return f"CASE WHEN typeof({identifier(name)}) IN ({_STORAGE[kind]}) THEN {identifier(name)} END"


def _literal_sql(name: str) -> str:
    """SQL of a column's value as a SQL literal; quote() alone would cut text at a NUL character."""
    column = identifier(name)
    return (
        f"CASE WHEN typeof({column}) = 'text' AND instr({column}, char(0)) "
        f"THEN 'CAST(' || quote(CAST({column} AS BLOB)) || ' AS TEXT)' ELSE quote({column}) END"
    )


def _storage_problem_sql(table: SourceTable, names: Collection[str]) -> str:
    """SQL of which value is of a storage class that its column should not hold: 'rule|reason'."""
    cases = " ".join(
        f"WHEN typeof({identifier(f.name)}) NOT IN ({_STORAGE[f.type]}, 'null') "
        f"THEN 'type|{f.name} holds ' || typeof({identifier(f.name)})"
        for f in OWN_SCHEMA
        if f.name in table.present and f.name in names
    )
    return f"CASE {cases} END" if cases else "NULL"


def read_rows(
    connection: SqliteConnection,
    table: SourceTable,
    tail: str,
    names: Collection[str] = OWN_SCHEMA.names,
) -> pa.Table:
    """Read at most a page of rows: rowid, columns of `OWN_SCHEMA` (all but for `names`), and `PROBLEM`.

    Values are read directly where the column's declared type and the driver between them show each
    value of another storage class. In the other columns, and in all if one such value is found, each
    value's class is looked at: what does not fit becomes NULL and `PROBLEM` says which.
    """
    fields = [field for field in OWN_SCHEMA if field.name in names]
    page = _read_directly(connection, table, tail, fields)
    if page is not None:
        return page
    columns = [(ROWID, table.rowid, _INT)]
    columns += [(f.name, _value_sql(table, f.name, f.type, guarded=True), f.type) for f in fields]
    columns.append((PROBLEM, _storage_problem_sql(table, names), _TEXT))
    page = connection.arrow(columns, f"FROM {identifier(table.name)} {tail}")
    return page if _is_utf8(page) else _without_broken_text(page)


def _read_directly(
    connection: SqliteConnection, table: SourceTable, tail: str, fields: Sequence[pa.Field]
) -> pa.Table | None:
    """Read values as they are; None when one of them does not fit its column."""
    columns = [(ROWID, table.rowid, _INT)]
    columns += [
        (f.name, _value_sql(table, f.name, f.type, guarded=f.name in table.loose), f.type)
        for f in fields
        if f.name in table.present or (f.name == EXTRA and table.extra)
    ]
    if table.loose:
        columns.append((PROBLEM, _storage_problem_sql(table, table.loose), _TEXT))
    page = connection.arrow(columns, f"FROM {identifier(table.name)} {tail}")
    if page.schema.types != [kind for _, _, kind in columns] or not _is_utf8(page):
        return None
    kinds = {ROWID: _INT, **{f.name: f.type for f in fields}, PROBLEM: _TEXT}
    arrays = [
        page[name] if name in page.column_names else pa.nulls(page.num_rows, kind)
        for name, kind in kinds.items()
    ]
    return pa.table(arrays, names=list(kinds))


def _is_utf8(page: pa.Table) -> bool:
    try:
        page.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _without_broken_text(page: pa.Table) -> pa.Table:
    """Replace text that is not UTF-8 by NULL, and say so in `PROBLEM`."""
    problems = [None if not p.is_valid else str(p) for p in page[PROBLEM]]
    columns = []
    for name in page.column_names:
        column = page[name]
        if column.type == _TEXT and name != PROBLEM:
            values = column.cast(pa.binary()).to_pylist()
            for row, value in enumerate(values):
                if value is not None and not _decodes(value):
                    values[row] = None
                    problems[row] = f"type|{name} is not UTF-8"
            column = pa.chunked_array([pa.array(values, pa.binary()).cast(_TEXT)])
        columns.append(column)
    columns[page.column_names.index(PROBLEM)] = pa.chunked_array([pa.array(problems, _TEXT)])
    return pa.table(columns, names=page.column_names)


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_close_times(connection: SqliteConnection, table: SourceTable, tail: str) -> pa.Table:
    """Read what planning needs: rowid and the text that dates the row."""
    updated = (
        "CASE WHEN exit_time IS NULL THEN updated_at END"
        if "updated_at" in table.present
        else "NULL"
    )
    columns: list[tuple[str, str, pa.DataType]] = [
        (ROWID, table.rowid, _INT),
        ("exit_time", "CAST(exit_time AS TEXT)", _TEXT),
        ("updated_at", updated, _TEXT),
    ]
    page = connection.arrow(columns, f"FROM {identifier(table.name)} {tail}")
    return page if _is_utf8(page) else _with_replacements(page)


def _with_replacements(page: pa.Table) -> pa.Table:
    """Replace bytes that are not UTF-8 by U+FFFD: such text is no time."""
    for place, field in enumerate(page.schema):
        if field.type == _TEXT:
            values = page[field.name].cast(pa.binary()).to_pylist()
            texts = [None if value is None else value.decode(errors="replace") for value in values]
            page = page.set_column(place, field, pa.chunked_array([pa.array(texts, _TEXT)]))
    return page


def raw_row(connection: SqliteConnection, table: SourceTable, rowid: int) -> dict[str, Any]:
    """One row as SQL literals, whatever is in it, for the quarantine."""
    row = f"FROM {identifier(table.name)} WHERE {table.rowid} = {int(rowid)}"
    try:
        values = connection.rows(f"SELECT {', '.join(map(_literal_sql, table.own_columns))} {row}")
    except UnicodeDecodeError:
        values = connection.rows(f"SELECT {', '.join(map(_bytes_sql, table.own_columns))} {row}")
    return dict(zip(table.own_columns, values[0], strict=True)) if values else {}


def _bytes_sql(name: str) -> str:
    """SQL of a column's value as a SQL literal, all text as its bytes: for text that is not UTF-8."""
    column = identifier(name)
    return (
        f"CASE WHEN typeof({column}) = 'text' "
        f"THEN 'CAST(' || quote(CAST({column} AS BLOB)) || ' AS TEXT)' ELSE quote({column}) END"
    )


def pages(
    connection: SqliteConnection, table: SourceTable, names: Collection[str] = OWN_SCHEMA.names
) -> Iterator[pa.Table]:
    """Read a table in order of rowid, a page as `read_rows` gives it at a time, each in a short read."""
    return _in_pages(
        table, PAGE_ROWS, "true", lambda tail: read_rows(connection, table, tail, names)
    )


def finished_pages(
    connection: SqliteConnection, table: SourceTable, where: str
) -> Iterator[pa.Table]:
    """Read in the same way what `read_close_times` gives of the rows that meet a condition."""
    return _in_pages(
        table, TIMES_PAGE_ROWS, where, lambda tail: read_close_times(connection, table, tail)
    )


def _in_pages(
    table: SourceTable, size: int, where: str, read: Callable[[str], pa.Table]
) -> Iterator[pa.Table]:
    last = -(2**63)
    after = ">="
    while True:
        page = read(
            f"WHERE {table.rowid} {after} {last} AND {where} ORDER BY {table.rowid} LIMIT {size}"
        )
        if not page.num_rows:
            return
        last, after = page[ROWID][-1].as_py(), ">"
        yield page


def rejected_rows(
    connection: SqliteConnection, table: SourceTable, problems: Sequence[tuple[int, str]]
) -> list[Rejected]:
    """Describe rows that cannot be used, given their (rowid, 'rule|reason')."""
    described = []
    for rowid, problem in problems:
        rule, _, reason = problem.partition("|")
        described.append(
            Rejected(
                row=raw_row(connection, table, rowid),
                reason=reason,
                rule=rule,
                position=f"{table.name} rowid {rowid}",
            )
        )
    return described


def read_canonical(path: Path, *, timezone: str) -> Iterator[tuple[pa.Table, list[Rejected]]]:
    """Read every trade of a FluxHero store in the ledger's columns, page by page.

    Args:
        path: the bot's `system.db`; opened read-only, nothing but the trades tables is read.
        timezone: zone of times without an offset.

    Yields:
        (rows in `TRADES.arrow`, rows refused with their reason).

    Raises:
        ForeignStoreError: the file is not a FluxHero store.
    """
    with SqliteConnection(path, read_only=True, busy_timeout=30) as connection, scratch() as engine:
        for table in inspect(connection):
            for page in pages(connection, table):
                engine.register("page", page)
                engine.execute(
                    f"CREATE OR REPLACE TEMP TABLE judged AS SELECT *, {literal(table.name)} AS {TABLE}, "
                    f"{problem_sql()} AS problem FROM page"
                )
                bad = engine.execute(
                    f"SELECT {ROWID}, problem FROM judged WHERE problem IS NOT NULL"
                ).fetchall()
                good = engine.sql(
                    canonical_sql("(FROM judged WHERE problem IS NULL)", timezone)
                ).to_arrow_table()
                yield good.cast(TRADES.arrow), rejected_rows(connection, table, bad)
