"""How a FluxHero SQLite store reads and compares batches.

SQLite hands over rows in short reads; Arrow and DuckDB parse times and hash.
"""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import identifier, literal
from fluxhero.errors import SourceChangedError
from fluxhero.ledger import sqlite_source as source
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    CLOSED_AT,
    DERIVED,
    ROW_HASH,
    TABLE,
    archive_schema,
    row_hash_sql,
)
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_due import from_ranges
from fluxhero.ledger.sqlite_meaning import judge, key_sql
from fluxhero.ledger.sqlite_schema import OWN_SCHEMA, PROBLEM, ROWID, SourceTable
from fluxhero.ledger.sqlite_source import PAGE_ROWS
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchRows,
    BatchSpec,
    Comparison,
    Partition,
)

FINISHED = "status IN (1, 2)"


def rowid_tail(table: SourceTable, rowids: pa.Int64Array) -> str:
    """WHERE clause that selects exactly these rowids, given in ascending order.

    By range wherever few others lie between them: a range costs a third of looking each one up.
    """
    numbers = rowids.to_numpy()
    if len(numbers):
        first, last = int(numbers[0]), int(numbers[-1])
        others = last - first + 1 - len(numbers)
        if others == 0:
            return f"WHERE {table.rowid} BETWEEN {first} AND {last}"
        if others <= len(numbers):
            between = np.setdiff1d(np.arange(first, last), numbers, assume_unique=True)
            return (
                f"WHERE {table.rowid} BETWEEN {first} AND {last} "
                f"AND {table.rowid} NOT IN ({_listed(between)})"
            )
    return f"WHERE {table.rowid} IN ({_listed(numbers)})"


def _listed(numbers: npt.NDArray[np.int64]) -> str:
    return ",".join(map(str, numbers.tolist()))


def read_hashed(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    rowids: pa.Int64Array,
    timezone: str,
) -> pa.Table:
    """Read rows as they stand, in order of rowid.

    Returns:
        rowid, problem, own columns, `_table`, `_closed_at`, `_row_hash`. A row with a value that could
        not be read as it is has no hash, so that it equals no other row.
    """
    rowids = pc.take(rowids, pc.sort_indices(rowids))
    pages = [
        source.read_rows(connection, table, rowid_tail(table, rowids.slice(start, PAGE_ROWS)))
        for start in range(0, max(len(rowids), 1), PAGE_ROWS)
    ]
    rows = pa.concat_tables(pages)
    closed, problems = judge(engine, rows, timezone)
    engine.register("pages", rows)
    hash_sql = row_hash_sql(OWN_SCHEMA)
    if rows[PROBLEM].null_count < rows.num_rows:
        hash_sql = f"CASE WHEN {PROBLEM} IS NULL THEN {hash_sql} END"
    hashes = engine.sql(f"SELECT {hash_sql} AS hash FROM pages").to_arrow_table()
    engine.unregister("pages")
    names = pa.repeat(pa.scalar(table.name, pa.string()), rows.num_rows)
    return pa.table(
        [
            *(rows[name] for name in (ROWID, *OWN_SCHEMA.names)),
            names,
            problems,
            closed,
            hashes["hash"],
        ],
        names=[ROWID, *OWN_SCHEMA.names, TABLE, "problem", CLOSED_AT, ROW_HASH],
    )


def read(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    spec: BatchSpec,
    archived_at: datetime,
    timezone: str,
) -> BatchRows:
    """See `HotStore.read`; a row that is no longer finished, due and of that month is left out."""
    schema = archive_schema(OWN_SCHEMA)
    ranges = spec.selection.rowid_ranges
    if ranges is None:
        raise ValueError(f"{spec.partition}: a SQLite batch is selected by rowids")
    _check_layout(connection, table, spec)
    hashed = read_hashed(connection, engine, table, from_ranges(ranges), timezone)
    _check_layout(connection, table, spec)
    bad = hashed.filter(pc.is_valid(hashed["problem"]))
    problems = zip(bad[ROWID].to_pylist(), bad["problem"].to_pylist(), strict=True)
    finished = pc.is_in(hashed["status"], pa.array([1, 2]))
    first, end = _month(spec.partition)
    end = min(end, spec.cutoff)
    due = pc.and_(pc.is_null(hashed["problem"]), pc.less(hashed[CLOSED_AT], pa.scalar(end)))
    due = pc.and_(due, pc.greater_equal(hashed[CLOSED_AT], pa.scalar(first)))
    wanted = pc.and_(due, finished)
    rows = hashed if pc.all(wanted).as_py() else hashed.filter(wanted)
    moment = pa.repeat(pa.scalar(archived_at, DERIVED[ARCHIVED_AT]), rows.num_rows)
    rows = rows.append_column(ARCHIVED_AT, moment).select(schema.names)
    rows = rows.take(pc.sort_indices(rows, [(CLOSED_AT, "ascending"), ("id", "ascending")]))
    refused = source.rejected_rows(connection, table, list(problems))
    return BatchRows(rows.cast(schema), tuple(refused))


def _month(partition: Partition) -> tuple[datetime, datetime]:
    """When a partition's month begins and ends, in UTC."""
    first = datetime(partition.year, partition.month, 1, tzinfo=UTC)
    return first, (first + timedelta(days=31)).replace(day=1)


def _check_layout(connection: SqliteConnection, table: SourceTable, spec: BatchSpec) -> None:
    """Make sure that a batch's rowids still name the rows that were planned.

    Raises:
        SourceChangedError: the file was rebuilt since, which numbers rows anew where `id` is no key.
    """
    if not table.unique_id and spec.selection.layout != connection.layout_version:
        raise SourceChangedError(
            f"{connection.path} was rebuilt since the rows of {table.name} were planned",
            next_step="nothing was changed; the next run plans afresh",
        )


def compare(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    file: ArchivedFile,
    timezone: str,
) -> Comparison:
    """See `HotStore.compare`."""
    stored = ROW_HASH if file.hash_is_current else row_hash_sql(OWN_SCHEMA)
    archived = engine.sql(
        f"SELECT id, {key_sql()} AS key, {stored} AS hash "
        f"FROM read_parquet({literal(str(file.path))}, hive_partitioning = false) ORDER BY id"
    ).to_arrow_table()
    equal = 0
    changed: list[str] = []
    missing: list[str] = []
    for start in range(0, archived.num_rows, PAGE_ROWS):
        wanted = archived.slice(start, PAGE_ROWS)
        found = hashed_by_id(connection, engine, table, wanted["id"].combine_chunks(), timezone)
        engine.register("wanted", wanted)
        engine.register("found", found)
        rows = engine.sql(
            f"SELECT w.key, CASE WHEN f.id IS NOT NULL THEN coalesce(f.{ROW_HASH} = w.hash, false) END "
            f"FROM wanted w LEFT JOIN found f ON w.key = {key_sql('f.')}"
        ).fetchall()
        engine.unregister("found")
        equal += sum(1 for _, same in rows if same)
        changed += [key for key, same in rows if same is False]
        missing += [key for key, same in rows if same is None]
    return Comparison(equal, tuple(sorted(changed)), tuple(sorted(missing)))


def hashed_by_id(
    connection: SqliteConnection,
    engine: duckdb.DuckDBPyConnection,
    table: SourceTable,
    ids: pa.Int64Array,
    timezone: str,
) -> pa.Table:
    """Read rows by `id`, in the form of `read_hashed`."""
    return read_hashed(connection, engine, table, _rowids(connection, table, ids), timezone)


def read_by_id(connection: SqliteConnection, table: SourceTable, ids: pa.Int64Array) -> pa.Table:
    """Read at most a page of rows by `id`: rowid and own columns."""
    rowids = _rowids(connection, table, ids)
    tail = rowid_tail(table, pc.take(rowids, pc.sort_indices(rowids)))
    return source.read_rows(connection, table, tail)


def _rowids(connection: SqliteConnection, table: SourceTable, ids: pa.Int64Array) -> pa.Int64Array:
    """Rowids of rows, which are their ids except in tables that do not say so."""
    if table.unique_id:
        return ids
    listed = ",".join(map(str, ids.to_pylist()))
    rows = connection.rows(
        f"SELECT {table.rowid} FROM {identifier(table.name)} WHERE id IN ({listed})"
    )
    return pa.array([int(rowid) for (rowid,) in rows], pa.int64())
