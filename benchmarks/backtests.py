"""Every benchmark of the backtests, written to docs/benchmarks-backtests.md: `python -m benchmarks.backtests`.

The reference simulator against vectorbt, one backtest and a sweep of the same targets, each in a process of its
own and warmed up; a whole sweep of the product; the cross-validation; and memory by the number of combinations.
vectorbt's environment is built, or named by FLUXHERO_ENGINE_PYTHONS=vectorbt=/path/to/python.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from benchmarks.report import machine, routes_table, say, verdict_line
from benchmarks.routes import cpu_seconds, peak_mb
from config.loading import load_settings
from fluxhero.backtest.asking import targets_of
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.engines import ENGINES
from fluxhero.backtest.environments import Environment, environment_of
from fluxhero.backtest.fast import equity_units, simulate, swept
from fluxhero.backtest.grid import read_grid
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import load
from fluxhero.backtest.overfitting import block_sums, probability_of_overfitting
from fluxhero.backtest.runs import EngineJob, Mode, run_engine, run_sweep
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.strategy import Named, described
from fluxhero.backtest.sweep_measures import Yardstick
from fluxhero.backtest.sweep_parts import run_part
from fluxhero.backtest.sweep_worker import REQUEST_NAME, request_for
from fluxhero.backtest.sweep_worker import main as try_combinations
from fluxhero.backtest.sweeps import SweepPlan, plan_sweep, sweep_outcome

_ROOT = Path(__file__).parent.parent
_BARS = 100_000
_ZONE = ZoneInfo("America/New_York")
_RULES = Contract()
_BOUNDS = Bounds(seconds=900, memory_mb=8_192)
_ROUNDS = 20
_RISK_FREE = 0.04
_CSCV_DAYS = 2_520
_CENT = 0.005
GRIDS = {
    100: ("fast=5..50:5", "slow=100..145:5"),
    1_000: ("fast=5..100:5", "slow=110..355:5"),
    10_000: ("fast=1..100", "slow=101..200"),
}
Measured = dict[str, float]
Routes = dict[str, Measured]


def _bars() -> Bars:
    return random_walk(_BARS)


def _plan(folder: Path, combinations: int) -> SweepPlan:
    description = described("moving-average-cross")
    return plan_sweep(
        description,
        read_grid(GRIDS[combinations]),
        _bars(),
        _RULES,
        data_dir=folder,
        risk_free=_RISK_FREE,
        zone=_ZONE,
    )


def _targets(bars: Bars, strategies: tuple[Named, ...]) -> Int8s:
    """Bars x combinations, each combination's side by side."""
    frame = bars.frame()
    targets = np.empty((len(strategies), len(bars)), dtype=np.int8)
    for place, one in enumerate(strategies):
        made = load(one.reference, one.parameters)
        targets[place] = targets_of(made, frame, allow_short=False, label=one.label)
    return targets.T


def _single() -> Named:
    return described("moving-average-cross").named({})


def _timed(work: Callable[[], object], rounds: int = 1) -> Measured:
    """The best of several rounds."""
    found = []
    for _ in range(rounds):
        cpu, wall = cpu_seconds(), time.perf_counter()
        work()
        found.append((time.perf_counter() - wall, cpu_seconds() - cpu))
    wall, cpu = min(found)
    return {"wall": wall, "cpu": cpu, "peak_mb": peak_mb()}


# --------------------------------------------------------------- routes, each in a process of its own


def one(_folder: Path) -> Routes:
    """The reference, once: its equity, that with measures, and everything as tables."""
    bars = _bars()
    targets = np.ascontiguousarray(_targets(bars, (_single(),))[:, 0])
    yardstick = Yardstick(bars, _RULES, _RISK_FREE, _ZONE)

    def measures() -> object:
        found = swept(bars, targets, _RULES)
        return yardstick.measured(found.equity, found.trades)

    works: dict[str, Callable[[], object]] = {
        "one_equity": lambda: equity_units(bars, targets, _RULES),
        "one_measures": measures,
        "one_tables": lambda: simulate(bars, targets, _RULES),
    }
    return {name: _timed(work, _ROUNDS) for name, work in works.items() if work() is not None}


def sweep(folder: Path) -> Routes:
    """The reference, a thousand times, on one thread: equity of given targets, and that with measures."""
    plan, bars = _plan(folder, 1_000), _bars()
    columns = np.ascontiguousarray(_targets(bars, plan.strategies).T)
    yardstick = Yardstick(bars, _RULES, _RISK_FREE, _ZONE)

    def equity() -> None:
        for column in columns:
            equity_units(bars, column, _RULES)

    def measures() -> None:
        for column in columns:
            found = swept(bars, column, _RULES)
            yardstick.measured(found.equity, found.trades)

    yardstick.measured(swept(bars, columns[0], _RULES).equity, None)
    return {"sweep_equity": _timed(equity, 3), "sweep_measures": _timed(measures, 3)}


def whole(folder: Path) -> Routes:
    """The same as the product does it: from the grid to the table, on all cores, processes included."""
    cpu, wall = cpu_seconds(children=True), time.perf_counter()
    plan = _plan(folder, 1_000)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(lambda number: run_part(plan, number, _BOUNDS), range(plan.parts)))
    if sweep_outcome(plan).failed:
        raise RuntimeError("combinations failed")
    spent = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds(children=True) - cpu}
    return {"whole": {**spent, "peak_mb": peak_mb()}}


def cscv(_folder: Path) -> Routes:
    """Cross-validation of a thousand trials over ten years of days, in 16 blocks."""
    returns = np.random.default_rng(1).normal(0.0003, 0.01, (_CSCV_DAYS, 1_000))

    def work() -> None:
        probability_of_overfitting(block_sums(returns), _RISK_FREE / 252)

    return {"cscv": _timed(work, 3)}


def _worker(combinations: int) -> Callable[[Path], Routes]:
    def route(folder: Path) -> Routes:
        plan = _plan(folder, combinations)
        everything = dict(enumerate(plan.strategies))
        request = folder / REQUEST_NAME
        request.write_text(json.dumps(request_for(plan, everything, 900)), encoding="utf-8")
        return {f"worker_{combinations}": _timed(lambda: try_combinations(request))}

    return route


ROUTES: dict[str, Callable[[Path], Routes]] = {
    "one": one,
    "sweep": sweep,
    "whole": whole,
    "cscv": cscv,
    **{f"worker-{count}": _worker(count) for count in GRIDS},
}


# ------------------------------------------------------------------------------------------- vectorbt


def documented(environment: Environment, folder: Path) -> Routes:
    """vectorbt as its documentation has it."""
    plan, bars = _plan(folder, 1_000), _bars()
    np.save(folder / "prices.npy", np.stack([bars.ends, bars.open, bars.close]))
    targets = _targets(bars, (_single(), *plan.strategies[1:]))
    np.save(folder / "targets.npy", np.asfortranarray(targets))
    script = Path(__file__).with_name("vectorbt_documented.py")
    done = subprocess.run(
        [str(environment.python), "-I", str(script), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Routes = json.loads(done.stdout.splitlines()[-1])
    return {f"vectorbt_{name}": one for name, one in found.items()}


def runner_one(environment: Environment, folder: Path) -> Routes:
    """vectorbt, once, by the product's runner; the first run of its process warms it up."""
    bars, strategy = _bars(), _single()
    targets = np.ascontiguousarray(_targets(bars, (strategy,))[:, 0])
    jobs = [EngineJob(str(n), Mode.GIVEN, strategy, bars, targets) for n in range(6)]
    run = run_engine(environment.engine, environment, jobs, _RULES, _BOUNDS, folder)
    if any(outcome.result is None for outcome in run.outcomes):
        raise RuntimeError(f"vectorbt failed: {run.outcomes[0].error}")
    best = min(run.outcomes[1:], key=lambda outcome: outcome.run_seconds)
    spent = {"wall": best.run_seconds, "cpu": best.run_cpu_seconds}
    return {"runner_one": {**spent, "peak_mb": run.peak_mb}}


def runner_sweep(environment: Environment, folder: Path) -> Routes:
    """vectorbt, a thousand columns, by the product's runner; a small sweep warms its process up."""
    plan, bars = _plan(folder, 1_000), _bars()
    targets = _targets(bars, plan.strategies)
    engine = environment.engine
    run = run_sweep(engine, environment, bars, targets, _RULES, _BOUNDS, folder, warm_up=True)
    for column in range(0, len(plan.strategies), 100):
        ours = equity_units(bars, np.ascontiguousarray(targets[:, column]), _RULES) / 1e8
        if abs(run.equity[:, column] - ours).max() > _CENT:
            raise RuntimeError("vectorbt and the reference differ")
    spent = {"wall": run.run_seconds, "cpu": run.run_cpu_seconds}
    return {"runner_sweep": {**spent, "peak_mb": run.peak_mb}}


# ----------------------------------------------------------------------------------------------- all


def measure() -> Routes:
    """Everything."""
    results: Routes = {}
    for name in ROUTES:
        say(name)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.backtests", "--route", name],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        results |= json.loads(done.stdout.splitlines()[-1])
    engine = next(engine for engine in ENGINES if engine.name == "vectorbt")
    environment = environment_of(engine, load_settings(), build=True)
    for route in (documented, runner_one, runner_sweep):
        say(f"vectorbt, {route.__name__}")
        with tempfile.TemporaryDirectory(prefix="fluxhero-backtests-") as folder:
            results |= route(environment, Path(folder))
    return results


def markdown(results: Routes, version: str) -> str:
    """The page, verdicts first."""

    def ratio(slow: str, quick: str) -> float:
        return results[slow]["cpu"] / results[quick]["cpu"]

    single = ratio("vectorbt_one_measures", "one_measures")
    many = ratio("vectorbt_sweep_measures", "sweep_measures")
    few, lots = results["worker_100"]["peak_mb"], results["worker_10000"]["peak_mb"]
    verdicts = [
        verdict_line(
            f"one backtest of {_BARS:,} minute bars with its measures: CPU of vectorbt by the reference's",
            f"{single:.0f} ×",
            "≥ 100 ×",
            single >= 100,
        ),
        verdict_line(
            "a sweep of 1,000 combinations on the same bars, with measures: the same",
            f"{many:.0f} ×",
            "≥ 30 ×",
            many >= 30,
        ),
        verdict_line(
            "cross-validation, 16 blocks, 1,000 trials",
            f"{results['cscv']['wall']:.2f} s",
            "< 2 s",
            results["cscv"]["wall"] < 2,
        ),
        verdict_line(
            "peak memory of a sweep's process: 10,000 combinations against 100",
            f"{lots / few:.2f} ×",
            "≤ 1.1 ×",
            lots <= 1.1 * few,
        ),
    ]
    return "\n".join(
        [
            "# Benchmarks of the backtests",
            "",
            (
                "Made by `python -m benchmarks.backtests`; every ratio is measured in one run on one machine, each "
                "route in a process of its own, warmed up, the best of several rounds. CPU seconds are user plus "
                "system."
            ),
            "",
            f"{machine('numba', 'numpy', 'pyarrow')[:-1]}, vectorbt {version}.",
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            *verdicts,
            "",
            "## What is compared",
            "",
            (
                "A moving-average cross on a seeded random walk, the same targets for both. vectorbt is used as its "
                "documentation has it: `Portfolio.from_signals` on signals moved by one bar, filled at the open, then "
                "`stats()` of one, or total return, Sharpe ratio, drawdown and the number of trades of many. The "
                "reference gives those and more, to the cent of the contract, which `from_signals` cannot follow."
            ),
            "",
            (
                "The product's own runner makes vectorbt follow the contract with an order function that is called "
                "only where there is an order, and takes its equity without a portfolio around it. That is quicker "
                f"than the documented way: {ratio('runner_sweep', 'sweep_equity'):.0f} times what the reference needs "
                "for the same sweep's equity, "
                f"{ratio('runner_one', 'one_tables'):.0f} times for one backtest with its fills."
            ),
            "",
            "## Milliseconds of one backtest",
            "",
            "| | equity | with measures | with tables of orders, fills and trades |",
            "|---|---|---|---|",
            _line("reference", results, "one_equity", "one_measures", "one_tables"),
            _line("vectorbt, documented", results, "vectorbt_one_equity", "vectorbt_one_measures"),
            _line("vectorbt, the product's runner", results, "", "", "runner_one"),
            "",
            "## Sweeps of 1,000 combinations",
            "",
            *routes_table(
                {
                    "reference, equity": results["sweep_equity"],
                    "reference, with measures": results["sweep_measures"],
                    "vectorbt, documented, equity": results["vectorbt_sweep_equity"],
                    "vectorbt, documented, with measures": results["vectorbt_sweep_measures"],
                    "vectorbt, the product's runner, equity": results["runner_sweep"],
                    "the product's sweep, all of it": results["whole"],
                    **{
                        f"a sweep's process, {count:,} combinations": results[f"worker_{count}"]
                        for count in GRIDS
                    },
                    "cross-validation, 1,000 trials": results["cscv"],
                }
            ),
            "",
            (
                "The product's sweep starts a process for each part of the work, computes the targets, keeps each "
                "part's results durably and uses all cores; its peak is that of the process that waits."
            ),
            "",
        ]
    )


def _line(name: str, results: Routes, *routes: str) -> str:
    cells = [f"{results[one]['cpu'] * 1000:.2f}" if one else "" for one in routes]
    return f"| {' | '.join([name, *cells, *[''] * (3 - len(cells))])} |"


def main() -> None:
    """Measure and report, or run one route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backtests", description=__doc__)
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks-backtests.md")
    parser.add_argument("--route", choices=sorted(ROUTES))
    options = parser.parse_args()
    if options.route:
        with tempfile.TemporaryDirectory(prefix="fluxhero-backtests-") as folder:
            sys.stdout.write(json.dumps(ROUTES[options.route](Path(folder))) + "\n")
        return
    results = measure()
    options.out.write_text(markdown(results, _version()), encoding="utf-8")
    say(f"written to {options.out}")


def _version() -> str:
    engine = next(engine for engine in ENGINES if engine.name == "vectorbt")
    return environment_of(engine, load_settings(), build=False).version


if __name__ == "__main__":
    main()
