"""The kill matrix: kill a run at a boundary or at a random instant, look, run once more, look again.

`python -m tests.crash.matrix --kills 320 --seed 1 --out docs/crash-matrix.json` runs all of it and writes
the figures beside as a Markdown table. See `victim` for who dies, `tests.evidence` for who looks.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from config.settings import Settings
from fluxhero.archive.holds import add_holds
from fluxhero.archive.manifest import load_chain
from fluxhero.archive.workspace import Workspace
from tests import samples
from tests.crash.watcher import digests
from tests.evidence import Row, look, problems_of_archive
from tests.house import execute_elsewhere

REPOSITORY = Path(__file__).parents[2]
ARCHIVE: dict[str, Any] = {
    "flow": "archive",
    "parameters": {"as_of": samples.AS_OF.isoformat(), "retention_days": samples.RETENTION_DAYS},
}
STORES = ("duckdb", "sqlite")
OPERATIONS = ("archive", "restore", "archive after restore")
RUN_SECONDS = 120  # far more than any run here takes
BATCH_ROWS = 200


# ------------------------------------------------------------------------------------- processes


class Killer:
    """One `victim` process, which forks a child for each order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the victim's parent process has ended")
        return None if line == "ready\n" else json.loads(line)

    def start(self, order: dict[str, Any]) -> int:
        """Fork a child; returns its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._answer()["pid"])

    def end(self) -> int:
        """Wait for the child: 0, 1, or minus the signal that ended it."""
        return int(self._answer()["ended"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


# ---------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class Stage:
    """A state from which runs start: a folder to copy, and what must stay true of it."""

    store: str
    operation: str
    saved: Path
    truth: Counter[tuple[str, Row]]
    shown: dict[str, int]
    orders: tuple[dict[str, Any], ...]  # what the run is (the last one is what gets killed)
    hot_after: frozenset[str]
    labels: tuple[str, ...] = ()
    seconds: float = 1.0


@dataclass
class Result:
    """What came of one scenario."""

    store: str
    operation: str
    kind: str
    points: list[str]
    kills: int = 0
    recovered: bool = False
    looks: int = 0
    violations: list[str] = field(default_factory=list)


class Bench:
    """A place where one scenario at a time is played; the store's path never changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live = folder / "live"
        self.killer, self.reader = Killer(), Killer()
        self._number = 0

    def close(self) -> None:
        self.killer.close()
        self.reader.close()

    # ---- paths and settings

    def store(self, kind: str) -> Path:
        return self.live / "bot" / ("system.db" if kind == "sqlite" else "ledger.duckdb")

    @property
    def archive(self) -> Path:
        return self.live / "data" / "archive"

    def workspace(self, kind: str) -> Workspace:
        return Workspace.of(
            Settings(
                data_dir=self.live / "data",
                store_url=f"{kind}:///{self.store(kind)}",
                batch_rows=BATCH_ROWS,
                lock_timeout_seconds=30,
            )
        )

    def order(self, kind: str, what: dict[str, Any], **more: Any) -> dict[str, Any]:
        self._number += 1
        environment = {
            "FLUXHERO_DATA_DIR": str(self.live / "data"),
            "FLUXHERO_STORE_URL": f"{kind}:///{self.store(kind)}",
            "FLUXHERO_BATCH_ROWS": str(BATCH_ROWS),
            "FLUXHERO_LOCK_TIMEOUT_SECONDS": "30",
        }
        return {
            "do": "run",
            "environment": environment,
            "folder": str(self.folder),
            "output": str(self.folder / f"out-{self._number}.json"),
            **what,
            **more,
        }

    def run(self, kind: str, what: dict[str, Any], **more: Any) -> tuple[int, dict[str, Any]]:
        """Run to its end; returns exit code and what it said."""
        order = self.order(kind, what, **more)
        self.killer.start(order)
        return self.killer.end(), _read(order)

    def complete(self, kind: str, what: dict[str, Any], **more: Any) -> dict[str, Any]:
        code, said = self.run(kind, what, **more)
        if code != 0:
            raise RuntimeError(f"a run that nobody killed failed: {said.get('trace', said)}")
        return said

    # ---- stages

    def prepare(self, kind: str, operation: str) -> Stage:
        """Build the state an operation starts from, run it once undisturbed, and save both."""
        shutil.rmtree(self.live, ignore_errors=True)
        sample = samples.write_sample(kind, self.store(kind))
        held = sorted(sample.due)[::97]
        bare = [key.partition("/")[2] if kind == "duckdb" else key for key in held]
        add_holds(
            self.workspace(kind).layout.holds, bare, reason="dispute", at=samples.CUTOFF, until=None
        )
        staying = sample.staying | frozenset(held)
        what: dict[str, Any] = ARCHIVE
        hot_after = staying
        if operation != "archive":
            self.complete(kind, ARCHIVE)
            batches = [m.batch_id for m in load_chain(self.workspace(kind).layout).manifests]
            biggest = max(batches, key=lambda b: sum(1 for _ in self._keys(kind, b)))
            span = {
                "closed_from": "2025-03-01T00:00:00+00:00",
                "closed_to": "2025-03-20T00:00:00+00:00",
            }
            restores: list[dict[str, Any]] = [
                {"batch_id": biggest, "hold_days": 30},
                span | {"hold_days": 30},
            ]
            if operation == "restore":
                what = {"flow": "restore", "parameters": restores[0]}
                hot_after = staying | frozenset(self._keys(kind, biggest))
            else:
                for parameters in restores:
                    self.complete(
                        kind, {"flow": "restore", "parameters": parameters | {"hold_days": 0}}
                    )
                self._correct(kind)
        saved = self.folder / f"{kind}-{operation}".replace(" ", "-")
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.live, saved)
        truth = look(kind, self.store(kind), self.archive).view
        workspace = self.workspace(kind)
        shown = {key: found[0] for key, found in digests(workspace).items()}
        workspace.store.close()
        trace = self.folder / "trace"
        began = time.monotonic()
        self.complete(kind, what, trace=str(trace))
        seconds = time.monotonic() - began
        labels = tuple(trace.read_text().splitlines())
        return Stage(kind, operation, saved, truth, shown, (what,), hot_after, labels, seconds)

    def _keys(self, kind: str, batch_id: str) -> Iterator[str]:
        import pyarrow.parquet as pq

        workspace = self.workspace(kind)
        path = workspace.layout.data_file(batch_id)
        for row in pq.ParquetFile(path).read().to_pylist():
            if kind == "sqlite":
                yield f"{row['_table']}:{row['id']}:{row['created_at']}"
            else:
                yield f"{row['_table']}/{row.get('trade_id') if row['_table'] == 'trades' else row['order_id']}"

    def _correct(self, kind: str) -> None:
        """Edit some restored rows, so that the next run archives new versions of them."""
        table, key = ("trades", "rowid") if kind == "duckdb" else ("live_trades", "id")
        finished = "status = 'closed'" if kind == "duckdb" else "status = 1"
        execute_elsewhere(
            kind,
            self.store(kind),
            f"UPDATE {table} SET regime = 'corrected' WHERE {finished} AND {key} % 9 = 0",
        )

    def reset(self, stage: Stage) -> None:
        shutil.rmtree(self.live)
        shutil.copytree(stage.saved, self.live)

    # ---- scenarios

    def play(self, stage: Stage, scenario: "Planned", *, watch: bool) -> Result:
        """Play a scenario; once more with an earlier first kill where the run had ended before it."""
        first, *more = scenario.kills
        while True:
            result = self._play(stage, scenario.kind, (first, *more), watch=watch)
            if result.kills or result.violations or isinstance(first, int):
                return result
            first *= 0.6

    def _play(
        self, stage: Stage, kind: str, kills: Sequence[int | float], *, watch: bool
    ) -> Result:
        """Kill the run, then the runs that recover from it; let the last one end; judge.

        Args:
            stage: where it starts.
            kind: what the kills are, for the report.
            kills: a boundary's number, or the seconds until SIGKILL arrives from outside; one a run.
            watch: whether a reader looks on all the while.
        """
        self.reset(stage)
        what = stage.orders[-1]
        result = Result(stage.store, stage.operation, kind, [])
        with self._watched(stage, result) if watch else _unwatched():
            for kill in kills:
                point = self._kill(stage, what, kill)
                if point is None:
                    break
                result.points.append(point)
                result.kills += 1
                if not watch:  # the reader excludes others from a DuckDB file
                    result.violations += self._differences(stage)
            code, said = self.run(stage.store, what)
            result.recovered = code == 0
            if code != 0:
                result.violations.append(f"the run after it failed: {said.get('trace', said)}")
            if (
                what["flow"] == "restore"
            ):  # the next archive run tidies up, and leaves what is on hold
                self.complete(stage.store, ARCHIVE)
        result.violations += self._differences(stage) + self._leftovers(stage)
        return result

    def _kill(self, stage: Stage, what: dict[str, Any], kill: int | float) -> str | None:
        """Kill one run; returns where it died, None if it had already ended."""
        trace = self.folder / "trace"
        if isinstance(kill, int):
            code, said = self.run(stage.store, what, kill_at=kill, trace=str(trace))
        else:
            order = self.order(stage.store, what)
            child = self.killer.start(order)
            time.sleep(kill)
            _signal(child)
            code, said = self.killer.end(), _read(order)
        if code == -signal.SIGKILL:
            if isinstance(kill, float):
                return f"after {kill:.3f} s"
            return f"boundary {kill}: {trace.read_text().splitlines()[-1]}"
        if code != 0:
            raise RuntimeError(f"the run failed before it was killed: {said.get('trace', said)}")
        return None

    @contextmanager
    def _watched(self, stage: Stage, result: Result) -> Iterator[None]:
        expected, stop = self.folder / "expected.json", self.folder / "stop"
        expected.write_text(json.dumps(stage.shown))
        stop.unlink(missing_ok=True)
        order = self.order(stage.store, {"do": "watch"}, stop=str(stop), expected=str(expected))
        self.reader.start(order)
        try:
            yield
        finally:
            stop.touch()
            code, said = self.reader.end(), _read(order)
        if code != 0:
            result.violations.append(f"the reader failed: {said.get('trace', said)}")
        result.looks = said.get("looks", 0)
        result.violations += [f"the reader saw {wrong}" for wrong in said.get("wrong", [])]

    def _differences(self, stage: Stage) -> list[str]:
        now = look(stage.store, self.store(stage.store), self.archive).view
        if now == stage.truth:
            return []
        lost, new = stage.truth - now, now - stage.truth
        difference = (
            f"hot ∪ archive differs: {lost.total()} rows lost or changed, {new.total()} new or doubled, "
            f"for example {[key for key, _ in (*lost, *new)][:2]}"
        )
        return [difference]

    def _leftovers(self, stage: Stage) -> list[str]:
        """What must be true once a run has completed."""
        problems = problems_of_archive(self.archive)
        workspace = self.workspace(stage.store)
        chain = workspace.chain()
        problems += [f"not purged: {manifest.batch_id}" for manifest in chain.unpurged()]
        problems += [f"left over: {p.name}" for p in workspace.data_dir.rglob("*.partial")]
        problems += [f"quarantined: {p.name}" for p in workspace.quarantined_files.rglob("*")]
        hot = look(stage.store, self.store(stage.store), self.archive).hot.keys()
        if hot != stage.hot_after:
            problems.append(
                f"hot at the end: {len(hot - stage.hot_after)} too many, {len(stage.hot_after - hot)} missing"
            )
        return problems


@contextmanager
def _unwatched() -> Iterator[None]:
    yield


def _signal(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _read(order: dict[str, Any]) -> dict[str, Any]:
    path = Path(order["output"])
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    path.unlink()
    return content


# ------------------------------------------------------------------------------------------ plan


@dataclass(frozen=True)
class Planned:
    """One scenario to play."""

    kind: str
    kills: tuple[int | float, ...]


def plan(stage: Stage, kills: int, rng: random.Random, *, every: bool) -> list[Planned]:
    """Choose scenarios with about this many kills in all: half at boundaries, a third at random instants,
    the rest in chains of three.

    With `every`, as many more as it takes to strike a boundary of every name.
    """
    at_boundaries = max(1, kills // 2)
    chains = kills // 5 // 3
    at_instants = kills - at_boundaries - 3 * chains
    places: dict[str, list[int]] = {}
    for number, label in enumerate(stage.labels, start=1):
        places.setdefault(label, []).append(number)
    struck = [rng.choice(numbers) for numbers in places.values()]
    rng.shuffle(struck)
    while len(struck) < at_boundaries:
        struck.append(rng.randint(1, len(stage.labels)))
    if not every:
        struck = struck[:at_boundaries]
    scenarios = [Planned("boundary", (number,)) for number in struck]
    scenarios += [Planned("instant", (rng.uniform(0, stage.seconds),)) for _ in range(at_instants)]
    for _ in range(chains):
        first = rng.randint(len(stage.labels) // 4, len(stage.labels))
        more = (rng.randint(1, len(stage.labels) // 2), rng.uniform(0, stage.seconds / 2))
        scenarios.append(Planned("chain", (first, *more)))
    rng.shuffle(scenarios)
    return scenarios


def run_matrix(
    kills: int, seed: int, folder: Path, *, stores: Sequence[str] = STORES, jobs: int = 1,
    watched: float = 0.34,
    every: bool = False,
) -> list[Result]:  # fmt: skip
    """Play the matrix, each scenario with probability `watched` under the eyes of a reader."""
    places = [(store, operation) for store in stores for operation in OPERATIONS]
    todo: Queue[tuple[str, str]] = Queue()
    for place in places:
        todo.put(place)
    results: list[Result] = []
    failures: list[BaseException] = []

    def work(number: int) -> None:
        bench_folder = folder / f"bench-{number}"
        bench_folder.mkdir()
        bench = Bench(bench_folder)
        try:
            while place := _next(todo):
                store, operation = place
                stage = bench.prepare(store, operation)
                rng = random.Random(f"{seed} {store} {operation}")
                for scenario in plan(stage, -(-kills // len(places)), rng, every=every):
                    watch = rng.random() < watched
                    result = bench.play(stage, scenario, watch=watch)
                    for violation in result.violations:
                        sys.stderr.write(f"{store} {operation} {result.points}: {violation}\n")
                    results.append(result)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)
        finally:
            bench.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return results


def _next(todo: Queue[tuple[str, str]]) -> tuple[str, str] | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


# ---------------------------------------------------------------------------------------- report


def table(results: Sequence[Result]) -> str:
    """Markdown: kills, recoveries and violations by store, operation and kind of kill."""
    lines = [
        "| store | operation | killed | scenarios | kills | recovered | looks of the reader | violations |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.store, result.operation, result.kind), []).append(result)
    words = {
        "boundary": "at a boundary",
        "instant": "at a random instant",
        "chain": "three runs in a row",
    }
    for (store, operation, kind), found in sorted(groups.items()):
        lines.append(f"| {store} | {operation} | {words[kind]} | {_figures(found)} |")
    lines.append(f"| **all** | | | {_figures(results)} |")
    return "\n".join(lines)


def _figures(results: Sequence[Result]) -> str:
    return " | ".join(
        str(number)
        for number in (
            len(results),
            sum(r.kills for r in results),
            sum(r.recovered for r in results),
            sum(r.looks for r in results),
            sum(bool(r.violations) for r in results),
        )
    )


def write_report(results: Sequence[Result], arguments: argparse.Namespace, seconds: float) -> None:
    out: Path = arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    boundaries = sorted({p.split(": ", 1)[1] for r in results for p in r.points if ": " in p})
    document = {
        "command": f"python -m tests.crash.matrix --kills {arguments.kills} --seed {arguments.seed}",
        "kills": sum(result.kills for result in results),
        "violations": sum(bool(result.violations) for result in results),
        "boundaries_struck": boundaries,
        "scenarios": [asdict(result) for result in results],
    }
    out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = f"""# Kill matrix

{document["kills"]} runs were killed with SIGKILL; {document["violations"]} violations.

{table(results)}

Made by `{document["command"]} --out {out}` in {seconds / 60:.0f} minutes.

- A run is killed at a boundary, which is before or after a system call or statement that makes something
  durable ({len(boundaries)} different ones were struck); at a random instant; or three runs are, one after another.
- After each kill that no reader watches, and at the end, every row of the original is in hot ∪ archive exactly
  once, bit for bit, read without the product.
- The run that follows completes; then nothing due is hot, the chain of manifests is proven, and nothing
  is left over or in quarantine.
- In a third of the scenarios a reader looks through the product's own view all the while. A look that shows a
  row twice, not at all or with another value is a violation.
"""
    out.with_suffix(".md").write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.matrix", description=__doc__)
    parser.add_argument("--kills", type=int, default=320, help="at least about so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store", choices=STORES, action="append")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        results = run_matrix(
            arguments.kills,
            arguments.seed,
            Path(folder),
            stores=arguments.store or STORES,
            jobs=arguments.jobs,
            every=True,
        )
    sys.stdout.write(table(results) + "\n")
    for result in results:
        if result.violations:
            sys.stdout.write(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
    kinds = Counter(result.kind for result in results)
    sys.stdout.write(f"{dict(kinds)} in {time.monotonic() - began:.0f} s\n")
    if arguments.out:
        write_report(results, arguments, time.monotonic() - began)
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
