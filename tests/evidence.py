"""What a store and its archive hold, read without the product: SQLite, DuckDB and PyArrow themselves.

The picture is that of the one view: a row counts as its hot version where there is one, else as the
latest version that a manifest names. Values are raw: bits of floats, bytes of text.
"""

import hashlib
import json
import sqlite3
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

Row = tuple[Any, ...]

SQLITE_TABLES = ("trades", "live_trades", "paper_trades")
REAL = frozenset(
    {"entry_price", "exit_price", "shares", "stop_loss", "take_profit", "realized_pnl"}
    | {"slippage_applied"}
)
_DERIVED = frozenset({"_table", "_closed_at", "_archived_at", "_row_hash"})


@dataclass(frozen=True)
class Found:
    """Rows by key: hot ones (a list, for a key may be doubled), and archived versions, oldest first."""

    hot: dict[str, list[Row]]
    archived: dict[str, list[Row]]

    @property
    def view(self) -> Counter[tuple[str, Row]]:
        """Every row of hot ∪ archive, as often as it is there."""
        rows = Counter((key, row) for key, found in self.hot.items() for row in found)
        rows.update(
            (key, versions[-1]) for key, versions in self.archived.items() if key not in self.hot
        )
        return rows


def look(kind: str, store: Path, archive: Path) -> Found:
    """Read everything there is; keys of the DuckDB store are prefixed with their table."""
    return Found(hot_rows(kind, store), _archived(kind, archive))


def hot_rows(kind: str, store: Path) -> dict[str, list[Row]]:
    """Read the hot store alone."""
    return _hot_sqlite(store) if kind == "sqlite" else _hot_duckdb(store)


# ------------------------------------------------------------------------------------ hot store


def _hot_sqlite(path: Path) -> dict[str, list[Row]]:
    hot: dict[str, list[Row]] = {}
    db = sqlite3.connect(path, timeout=30)
    db.text_factory = bytes
    try:
        present = {name.decode() for (name,) in db.execute("SELECT name FROM sqlite_master")}
        for table in SQLITE_TABLES:
            if table not in present:
                continue
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                created = row.get("created_at") or row.get("entry_time") or b""
                key = f"{table}:{_shown(row['id'])}:{_shown(created)}"
                hot.setdefault(key, []).append(_sqlite_row(row))
    finally:
        db.close()
    return hot


def _shown(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _sqlite_row(row: dict[str, Any]) -> Row:
    """Non-null values by column; numbers in columns of prices as their float's bits."""
    return tuple(
        sorted((name, _bits(name, value)) for name, value in row.items() if value is not None)
    )


def _bits(name: str, value: Any) -> tuple[str, str]:
    if isinstance(value, float) or (name in REAL and isinstance(value, int)):
        return "real", float(value).hex()
    if isinstance(value, str):
        value = value.encode()
    return type(value).__name__, repr(value)


def storage_classes(path: Path, table: str) -> dict[int, Row]:
    """Every value of a table with SQLite's own idea of its type, by id: for exact restores."""
    db = sqlite3.connect(path)
    db.text_factory = bytes
    try:
        names = [str(c[1], "utf-8") if isinstance(c[1], bytes) else c[1] for c in
                 db.execute(f"PRAGMA table_info({table})")]  # fmt: skip
        quoted = ['"' + name.replace('"', '""') + '"' for name in names]
        wanted = ", ".join(f"{name}, typeof({name})" for name in quoted)
        rows = db.execute(f"SELECT id, {wanted} FROM {table}").fetchall()
    finally:
        db.close()
    return {
        row[0]: tuple(value.hex() if isinstance(value, float) else value for value in row[1:])
        for row in rows
    }


def _hot_duckdb(path: Path) -> dict[str, list[Row]]:
    hot: dict[str, list[Row]] = {}
    with duckdb.connect(str(path), read_only=True) as db:
        db.execute("SET TimeZone = 'UTC'")
        for table, key in (("trades", "trade_id"), ("orders", "order_id")):
            cursor = db.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description or []]
            place = names.index(key)
            for values in cursor.fetchall():
                hot.setdefault(f"{table}/{values[place]}", []).append(_ledger_row(names, values))
    return hot


def _ledger_row(names: list[str], values: tuple[Any, ...]) -> Row:
    return tuple(
        (name, value) for name, value in zip(names, values, strict=True) if value is not None
    )


# -------------------------------------------------------------------------------------- archive


def manifests(archive: Path) -> list[dict[str, Any]]:
    """Manifests in order."""
    paths = sorted((archive / "manifests").glob("*.json"))
    return [
        json.loads(path.read_bytes()) | {"_path": path}
        for path in paths
        if "." not in path.name.removesuffix(".json")
    ]


def events(archive: Path, kind: str) -> list[dict[str, Any]]:
    """Event files of one kind."""
    paths = sorted((archive / "manifests").glob(f"*.{kind}*.json"))
    return [json.loads(path.read_bytes()) for path in paths]


def _archived(kind: str, archive: Path) -> dict[str, list[Row]]:
    versions: dict[str, list[tuple[Any, Row]]] = {}
    for manifest in manifests(archive):
        table = pq.ParquetFile(archive / manifest["file"]["path"]).read()
        for row in table.to_pylist():
            at = row["_archived_at"]
            if kind == "sqlite":
                key = f"{row['_table']}:{row['id']}:{row['created_at'] or row['entry_time'] or ''}"
                value = _archived_sqlite_row(row)
            else:
                key = f"{row['_table']}/{row['trade_id' if row['_table'] == 'trades' else 'order_id']}"
                own = [name for name in row if name not in _DERIVED]
                value = _ledger_row(own, tuple(row[name] for name in own))
            versions.setdefault(key, []).append((at, value))
    return {
        key: [row for _, row in sorted(found, key=lambda version: version[0])]
        for key, found in versions.items()
    }


def _archived_sqlite_row(row: dict[str, Any]) -> Row:
    values = {k: v for k, v in row.items() if k not in _DERIVED and k != "_extra"}
    for name, text in json.loads(row["_extra"] or "{}").items():
        values[name] = _evaluated(text)
    return _sqlite_row(values)


@cache
def _evaluated(text: str) -> Any:
    db = sqlite3.connect(":memory:")
    db.text_factory = bytes
    try:
        return db.execute(f"SELECT {text}").fetchone()[0]
    finally:
        db.close()


def problems_of_archive(archive: Path) -> list[str]:
    """What is wrong with the chain of manifests, their files, and what lies beside them."""
    problems = []
    expected = "0" * 64
    named = set()
    for manifest in manifests(archive):
        content = manifest["_path"].read_bytes()
        if manifest["previous_sha256"] != expected:
            problems.append(f"{manifest['batch_id']} does not follow its predecessor")
        expected = hashlib.sha256(content).hexdigest()
        file = archive / manifest["file"]["path"]
        named.add(file)
        if hashlib.sha256(file.read_bytes()).hexdigest() != manifest["file"]["sha256"]:
            problems.append(f"{file.name} is not the file its manifest describes")
    for table in ("trades", "orders"):
        stray = {path for path in (archive / table).rglob("*") if path.is_file()} - named
        problems += [f"no manifest names {path.name}" for path in sorted(stray)]
    problems += [f"left over: {path.name}" for path in archive.rglob("*.partial")]
    return problems
