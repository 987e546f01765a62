"""Move trades older than the retention to the Parquet archive, with proof."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["archive", *sys.argv[1:]])

from prefect import flow

from fluxhero.archive.report import ArchiveReport
from tasks.archive import (
    check_archive,
    copy_store_before_first_purge,
    mirror_archive,
    open_archive_run,
    plan_batches,
    preview_rows,
    publish_batches,
    purge_batches,
    record_refusals,
    recover_interrupted,
    stage_batches,
    summarise_archive_run,
    verify_batches,
)
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.locking import exclusively
from tasks.parameters import Days, Moment, Rows
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.sessions import on_trading_days


@on_trading_days
@flow(name="archive-trades", flow_run_name=run_name, retries=0, **HOOKS)
def archive_trades(
    retention_days: Days | None = None,
    as_of: Moment | None = None,
    dry_run: bool = False,
    purge: bool = True,
    limit: Rows | None = None,
    adopt: bool = False,
) -> ArchiveReport:
    """Archive every closed or cancelled trade (and finished order) older than the retention.

    Each batch is staged, hashed from disk, read back, compared with the store value by value, and
    published with a manifest; only then are equal rows purged. Any one run does everything that is
    due, and finishes what an earlier one left.

    Args:
        retention_days: days a closed trade stays in the hot store; the setting when empty.
        as_of: the moment to count back from; now when empty.
        dry_run: only list what would move.
        purge: remove archived rows from the hot store; without it the run copies and verifies.
        limit: move at most this many rows.
        adopt: take over an archive whose store was moved or made anew, or one at another place.
    """
    run = open_archive_run(retention_days, as_of, dry_run=dry_run, purge=purge, adopt=adopt)
    with exclusively(run.workspace, "archive_trades", reading=dry_run):
        check_archive(run)
        store_copy = copy_store_before_first_purge(run)
        recovery = recover_interrupted(run)
        plan = plan_batches(run, limit)
        if dry_run:
            plan = preview_rows(run, plan)
        refused_rows, refusals, published = list(plan.refused), [], []
        for group in () if dry_run else plan.groups:
            staged = stage_batches(run, group)
            verified = verify_batches(run, staged)
            published += publish_batches(run, verified)
            refused_rows += staged.refused_rows
            refusals += [*staged.refused, *verified.refused]
        purged = purge_batches(run, published, plan)
        new_refusals = record_refusals(run, refused_rows)
        mirrored = mirror_archive(run)
        report = summarise_archive_run(
            run,
            recovery,
            plan,
            refused_rows,
            refusals,
            published,
            purged,
            new_refusals,
            store_copy,
            mirrored,
        )
    publish_report("archive-trades", report)
    return told_by(report)
