"""Stages of ingest runs, and what must be true of the ledger after them.

A file goes in whole or not at all, so a killed run leaves the ledger as it was after some number of
whole files, and the run that follows leaves it as one that nobody disturbed does: row for row, refused
rows too. Only the moment at which a row went into quarantine may differ.
"""

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from fluxhero.durable import sha256
from fluxhero.ledger.schema import ALL_TABLES, QUARANTINE
from tests import samples
from tests.crash.archive_stages import ARCHIVE
from tests.crash.bench import Bench, Order, Stage
from tests.evidence import storage_classes
from tests.flex import write_executions

STORE = "duckdb"
OPERATIONS = ("ingest", "ingest system.db", "ingest corrections", "ingest executions")
PAGE_ROWS = 150  # so that each file is several pages
Picture = Counter[tuple[str, tuple[Any, ...]]]


def prepare(bench: Bench, operation: str) -> Stage:
    """Build the state an operation starts from, save it, and run the operation once undisturbed."""
    bench.empty()
    rng = random.Random(f"{operation} sources")
    folder = bench.live / "exports"
    folder.mkdir(parents=True)
    files = [folder / "system.db"]
    if operation in {"ingest", "ingest corrections"}:
        files = _exports(folder, rng)
    if operation == "ingest corrections":
        bench.complete(STORE, _ingest(files))
        bench.complete(STORE, ARCHIVE)
        files = _corrections(folder, rng)
    elif operation == "ingest system.db":
        samples.write_sqlite_sample(files[0], 1, rng)
    elif operation == "ingest executions":
        files = _statements(folder)
    saved = bench.save(operation)
    order = _ingest(files)
    states = [picture(bench.store(STORE))]
    sources = _sources(folder)
    for count in range(1, len(files)):
        bench.complete(STORE, _ingest(files[:count]))
        states.append(picture(bench.store(STORE)))
        bench.reset(saved)
    labels, seconds = bench.measure(STORE, order)
    states.append(picture(bench.store(STORE)))
    if len({frozenset(state.items()) for state in states}) < len(states):
        raise RuntimeError(f"{operation}: a file changes nothing, so its loss would not show")

    def after_kill() -> list[str]:
        now = picture(bench.store(STORE))
        return [] if now in states else [f"no whole number of files: {difference(states, now)}"]

    def at_end() -> list[str]:
        now = picture(bench.store(STORE))
        wrong = [] if now == states[-1] else [f"the ledger differs: {difference(states[-1:], now)}"]
        wrong += _unproven(bench)
        if _sources(folder) != sources:
            wrong.append("a file that was ingested has changed")
        waiting = bench.data / "tmp" / "ingest"
        left = [*waiting.iterdir(), *bench.live.rglob("*.partial*")]
        return wrong + [f"left over: {path.name}" for path in left]

    stage = Stage(STORE, operation, saved, order, after_kill, at_end)
    return replace(stage, labels=labels, seconds=seconds)


def _ingest(files: Sequence[Path]) -> Order:
    parameters = {"paths": [str(path) for path in files], "timezone": "UTC"}
    return {"flow": "ingest", "parameters": parameters, "page_rows": PAGE_ROWS}


def _unproven(bench: Bench) -> list[str]:
    """Fills whose raw file is not kept, and raw files that are not what they are called."""
    kept = {path.name: path for path in (bench.data / "imports").glob("*")}
    wrong = [f"{name} has other bytes" for name, path in kept.items() if sha256(path) != path.stem]
    with duckdb.connect(str(bench.store(STORE)), read_only=True) as db:
        labels = {
            label for (label,) in db.execute("SELECT DISTINCT source_id FROM fills").fetchall()
        }
    digests = {label.split(":")[1] for label in labels}
    return wrong + [
        f"no raw file of {digest}"
        for digest in digests
        if not any(name.startswith(digest) for name in kept)
    ]


def picture(store: Path) -> Picture:
    """Every row of every table, as often as it is there, read with DuckDB itself."""
    rows: Picture = Counter()
    if not store.exists():
        return rows  # as good as one without rows
    with duckdb.connect(str(store), read_only=True) as db:
        db.execute("SET TimeZone = 'UTC'")
        for table in ALL_TABLES.values():
            own = [name for name in table.names if (table, name) != (QUARANTINE, "at")]
            names = ", ".join(f'"{name}"' for name in own)
            found = db.execute(f"SELECT {names} FROM {table.name}").fetchall()
            rows.update((table.name, row) for row in found)
    return rows


def difference(expected: Sequence[Picture], now: Picture) -> str:
    """How a picture differs from the nearest of those it may be."""
    nearest = min(expected, key=lambda one: (one - now).total() + (now - one).total())
    lost, new = nearest - now, now - nearest
    return (
        f"{lost.total()} rows lost or changed, {new.total()} new or doubled, "
        f"for example {[(table, row[0]) for table, row in (*lost, *new)][:2]}"
    )


def _sources(folder: Path) -> dict[str, Any]:
    """What is in the files that are ingested; reading a SQLite file may well touch its bytes."""
    return {
        path.name: [storage_classes(path, table) for table in samples.SQLITE_DDL]
        if path.suffix == ".db"
        else path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", "-wal"))
    }


# ------------------------------------------------------------------------------------------ files


def _exports(folder: Path, rng: random.Random) -> list[Path]:
    """Files with every fate a row may meet; each has keys that the one before it has too."""
    json_lines, comma_separated = folder / "a.jsonl", folder / "b.csv"
    _write_jsonl(json_lines, _with_mishaps(_trades("bot", range(500), rng), rng))
    rows = _with_mishaps(_trades("broker", range(450, 800), rng), rng)
    with comma_separated.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [json_lines, comma_separated]


def _statements(folder: Path) -> list[Path]:
    """A broker's statements, of which each begins with all that the one before it has."""
    files = [folder / "e.xml", folder / "f.xml"]
    for file, executions in zip(files, (120, 170), strict=True):
        write_executions(file, executions)
    return files


def _corrections(folder: Path, rng: random.Random) -> list[Path]:
    """Later exports: rows that changed, rows that did not, older ones, new ones, refused ones again."""
    known = [json.loads(line) for line in (folder / "a.jsonl").read_text().splitlines()]
    later = [_corrected(row, rng.choice((0, 0, 1, -1))) for row in known[: len(known) * 3 // 4]]
    files = [folder / "c.jsonl", folder / "d.jsonl"]
    _write_jsonl(files[0], later)
    _write_jsonl(files[1], _with_mishaps(_trades("bot", range(2000, 2200), rng), rng))
    return files


def _corrected(row: dict[str, Any], days: int) -> dict[str, Any]:
    if not days:
        return row
    moved = datetime.fromisoformat(row["updated_at"]) + timedelta(days=days)
    return row | {"updated_at": moved.isoformat(), "regime": f"corrected {days}"}


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def _trades(source: str, numbers: range, rng: random.Random) -> Iterator[dict[str, Any]]:
    for number in numbers:
        leave = samples.AS_OF - timedelta(seconds=rng.randrange(120 * 86_400))
        is_open = rng.random() < 0.2
        yield {
            "trade_id": f"t-{number:05d}",
            "mode": rng.choice(("live", "paper")),
            "symbol": rng.choice(samples.SYMBOLS),
            "side": rng.choice(("long", "short")),
            "quantity": rng.randrange(1, 1000),
            "entry_price": f"{rng.randrange(10**12)}.{rng.randrange(10**8):08d}"[-18:],
            "entry_time": (leave - timedelta(hours=5)).isoformat(),
            "exit_price": "" if is_open else str(rng.randrange(1, 5000)),
            "exit_time": "" if is_open else leave.isoformat(),
            "status": "open" if is_open else "closed",
            "regime": rng.choice(("bull", "naïve – “quotes”", "a;b'c--")),
            "source": source,
            "updated_at": leave.isoformat(),
        }


def _with_mishaps(trades: Iterator[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """The same with rows that are refused, rows that come twice, and keys that two rows claim."""
    rows: list[dict[str, Any]] = []
    for row in trades:
        chance = rng.random()
        if chance < 0.06:
            rows.append(row | rng.choice(({"side": "up"}, {"entry_time": "soon"}, {"symbol": ""})))
            continue
        rows.append(row)
        if chance < 0.09:
            rows.append(dict(row))
        elif chance < 0.12:
            rows.append(row | {"quantity": 7777})
    return rows
