"""Hold the broker's executions against the bot's own ledger."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["reconcile", *sys.argv[1:]])

from prefect import flow

from fluxhero.reconcile.report import ReconcileReport
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.ingest import Mode
from tasks.parameters import Moment, Text
from tasks.policy import run_name
from tasks.reconcile import (
    TimeTolerance,
    compare_ledgers,
    open_reconcile_run,
    record_reconciliation,
)
from tasks.reporting import publish_report


@flow(name="reconcile-ledger", flow_run_name=run_name, retries=0, **HOOKS)
def reconcile_ledger(
    account: Text | None = None,
    mode: Mode | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    time_tolerance: TimeTolerance | None = None,
) -> ReconcileReport:
    """Find what a broker executed and the bot's ledger has not, or has otherwise, and the reverse.

    Reads the store and the archive and changes neither; nothing that differs is corrected. The run
    ends Completed, with findings in its name where something differs or nothing could be compared.

    Args:
        account: the broker's account; all of them when empty.
        mode: live, paper or legacy; all that have fills when empty.
        start: from when on; from when both sides have records when empty.
        end: until when (exclusive); until the broker's last fill when empty.
        time_tolerance: seconds by which a time may differ; 60 when empty.
    """
    run = open_reconcile_run(account, mode, start, end, time_tolerance)
    found = compare_ledgers(run)
    report = record_reconciliation(run, found)
    publish_report("reconcile-ledger", report)
    return told_by(report)
