"""Measure the whole ledger and the store, keep the numbers, and say when a limit is breached."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["snapshot", *sys.argv[1:]])

from typing import Any

from prefect import State, flow

from tasks.ending import measured_as
from tasks.history import HOOKS
from tasks.metrics import (
    compact_past_days,
    judge_limits,
    measure_ledger,
    measure_storage,
    move_breaker,
    open_snapshot,
    record_snapshot,
    tell_of_breaker,
    tell_of_limits,
)
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.sessions import on_trading_days


@on_trading_days
@flow(name="snapshot-metrics", flow_run_name=run_name, retries=0, **HOOKS)
def snapshot_metrics() -> State[Any]:
    """Measure equity, drawdown, trades, orders, exposure, the store and the flows themselves.

    Reads the hot store and the archive and changes neither. A breached limit is an event, a finding and a
    metric; it never stops a trade. The run ends Completed, with findings in its name where a limit is
    breached or the drawdown breaker is not ok.
    """
    run = open_snapshot()
    measured = measure_ledger(run)
    storage = measure_storage(run)
    changes = move_breaker(run, measured)
    tell_of_breaker(changes)  # at once: a disk that keeps nothing must not keep this quiet
    judged = judge_limits(run, measured)
    tell_of_limits(judged)
    report = record_snapshot(run, measured, storage, judged, changes)
    compact_past_days(run)
    publish_report("snapshot-metrics", report)
    return measured_as(report)
