"""Read-only SQL over the view: one statement, no file outside the data folders, nothing written.

DuckDB writes from places that look like reading: a COPY inside WITH is part of a SELECT. So a
statement's type says too little, and its plan is looked at before it runs.
"""

import json
import re
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import duckdb

from fluxhero.archive.manifest import Manifest
from fluxhero.archive.workspace import Workspace
from fluxhero.backtest import trials
from fluxhero.engine import literal, one_row
from fluxhero.errors import BadInputError, FluxHeroError, first_line
from fluxhero.integrity.findings import FOLDER
from fluxhero.ledger import bars_view
from fluxhero.ledger.kept_views import KEPT_VIEWS
from fluxhero.ledger.partial import NOT_LOADED
from fluxhero.ledger.view import VIEWS, open_view
from fluxhero.metrics import snapshot_files
from fluxhero.reconcile import kept

TIMEOUT = 60.0  # seconds
# What makes DuckDB look at tables that the text does not name.
_LOOKS_AROUND = re.compile(r"\b(show|query|query_table|\w+_schema|\w+_catalog|duckdb_\w+)\b", re.I)
# What takes columns without naming them, or would hide that one is missing.
_TAKES_ALL = re.compile(
    r"(\bselect|,|\.)\s*\*|^\W*from\b|\(\s*from\b|\b(columns|summarize|describe|unpivot|pivot|try)\b",
    re.I,
)
# What DuckDB raises of a damaged file without naming the file.
_WORDLESS = (duckdb.Error, duckdb.InternalException, duckdb.SerializationException)
_WRITING = re.compile(r"COPY|INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP|EXPORT|ATTACH|TRUNCATE")
# Where DuckDB says an error is: the line, and under it a caret.
_PLACE = re.compile(r"^LINE (?P<line>\d+): (?P<sql>.*\n)(?P<indent> *)\^(?=\^*\s*\Z)", re.M)
_NO_COLUMN = "Referenced column"
_ALLOWED = "SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW and EXPLAIN are"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of a query; `truncated` says that there were more."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, each once: a second `a` is `a_1`, or the next that no column has."""
        taken, names = set(self.columns), dict[str, None]()
        for column in self.columns:
            others = (f"{column}_{number}" for number in count(1))
            free = (name for name in others if name not in taken and name not in names)
            names[next(free) if column in names else column] = None
        return tuple(names)

    def records(self) -> list[dict[str, Any]]:
        """The rows as dictionaries by `names`, so that no value is lost."""
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def run_query(
    workspace: Workspace,
    sql: str,
    limit: int | None = None,
    *,
    timeout: float = TIMEOUT,
) -> QueryResult:
    """Run one reading statement over the views.

    Args:
        workspace: the store and its archive.
        sql: the statement.
        limit: at most this many rows; None for all.
        timeout: seconds after which the statement is stopped.

    Raises:
        BadInputError: it is not one reading statement, or DuckDB refuses it.
        DamagedFileError: it came upon a file of the archive, the cache, or what the pipeline keeps beside
            them that is damaged or gone.
        FluxHeroError: it took longer than `timeout`.
    """
    _check_statement(sql)
    with suppress(_ColumnMissingError):
        return _run(workspace, sql, limit, timeout, _columns_in(sql))
    return _run(workspace, sql, limit, timeout, None)


def _readable(workspace: Workspace) -> list[Path]:
    """Folders whose files a statement may read by name."""
    names = (FOLDER, snapshot_files.FOLDER, trials.FOLDER.parent, kept.FOLDER)
    results = [workspace.data_dir / name for name in names]
    return [workspace.layout.root, *results, workspace.cache_dir]


class _ColumnMissingError(Exception):
    """The statement reads a column that its text did not seem to name."""


def _run(
    workspace: Workspace,
    sql: str,
    limit: int | None,
    timeout: float,
    columns: Collection[str] | None,
) -> QueryResult:
    tables = _named_in(sql)
    with open_view(workspace, tables, columns) as connection:
        _lock_down(connection, _readable(workspace))
        with _explained(timeout), _damage_named(workspace, tables), _watchdog(connection, timeout):
            _check_plan(connection, sql)
            connection.execute(sql)
            columns = tuple(column[0] for column in connection.description or ())
            rows = connection.fetchall() if limit is None else connection.fetchmany(limit + 1)
    kept = rows if limit is None else rows[:limit]
    return QueryResult(columns, tuple(kept), truncated=len(kept) < len(rows))


def _named_in(sql: str) -> Sequence[str]:
    """Views that the text mentions: only what is needed is read from the hot store."""
    if _LOOKS_AROUND.search(sql):
        return VIEWS
    words = set(re.findall(r"\w+", sql.lower()))
    return [name for name in VIEWS if name in words]


def _columns_in(sql: str) -> Collection[str] | None:
    """Columns that the text mentions: only these are read of the hot rows; None for all.

    A column that was overlooked makes the statement fail, and it runs again with all.
    """
    if _LOOKS_AROUND.search(sql) or _TAKES_ALL.search(sql):
        return None
    return set(re.findall(r"\w+", sql.lower()))


def _check_statement(sql: str) -> None:
    with _explained(TIMEOUT):
        statements = duckdb.extract_statements(sql)
    if not statements:
        raise BadInputError(
            "the query is empty", next_step=f"give one statement; {_ALLOWED} allowed"
        )
    if len(statements) != 1:
        raise BadInputError(
            f"{len(statements)} statements were given", next_step="give exactly one, without others"
        )
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN and re.search(r"\banaly[sz]e\b", sql, re.I):
        raise BadInputError(
            "EXPLAIN ANALYZE runs what it explains, writing statements too",
            next_step="use EXPLAIN without ANALYZE, or run the query itself",
        )
    if kind not in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        raise _refused(f"{kind.name} statements are not allowed here")


def _refused(what: str) -> BadInputError:
    return BadInputError(
        f"{what}: a query only reads",
        next_step=f"{_ALLOWED} allowed; trades change through ingest, archive and restore",
    )


def _lock_down(connection: duckdb.DuckDBPyConnection, folders: Sequence[Path]) -> None:
    """From here on no file outside these folders can be opened, and no setting changed."""
    allowed = ", ".join(literal(str(folder)) for folder in folders if folder.is_dir())
    connection.execute(f"SET allowed_directories = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _check_plan(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Refuse a SELECT that has a writing step in it; an EXPLAIN runs nothing."""
    if duckdb.extract_statements(sql)[0].type != duckdb.StatementType.SELECT:
        return
    try:
        plan = json.loads(one_row(connection, f"EXPLAIN (FORMAT json)\n{sql}")[1])
    except duckdb.Error as error:
        raise type(error)(_a_line_less(str(error))) from error
    writing = sorted(name for name in _operators(plan) if _WRITING.search(name))
    if writing:
        raise _refused(f"the statement would write ({', '.join(writing)})")


def _a_line_less(message: str) -> str:
    """The same message about the SQL as it was given, without the line that was put above it."""

    def renumbered(place: re.Match[str]) -> str:
        line = str(int(place["line"]) - 1)
        indent = place["indent"][len(place["line"]) - len(line) :]
        return f"LINE {line}: {place['sql']}{indent}^"

    return _PLACE.sub(renumbered, message)


def _operators(plan: Sequence[dict[str, Any]]) -> Iterator[str]:
    for operator in plan:
        yield str(operator["name"])
        yield from _operators(operator.get("children", ()))


@contextmanager
def _watchdog(connection: duckdb.DuckDBPyConnection, timeout: float) -> Iterator[None]:
    """Stop whatever runs on the connection when the time is up."""
    timer = threading.Timer(timeout, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _damage_named(workspace: Workspace, tables: Sequence[str]) -> Iterator[None]:
    """Where a damaged file is what the query failed on, say so rather than what DuckDB does.

    A file is only read for it when DuckDB speaks of that file, or has no words of its own for what
    it met: a mistake in the SQL must not cost a look at the whole archive.
    """
    try:
        yield
    except duckdb.Error as error:
        if NOT_LOADED not in str(error):
            for manifest in _suspects(workspace.chain().manifests, error, tables):
                workspace.prove_file(manifest)
            wordless = tables if type(error) in _WORDLESS else ()
            for name, prove, folder in (
                (bars_view.NAME, bars_view.prove_bars, workspace.cache_dir),
                *((view.name, view.prove, workspace.data_dir) for view in KEPT_VIEWS.values()),
            ):
                prove(folder, None if name in wordless else str(error))
        raise


def _suspects(
    manifests: Sequence[Manifest], error: duckdb.Error, tables: Sequence[str]
) -> list[Manifest]:
    named = [manifest for manifest in manifests if manifest.batch_id in str(error)]
    if named or type(error) not in _WORDLESS:
        return named
    return [manifest for manifest in manifests if manifest.table in tables or not tables]


@contextmanager
def _explained(timeout: float) -> Iterator[None]:
    """Say what a DuckDB error means to who wrote the SQL."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise FluxHeroError(
            f"the query was stopped after {timeout:g} seconds",
            next_step="narrow it down with a WHERE on exit_time, or raise --timeout",
        ) from error
    except duckdb.InvalidInputException as error:
        if NOT_LOADED in str(error):
            raise _ColumnMissingError from error
        raise _refused_by_duckdb(error) from error
    except duckdb.PermissionException as error:
        raise BadInputError(
            first_line(error),
            next_step="a query reads the views, and files of the archive and the cache only",
        ) from error
    except duckdb.CatalogException as error:
        raise BadInputError(
            first_line(error), next_step=f"the views are {', '.join(VIEWS)}"
        ) from error
    except duckdb.Error as error:
        raise _refused_by_duckdb(error) from error


def _refused_by_duckdb(error: duckdb.Error) -> BadInputError:
    advice = 'correct the SQL; `fluxhero query "DESCRIBE trades"` lists columns'
    if _NO_COLUMN in str(error):
        advice += "; text goes in single quotes: 'AAPL'"
    return BadInputError(str(error).strip(), next_step=advice)
