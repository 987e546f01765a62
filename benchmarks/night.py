"""What the night shift itself costs, written to docs/benchmarks-night.md: `python -m benchmarks.night`.

Orchestration of a nightly run with few trades due and many, the server's memory over a thousand runs, its
database over a month of snapshots, and what everything uses while nothing runs.
"""

import argparse
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import night_history, night_memory, night_runs
from benchmarks.night_shift import HISTORY_DAYS, ROOT, say
from benchmarks.report import machine, verdict_line

_FEW, _MANY = 500, 50_000
_MOST_CPU, _FLAT, _GROWTH = 25.0, 1.25, 0.05
Results = Mapping[str, Any]


def measure(runs: int, days: int) -> dict[str, Any]:
    """Everything, each part in a folder of its own."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fluxhero-night-") as name:
        for trades in (_FEW, _MANY):
            say(f"a night with {trades:,} trades due")
            results[str(trades)] = night_runs.measure(Path(name, str(trades)), trades)
        say("one snapshot, and nothing at all")
        results["rest"] = night_runs.measure_snapshot_and_idle(Path(name, "rest"))
        say(f"{results['rest']}")
        say(f"{runs:,} runs, and beside them {days} days of snapshots")
        with ThreadPoolExecutor() as threads:  # neither is about time
            memory = threads.submit(night_memory.measure, Path(name, "memory"), runs)
            history = threads.submit(night_history.measure, Path(name, "history"), days)
            results |= {"memory": memory.result(), "history": history.result()}
    return results


def markdown(results: Results) -> str:
    """The page, verdicts first."""
    few, many = (results[str(trades)][0] for trades in (_FEW, _MANY))
    return "\n".join(
        [
            "# Benchmarks of the night shift",
            "",
            (
                "Made by `python -m benchmarks.night` on `fluxhero up` as it is, with SQLite: nights and snapshots "
                "with all its parts and a process of its own for each run, memory and database with the server alone. "
                "CPU seconds are user plus system; on a machine that does other things at the same time they come out "
                "higher."
            ),
            "",
            machine("Prefect", "SQLAlchemy", "DuckDB"),
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            *_verdicts(results, few, many),
            "",
            *_of_nights(results),
            *_of_rest(*results["rest"]),
            *_of_memory(results["memory"]),
            *_of_history(results["history"]),
        ]
    )


def _verdicts(results: Results, few: Mapping[str, float], many: Mapping[str, float]) -> list[str]:
    lines = [
        verdict_line(
            f"orchestration of a nightly run, {trades:,} trades due",
            f"{night['orchestration']:.1f} CPU s",
            f"≤ {_MOST_CPU:.0f} CPU s",
            night["orchestration"] <= _MOST_CPU,
        )
        for trades, night in ((_FEW, few), (_MANY, many))
    ]
    ratio = many["orchestration"] / few["orchestration"]
    runs = results["memory"][-1]["runs"]
    growth = night_memory.growth(results["memory"])
    days = results["history"]["days"]
    bounded = night_history.bounded(days)
    return [
        *lines,
        verdict_line(
            "the second against the first", f"{ratio:.2f} ×", f"≤ {_FLAT} ×", ratio <= _FLAT
        ),
        verdict_line(
            f"server's memory, run {runs:,.0f} against run {night_memory.WARM}",
            f"{growth:+.1%}",
            f"< {_GROWTH:+.0%}",
            growth < _GROWTH,
        ),
        verdict_line(
            f"server's database, day {len(days)} of snapshots against day {HISTORY_DAYS + 2}",
            f"{bounded:+.1%}",
            f"< {_GROWTH:+.0%}",
            bounded < _GROWTH,
        ),
    ]


def _of_nights(results: Results) -> list[str]:
    names = ("run", "work", "server", "worker", "orchestration", "tasks")
    rows = []
    for trades in (_FEW, _MANY):
        night = results[str(trades)][0]
        cells = [f"{night[name]:.1f}" for name in names[:-1]] + [f"{night['tasks']:.0f}"]
        rows.append(f"| {trades:,} | {' | '.join(cells)} |")
    return [
        "## A nightly run",
        "",
        "Archive, check and snapshot as subflows of `nightly/nightly`, started by the worker.",
        "",
        "| trades due | its process | thereof steps | server | worker | orchestration | task runs |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "The runs' own reports said:",
        "",
        *(f"- {results[str(trades)][1]}" for trades in (_FEW, _MANY)),
        "",
        (
            "A report is written before its run ends: publishing it, the last states and the end of the process, "
            "a second or two, are in the table and not in the report. The import of Great Expectations counts as "
            "work of the check; all other imports, two seconds, count as orchestration. A flow has fifty steps at "
            "most, however much is due."
        ),
        "",
    ]


def _of_rest(snapshot: Mapping[str, float], idle: Mapping[str, float]) -> list[str]:
    return [
        "## A snapshot, and nothing at all",
        "",
        (
            f"One `snapshot-metrics` takes {snapshot['run']:.1f} CPU s in its process, {snapshot['server']:.1f} in "
            f"the server and {snapshot['worker']:.1f} in the worker."
        ),
        "",
        "| at rest | CPU seconds an hour |",
        "|---|---|",
        *(f"| {name} | {used:.0f} |" for name, used in idle.items() if name != "run"),
        "",
    ]


def _of_memory(samples: list[dict[str, float]]) -> list[str]:
    wanted = [one for one in samples if one["runs"] % 100 == 0]
    early = next(one for one in samples if one["runs"] >= 300)
    since = samples[-1]["rss"] / early["rss"] - 1
    each = (samples[-1]["cpu"] - samples[0]["cpu"]) / samples[-1]["runs"]
    return [
        "## The server's memory",
        "",
        (
            "Small real runs, one after the other: three steps, ten log lines, an artifact. Each costs the server "
            f"{each:.2f} CPU s."
        ),
        "",
        "| runs | resident MB |",
        "|---|---|",
        *(f"| {one['runs']:,.0f} | {one['rss']:.0f} |" for one in wanted),
        "",
        (
            f"The last against run {early['runs']:.0f}: {since:+.1%}. `fluxhero up` has the C library share freed "
            "memory between threads (`MALLOC_ARENA_MAX`, in `fluxhero/night/parts.py`): without it the same runs were "
            "seen to end 6 % above run 300. A thousand runs follow each other here faster than in any night shift."
        ),
        "",
    ]


def _of_history(history: Mapping[str, Any]) -> list[str]:
    run, days, after = history["run"], history["days"], history["after"]
    shown = [one for one in days if one["day"] in {1, 3, 7, 8, 9, 14, 21, 28, len(days)}]
    names = ("flow_run", "task_run", "log", "artifact", "events", "event_resources")
    return [
        "## The server's database",
        "",
        (
            f"A snapshot every five minutes, day and night: {night_history.RUNS_A_DAY} a day. One leaves "
            f"{run['task_run']:.0f} task runs, {run['flow_run_state'] + run['task_run_state']:.0f} states, "
            f"{run['log']:.0f} log lines, {run['artifact']:.0f} artifacts, {run['events']:.0f} events and "
            f"{run['event_resources']:.0f} rows of what these concern. `FLUXHERO_HISTORY_DAYS` is {HISTORY_DAYS} "
            "here; by default it is 30, with four times as many runs. Events are kept three days at most, those of "
            "task runs and heartbeats an hour (`fluxhero/night/retention.py`)."
        ),
        "",
        "| day | MB | thereof free | "
        + " | ".join(name.replace("_", " ") for name in names)
        + " |",
        "|---|---|---|" + "---|" * len(names),
        *(
            f"| {one['day']} | {one['mb']:.0f} | {one['free_mb']:.0f} | "
            + " | ".join(f"{one[name]:,.0f}" for name in names)
            + " |"
            for one in shown
        ),
        "",
        (
            f"A server started over the file vacuumed it at once, by the real clock: {after['flow_run']:,.0f} runs "
            f"were left, in a file of {after['mb']:.0f} MB with {after['free_mb']:.0f} MB free, and the newest were "
            f"listed in {history['answered_ms']:.0f} ms. Vacuum gives pages back to the file, not the file system. "
            "In the month it is run once a day, by the server once an hour, so most of what is free is a day's "
            "short-lived events. Artifact collections stay one for each key."
        ),
        "",
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.night", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000, help="flow runs in the memory check")
    parser.add_argument("--days", type=int, default=31, help="days of snapshots")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks-night.md")
    options = parser.parse_args()
    results = measure(options.runs, options.days)
    options.out.write_text(markdown(results), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
