"""Run every benchmark and write docs/benchmarks.md: `python -m benchmarks [--rows N] [--large N]`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import data, report, writer
from benchmarks.report import say

_ROOT = Path(__file__).parent.parent
_SETTLE = 3  # seconds: a store that was changed just now is compared more thoroughly


def _run(*command: str) -> dict[str, float]:
    """Run one route in a process of its own and return what it measured."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _route(name: str, store: Path, rounds: int) -> dict[str, float]:
    """Run a route on fresh copies of a store; the round with the least CPU time counts."""
    results = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=store.parent) as folder:
            copy = Path(folder, store.name)
            shutil.copy2(store, copy)
            os.sync()  # or the route would be charged for writing the copy
            time.sleep(_SETTLE)
            results.append(_run("benchmarks.routes", name, str(copy), folder))
    return min(results, key=lambda result: result["cpu"])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="trades due in the ratios")
    parser.add_argument(
        "--large", type=int, default=0, help="trades due in the memory check, e.g. 10000000"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of each route; the best counts"
    )
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="fluxhero-bench-") as name:
        folder = Path(name)
        duckdb_store, sqlite_store = folder / "ledger.duckdb", folder / "system.db"
        say(f"making two stores of {options.rows:,} trades")
        data.make_duckdb_store(duckdb_store, options.rows)
        data.make_sqlite_store(sqlite_store, options.rows)
        for route, store in (
            ("copy_duckdb", duckdb_store),
            ("archive_duckdb", duckdb_store),
            ("pandas_sqlite", sqlite_store),
            ("archive_sqlite", sqlite_store),
        ):
            results[route] = _route(route, store, options.rounds)
            say(f"{route}: {results[route]}")
        live_store = folder / "live.db"
        data.make_sqlite_store(live_store, options.rows // 20)
        for journal in ("wal", "delete"):
            results[f"writer_{journal}"] = writer.measure(live_store, folder, journal)
            say(f"writer, {journal}: {results[f'writer_{journal}']}")
        duckdb_store.unlink()
        sqlite_store.unlink()
        if options.large:
            for kind, make in (
                ("duckdb", data.make_duckdb_store),
                ("sqlite", data.make_sqlite_store),
            ):
                say(f"making a {kind} store of {options.large:,} trades")
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    store = Path(own, "large.store")
                    make(store, options.large)
                    results[f"large_{kind}"] = _run(
                        "benchmarks.routes", f"archive_{kind}", str(store), own
                    )
                say(f"large {kind}: {results[f'large_{kind}']}")
        results["start"] = report.start_up_seconds(folder)
    options.out.write_text(report.markdown(results, options.rows, options.large), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
