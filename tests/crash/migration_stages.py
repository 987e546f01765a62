"""Stages of a store's way to a newer schema, and what must be true of it and of the copies after that."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from fluxhero.ledger.migrations import FIRST, META, STEPS, migrate
from tests import samples
from tests.crash.bench import Bench, Order, Stage
from tests.crash.newer_schema import NEWER

STORE = "duckdb"
OPERATIONS = ("create", "migrate", "migrate after a kill")
_MIGRATE: Order = {"flow": "migrate", "parameters": {}}
# A program that ends without closing the store: its last transaction is only in the file beside it.
_WRITE_AND_VANISH = """
import duckdb, os, sys
db = duckdb.connect(sys.argv[1])
db.execute("UPDATE trades SET regime = 'last word' WHERE mode = 'paper'")
db.execute("INSERT INTO cash_flows SELECT 'f-' || i, 'live', now(), 'fee', i, 'bot', NULL FROM range(50) t(i)")
os._exit(0)
"""
Picture = Counter[tuple[str, tuple[Any, ...]]]


def prepare(bench: Bench, operation: str) -> Stage:
    """Build the state an operation starts from, save it, and run the operation once undisturbed."""
    bench.empty()
    store = bench.store(STORE)
    store.parent.mkdir(parents=True)
    truth: Picture = Counter()
    looked_at = bench.folder / "looked-at.duckdb"
    if operation != "create":
        _write_first_version(store, bench.folder / "sample.duckdb")
        if operation == "migrate after a kill":
            subprocess.run([sys.executable, "-c", _WRITE_AND_VANISH, str(store)], check=True)
    saved = bench.save(operation)
    if store.exists():
        _, truth = _look(store)
    first = 1 if store.exists() else 0
    bench.reset(saved)

    def after_kill() -> list[str]:
        if not store.exists():
            return ["the store is gone"] if first else []
        version, rows = _look(store)
        wrong = [] if rows == truth else [_difference(truth, rows, "the store")]
        for older in range(1, len(NEWER)):
            copy = store.with_name(f"{store.name}.v{older}.backup")
            if copy.exists():
                looked_at.write_bytes(copy.read_bytes())
                copied, rows = _look(looked_at)
                if (copied, rows) != (older, truth):
                    wrong.append(_difference(truth, rows, f"{copy.name} of version {copied}"))
            elif first <= older < version and first:
                wrong.append(f"there is no {copy.name}")
        return wrong

    def at_end() -> list[str]:
        version, _ = _look(store)
        wrong = [] if version == len(NEWER) else [f"the store is at version {version}"]
        left = [f"left over: {path.name}" for path in bench.live.rglob("*.partial*")]
        return after_kill() + wrong + left

    stage = Stage(STORE, operation, saved, _MIGRATE, after_kill, at_end)
    labels, seconds = bench.measure(STORE, _MIGRATE)
    return replace(stage, labels=labels, seconds=seconds)


def _write_first_version(store: Path, sample: Path) -> None:
    """A store as the first release made it, with rows in every table."""
    samples.write_sample(STORE, sample)
    migrate(store, timeout=10, steps=STEPS[:1])
    with duckdb.connect(str(store)) as db:
        db.execute(f"ATTACH '{sample}' AS sample (READ_ONLY)")
        for table in FIRST:
            names = ", ".join(f'"{name}"' for name in table.names)
            db.execute(
                f"INSERT INTO {table.name} ({names}) SELECT {names} FROM sample.{table.name}"
            )
        db.execute("DETACH sample")
    sample.unlink()


def _look(path: Path) -> tuple[int, Picture]:
    """Schema version and every row in the columns of the first version, read with DuckDB itself."""
    rows: Picture = Counter()
    with duckdb.connect(str(path), read_only=True) as db:
        db.execute("SET TimeZone = 'UTC'")
        found = db.execute(f"SELECT value FROM {META} WHERE key = 'schema_version'").fetchall()
        ids = db.execute(f"SELECT value FROM {META} WHERE key = 'store_id'").fetchall()
        for table in FIRST:
            names = ", ".join(f'"{name}"' for name in table.names)
            rows.update(
                (table.name, row)
                for row in db.execute(f"SELECT {names} FROM {table.name}").fetchall()
            )
    if rows:
        rows["identity", ids[0]] += 1
    return int(found[0][0]), rows


def _difference(truth: Picture, now: Picture, what: str) -> str:
    lost, new = truth - now, now - truth
    return f"{what} differs: {lost.total()} rows lost or changed, {new.total()} new or doubled"
