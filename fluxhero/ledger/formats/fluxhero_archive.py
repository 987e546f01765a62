"""The `fluxhero-archive` format: `trades_archive_*.parquet` as FluxHero itself writes them.

Such a file is one trades table that went through a data frame: an all-NULL column lost its type,
whole numbers may have become floats, times are naive text or timestamps. Columns are brought back
to what the SQLite table held, and from there a row means exactly what `fluxhero` would make of it,
its id included, so that a trade found in both is one trade. The file does not say which table it
was: legacy, unless `--mode` says otherwise.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.engine import connect, identifier, literal
from fluxhero.errors import BadInputError
from fluxhero.ledger import sqlite_meaning, sqlite_schema
from fluxhero.ledger.formats.contract import PAGE_ROWS, Format, Page, ReadOptions, nearest
from fluxhero.ledger.formats.fluxhero_store import admit_known
from fluxhero.ledger.formats.parquet import MAGIC, as_text, opened, row_count
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import TABLE
from fluxhero.ledger.schema import TRADES
from fluxhero.ledger.sqlite_schema import PROBLEM

REQUIRED = ("id", "symbol", "side", "entry_price", "entry_time", "shares", "status")
_OWN = {f.name: f.type for f in sqlite_schema.OWN_SCHEMA if f.name != sqlite_schema.EXTRA}
_POSITION = "_position"
_MICROSECONDS = 6  # digits of a fraction


def _recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(MAGIC):
        return False
    try:
        with opened(path) as file:
            names = set(file.schema_arrow.names)
    except BadInputError:
        return False  # the parquet format, next in line, says what is wrong with it
    return names.issuperset(REQUIRED) and "trade_id" not in names


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    table = _source_table(options.mode)
    with opened(path) as file, connect(timezone="UTC") as connection:
        names = file.schema_arrow.names
        missing = [name for name in REQUIRED if name not in names]
        if missing or len(set(names)) < len(names):
            what = f"no column {', '.join(missing)}" if missing else "a column twice"
            raise BadInputError(
                f"{path} is not a FluxHero archive: it has {what}",
                next_step="name its real --format; nothing was written",
            )
        _refuse_zoned_key(path, file.schema_arrow)
        first = 1
        for batch in file.iter_batches(batch_size=PAGE_ROWS):
            yield _page(connection, batch, first, table=table, timezone=options.timezone)
            first += batch.num_rows


def _refuse_zoned_key(path: Path, schema: pa.Schema) -> None:
    """Guess no text that is part of an id: with and without an offset, it would be two trades."""
    name = "created_at" if "created_at" in schema.names else "entry_time"
    kind = schema.field(name).type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        raise BadInputError(
            f"{path}: {name} is part of a trade's id and has a time zone here ({kind.tz}), so that nobody "
            "can tell which text the bot wrote",
            next_step=f"write {name} as the bot's own text, or as times without a zone if the bot wrote no "
            "offsets; nothing was written",
        )


def _source_table(mode: str | None) -> str:
    tables = {value: name for name, value in sqlite_schema.MODES.items()}
    if mode is not None and mode not in tables:
        raise BadInputError(
            f"there is no mode '{mode}'{nearest(mode, tables)}",
            next_step=f"give --mode one of {', '.join(tables)}",
        )
    return tables[mode or "legacy"]


def _page(
    connection: duckdb.DuckDBPyConnection,
    batch: pa.RecordBatch,
    first: int,
    *,
    table: str,
    timezone: str,
) -> Page:
    extra = [name for name in batch.schema.names if name not in _OWN]
    source = {name: _as_stored(batch.column(name)) for name in batch.schema.names}
    page = pa.table({**source, _POSITION: range(first, first + batch.num_rows)})
    connection.register("page", page)
    own = ", ".join(
        f"{_own_sql(name, kind, page.schema)} AS {identifier(name)}" for name, kind in _OWN.items()
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE own AS SELECT {own}, {_extra_sql(extra, page.schema)} "
        f"AS {sqlite_schema.EXTRA}, {literal(table)} AS {TABLE}, {_POSITION}, "
        f"{_problem_sql(page.schema)} AS {PROBLEM} FROM page"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE judged AS SELECT * EXCLUDE ({PROBLEM}), "
        f"{sqlite_meaning.problem_sql()} AS {PROBLEM} FROM own"
    )
    good = f"(FROM judged WHERE {PROBLEM} IS NULL ORDER BY {_POSITION})"
    rows = connection.sql(sqlite_meaning.canonical_sql(good, timezone)).to_arrow_table()
    bad = connection.execute(
        f"SELECT {_POSITION}, {PROBLEM} FROM judged WHERE {PROBLEM} IS NOT NULL ORDER BY 1"
    ).fetchall()
    return admit_known(rows.cast(TRADES.arrow), _describe(page, bad, first))


def _as_stored(array: pa.Array) -> pa.Array:
    """Bring a column back to a type SQLite has: integer, real or text."""
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return array
    if pa.types.is_timestamp(kind):
        return pa.array(
            (value if value is None else _iso(value) for value in as_text(array).to_pylist()),
            pa.string(),
        )
    return as_text(array)


def _iso(text: str) -> str:
    """The text Python's isoformat gives, which is what FluxHero stores: no fraction, or six digits."""
    zone = "+00:00" if text.endswith("Z") else ""
    date, _, time = text.removesuffix("Z").partition(" ")
    whole, _, fraction = time.partition(".")
    digits = fraction.rstrip("0").ljust(_MICROSECONDS, "0") if fraction.strip("0") else ""
    return f"{date}T{whole}{'.' if digits else ''}{digits}{zone}"


def _own_sql(name: str, kind: pa.DataType, schema: pa.Schema) -> str:
    if name not in schema.names:
        return f"NULL::{_SQL_TYPES[kind]}"
    return f"TRY_CAST({identifier(name)} AS {_SQL_TYPES[kind]})"


_SQL_TYPES = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR"}


def _extra_sql(names: list[str], schema: pa.Schema) -> str:
    """Unknown columns as SQL literals, those that have a value, as the SQLite source carries them."""
    pairs = []
    for name in names:
        text = f"{identifier(name)}::VARCHAR"
        quoted = f"'''' || replace({text}, '''', '''''') || ''''"
        is_text = schema.field(name).type == pa.string()
        pairs.append(f"{literal(name)}, {quoted if is_text else text}")
    if not pairs:
        return "NULL::VARCHAR"
    known = f"json_merge_patch('{{}}', json_object({', '.join(pairs)}))"
    return f"nullif({known}::VARCHAR, '{{}}')"


def _problem_sql(schema: pa.Schema) -> str:
    """Which value SQLite would not have had in its column: 'rule|reason', or NULL."""
    cases = ["WHEN false THEN NULL"]
    for name, kind in _OWN.items():
        if name not in schema.names or kind == pa.string():
            continue
        column = identifier(name)
        told = f"|{name} is ' || left({column}::VARCHAR, 60) || ', not"
        number, whole = f"TRY_CAST({column} AS DOUBLE)", f"TRY_CAST({column} AS BIGINT)"
        unfit = f"{number} IS NULL"
        if kind == pa.int64():
            unfit += f" OR {whole} IS NULL OR {number} <> {whole}::DOUBLE"
        words = "a whole number" if kind == pa.int64() else "a number"
        cases += [
            f"WHEN NOT isfinite({number}) THEN 'finite{told} a finite number'",
            f"WHEN {column} IS NOT NULL AND ({unfit}) THEN 'type{told} {words}'",
        ]
    return f"CASE {' '.join(cases)} END::VARCHAR"


def _describe(page: pa.Table, bad: list[tuple[int, str]], first: int) -> list[Rejected]:
    if not bad:
        return []
    places = pa.array([position - first for position, _ in bad], pa.int64())
    raw = page.drop_columns([_POSITION]).take(places).to_pylist()
    return [
        Rejected(
            row={name: str(v) if isinstance(v, float) else v for name, v in row.items()},
            reason=problem.partition("|")[2],
            rule=problem.partition("|")[0],
            position=f"row {position}",
        )
        for row, (position, problem) in zip(raw, bad, strict=True)
    ]


FLUXHERO_ARCHIVE = Format(
    "fluxhero-archive", "FluxHero's own trades_archive_*.parquet", _recognises, _pages, row_count
)
