"""The steps of a restore, a task each."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from fluxhero.archive import restore as restoring
from fluxhero.archive.batches import utc_now
from fluxhero.archive.identity import check_owner
from fluxhero.archive.mirror import Mirrored
from fluxhero.archive.report import RestoreReport
from fluxhero.archive.restore import Restorable, Restored, Wanted
from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.schema import ORDERS, TRADES
from fluxhero.wording import counted
from tasks.parameters import form
from tasks.policy import compute_task, io_task
from tasks.starting import days_for, settings_of_run

logger = logging.getLogger(__name__)

MovedTable = Annotated[str, form(enum=[TRADES.name, ORDERS.name])]


@dataclass(frozen=True)
class RestoreRun:
    """What every step of one run needs to know."""

    workspace: Workspace
    started: datetime
    hold_until: datetime
    dry_run: bool
    mirror_dir: Path | None = None


@io_task
def open_restore_run(hold_days: int | None, *, dry_run: bool) -> RestoreRun:
    """Read the settings and fix the end of the hold.

    Raises:
        BadInputError: the hold would end before it begins, or never.
        ForeignStoreError: there is no store to restore to.
    """
    settings = settings_of_run()
    days = days_for("hold", settings.hold_days if hold_days is None else hold_days)
    now = utc_now()
    workspace = Workspace.of(settings)
    workspace.store.check_there()
    return RestoreRun(
        workspace, now, now + timedelta(days=days), dry_run, settings.archive_mirror_dir
    )


@io_task
def find_archived(run: RestoreRun, wanted: Wanted) -> Restorable:
    """Look up the latest archived versions of what is wanted, in an archive of this store.

    Raises:
        ForeignArchiveError: the archive belongs to another store.
    """
    check_owner(run.workspace.layout, run.workspace.store)
    found = restoring.find(run.workspace, run.workspace.chain(), wanted)
    rows = sum(len(keys) for keys in found.keys.values())
    logger.info("found %s in %s", counted(rows, "row"), counted(len(found.keys), "batch"))
    return found


@io_task
def restore_rows(run: RestoreRun, found: Restorable, reason: str) -> Restored:
    """Verify, hold, insert, read back, and record it; a dry run only compares."""
    chain = run.workspace.chain()
    if run.dry_run:
        return restoring.preview(run.workspace, chain, found)
    done = restoring.restore(
        run.workspace,
        chain,
        found,
        reason=reason,
        now=run.started,
        hold_until=run.hold_until,
    )
    logger.info(
        "restored %s, read back equal; %d hot already, %d refused",
        counted(len(done.restored), "row"),
        len(done.already_hot),
        len(done.refused),
    )
    return done


@compute_task
def summarise_restore_run(
    run: RestoreRun, found: Restorable, restored: Restored, mirrored: Mirrored
) -> RestoreReport:
    """Put the run's outcome together."""
    return RestoreReport(
        store=str(run.workspace.store.path),
        archive=str(run.workspace.layout.root),
        dry_run=run.dry_run,
        found=found.keys,
        restored=restored.restored,
        already_hot=restored.already_hot,
        refused=restored.refused,
        hold_until=run.hold_until if run.hold_until > run.started else None,
        mirror_problems=mirrored.problems,
    )
