"""Run strategies in every backtesting engine by one set of rules, and say what their results are worth."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["evaluate", *sys.argv[1:]])

from datetime import date
from typing import Any

from prefect import State, flow

from tasks.backtests import (
    Engines,
    Pairs,
    Shares,
    SpeedBars,
    Sweeper,
    Variants,
    all_of,
    compute_targets,
    conclude,
    failures_of,
    judge_luck,
    load_bars,
    measure_speed,
    open_evaluation,
    plan_sweeps,
    record_evaluation,
    register_trials,
    run_engine_jobs,
    run_reference,
    set_exam,
    sweep_part,
    working_folder,
)
from tasks.cluster import CoresOrCluster
from tasks.ending import evaluated_as, publish_page, publish_plot
from tasks.history import HOOKS
from tasks.parameters import Texts, TimeframeName
from tasks.policy import run_name
from tasks.reporting import publish_report


@flow(
    name="evaluate-backtests",
    flow_run_name=run_name,
    retries=0,
    task_runner=CoresOrCluster(sweep_part),
    **HOOKS,
)
def evaluate_backtests(
    strategies: Texts | None = None,
    symbols: Texts | None = None,
    timeframe: TimeframeName = "1Day",
    first: date | None = None,
    last: date | None = None,
    parameters: Pairs | None = None,
    grid: Variants | None = None,
    engines: Engines | None = None,
    shares: Shares | None = None,
    allow_short: bool = False,
    speed_bars: SpeedBars = 100_000,
    build: bool = True,
    sweep_engine: Sweeper = "reference",
    pdf: bool = False,
) -> State[Any]:
    """Compare backtesting engines on the same rules and data, and ask whether a strategy's result is luck.

    An engine or a strategy that cannot be run is a row of the report that says why; the others go on.

    Args:
        strategies: names of shipped ones or module:Class; all shipped ones when empty.
        symbols: whose bars, from the cache, or shipped ones as sample:AAPL; all four shipped ones when empty.
        timeframe: length of a bar: 1Day, 1Min to 59Min, 1Hour to 23Hour.
        first: leave out bars of earlier days.
        last: leave out bars of later days.
        parameters: name=value of the strategy, if there is one only.
        grid: name=values to try, as in fast=5..50:5, if there is one strategy only; its own when empty.
        engines: to compare; all when empty, no engine for `none`.
        shares: of every order; as many as the equity pays for when empty.
        allow_short: let strategies be short.
        speed_bars: minute bars that speed is measured on; 0 leaves that out.
        build: build the environments of engines that have none yet.
        sweep_engine: what runs the combinations of the grids: reference or vectorbt.
        pdf: write each tearsheet as a PDF file, too.
    """
    run = open_evaluation(
        strategies or [],
        symbols or [],
        timeframe,
        (first, last),
        (parameters or [], grid or []),
        engines or [],
        shares=shares,
        allow_short=allow_short,
        speed_bars=speed_bars,
        build=build,
        sweep_engine=sweep_engine,
        pdf=pdf,
    )
    with working_folder(run):
        material = load_bars(run)
        signals = compute_targets(run, material)
        references = run_reference(run, signals)
        exam = set_exam(run, material)
        compared = all_of(
            [run_engine_jobs.submit(run, name, references, exam) for name in run.engines]
        )
        sweeps = plan_sweeps(run, references)
        parts = all_of([sweep_part.submit(run.bounds, *part) for part in sweeps.parts])
        outcomes = register_trials(run, references, sweeps, parts)
        luck = judge_luck(run, references, outcomes)
        timed = [measure_speed(run, engine) for engine in compared]  # one by one, or none is true
        failures = failures_of(run, material, signals, references, timed, luck)
        evaluation = conclude(run, material, references, exam, timed, luck, failures)
        report = record_evaluation(run, evaluation, references, timed)
    publish_report("evaluate-backtests", report)
    publish_page("evaluate-backtests", report)
    publish_plot("evaluate-backtests", report)
    return evaluated_as(report)
