"""The kill matrix: kill a run at a boundary or at a random instant, look, run once more, look again.

`python -m tests.crash.matrix --kills 640 --seed 1 --out docs/crash-matrix.json` runs all of it and writes
the figures beside as a Markdown table (`make crash`). See `victim` for who dies, the modules of stages
for what dies and who looks, `bench` for how a scenario is played.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue

from tests.crash import archive_stages, ingest_stages, migration_stages
from tests.crash.bench import Bench, Result, Stage
from tests.crash.plan import plan
from tests.crash.report import table, write_report

STORES = ("duckdb", "sqlite")
Place = tuple[str, str]  # store, operation
ARCHIVE: tuple[Place, ...] = tuple(
    (store, operation) for store in STORES for operation in archive_stages.OPERATIONS
)
INGEST: tuple[Place, ...] = tuple(("duckdb", name) for name in ingest_stages.OPERATIONS)
MIGRATION: tuple[Place, ...] = tuple(("duckdb", name) for name in migration_stages.OPERATIONS)
PLACES = (*ARCHIVE, *INGEST, *MIGRATION)


def prepare(bench: Bench, place: Place) -> Stage:
    """Build the state that a place's runs start from."""
    if place in INGEST:
        return ingest_stages.prepare(bench, place[1])
    if place in MIGRATION:
        return migration_stages.prepare(bench, place[1])
    return archive_stages.prepare(bench, *place)


def run_matrix(
    kills: int,
    seed: int,
    folder: Path,
    *,
    places: Sequence[Place] = PLACES,
    jobs: int = 1,
    watched: float = 0.34,
    every: bool = False,
) -> list[Result]:
    """Play the matrix, each scenario that a reader may watch with probability `watched` under its eyes."""
    todo: Queue[Place] = Queue()
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
                stage = prepare(bench, place)
                rng = random.Random(f"{seed} {stage.store} {stage.operation}")
                share = -(-kills // len(places))
                for scenario in plan(stage.labels, stage.seconds, share, rng, every=every):
                    watch = stage.shown is not None and rng.random() < watched
                    result = bench.play(stage, scenario, watch=watch)
                    for violation in result.violations:
                        sys.stderr.write(f"{' '.join(place)} {result.points}: {violation}\n")
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


def _next(todo: Queue[Place]) -> Place | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.matrix", description=__doc__)
    parser.add_argument("--kills", type=int, default=640, help="at least about so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--store", choices=STORES, action="append")
    operations = sorted({operation for _, operation in PLACES})
    parser.add_argument("--operation", choices=operations, action="append")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    places = [
        (store, operation)
        for store, operation in PLACES
        if store in (arguments.store or STORES) and operation in (arguments.operation or operations)
    ]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-matrix-") as folder:
        results = run_matrix(
            arguments.kills,
            arguments.seed,
            Path(folder),
            places=places,
            jobs=arguments.jobs,
            every=True,
        )
    seconds = time.monotonic() - began
    sys.stdout.write(table(results) + "\n")
    for result in results:
        if result.violations:
            sys.stdout.write(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
    kinds = Counter(result.kind for result in results)
    sys.stdout.write(f"{dict(kinds)} in {seconds:.0f} s\n")
    if arguments.out:
        command = (
            f"python -m tests.crash.matrix --kills {arguments.kills} --seed {arguments.seed}"
            + "".join(f" --store {name}" for name in arguments.store or ())
            + "".join(f" --operation '{name}'" for name in arguments.operation or ())
        )
        write_report(results, arguments.out, command, seconds)
    return 1 if any(result.violations for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
