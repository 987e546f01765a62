"""A SQLAlchemy dialect over a live DuckDB connection: as much of one as Great Expectations needs.

The published dialects open a database of their own and leave results unread while others are asked
for. This one works on the connection that it is given, with whatever is attached to it and whatever
views it has, takes all rows of a result at once, and never closes or commits anything.
"""

from collections.abc import Sequence
from typing import Any

import duckdb
from sqlalchemy import Engine, make_url
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.pool import StaticPool


class _Cursor:
    """A DB-API cursor that has read its whole result before the next statement runs."""

    arraysize = 1
    rowcount = -1
    lastrowid = None

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.description: list[tuple[Any, ...]] | None = None

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        self._connection.execute(statement, list(parameters))
        self.description = self._connection.description
        self._rows = self._connection.fetchall()

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        self._rows = []


class _Connection:
    """A DB-API connection that belongs to somebody else."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def cursor(self) -> _Cursor:
        return _Cursor(self._connection)

    def commit(self) -> None:
        """Nothing is written."""

    def rollback(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Its owner closes it."""


class LiveDuckDBDialect(DefaultDialect):
    """DuckDB under the name of the database it resembles most: Great Expectations knows no DuckDB."""

    name = "postgresql"
    driver = "live"
    default_paramstyle = "qmark"
    supports_statement_cache = True


def engine_over(connection: duckdb.DuckDBPyConnection) -> Engine:
    """Make a SQLAlchemy engine whose every statement runs on this connection."""
    pool = StaticPool(lambda: _Connection(connection))  # type: ignore[arg-type]
    dialect = LiveDuckDBDialect(dbapi=duckdb)
    return Engine(pool, dialect, make_url("postgresql+live://"))
