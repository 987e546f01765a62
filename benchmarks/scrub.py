"""The scrub against `sha256sum` and pyarrow reading the same files: `python -m benchmarks.scrub [--rows N]`.

The baseline hashes every data file of an archive with the `sha256sum` program and reads it with pyarrow,
checksums verified. Each route runs in a process of its own and prints one JSON line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import data
from benchmarks.routes import archive_duckdb, cpu_seconds, peak_mb
from config.settings import Settings
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.scrub import scrub

_STORE = "ledger.duckdb"


def _scrub(folder: Path, *, deep: bool) -> int:
    settings = Settings(data_dir=folder, store_url=f"duckdb:///{folder / _STORE}")
    memory = Passed(folder / "integrity" / "passed.json")
    results = scrub(Scope.of(settings, now=datetime.now(UTC), deep=deep), memory)
    memory.save()
    if wrong := [result for result in results if result.outcome is not Outcome.PASSED]:
        raise RuntimeError(f"a sound archive has faults: {wrong}")
    return len(results)


def scrub_deep(folder: Path) -> int:
    """Every byte of everything."""
    return _scrub(folder, deep=True)


def scrub_fast(folder: Path) -> int:
    """A check of what a deep one has just seen."""
    return _scrub(folder, deep=False)


def sha256sum_and_pyarrow(folder: Path) -> int:
    """What the scrub is compared with."""
    import pyarrow.parquet as pq

    files = sorted((folder / "archive").rglob("*.parquet"))
    subprocess.run(["sha256sum", *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    rows = 0
    for path in files:
        rows += pq.read_table(path, page_checksum_verification=True, partitioning=None).num_rows
    return rows


ROUTES: dict[str, Callable[[Path], int]] = {
    route.__name__: route for route in (sha256sum_and_pyarrow, scrub_deep, scrub_fast)
}


def _run(name: str, folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scrub", "--route", name, str(folder)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(folder: Path, rows: int, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Route → its best round by wall time, over an archive of so many trades made in `folder`."""
    data.make_duckdb_store(folder / _STORE, rows)
    archive_duckdb(folder / _STORE, folder)
    results = {}
    for name in ROUTES:
        found = [_run(name, folder) for _ in range(rounds)]
        results[name] = min(found, key=lambda result: result["wall"])
    return results


def ratios(results: dict[str, dict[str, float]]) -> dict[str, float]:
    """The figures that are bounded: speed of the deep scrub against the baseline, seconds of the fast one."""
    base, deep = results["sha256sum_and_pyarrow"], results["scrub_deep"]
    return {
        "speed": round(base["wall"] / deep["wall"], 2),
        "speed_by_cpu": round(base["cpu"] / deep["cpu"], 2),
        "fast_seconds": results["scrub_fast"]["wall"],
        "peak_mb": deep["peak_mb"],
    }


def _measured(name: str, folder: Path) -> dict[str, float | str]:
    import pyarrow.parquet  # noqa: F401 - no route is charged for start-up

    cpu, wall = cpu_seconds(children=True), time.perf_counter()
    ROUTES[name](folder)
    return {
        "route": name,
        "cpu": round(cpu_seconds(children=True) - cpu, 3),
        "wall": round(time.perf_counter() - wall, 3),
        "peak_mb": peak_mb(),
    }


def main() -> None:
    """Measure, or run one route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrub", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--route", nargs=2, metavar=("NAME", "FOLDER"))
    options = parser.parse_args()
    if options.route:
        name, folder = options.route
        sys.stdout.write(json.dumps(_measured(name, Path(folder))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="fluxhero-scrub-") as place:
        results = measure(Path(place), options.rows)
    sys.stdout.write(json.dumps(results | {"ratios": ratios(results)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
