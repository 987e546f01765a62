"""Reading brokers' exports, written to docs/benchmarks-imports.md: `python -m benchmarks.imports`.

Orders as Alpaca lists them, against `orjson.loads` of the same bytes; and the memory of formats that are to
be read in memory that does not grow with the file, at one size and at ten times that. Each route runs in a
process of its own, in turns; the best of several rounds counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks import import_data
from benchmarks.report import machine, say, verdict_line
from benchmarks.routes import cpu_seconds, peak_mb
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import ReadOptions, select
from fluxhero.ledger.ingest import ingest_file
from tests.flex import write_executions

_ROOT = Path(__file__).parent.parent
_OPTIONS = ReadOptions(mode="live", timezone="America/New_York", timezone_given=True)
_BOUND, _GROWTH, _TIMES = 10, 1.25, 10
_MOST_MB = 700  # as everywhere else, DuckDB fills the memory that it is given

Measured = dict[str, float]


def parse(path: Path, _folder: Path) -> int:
    """What reading is compared with: the bare parser, over the whole file at once."""
    content = path.read_bytes()
    began = time.perf_counter(), cpu_seconds()
    rows = orjson.loads(content)
    _TAKEN.update(wall=time.perf_counter() - began[0], cpu=cpu_seconds() - began[1])
    return len(rows)


def read(path: Path, _folder: Path) -> int:
    """A file as the ledger's rows, each judged."""
    pages = select(path, None).pages(path, _OPTIONS)
    return sum(page.rows.num_rows for page in pages)


def ingest(path: Path, folder: Path) -> int:
    """All of it: the raw file kept, its rows read, staged, compared and committed to an empty store."""
    store = DuckDBStore(folder / "ledger.duckdb", lock_timeout=10, temp_dir=folder / "tmp")
    store.ensure()
    began = time.perf_counter(), cpu_seconds()
    result = ingest_file(
        path,
        store,
        select(path, None),
        _OPTIONS,
        progress=lambda _done, _total: None,
        temp_dir=folder,
        imports=folder / "imports",
    )
    _TAKEN.update(wall=time.perf_counter() - began[0], cpu=cpu_seconds() - began[1])
    return sum(count.inserted for count in result.counts.values())


_TAKEN: Measured = {}  # by routes that do something beside what is measured
ROUTES: dict[str, Callable[[Path, Path], int]] = {
    route.__name__: route for route in (parse, read, ingest)
}


def _measured(name: str, path: Path, folder: Path) -> Measured:
    before = peak_mb()
    began = time.perf_counter(), cpu_seconds()
    rows = ROUTES[name](path, folder)
    taken = {"wall": time.perf_counter() - began[0], "cpu": cpu_seconds() - began[1], **_TAKEN}
    return {"rows": rows, "before_mb": before, "peak_mb": peak_mb()} | {
        unit: round(seconds, 3) for unit, seconds in taken.items()
    }


def _run(name: str, path: Path) -> Measured:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.imports", "--route", name, str(path), folder],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def speed(folder: Path, orders: int, rounds: int) -> dict[str, Measured]:
    """Each route over an array and over lines of the same orders; its best round."""
    files = {"array": folder / "orders.json", "lines": folder / "orders.jsonl"}
    for path in files.values():
        import_data.write_orders(path, orders)
    routes = {"parse": ("parse", files["array"])}
    for shape, path in files.items():
        routes |= {f"{name} {shape}": (name, path) for name in ("read", "ingest")}
    found: dict[str, list[Measured]] = {name: [] for name in routes}
    for _ in range(rounds):
        for name, (route, path) in routes.items():
            found[name].append(_run(route, path))
    for path in files.values():
        path.unlink()
    return {name: min(results, key=lambda result: result["cpu"]) for name, results in found.items()}


def memory(folder: Path, orders: int) -> dict[str, dict[str, Measured]]:
    """Format → route → what it took of a file of so many rows, and of ten times that."""
    kinds: dict[str, tuple[str, Callable[[Path, int], object]]] = {
        "JSON lines": ("rows.jsonl", import_data.write_orders),
        "Flex XML": ("rows.xml", write_executions),
    }
    found: dict[str, dict[str, Measured]] = {}
    for kind, (name, write) in kinds.items():
        path = folder / name
        for times in (1, _TIMES):
            write(path, orders * times)
            for route in ("read", "ingest"):
                measured = _run(route, path) | {"mb": path.stat().st_size / 1e6}
                found.setdefault(kind, {})[f"{route} {times}"] = measured
            path.unlink()
    return found


def markdown(fast: dict[str, Measured], flat: dict[str, dict[str, Measured]], orders: int) -> str:
    """The page."""
    base = fast["parse"]["cpu"]
    verdicts = [
        verdict_line(
            f"{orders:,} orders, {name}: against `orjson.loads` of the same bytes",
            f"{fast[name]['cpu'] / base:.1f} ×",
            f"< {_BOUND} ×",
            fast[name]["cpu"] < _BOUND * base,
        )
        for name in fast
        if name != "parse"
    ]
    for kind, found in flat.items():
        one, ten = found["read 1"]["peak_mb"], found[f"read {_TIMES}"]["peak_mb"]
        verdicts.append(
            verdict_line(
                f"{kind}, read: peak memory of ten times the file against that of one",
                f"{ten / one:.2f} × ({one:.0f} → {ten:.0f} MB)",
                f"< {_GROWTH} ×",
                ten < _GROWTH * one,
            )
        )
        one, ten = found["ingest 1"]["peak_mb"], found[f"ingest {_TIMES}"]["peak_mb"]
        verdicts.append(
            verdict_line(
                f"{kind}, ingest: peak memory of one and of ten times the file",
                f"{one:.0f}, {ten:.0f} MB",
                f"< {_MOST_MB} MB",
                ten < _MOST_MB,
            )
        )
    details = [
        f"| {name} | {m['rows']:,.0f} | {m['wall']:.2f} | {m['cpu']:.2f} | {m['peak_mb']:.0f} |"
        for name, m in [
            *fast.items(),
            *(
                (f"{kind}, {route.replace(' ', ', × ')}, {m['mb']:.0f} MB", m)
                for kind, found in flat.items()
                for route, m in found.items()
            ),
        ]
    ]
    return "\n".join(
        [
            "# Benchmarks of the imports",
            "",
            (
                "Made by `python -m benchmarks.imports`. Each route runs in a process of its own, in turns with the "
                "others; the best round by CPU seconds, user and system of all threads, counts, and those are what the "
                "bound is held against. *Read* makes the ledger's rows of a file and judges them; *ingest* is all "
                "of it: the raw file is hashed and kept, its rows are read, staged on disk, "
                "compared with the store and committed."
            ),
            "",
            machine("orjson", "DuckDB", "pyarrow"),
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            *verdicts,
            "",
            "## In detail",
            "",
            "| route | rows | wall s | CPU s | peak MB |",
            "|---|---|---|---|---|",
            *details,
            "",
            (
                "*Parse* is `orjson.loads` of the array and nothing else. An array is one document, which is parsed "
                "whole, so that its memory grows with the file; the same rows as lines take memory that does not. "
                "What ingest takes beyond reading is what DuckDB may hold, 256 MB in the store and what staged rows "
                "are looked through with: a small file does not fill that, a large one does, and none takes more."
            ),
            "",
        ]
    )


def main() -> None:
    """Measure and report, or run one route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--memory", type=int, default=60_000, help="rows of the smaller file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks-imports.md")
    parser.add_argument("--route", nargs=3, metavar=("NAME", "FILE", "FOLDER"))
    options = parser.parse_args()
    if options.route:
        name, path, place = options.route
        sys.stdout.write(json.dumps(_measured(name, Path(path), Path(place))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="fluxhero-imports-") as folder:
        fast = speed(Path(folder), options.orders, options.rounds)
        say(json.dumps(fast, indent=1))
        flat = memory(Path(folder), options.memory)
        say(json.dumps(flat, indent=1))
    options.out.write_text(markdown(fast, flat, options.orders), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
