"""How a DuckDB hot store reads and compares batches: the SQL of the archive protocol.

Every function takes a connection on which the store is attached as `hot`.
"""

from collections.abc import Sequence
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import literal, moment, scalar
from fluxhero.errors import SourceChangedError
from fluxhero.ledger.rows import (
    ARCHIVED_AT,
    CLOSED_AT,
    ROW_HASH,
    TABLE,
    archive_schema,
    digest_of,
    row_hash_sql,
)
from fluxhero.ledger.schema import Table
from fluxhero.ledger.store import (
    ArchivedFile,
    BatchSpec,
    Comparison,
    Selection,
)


def _closed_between(table: Table, first: datetime, last: datetime) -> str:
    return table.closed_between_sql(f"hot.{table.name}", moment(first), moment(last))


def file_hash_sql(table: Table, files: Sequence[ArchivedFile]) -> str:
    """SQL of a file's row hashes: as stored, or from the values if another DuckDB stored them."""
    return ROW_HASH if all(f.hash_is_current for f in files) else row_hash_sql(table.arrow)


def read(
    con: duckdb.DuckDBPyConnection, table: Table, spec: BatchSpec, archived_at: datetime
) -> pa.Table:
    """See `HotStore.read`."""
    chosen = spec.selection
    if chosen.first is None or chosen.last is None:
        raise ValueError(f"{spec.partition}: a DuckDB batch is selected by a range")
    key, closed = table.key[0], table.closed_at_sql
    own = ", ".join(
        f"{c.name}::VARCHAR AS {c.name}" if c.kind == "JSON" else c.name for c in table.columns
    )
    keys = chosen.only if chosen.only is not None else chosen.without
    join = ""
    if keys is not None:
        con.register("keys", keys)
        verb = "SEMI" if chosen.only is not None else "ANTI"
        join = f"{verb} JOIN keys ON keys.key = t.{key}"
    schema = archive_schema(table.arrow)
    rows = con.sql(
        f"SELECT {own}, {literal(table.name)} AS {TABLE}, {closed} AS {CLOSED_AT}, "
        f"{moment(archived_at)} AS {ARCHIVED_AT}, {row_hash_sql(table.arrow)} AS {ROW_HASH}, "
        f"hash({key}) AS key_hash "
        f"FROM {_closed_between(table, chosen.first[0], chosen.last[0])} t {join} "
        f"WHERE {table.finished_sql} AND mode = {literal(spec.partition.mode)} "
        f"{_key_bounds(key, closed, chosen)}"
    ).to_arrow_table()
    order = pc.sort_indices(rows, [(CLOSED_AT, "ascending"), (key, "ascending")])
    rows = rows.take(order)  # cheaper than sorting whole rows in DuckDB
    digest = digest_of(rows["key_hash"])
    if rows.num_rows != spec.rows or digest != chosen.key_digest:
        raise SourceChangedError(
            f"the {spec.rows} rows planned for {spec.partition} are no longer the ones in the store "
            f"({rows.num_rows} now)",
            next_step="nothing was changed; the next run plans afresh",
        )
    return rows.select(schema.names).cast(schema)


def _key_bounds(key: str, closed: str, chosen: Selection) -> str:
    """SQL that cuts rows closed at the very ends of the range; a month cut in two needs it."""
    sql = ""
    if chosen.first and chosen.first[1] is not None:
        sql += f"AND ({closed} > {moment(chosen.first[0])} OR {key} >= {literal(chosen.first[1])}) "
    if chosen.last and chosen.last[1] is not None:
        sql += f"AND ({closed} < {moment(chosen.last[0])} OR {key} <= {literal(chosen.last[1])}) "
    return sql


def compare(con: duckdb.DuckDBPyConnection, table: Table, file: ArchivedFile) -> Comparison:
    """See `HotStore.compare`."""
    key = table.key[0]
    register_superseded(con, file)
    equal = scalar(con, f"SELECT count(*) FROM ({equal_rows_sql(table, file)})")
    if equal == file.rows:
        return Comparison(equal, (), ())
    rows = con.execute(
        f"SELECT a.{key}, t.{key} IS NULL FROM {_scan(table, file)} a LEFT JOIN hot.{table.name} t USING ({key}) "
        f"WHERE t.{key} IS NULL OR {row_hash_sql(table.arrow, 't.')} <> {row_hash_sql(table.arrow, 'a.')} "
        f"ORDER BY 1"
    ).fetchall()
    return Comparison(
        equal,
        changed=tuple(str(k) for k, missing in rows if not missing),
        missing=tuple(str(k) for k, missing in rows if missing),
    )


def register_superseded(con: duckdb.DuckDBPyConnection, file: ArchivedFile) -> None:
    """Make known which rows of a file the SQL below leaves out."""
    if file.superseded is not None:
        con.register("superseded", file.superseded)


def _scan(table: Table, file: ArchivedFile) -> str:
    rows = f"read_parquet({literal(str(file.path))}, hive_partitioning = false)"
    if file.superseded is None:
        return rows
    return f"(SELECT * FROM {rows} WHERE {table.key[0]} NOT IN (SELECT key FROM superseded))"


def equal_rows_sql(table: Table, file: ArchivedFile) -> str:
    """SELECT rowid and key of the hot rows that equal a file's rows.

    The time range prunes the scan; an equal row has an equal close time.
    """
    key = table.key[0]
    return (
        f"SELECT t.id, t.key FROM (SELECT rowid AS id, {key} AS key, {row_hash_sql(table.arrow)} AS hash "
        f"FROM {_closed_between(table, file.first_closed_at, file.last_closed_at)} "
        f"WHERE {table.closed_at_sql} < {moment(file.cutoff)} AND mode = {literal(file.mode)}) t "
        f"JOIN (SELECT {key} AS key, {file_hash_sql(table, [file])} AS hash FROM {_scan(table, file)}) a "
        f"ON t.key = a.key AND t.hash = a.hash"
    )
