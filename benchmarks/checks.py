"""Every benchmark of the storage check, written to docs/benchmarks-checks.md: `python -m benchmarks.checks`.

Values against one DuckDB query for the same counts, the scrub against `sha256sum` and pyarrow, and the steps
of a whole check over an archive of many rows: the first time, unchanged in fast mode, and deep.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks import data, expect, scrub
from benchmarks.report import machine, routes_table, say, verdict_line
from benchmarks.routes import archive_duckdb, cpu_seconds, peak_mb
from fluxhero.engine import literal

_ROOT = Path(__file__).parent.parent
_STORE = "ledger.duckdb"
Measured = dict[str, float]

# The generator's results are near what prices say, and its stops are those of long trades.
_SOUND = """
UPDATE hot.trades SET
    realized_pnl = round(CASE side WHEN 'long' THEN 1 ELSE -1 END
        * (exit_price - entry_price)::DOUBLE * quantity::DOUBLE - fees::DOUBLE, 6),
    stop_loss = CASE side WHEN 'long' THEN entry_price * 0.97 ELSE entry_price * 1.03 END,
    take_profit = NULL
"""


def make_archive(folder: Path, rows: int) -> None:
    """A ledger whose so many sound trades are all archived, by the product's own protocol."""
    store = folder / _STORE
    make_sound_store(store, rows)
    archive_duckdb(store, folder)


def make_sound_store(store: Path, rows: int) -> None:
    """A ledger with so many trades in which a check finds nothing."""
    data.make_duckdb_store(store, rows)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {literal(str(store))} AS hot")
        connection.execute(_SOUND)


def steps(*, deep: bool) -> Measured:
    """The flow's steps without its orchestrator; imports are charged to nobody."""
    from tasks import integrity

    import_module_of_gx()
    cpu, wall = cpu_seconds(), time.perf_counter()
    run = integrity.open_check.fn(deep=deep)
    files = integrity.scrub_files.fn(run)
    results = [
        *files,
        *integrity.reconcile_ledger.fn(run),
        *integrity.check_ledger_values.fn(run, files),
        *integrity.check_bar_values.fn(run),
        *integrity.watch_drift.fn(run),
    ]
    report = integrity.record_check.fn(run, results, [], [])
    if not report.ok:
        raise RuntimeError(f"a sound archive has findings: {report.verdict} {report.table()}")
    return {
        "cpu": round(cpu_seconds() - cpu, 2),
        "wall": round(time.perf_counter() - wall, 2),
        "peak_mb": peak_mb(),
        "rules": report.rules,
    }


def import_module_of_gx() -> None:
    """Great Expectations takes seconds to import; a check imports it once."""
    import fluxhero.integrity.gx_rules  # noqa: F401


def _step(folder: Path, *, deep: bool) -> Measured:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLUXHERO_")},
        "FLUXHERO_DATA_DIR": str(folder),
        "FLUXHERO_STORE_URL": f"duckdb:///{folder / _STORE}",
        "GX_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.checks", "--steps", "deep" if deep else "fast"],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: Measured = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(rows: int, scrub_rows: int) -> dict[str, Measured]:
    """Everything, each route in a process of its own."""
    results: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="fluxhero-checks-") as name:
        say(f"values: {rows:,} rows")
        results |= expect.measure(rows, Path(name))
    with tempfile.TemporaryDirectory(prefix="fluxhero-checks-") as name:
        say(f"scrub: {scrub_rows:,} rows")
        results |= scrub.measure(Path(name), scrub_rows)
    with tempfile.TemporaryDirectory(prefix="fluxhero-checks-") as name:
        say(f"whole checks: archiving {rows:,} rows")
        folder = Path(name)
        make_archive(folder, rows)
        for route, deep in (("first", False), ("fast", False), ("deep", True)):
            results[route] = _step(folder, deep=deep)
            say(f"{route}: {results[route]}")
    return results


def markdown(results: dict[str, Measured], rows: int, scrub_rows: int) -> str:
    """The page, verdicts first."""
    check, query = results["check"], results["one_query"]
    ratio = check["cpu"] / query["cpu"]
    speed = scrub.ratios(results)["speed"]
    fast = results["fast"]["wall"]
    verdicts = [
        verdict_line(
            f"{check['rules']:.0f} rules over {rows:,} rows: CPU against one query for the same counts",
            f"{ratio:.2f} ×",
            "≤ 2 ×",
            ratio <= 2,
        ),
        verdict_line(
            "the same: peak memory",
            f"{check['peak_mb']:.0f} MB",
            "< 1,500 MB",
            check["peak_mb"] < 1_500,
        ),
        verdict_line(
            f"deep scrub, {scrub_rows:,} rows: speed against `sha256sum` and pyarrow",
            f"{speed:.0%}",
            "≥ 80 %",
            speed >= 0.8,
        ),
        verdict_line(
            f"fast check of an unchanged archive of {rows:,} rows, beyond start-up",
            f"{fast:.1f} s",
            "< 5 s",
            fast < 5,
        ),
    ]
    routes = {
        "one query for the same counts": query,
        "check of values": check,
        "`sha256sum`, then pyarrow": results["sha256sum_and_pyarrow"],
        "deep scrub": results["scrub_deep"],
        "fast scrub": results["scrub_fast"],
        "whole check, the first": results["first"],
        "whole check, fast, unchanged": results["fast"],
        "whole check, deep": results["deep"],
    }
    return "\n".join(
        [
            "# Benchmarks of the storage check",
            "",
            (
                "Made by `python -m benchmarks.checks`; every ratio is measured in one run on one machine, each "
                "route in a process of its own. CPU seconds are user plus system."
            ),
            "",
            machine("DuckDB", "Great Expectations", "pyarrow"),
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            *verdicts,
            "",
            "## Routes",
            "",
            *routes_table(routes),
            "",
            (
                "The check of values does all that comes with it: what each source is used to record, the hot rows, "
                "keys that are there twice. The whole check runs the flow's steps from scrub to report without the "
                "orchestrator; importing Great Expectations "
                f"({check['import_cpu']:.1f} CPU s) is not in it."
            ),
            "",
        ]
    )


def main() -> None:
    """Measure and report, or run the steps of one check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--scrub-rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks-checks.md")
    parser.add_argument("--steps", choices=["fast", "deep"])
    options = parser.parse_args()
    if options.steps:
        sys.stdout.write(json.dumps(steps(deep=options.steps == "deep")) + "\n")
        return
    results = measure(options.rows, options.scrub_rows)
    options.out.write_text(markdown(results, options.rows, options.scrub_rows), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
