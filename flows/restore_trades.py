"""Bring archived trades back into the hot store."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["restore", *sys.argv[1:]])

from prefect import flow

from fluxhero.archive.report import RestoreReport
from fluxhero.archive.restore import Wanted
from tasks.archive import mirror_archive
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.locking import exclusively
from tasks.parameters import Days, Moment, Text, Texts
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.restore import (
    MovedTable,
    find_archived,
    open_restore_run,
    restore_rows,
    summarise_restore_run,
)


@flow(name="restore-trades", flow_run_name=run_name, retries=0, **HOOKS)
def restore_trades(
    trade_ids: Texts | None = None,
    batch_id: Text | None = None,
    closed_from: Moment | None = None,
    closed_to: Moment | None = None,
    table: MovedTable = "trades",
    hold_days: Days | None = None,
    reason: Text = "restored by hand",
    dry_run: bool = False,
) -> RestoreReport:
    """Restore some trades, one batch, or whatever was closed in a time range.

    The files are verified first; the rows are put on hold so that the next archive run leaves them,
    inserted, and read back. Restoring twice changes nothing.

    Args:
        trade_ids: trades by id, or by a beginning of it that only one trade has.
        batch_id: a whole batch.
        closed_from: first close time (inclusive).
        closed_to: last close time (exclusive).
        table: "trades" or "orders".
        hold_days: days the rows stay hot at least; the setting when empty.
        reason: recorded with the hold and in the archive.
        dry_run: only list what would come back.
    """
    run = open_restore_run(hold_days, dry_run=dry_run)
    wanted = Wanted(table, tuple(trade_ids or ()), batch_id, closed_from, closed_to)
    with exclusively(run.workspace, "restore_trades"):
        found = find_archived(run, wanted)
        restored = restore_rows(run, found, reason)
        mirrored = mirror_archive(run)
        report = summarise_restore_run(run, found, restored, mirrored)
    publish_report("restore-trades", report)
    return told_by(report)
