"""Find every storage fault, say exactly where, and mend what has a good copy."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["check", *sys.argv[1:]])

from typing import Any

from prefect import State, flow

from tasks.ending import ended_as, publish_page
from tasks.history import HOOKS
from tasks.integrity import (
    check_bar_values,
    check_ledger_values,
    open_check,
    quarantine_damaged,
    reconcile_ledger,
    record_check,
    repair_faults,
    scrub_files,
    tell_of_check,
    watch_drift,
)
from tasks.locking import exclusively
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.sessions import on_trading_days


@on_trading_days
@flow(name="check-storage", flow_run_name=run_name, retries=0, **HOOKS)
def check_storage(deep: bool = False, repair: bool = False) -> State[Any]:
    """Check everything the ledger stands on: files, hot store against archive, and every value.

    What fails is copied to quarantine and listed with what to do; nothing is deleted. The run ends
    as Critical findings, a failed state, or Completed, with findings in its name where there are others.

    Args:
        deep: read every byte and every row; otherwise what is new, changed or due by schedule.
        repair: mend what has a proven source, keeping the damaged original.
    """
    run = open_check(deep=deep)
    with exclusively(run.scope.workspace, "check_storage", reading=not repair):
        files = scrub_files(run)
        quarantined = quarantine_damaged(run, files)
        ledger = reconcile_ledger(run)
        repairs = repair_faults(run, [*files, *ledger]) if repair else []
        if repairs:
            files = scrub_files(run)
            ledger = reconcile_ledger(run)
        values = check_ledger_values(run, files)
        bars = check_bar_values(run)
        drift = watch_drift(run)
        report = record_check(run, [*files, *ledger, *values, *bars, *drift], repairs, quarantined)
    tell_of_check(run, report)
    publish_report("check-storage", report)
    publish_page("check-storage", report)
    return ended_as(report)
