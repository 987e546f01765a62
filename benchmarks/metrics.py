"""Measuring a whole ledger against one script for the same numbers: `python -m benchmarks.metrics`.

A ledger of so many trades and as many orders, four fifths of them archived by the product's own protocol.
The product's measuring and the script (`metrics.sql`) each run in a process of their own, and every number
of the script has to be the product's.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import data
from benchmarks.report import machine, routes_table, say, verdict_line
from benchmarks.routes import archive_duckdb, cpu_seconds, peak_mb
from fluxhero.archive.layout import Layout
from fluxhero.archive.workspace import Workspace
from fluxhero.engine import literal, moment
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.metrics.samples import PREFIX, Sample

_ROOT = Path(__file__).parent.parent
_STORE = "ledger.duckdb"
_CAPITAL = Decimal(100_000_000)
_NOW = datetime(2023, 3, 6, tzinfo=UTC)  # a moment after the last of the generator's trades
_HOT = "0.8"  # the part of trades and orders that comes before the hot ones

_ORDERS = """
INSERT INTO hot.orders BY NAME
SELECT 'o-' || lpad(i::VARCHAR, 9, '0') AS order_id, ['live', 'paper'][1 + (i % 5 = 0)::INT] AS mode,
    ['alpaca', 'ibkr', 'tradier'][1 + (a * 2)::INT] AS broker,
    ['AAPL', 'MSFT', 'IBM', 'SPY', 'QQQ'][1 + (b * 4)::INT] AS symbol, 'buy' AS side,
    ['market', 'limit', 'stop'][1 + (c * 2)::INT] AS order_type, 10 AS quantity,
    CASE WHEN d < 0.9 THEN 'filled' WHEN d < 0.96 THEN 'cancelled' ELSE 'rejected' END AS status,
    sent AS submitted_at, sent + to_microseconds((a * 150000)::BIGINT) AS acknowledged_at,
    CASE WHEN d < 0.9 THEN sent + to_microseconds((exp(b * 12) * 10000)::BIGINT - 10) END AS filled_at,
    CASE WHEN d BETWEEN 0.9 AND 0.96 THEN sent + to_seconds(60) END AS cancelled_at
FROM (
    SELECT i, random() AS a, random() AS b, random() AS c, random() AS d,
        TIMESTAMPTZ '2020-01-01 14:30:00+00' + to_microseconds(i * {spacing}) AS sent
    FROM range({rows}) t(i)
)
"""
_OTHERS = """
INSERT INTO hot.cash_flows BY NAME
SELECT 'f-' || i AS flow_id, 'live' AS mode, TIMESTAMPTZ '2020-02-01 12:00:00+00' + to_days(i * 30) AS "at",
    ['deposit', 'withdrawal', 'fee', 'dividend'][1 + i % 4] AS kind, 1000 + i AS amount
FROM range(30) t(i);
UPDATE hot.trades SET mode = 'paper', fees = 1 WHERE hash(trade_id) % 5 = 0;
UPDATE hot.trades SET status = 'open', exit_time = NULL, exit_price = NULL, realized_pnl = NULL
WHERE trade_id IN (SELECT trade_id FROM hot.trades ORDER BY entry_time DESC LIMIT 8);
"""


def make_ledger(folder: Path, rows: int) -> None:
    """A ledger whose older trades and orders are archived."""
    store = folder / _STORE
    data.make_duckdb_store(store, rows)
    later = {name: folder / f"{name}.parquet" for name in ("trades", "orders")}
    spacing = 100_000_000_000_000 // rows
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(0.43)").fetchall()
        connection.execute(f"ATTACH {literal(str(store))} AS hot")
        connection.execute(_ORDERS.format(rows=rows, spacing=spacing))
        connection.execute(_OTHERS)
        for name, path in later.items():
            began = {"trades": "entry_time", "orders": "submitted_at"}[name]
            hot = f"{began} > (SELECT quantile_disc({began}, {_HOT}) FROM hot.{name})"
            connection.execute(
                f"COPY (FROM hot.{name} WHERE {hot}) TO {literal(str(path))} (FORMAT parquet)"
            )
            connection.execute(f"DELETE FROM hot.{name} WHERE {hot}")
    archive_duckdb(store, folder)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {literal(str(store))} AS hot")
        for name, path in later.items():
            connection.execute(f"INSERT INTO hot.{name} FROM {literal(str(path))}")


def _store(folder: Path) -> DuckDBStore:
    return DuckDBStore(folder / _STORE, lock_timeout=10, temp_dir=folder / "tmp")


def product(folder: Path) -> dict[str, float]:
    """All that a snapshot measures of the ledger, and the curve for the page."""
    from fluxhero.metrics.equity import account_samples, accounts, equity_curve
    from fluxhero.metrics.facts import Basis
    from fluxhero.metrics.holdings import holding_samples, holdings
    from fluxhero.metrics.ledger_facts import ledger_facts
    from fluxhero.metrics.orders import order_samples
    from fluxhero.metrics.trades import trade_samples

    layout = Layout(folder / "archive")
    workspace = Workspace(_store(folder), layout, folder, folder / "cache", 131_072)
    with ledger_facts(workspace) as connection:
        found = accounts(connection, _CAPITAL)
        equity = {one.mode: one.equity for one in found if one.basis is Basis.CLOSED}
        samples = [
            *account_samples(found, connection, _NOW),
            *trade_samples(connection, _NOW),
            *holding_samples(holdings(connection), equity),
            *order_samples(connection, _NOW),
        ]
        curve = equity_curve(connection, _CAPITAL)
    return {**{_key(one): one.value for one in samples}, "curve": curve.num_rows}


def _key(one: Sample) -> str:
    return " ".join([one.name.removeprefix(PREFIX), *(value for _, value in one.labels)])


def script(folder: Path) -> dict[str, float]:
    """The same numbers by the script, which reads the files as they lie there."""
    sql = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    lists: dict[str, Any] = {
        name: [str(path) for path in sorted((folder / "archive" / name).rglob("*.parquet"))]
        for name in ("trades", "orders")
    }
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        store = literal(str(folder / _STORE))
        connection.execute(
            sql.format(store=store, now=moment(_NOW), capital=f"{_CAPITAL}::DECIMAL(38,8)", **lists)
        )
        rows = connection.execute("SELECT name, labels, value FROM result").fetchall()
        (curve,) = connection.execute("SELECT count(*) FROM curve").fetchall()[0]
    return {**{" ".join([name, *labels]): value for name, labels, value in rows}, "curve": curve}


ROUTES: dict[str, Callable[[Path], dict[str, float]]] = {"product": product, "script": script}


def run(route: str, folder: Path) -> dict[str, Any]:
    """A route in this process; imports are charged to nobody."""
    import pandas  # noqa: F401

    for name in ("equity", "holdings", "ledger_facts", "orders", "trades"):
        __import__(f"fluxhero.metrics.{name}")
    cpu, wall = cpu_seconds(), time.perf_counter()
    numbers = ROUTES[route](folder)
    return {
        "cpu": round(cpu_seconds() - cpu, 2),
        "wall": round(time.perf_counter() - wall, 2),
        "peak_mb": peak_mb(),
        "numbers": numbers,
    }


def measure(folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Both routes in turns; of each the round with the least CPU time counts."""
    results: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for route in ROUTES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.metrics", "--run", route, str(folder)],
                cwd=_ROOT,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found = json.loads(done.stdout.splitlines()[-1])
            say(f"{route}: {found['cpu']} CPU s, {found['peak_mb']} MB")
            if route not in results or found["cpu"] < results[route]["cpu"]:
                results[route] = found
    _compare(results["product"]["numbers"], results["script"]["numbers"])
    return results


def _compare(ours: dict[str, float], theirs: dict[str, float]) -> None:
    wrong = [
        f"{name}: {ours.get(name)} and {value}"
        for name, value in theirs.items()
        if name not in ours or not math.isclose(ours[name], value, rel_tol=1e-9, abs_tol=1e-9)
    ]
    if wrong:
        raise RuntimeError("the two do not agree:\n" + "\n".join(wrong))


def markdown(results: dict[str, dict[str, Any]], rows: int) -> str:
    """The page, verdicts first."""
    ours, theirs = results["product"], results["script"]
    ratio = ours["cpu"] / theirs["cpu"]
    compared = len(theirs["numbers"])
    return "\n".join(
        [
            "# Benchmarks of the metrics",
            "",
            (
                "Made by `python -m benchmarks.metrics`; every ratio is measured in one run on one machine, each "
                "route in a process of its own, the best of several rounds. CPU seconds are user plus system."
            ),
            "",
            machine("DuckDB", "pyarrow"),
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            verdict_line(
                f"{rows:,} trades and {rows:,} orders, a fifth of them hot: CPU against one DuckDB script",
                f"{ratio:.2f} ×",
                "≤ 2 ×",
                ratio <= 2,
            ),
            verdict_line(
                "the same: peak memory",
                f"{ours['peak_mb']:.0f} MB",
                "< 1,000 MB",
                ours["peak_mb"] < 1_000,
            ),
            "",
            "## Routes",
            "",
            *routes_table({"measuring": ours, "one script by hand": theirs}),
            "",
            (
                f"The script is `benchmarks/metrics.sql`. Its {compared:,} numbers are equal to those of the "
                f"product, which measures {len(ours['numbers']):,}: it proves the archive's chain, knows later "
                "versions of a row, bounds every label, and tells accounts that cannot be reckoned."
            ),
            "",
        ]
    )


def main() -> None:
    """Measure and report, or run one route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks-metrics.md")
    parser.add_argument("--run", nargs=2, metavar=("ROUTE", "FOLDER"))
    options = parser.parse_args()
    if options.run:
        route, folder = options.run
        sys.stdout.write(json.dumps(run(route, Path(folder))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="fluxhero-metrics-") as name:
        say(f"making a ledger of {options.rows:,} trades and as many orders")
        make_ledger(Path(name), options.rows)
        results = measure(Path(name), options.rounds)
    options.out.write_text(markdown(results, options.rows), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
