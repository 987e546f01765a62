"""What is due in a FluxHero SQLite store: found in short reads, cut into batches by DuckDB."""

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import identifier, literal, one_row
from fluxhero.ledger import sqlite_source as source
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    CLOSED_AT,
    DERIVED,
    ROW_HASH,
    TABLE,
    row_hash_sql,
)
from fluxhero.ledger.sqlite_archiving import FINISHED, read_hashed
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_due import DueRows, to_ranges
from fluxhero.ledger.sqlite_meaning import born_sql, closed_at_sql, key_sql, read_times, split_key
from fluxhero.ledger.sqlite_schema import OWN_SCHEMA, ROWID, SourceTable
from fluxhero.ledger.sqlite_source import PAGE_ROWS
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchSpec,
    Partition,
    PlanRequest,
    Selection,
    TablePlan,
)

# A batch's rows are in memory as pages, sorted, and as encoded: more of that than for a DuckDB store.
_COPIES = 1.5


def plan(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    tables: Sequence[SourceTable],
    request: PlanRequest,
    archived: Sequence[ArchivedFile],
    timezone: str,
) -> TablePlan:
    """See `HotStore.plan`, for all three trades tables."""
    batches: list[BatchSpec] = []
    refused: list[Rejected] = []
    purge_only: dict[str, int] = {}
    held = undated = 0
    layout = connection.layout_version
    for table in tables:
        due, problems, without_exit = _collect_due(connection, engine, table, request, timezone)
        refused += source.rejected_rows(connection, table, problems)
        undated += without_exit
        held += _leave_held(connection, engine, table, request, due)
        files = [file for file in archived if file.mode == table.mode]
        equal, changed = _overlap(connection, engine, table, files, due, timezone)
        purge_only |= equal
        for rows, correction in ((changed, True), (due, False)):
            left = None if request.limit is None else request.limit - sum(b.rows for b in batches)
            batches += _cut(connection, table, request, rows, left, layout, correction=correction)
    return TablePlan(tuple(batches), purge_only, tuple(refused), held, undated)


def _collect_due(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    request: PlanRequest,
    timezone: str,
) -> tuple[DueRows, list[tuple[int, str]], int]:
    """Find the finished rows older than the cut-off.

    Returns:
        (those rows, (rowid, 'rule|reason') of finished rows that cannot be used, how many of the due
        rows have no exit time).
    """
    due = DueRows()
    cutoff = pa.scalar(request.cutoff, DERIVED[CLOSED_AT])
    problems = _duplicated(connection, table)
    undated = 0
    for page in source.finished_pages(connection, table, FINISHED):
        written = pc.coalesce(page["exit_time"], page["updated_at"])
        closed = _closed_at(engine, page, written, timezone)
        if closed.null_count:
            problems += _undatable(page[ROWID], written, closed)
        old = pc.fill_null(pc.less(closed, cutoff), fill_value=False)
        columns = [page[ROWID], closed, page["exit_time"]]
        if not pc.all(old).as_py():
            columns = [column.filter(old) for column in columns]
        due.add(columns[0], columns[1])
        undated += columns[2].null_count
    doubled = [rowid for rowid, problem in problems if problem.startswith("duplicate_key")]
    due.take_out(np.array(doubled, np.int64))
    return due, problems, undated


def _closed_at(
    engine: duckdb.DuckDBPyConnection, page: pa.Table, written: pa.ChunkedArray, timezone: str
) -> pa.ChunkedArray:
    """When each row was closed; NULL where the text does not say so."""
    closed = read_times(written, timezone)
    if closed is None:
        engine.register("page", page)
        found = engine.sql(f"SELECT {closed_at_sql(timezone)} AS closed FROM page").to_arrow_table()
        closed = found["closed"].cast(DERIVED[CLOSED_AT])
    return closed


def _undatable(
    rowids: pa.ChunkedArray, written: pa.ChunkedArray, closed: pa.ChunkedArray
) -> list[tuple[int, str]]:
    """(rowid, 'rule|reason') of rows without a close time."""
    unknown = pc.is_null(closed)
    pairs = zip(
        rowids.filter(unknown).to_pylist(), written.filter(unknown).to_pylist(), strict=True
    )
    return [
        (rowid, "close_time|finished, but has neither exit_time nor updated_at")
        if text is None
        else (rowid, f"time|the close time is not a time: {text}")
        for rowid, text in pairs
    ]


def _duplicated(connection: SqliteConnection, table: SourceTable) -> list[tuple[int, str]]:
    """Finished rows that share their key with another row, possible only where `id` is no key."""
    if table.unique_id:
        return []
    absent = "" if "created_at" in table.present else ", NULL AS created_at"
    rows = connection.rows(
        f"WITH all_rows AS (SELECT *, {table.rowid} AS fluxhero_rowid{absent} FROM {identifier(table.name)}) "
        f"SELECT fluxhero_rowid, id FROM all_rows WHERE {FINISHED} AND (id, {born_sql()}) IN "
        f"(SELECT id, {born_sql()} FROM all_rows GROUP BY 1, 2 HAVING count(*) > 1)"
    )
    return [
        (int(rowid), f"duplicate_key|id {row_id} stands for more than one row of {table.name}")
        for rowid, row_id in rows
    ]


def _leave_held(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    request: PlanRequest,
    due: DueRows,
) -> int:
    """Take rows on hold out of what is due; returns how many there were."""
    ids = [parts[1] for key in request.held if (parts := split_key(key)) and parts[0] == table.name]
    if not ids:
        return 0
    engine.register("held", pa.table({"key": pa.array(sorted(request.held), pa.string())}))
    count = 0
    for start in range(0, len(ids), PAGE_ROWS):
        listed = ",".join(map(str, ids[start : start + PAGE_ROWS]))
        engine.register("page", source.read_rows(connection, table, f"WHERE id IN ({listed})"))
        held = engine.sql(
            f"SELECT {ROWID} AS rowid_ FROM (SELECT *, {literal(table.name)} AS {TABLE} FROM page) "
            f"WHERE {key_sql()} IN (SELECT key FROM held)"
        ).to_arrow_table()
        count += len(due.take_out(held["rowid_"].to_numpy()))
    return count


def _overlap(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    files: Sequence[ArchivedFile],
    due: DueRows,
    timezone: str,
) -> tuple[dict[str, int], DueRows]:
    """Take rows that the archive has already out of what is due.

    Returns:
        (batch id → rows equal to their latest version there, rows that differ from it).
    """
    if not files or not len(due):
        return {}, DueRows()
    engine.register("numbered", _with_ids(connection, table, due))
    bounds = one_row(engine, "SELECT min(id), max(id) FROM numbered")
    paths = "[" + ", ".join(literal(str(file.path)) for file in files) + "]"
    stored = ROW_HASH if all(f.hash_is_current for f in files) else row_hash_sql(OWN_SCHEMA)
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE versions AS SELECT id, {key_sql()} AS key, "
        f"arg_max(filename, {ARCHIVED_AT}) AS file, arg_max({stored}, {ARCHIVED_AT}) AS hash "
        f"FROM read_parquet({paths}, filename = true, hive_partitioning = false) "
        f"WHERE id BETWEEN {bounds[0]} AND {bounds[1]} AND id IN (SELECT id FROM numbered) GROUP BY ALL"
    )
    suspects = (
        engine.sql("SELECT rowid_ FROM numbered SEMI JOIN versions USING (id) ORDER BY 1")
        .to_arrow_table()["rowid_"]
        .combine_chunks()
    )
    engine.unregister("numbered")
    equal: dict[str, int] = {}
    known: list[int] = []
    changed: list[int] = []
    by_path = {str(file.path): file.batch_id for file in files}
    for start in range(0, len(suspects), PAGE_ROWS):
        chosen = suspects.slice(start, PAGE_ROWS)
        engine.register("rows", read_hashed(connection, engine, table, chosen, timezone))
        found = engine.execute(
            f"SELECT r.{ROWID}, v.file, r.{ROW_HASH} = v.hash FROM rows r "
            f"JOIN versions v ON v.key = {key_sql('r.')}"
        ).fetchall()
        engine.unregister("rows")
        for rowid, file, same in found:
            if same:
                known.append(rowid)
                equal[by_path[file]] = equal.get(by_path[file], 0) + 1
            else:
                changed.append(rowid)
    due.take_out(np.array(known, np.int64))
    return equal, due.take_out(np.array(changed, np.int64))


def _with_ids(connection: SqliteConnection, table: SourceTable, due: DueRows) -> pa.Table:
    """Rowid and id of what is due."""
    rowids = due.rowids()
    if table.unique_id:
        return pa.table({"rowid_": rowids, "id": rowids})
    rows = connection.rows(
        f"SELECT {table.rowid}, id FROM {identifier(table.name)} "
        f"WHERE {FINISHED} AND typeof(id) = 'integer'"
    )
    ids = {"rowid_": [int(row[0]) for row in rows], "id": [int(row[1]) for row in rows]}
    pairs = pa.table(ids, schema=pa.schema([("rowid_", pa.int64()), ("id", pa.int64())]))
    return pairs.filter(pc.is_in(pairs["rowid_"], rowids))


def _cut(
    connection: SqliteConnection,
    table: SourceTable,
    request: PlanRequest,
    rows: DueRows,
    limit: int | None,
    layout: int,
    *,
    correction: bool,
) -> Iterator[BatchSpec]:
    """Cut rows into batches of one month, oldest month first.

    Within a month a batch takes neighbouring rowids: they are read and deleted by range.
    """
    if not len(rows):
        return
    sample = source.read_rows(connection, table, f"WHERE {FINISHED} LIMIT {PAGE_ROWS // 4}")
    batch_rows = request.rows_at_most(_COPIES * sample.nbytes / max(sample.num_rows, 1))
    for year, month, rowids, closed in rows.by_month(limit):
        for start in range(0, len(rowids), batch_rows):
            chosen = rowids[start : start + batch_rows]
            oldest = int(closed[start : start + batch_rows].argmin())
            yield BatchSpec(
                partition=Partition("trades", table.mode, year, month),
                rows=len(chosen),
                cutoff=request.cutoff,
                correction=correction,
                selection=Selection(
                    rowid_ranges=to_ranges(chosen), oldest=int(chosen[oldest]), layout=layout
                ),
            )
