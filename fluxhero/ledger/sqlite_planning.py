"""What is due in a FluxHero SQLite store: found in short reads, cut into batches by DuckDB."""

import itertools
from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import identifier, literal, moment, one_row, scalar
from fluxhero.ledger import sqlite_source as source
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    ROW_HASH,
    TABLE,
    row_hash_sql,
)
from fluxhero.ledger.sqlite_archiving import FINISHED, read_hashed
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_meaning import closed_at_sql, key_sql, read_times
from fluxhero.ledger.sqlite_schema import MODES, OWN_SCHEMA, ROWID, SourceTable
from fluxhero.ledger.sqlite_source import PAGE_ROWS
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchSpec,
    Partition,
    PlanRequest,
    Selection,
    TablePlan,
)


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
    for table in tables:
        problems, without_exit = _collect_due(connection, engine, table, request, timezone)
        refused += source.rejected_rows(connection, table, problems)
        undated += without_exit
        held += _skip_held(connection, engine, table, request)
        files = [file for file in archived if file.mode == table.mode]
        equal, changed = _overlap(connection, engine, table, files, timezone)
        purge_only |= equal
        for correction in (True, False):
            left = None if request.limit is None else request.limit - sum(b.rows for b in batches)
            if left is None or left > 0:
                batches += _cut(
                    connection, engine, table, request, changed if correction else None, left
                )
    return TablePlan(tuple(batches), purge_only, tuple(refused), held, undated)


def _collect_due(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    request: PlanRequest,
    timezone: str,
) -> tuple[list[tuple[int, str]], int]:
    """Fill `due` with the finished rows older than the cut-off.

    Returns:
        ((rowid, 'rule|reason') of finished rows that cannot be used, rows without an exit time).
    """
    engine.execute("CREATE OR REPLACE TEMP TABLE due (rowid_ BIGINT, closed TIMESTAMPTZ, ym INT)")
    engine.execute("CREATE OR REPLACE TEMP TABLE skipped (rowid_ BIGINT)")
    problems = _duplicated(connection, table)
    undated = 0
    for page in source.pages(connection, table, FINISHED, whole=False):
        engine.register("page", _dated(engine, page, timezone))
        problems += engine.execute(
            f"SELECT {ROWID}, CASE WHEN written IS NULL THEN 'close_time|finished, but has neither "
            f"exit_time nor updated_at' ELSE 'time|the close time is not a time: ' || written END "
            f"FROM page WHERE closed IS NULL"
        ).fetchall()
        engine.execute(
            f"INSERT INTO due SELECT {ROWID}, closed, year(closed) * 100 + month(closed) FROM page "
            f"WHERE closed < {moment(request.cutoff)}"
        )
        undated += scalar(
            engine,
            f"SELECT count(*) FROM page WHERE undated AND closed < {moment(request.cutoff)}",
        )
    doubled = [rowid for rowid, problem in problems if problem.startswith("duplicate_key")]
    if doubled:
        engine.execute(f"DELETE FROM due WHERE rowid_ IN ({','.join(map(str, doubled))})")
    return problems, undated


def _dated(engine: duckdb.DuckDBPyConnection, page: pa.Table, timezone: str) -> pa.Table:
    """Add when each row was closed, the text that says so, and whether that is its last update."""
    written = pc.coalesce(page["exit_time"], page["updated_at"])
    closed = read_times(written, timezone)
    if closed is None:
        engine.register("page", page)
        found = engine.sql(f"SELECT {closed_at_sql(timezone)} AS closed FROM page").to_arrow_table()
        closed = found["closed"]
    columns = [page[ROWID], closed, written, pc.is_null(page["exit_time"])]
    return pa.table(columns, names=[ROWID, "closed", "written", "undated"])


def _duplicated(connection: SqliteConnection, table: SourceTable) -> list[tuple[int, str]]:
    """Finished rows that share their key with another row, possible only where `id` is no key."""
    if table.unique_id:
        return []
    name = identifier(table.name)
    created = "created_at" if "created_at" in table.present else "NULL"
    rows = connection.rows(
        f"SELECT rowid, id FROM {name} WHERE {FINISHED} AND (id, coalesce({created}, '')) IN "
        f"(SELECT id, coalesce({created}, '') FROM {name} GROUP BY 1, 2 HAVING count(*) > 1)"
    )
    return [
        (int(rowid), f"duplicate_key|id {row_id} stands for more than one row of {table.name}")
        for rowid, row_id in rows
    ]


def _skip_held(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    request: PlanRequest,
) -> int:
    """Leave rows on hold out of the plan; returns how many were due."""
    ids = [parts[1] for key in request.held if (parts := split_key(key)) and parts[0] == table.name]
    if not ids:
        return 0
    rows = source.read_rows(connection, table, f"WHERE id IN ({','.join(map(str, ids))})")
    engine.register("page", rows)
    engine.register("held", pa.table({"key": pa.array(sorted(request.held), pa.string())}))
    engine.execute(
        f"INSERT INTO skipped SELECT rowid_ FROM due WHERE rowid_ IN (SELECT {ROWID} FROM "
        f"(SELECT *, {literal(table.name)} AS {TABLE} FROM page) WHERE {key_sql()} IN "
        f"(SELECT key FROM held))"
    )
    return scalar(engine, "SELECT count(*) FROM skipped")


def split_key(key: str) -> tuple[str, int, str] | None:
    """Take a key apart into table, id and created_at; None when it is not one of ours."""
    name, _, rest = key.partition(":")
    row_id, colon, created = rest.partition(":")
    if name not in MODES or not colon or not row_id.lstrip("-").isdigit():
        return None
    return name, int(row_id), created


def _overlap(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    files: Sequence[ArchivedFile],
    timezone: str,
) -> tuple[dict[str, int], list[int]]:
    """Due rows that the archive has already.

    Returns:
        (batch id → rows equal to their latest version there, rowids of rows that differ from it).
    """
    left = scalar(engine, "SELECT count(*) FROM due ANTI JOIN skipped USING (rowid_)")
    if not files or not left:
        return {}, []
    _number_due(connection, engine, table)
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
    equal: dict[str, int] = {}
    changed: list[int] = []
    by_path = {str(file.path): file.batch_id for file in files}
    for start in range(0, len(suspects), PAGE_ROWS):
        chosen = suspects.slice(start, PAGE_ROWS)
        engine.register("rows", read_hashed(connection, engine, table, chosen, timezone))
        known = engine.execute(
            f"SELECT r.{ROWID}, v.file, r.{ROW_HASH} = v.hash FROM rows r "
            f"JOIN versions v ON v.key = {key_sql('r.')}"
        ).fetchall()
        engine.unregister("rows")
        for rowid, file, same in known:
            if same:
                equal[by_path[file]] = equal.get(by_path[file], 0) + 1
            else:
                changed.append(rowid)
        engine.register(
            "known", pa.table({"rowid_": pa.array([row[0] for row in known], pa.int64())})
        )
        engine.execute("INSERT INTO skipped SELECT rowid_ FROM known")
    return equal, changed


def _number_due(
    connection: SqliteConnection, engine: duckdb.DuckDBPyConnection, table: SourceTable
) -> None:
    """Make `numbered`: rowid and id of what is due and not skipped."""
    due = "FROM due ANTI JOIN skipped USING (rowid_)"
    if table.unique_id:
        engine.execute(f"CREATE OR REPLACE TEMP VIEW numbered AS SELECT rowid_, rowid_ AS id {due}")
        return
    ids = connection.rows(f"SELECT rowid, id FROM {identifier(table.name)} WHERE {FINISHED}")
    engine.register(
        "ids", pa.table({"rowid_": [row[0] for row in ids], "id": [row[1] for row in ids]})
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP VIEW numbered AS SELECT rowid_, ids.id {due} JOIN ids USING (rowid_)"
    )


def _cut(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    request: PlanRequest,
    changed: Sequence[int] | None,
    limit: int | None,
) -> Iterator[BatchSpec]:
    """Cut due rows into batches of one month, oldest first; `changed` selects corrections."""
    if changed is None:
        chosen = "due ANTI JOIN skipped USING (rowid_)"
    elif changed:
        chosen = f"due WHERE rowid_ IN ({','.join(map(str, changed))})"
    else:
        return
    bound = "" if limit is None else f"LIMIT {limit}"
    sample = source.read_rows(connection, table, f"WHERE {FINISHED} LIMIT {PAGE_ROWS // 4}")
    batch_rows = request.rows_at_most(sample.nbytes / max(sample.num_rows, 1))
    reader = engine.sql(
        f"SELECT ym, rowid_ FROM {chosen} ORDER BY ym, closed, rowid_ {bound}"
    ).to_arrow_table()
    months = reader["ym"].to_numpy()
    rowids = reader["rowid_"].combine_chunks()
    edges = [0, *(np.flatnonzero(np.diff(months)) + 1).tolist(), len(months)]
    for first, end in itertools.pairwise(edges):
        for start in range(first, end, batch_rows):
            size = min(batch_rows, end - start)
            year, month = divmod(int(months[start]), 100)
            yield BatchSpec(
                partition=Partition("trades", table.mode, year, month),
                rows=size,
                cutoff=request.cutoff,
                correction=changed is not None,
                selection=Selection(rowids=rowids.slice(start, size)),
            )
