"""Stages of archive and restore runs, and what must be true of hot ∪ archive after them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pyarrow.parquet as pq

from fluxhero.archive.holds import add_holds
from fluxhero.archive.manifest import load_chain
from tests import samples
from tests.crash.bench import Bench, Order, Stage
from tests.crash.watcher import digests
from tests.evidence import Row, look, problems_of_archive
from tests.house import execute_elsewhere

ARCHIVE: Order = {
    "flow": "archive",
    "parameters": {"as_of": samples.AS_OF.isoformat(), "retention_days": samples.RETENTION_DAYS},
}
OPERATIONS = ("archive", "restore", "archive after restore")


def prepare(bench: Bench, kind: str, operation: str) -> Stage:
    """Build the state an operation starts from, save it, and run the operation once undisturbed."""
    bench.empty()
    sample = samples.write_sample(kind, bench.store(kind))
    held = sorted(sample.due)[::97]
    holds = bench.workspace(kind).layout.holds
    for key in held:
        table, _, bare = key.partition("/") if kind == "duckdb" else ("trades", "", key)
        add_holds(holds, table, [bare], reason="dispute", at=samples.CUTOFF, until=None)
    hot_after = sample.staying | frozenset(held)
    order = ARCHIVE
    if operation != "archive":
        bench.complete(kind, ARCHIVE)
        batches = [m.batch_id for m in load_chain(bench.workspace(kind).layout).manifests]
        biggest = max(batches, key=lambda b: sum(1 for _ in _keys(bench, kind, b)))
        whole: Order = {"batch_id": biggest}
        span: Order = {"closed_from": "2025-03-01T00:00:00+00:00",
                       "closed_to": "2025-03-20T00:00:00+00:00"}  # fmt: skip
        if operation == "restore":
            order = {"flow": "restore", "parameters": whole | {"hold_days": 30}}
            hot_after |= frozenset(_keys(bench, kind, biggest))
        else:
            for rows in (whole, span):
                bench.complete(kind, {"flow": "restore", "parameters": rows | {"hold_days": 0}})
            _correct(bench, kind)
    saved = bench.save(f"{kind} {operation}")
    truth = look(kind, bench.store(kind), bench.archive).view
    workspace = bench.workspace(kind)
    shown = {key: found[0] for key, found in digests(workspace).items()}
    workspace.store.close()
    stage = Stage(
        kind,
        operation,
        saved,
        order,
        after_kill=lambda: _differences(bench, kind, truth),
        at_end=lambda: _differences(bench, kind, truth) + _leftovers(bench, kind, hot_after),
        # After a restore the next archive run tidies up, and leaves what is on hold.
        afterwards=(ARCHIVE,) if operation == "restore" else (),
        shown=shown,
    )
    labels, seconds = bench.measure(kind, order)
    return replace(stage, labels=labels, seconds=seconds)


def _keys(bench: Bench, kind: str, batch_id: str) -> Iterator[str]:
    for row in pq.ParquetFile(bench.workspace(kind).layout.data_file(batch_id)).read().to_pylist():
        if kind == "sqlite":
            yield f"{row['_table']}:{row['id']}:{row['created_at']}"
        else:
            yield f"{row['_table']}/{row['trade_id' if row['_table'] == 'trades' else 'order_id']}"


def _correct(bench: Bench, kind: str) -> None:
    """Edit some restored rows, so that the next run archives new versions of them."""
    table, key = ("trades", "rowid") if kind == "duckdb" else ("live_trades", "id")
    finished = "status = 'closed'" if kind == "duckdb" else "status = 1"
    execute_elsewhere(
        kind,
        bench.store(kind),
        f"UPDATE {table} SET regime = 'corrected' WHERE {finished} AND {key} % 9 = 0",
    )


def _differences(bench: Bench, kind: str, truth: Counter[tuple[str, Row]]) -> list[str]:
    now = look(kind, bench.store(kind), bench.archive).view
    if now == truth:
        return []
    lost, new = truth - now, now - truth
    difference = (
        f"hot ∪ archive differs: {lost.total()} rows lost or changed, {new.total()} new or doubled, "
        f"for example {[key for key, _ in (*lost, *new)][:2]}"
    )
    return [difference]


def _leftovers(bench: Bench, kind: str, hot_after: frozenset[str]) -> list[str]:
    """What must be true once a run has completed."""
    problems = problems_of_archive(bench.archive)
    workspace = bench.workspace(kind)
    problems += [f"not purged: {manifest.batch_id}" for manifest in workspace.chain().unpurged()]
    problems += [f"left over: {p.name}" for p in workspace.data_dir.rglob("*.partial")]
    problems += [f"quarantined: {p.name}" for p in workspace.quarantined_files.rglob("*")]
    hot = look(kind, bench.store(kind), bench.archive).hot.keys()
    if hot != hot_after:
        problems.append(
            f"hot at the end: {len(hot - hot_after)} too many, {len(hot_after - hot)} missing"
        )
    return problems
