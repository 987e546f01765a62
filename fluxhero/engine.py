"""In-memory DuckDB connections, configured in one place.

Every query of the product runs on a connection made here: bounded memory, UTC, no extension is ever
downloaded. Files (hot store, archive) are attached or scanned, never opened as the main database.
"""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

# Leaves room for Python, Arrow and Prefect under the 600 MB that a run may use; a query may use more.
PROTOCOL_MEMORY, QUERY_MEMORY = "128MB", "512MB"


def new_instance(
    temp_dir: Path | None = None, *, threads: int = 1, memory: str = PROTOCOL_MEMORY
) -> duckdb.DuckDBPyConnection:
    """Start a DuckDB of its own, which takes about 15 ms; the caller closes it.

    Args:
        temp_dir: where it may spill; without it DuckDB chooses `.tmp` in the working folder, so
            callers that sort or join large inputs should name one.
        memory: DuckDB's own bound.
        threads: one does the protocol's small queries in half the CPU time of several.
    """
    instance = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "threads": threads,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    if temp_dir is not None:
        instance.execute(f"SET temp_directory = {literal(str(temp_dir))}")
    return instance


@contextmanager
def session(
    instance: duckdb.DuckDBPyConnection, timezone: str = "UTC"
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an instance, with temporary tables and a time zone of its own."""
    connection = instance.cursor()
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET TimeZone = {literal(timezone)}")
        yield connection
    finally:
        connection.close()


@contextmanager
def connect(
    *, temp_dir: Path | None = None, timezone: str = "UTC", threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an instance of its own, and close both afterwards.

    Args:
        temp_dir: where DuckDB may spill.
        timezone: zone in which text without an offset is read as TIMESTAMPTZ.
        threads: at most so many; by default one for each core.
    """
    instance = new_instance(temp_dir, threads=threads or os.cpu_count() or 1, memory=QUERY_MEMORY)
    try:
        with session(instance, timezone) as connection:
            yield connection
    finally:
        instance.close()


@functools.cache
def _shared_instance() -> duckdb.DuckDBPyConnection:
    return new_instance()


@contextmanager
def scratch() -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to the process's shared instance, for small computations done often.

    Nothing may be attached there and no global option set; temporary tables are private.
    """
    with session(_shared_instance()) as connection:
        yield connection


def literal(text: str) -> str:
    """Quote text as a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def moment(at: datetime) -> str:
    """Write a time as a SQL literal."""
    return f"TIMESTAMPTZ {literal(at.isoformat())}"


def identifier(name: str) -> str:
    """Quote a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def one_row(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] = (),
) -> tuple[Any, ...]:
    """Run a query and return its first row, leaving no unfinished result on the connection.

    Raises:
        LookupError: it has no row.
    """
    given = parameters if isinstance(parameters, Mapping) else list(parameters)
    rows = connection.execute(sql, given).fetchall()
    if not rows:
        raise LookupError(f"no row from: {sql[:80]}")
    return rows[0]


def scalar(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] = (),
) -> int:
    """Run a query whose single value is a whole number, such as a count (NULL counts as 0)."""
    return int(one_row(connection, sql, parameters)[0] or 0)
