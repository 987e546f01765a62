"""What every archived row carries beside its own columns, and the hash that stands for its values.

A row hash is DuckDB's 64-bit `hash` over the row's own columns. It is fast but may change with a
DuckDB release, so whatever stores such hashes also stores `hash_algorithm()`; where the two differ,
hashes are computed afresh from the values instead.
"""

import functools

import pyarrow as pa

from fluxhero.engine import identifier, scalar, scratch

TABLE, CLOSED_AT, ARCHIVED_AT, ROW_HASH = "_table", "_closed_at", "_archived_at", "_row_hash"
_TIME = pa.timestamp("us", tz="UTC")
DERIVED: dict[str, pa.DataType] = {
    TABLE: pa.string(),
    CLOSED_AT: _TIME,
    ARCHIVED_AT: _TIME,
    ROW_HASH: pa.uint64(),
}


def archive_schema(own: pa.Schema) -> pa.Schema:
    """The row's own columns followed by the derived ones."""
    return pa.schema([*own, *(pa.field(name, kind) for name, kind in DERIVED.items())])


def row_hash_sql(schema: pa.Schema, prefix: str = "") -> str:
    """SQL of the hash over the row's own columns; JSON counts as its text."""
    columns = [
        f"{prefix}{identifier(field.name)}" + ("::VARCHAR" if field.type == pa.string() else "")
        for field in schema
        if field.name not in DERIVED
    ]
    return f"hash({', '.join(columns)})"


def digest_sql(value: str) -> str:
    """SQL of the sum of 64-bit hashes modulo 2⁶⁴: the same for any order of the rows."""
    return f"(coalesce(sum({value}), 0) % 18446744073709551616)::UBIGINT"


def digest_of(hashes: pa.ChunkedArray) -> int:
    """The same sum over an Arrow column."""
    return int(hashes.to_numpy().sum(dtype="uint64"))


@functools.cache
def hash_algorithm() -> str:
    """Name the hash by what it does to a fixed row, so that equal names mean equal hashes."""
    with scratch() as connection:
        value = scalar(
            connection,
            "SELECT hash('FluxHero', 1::BIGINT, 2.5::DOUBLE, 3.25::DECIMAL(18,8), "
            "TIMESTAMPTZ '2026-01-02 03:04:05.678901+00', NULL::VARCHAR)",
        )
    return f"duckdb-hash/{value:016x}"
