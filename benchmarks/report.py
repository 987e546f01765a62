"""The benchmark report, verdicts first."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

Results = Mapping[str, Mapping[str, float]]


def start_up_seconds(folder: Path) -> dict[str, float]:
    """Wall seconds of three commands on an empty installation, the best of five."""
    command = Path(sys.executable).with_name("fluxhero")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLUXHERO_")},
        "FLUXHERO_DATA_DIR": str(folder / "start"),
    }
    verbs = {
        "help": ["--help"],
        "status": ["status"],
        "query": ["query", "SELECT count(*) FROM trades"],
    }
    seconds = {}
    for name, arguments in verbs.items():
        rounds = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(
                [str(command), *arguments],
                check=True,
                capture_output=True,
                env=environment,
                cwd=folder,
            )
            rounds.append(time.perf_counter() - began)
        seconds[name] = round(min(rounds), 2)
    shutil.rmtree(folder / "start", ignore_errors=True)
    return seconds


def machine(*packages: str) -> str:
    """A sentence on where it was measured, with the versions of these packages."""
    versions = ", ".join(f"{name} {version(name.lower().replace(' ', '-'))}" for name in packages)
    return (
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{versions}."
    )


def routes_table(routes: Results) -> list[str]:
    """The table of routes: name → what was measured of it."""
    return [
        "| route | CPU s | wall s | peak MB |",
        "|---|---|---|---|",
        *(
            f"| {name} | {found['cpu']:.2f} | {found['wall']:.2f} | {found['peak_mb']:.0f} |"
            for name, found in routes.items()
        ),
    ]


def markdown(results: Results, rows: int, large: int) -> str:
    """Render the page."""
    names = ("copy_duckdb", "archive_duckdb", "pandas_sqlite", "archive_sqlite")
    routes = {name: results[name] for name in names}
    for kind in ("duckdb", "sqlite"):
        if f"large_{kind}" in results:
            routes[f"archive_{kind}, {large:,} rows"] = results[f"large_{kind}"]
    lines = [
        "# Benchmarks",
        "",
        (
            "Made by `python -m benchmarks` (with `--large 10000000` also the memory at ten million rows); every "
            "ratio is measured in one run on one machine, "
            "each route in a process of its own, the best of several rounds. CPU seconds are user plus system."
        ),
        "",
        machine("DuckDB", "pyarrow", "pandas"),
        "",
        "| what | measured | bound | verdict |",
        "|---|---|---|---|",
        *_verdicts(results, rows),
        "",
        "## Routes",
        "",
        (
            f"{rows:,} trades due. The archive routes do the whole protocol: plan, copy, fsync, hash from disk, "
            "read back with page checksums, compare with the store, publish, purge. The orchestrator's own cost "
            "is not in them."
        ),
        "",
        *routes_table(routes),
        "",
        (
            "`copy_duckdb` is a bare `COPY … TO … (FORMAT parquet, COMPRESSION zstd)`. `pandas_sqlite` is "
            "`fetchall`, a data frame, `to_parquet` with snappy and one `DELETE`; it verifies nothing."
        ),
        "",
        "## A live writer during the archive run",
        "",
        "One row inserted and committed every 5 ms by another process; a twentieth of the rows due.",
        "",
        "| journal mode | inserts | failed | p50 ms | p99 ms | p99.9 ms | max ms |",
        "|---|---|---|---|---|---|---|",
        *(_writer_line(journal, results[f"writer_{journal}"]) for journal in ("wal", "delete")),
        "",
    ]
    return "\n".join(lines)


def _verdicts(results: Results, rows: int) -> list[str]:
    duckdb = results["archive_duckdb"]["cpu"] / results["copy_duckdb"]["cpu"]
    sqlite = results["pandas_sqlite"]["cpu"] / results["archive_sqlite"]["cpu"]
    start = results["start"]
    lines = [
        verdict_line(
            f"DuckDB store, {rows:,} due: CPU against a bare COPY",
            f"{duckdb:.2f} ×",
            "≤ 1.5 ×",
            duckdb <= 1.5,
        ),
        verdict_line(
            f"SQLite store, {rows:,} due: CPU gained over pandas",
            f"{sqlite:.2f} ×",
            "≥ 2 ×",
            sqlite >= 2,
        ),
        *_memory(results, rows),
    ]
    for journal in ("wal", "delete"):
        measured = results[f"writer_{journal}"]
        fine = measured["p999_ms"] < 50 and not measured["failed"]
        text = f"{measured['p999_ms']:.1f} ms, {measured['failed']:.0f} failed"
        lines.append(
            verdict_line(
                f"live writer, {journal} journal: p99.9 insert", text, "< 50 ms, none", fine
            )
        )
    for name, bound in (("help", 0.5), ("status", 2.0), ("query", 2.0)):
        what = "`fluxhero --help`" if name == "help" else f"`fluxhero {name}`"
        lines.append(
            verdict_line(
                f"{what} from start to end",
                f"{start[name]:.2f} s",
                f"< {bound} s",
                start[name] < bound,
            )
        )
    return lines


def _memory(results: Results, rows: int) -> list[str]:
    lines = []
    for kind in ("duckdb", "sqlite"):
        peak = results[f"archive_{kind}"]["peak_mb"]
        lines.append(
            verdict_line(
                f"{kind} store, {rows:,} due: peak memory", f"{peak:.0f} MB", "< 600 MB", peak < 600
            )
        )
        if f"large_{kind}" in results:
            large = results[f"large_{kind}"]
            what = f"{kind} store, {large['rows']:,} due: peak memory"
            lines.append(
                verdict_line(what, f"{large['peak_mb']:.0f} MB", "< 600 MB", large["peak_mb"] < 600)
            )
    return lines


def verdict_line(what: str, measured: str, bound: str, fine: bool) -> str:
    """A row of the table of verdicts."""
    return f"| {what} | {measured} | {bound} | {'met' if fine else '**missed**'} |"


def _writer_line(journal: str, m: Mapping[str, float]) -> str:
    return (
        f"| {journal} | {m['inserts']:.0f} | {m['failed']:.0f} | {m['p50_ms']} | {m['p99_ms']} | "
        f"{m['p999_ms']} | {m['max_ms']} |"
    )


def say(text: str) -> None:
    """Tell how far the measuring is."""
    sys.stderr.write(text + "\n")
