"""What is due in a DuckDB hot store, cut into batches. The store is attached as `hot`."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from fluxhero.engine import literal, moment, one_row, scalar
from fluxhero.ledger.duckdb_archiving import file_hash_sql
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    digest_sql,
    row_hash_sql,
)
from fluxhero.ledger.schema import MODES, Kind, Table
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchSpec,
    Partition,
    PlanRequest,
    Selection,
    TablePlan,
)

_KEYS = pa.schema([("key", pa.string())])
# Manifests and folders of months cannot name what lies before; -infinity does.
_EARLIEST = "TIMESTAMPTZ '0002-01-01 00:00:00+00'"
# A folder and a batch's name begin with the mode: only those the ledger knows can be one.
_KNOWN_MODE = f"coalesce(mode IN ({', '.join(map(literal, MODES))}), false)"


def plan(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    request: PlanRequest,
    archived: Sequence[ArchivedFile],
) -> TablePlan:
    """See `HotStore.plan`."""
    key, closed = table.key[0], table.closed_at_sql
    # Asked of each row in every query, it would take as long as all the rest.
    known_mode = _KNOWN_MODE if _has_other_modes(con, table) else "true"
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW due AS SELECT {key} AS key, mode, {closed} AS closed, "
        f"year({closed})::INT AS y, month({closed})::INT AS m FROM hot.{table.name} "
        f"WHERE {table.finished_sql} AND {closed} < {moment(request.cutoff)} AND {closed} >= {_EARLIEST} "
        f"AND {known_mode}"
    )
    held = pa.table([pa.array(sorted(request.held), pa.string())], schema=_KEYS)
    con.register("held", held)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE skipped AS SELECT key FROM due SEMI JOIN held USING (key)"
    )
    held_count = scalar(con, "SELECT count(*) FROM skipped")
    purge_only, changed = _overlap(con, table, archived)
    limit = request.limit
    batches = (
        _cut(con, table, request, correction=True, keys=changed, limit=limit)
        if changed.num_rows
        else []
    )
    left = None if limit is None else limit - sum(batch.rows for batch in batches)
    if left is None or left > 0:
        batches += _cut(con, table, request, correction=False, keys=_skipped(con), limit=left)
    return TablePlan(
        batches=tuple(batches),
        purge_only=purge_only,
        refused=tuple(_without_partition(con, table, request, known_mode)),
        held=held_count,
        undated=_undated(con, table, request),
    )


def _skipped(con: duckdb.DuckDBPyConnection) -> pa.Table:
    return con.sql("SELECT DISTINCT key FROM skipped").to_arrow_table()


def _undated(con: duckdb.DuckDBPyConnection, table: Table, request: PlanRequest) -> int:
    first = table.closed_at[0]
    return scalar(
        con,
        f"SELECT count(*) FROM hot.{table.name} WHERE {table.finished_sql} AND {first} IS NULL "
        f"AND {table.closed_at_sql} < {moment(request.cutoff)}",
    )


def _has_other_modes(con: duckdb.DuckDBPyConnection, table: Table) -> bool:
    """Whether a row has a mode that the ledger does not know; DuckDB mostly tells by its statistics."""
    others = " AND ".join(f"mode <> {literal(mode)}" for mode in MODES)
    sql = f"SELECT count(*) FROM hot.{table.name} WHERE mode IS NULL OR {others}"
    return scalar(con, sql) > 0


def _without_partition(
    con: duckdb.DuckDBPyConnection, table: Table, request: PlanRequest, known_mode: str
) -> list[Rejected]:
    """Finished rows that belong into no folder of the archive: no date, or no mode of the ledger."""
    closed = table.closed_at_sql
    rows = con.execute(
        f"SELECT {table.key[0]}, to_json(t)::VARCHAR, mode, {closed} IS NULL, {closed} < {_EARLIEST} "
        f"FROM hot.{table.name} t WHERE {table.finished_sql} AND ({closed} IS NULL "
        f"OR {closed} < {_EARLIEST} OR ({closed} < {moment(request.cutoff)} AND NOT {known_mode}))"
    ).fetchall()
    return [
        Rejected(
            row={"row": text},
            reason=(
                f"finished, but {' and '.join(table.closed_at)} are all missing"
                if undated
                else "finished at a time before the calendar begins"
                if too_early
                else f"mode '{mode}' is not one of {', '.join(MODES)}"
            ),
            rule="close_time" if undated or too_early else "mode",
            position=f"{table.name} {key}",
        )
        for key, text, mode, undated, too_early in rows
    ]


def _overlap(
    con: duckdb.DuckDBPyConnection, table: Table, archived: Sequence[ArchivedFile]
) -> tuple[dict[str, int], pa.Table]:
    """Due rows that the archive has already: those equal to their latest version, and the others.

    Only files whose key range meets that of the due rows are read. Both ends are in DuckDB's order, by
    the bytes of UTF-8, and are compared here in Python's, by code points: the two are the same order
    for all text that UTF-8 can hold, and DuckDB, Arrow and Parquet hold no other. All keys found are
    `skipped` by the plan of first versions.
    """
    bounds = one_row(con, "SELECT min(key), max(key) FROM due ANTI JOIN skipped USING (key)")
    nothing = pa.table([pa.array([], pa.string())], schema=_KEYS)
    if bounds[0] is None:
        return {}, nothing
    files = [f for f in archived if f.first_key <= bounds[1] and f.last_key >= bounds[0]]
    if not files:
        return {}, nothing
    key = table.key[0]
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE versions AS "
        f"SELECT {key} AS key, arg_max(filename, {ARCHIVED_AT}) AS file, "
        f"arg_max({file_hash_sql(table, files)}, {ARCHIVED_AT}) AS hash "
        f"FROM read_parquet({_paths(files)}, filename = true, hive_partitioning = false) "
        f"WHERE {key} IN (SELECT key FROM due ANTI JOIN skipped USING (key)) GROUP BY {key}"
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE overlap AS SELECT v.key, v.file, "
        f"v.hash = {row_hash_sql(table.arrow, 't.')} AS equal "
        f"FROM versions v JOIN hot.{table.name} t ON t.{key} = v.key"
    )
    con.execute("INSERT INTO skipped SELECT key FROM overlap")
    by_path = {str(file.path): file.batch_id for file in files}
    equal = con.execute("SELECT file, count(*) FROM overlap WHERE equal GROUP BY file").fetchall()
    changed = con.sql("SELECT key FROM overlap WHERE NOT equal").to_arrow_table()
    return {by_path[file]: int(rows) for file, rows in equal}, changed


def _row_bytes(con: duckdb.DuckDBPyConnection, table: Table) -> int:
    """About how many bytes a row takes in memory, going by a few thousand of them."""
    texts = [c.name for c in table.columns if c.kind in {Kind.TEXT, Kind.JSON}]
    lengths = " + ".join(f"coalesce(strlen({name}::VARCHAR), 0)" for name in texts)
    fixed = 16 * len(table.columns)
    sample = f"SELECT {lengths} AS n FROM hot.{table.name} LIMIT 4096"
    return fixed + scalar(con, f"SELECT ceil(avg(n)) FROM ({sample})")


def _cut(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    request: PlanRequest,
    *,
    correction: bool,
    keys: pa.Table,
    limit: int | None = None,
) -> list[BatchSpec]:
    """Cut the due rows into batches of one mode and month, oldest first.

    `keys` are the only ones taken for corrections, and the ones left out otherwise.
    """
    batch_rows = request.rows_at_most(_row_bytes(con, table))
    con.register("keys", keys)
    chosen = (
        "" if not keys.num_rows else f"{'SEMI' if correction else 'ANTI'} JOIN keys USING (key)"
    )
    bound = (
        ""
        if limit is None
        else f"QUALIFY row_number() OVER (ORDER BY y, m, mode, closed, key) <= {limit}"
    )
    numbered = (
        f"SELECT *, (row_number() OVER (PARTITION BY mode, y, m ORDER BY closed, key) - 1) "
        f"// {batch_rows} AS part FROM (SELECT * FROM due {chosen} {bound})"
    )
    bounds = ("arg_min(key, (closed, key))", "arg_max(key, (closed, key))")
    largest = scalar(
        con, f"SELECT max(n) FROM (SELECT count(*) AS n FROM due {chosen} GROUP BY mode, y, m)"
    )
    if limit is None and largest <= batch_rows:
        numbered = f"SELECT *, 0 AS part FROM due {chosen}"  # spares the sort
        bounds = ("NULL", "NULL")
    rows = con.execute(
        f"SELECT mode, y, m, part, count(*), {digest_sql('hash(key)')}, min(closed), {bounds[0]}, "
        f"max(closed), {bounds[1]} FROM ({numbered}) GROUP BY mode, y, m, part ORDER BY y, m, mode, part"
    ).fetchall()
    exclusion = None if correction or not keys.num_rows else keys
    return [
        BatchSpec(
            partition=Partition(table.name, mode, year, month),
            rows=int(count),
            cutoff=request.cutoff,
            correction=correction,
            selection=Selection(
                first=(first, first_key),
                last=(last, last_key),
                without=exclusion,
                only=keys if correction else None,
                key_digest=int(digest),
            ),
        )
        for mode, year, month, _, count, digest, first, first_key, last, last_key in rows
    ]


def _paths(files: Sequence[ArchivedFile]) -> str:
    return "[" + ", ".join(literal(str(file.path)) for file in files) + "]"
