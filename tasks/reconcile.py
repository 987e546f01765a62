"""The steps of reconciling, a task each."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fluxhero.archive.batches import utc_now
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError
from fluxhero.integrity.findings import new_run_id
from fluxhero.ledger.formats.contract import nearest
from fluxhero.ledger.schema import MODES
from fluxhero.reconcile.kept import write_run
from fluxhero.reconcile.period import Period
from fluxhero.reconcile.reading import read_ledger
from fluxhero.reconcile.reconciling import Asked, Reconciled, account_of, reconcile
from fluxhero.reconcile.report import ReconcileReport, report_of
from fluxhero.reconcile.tolerances import Tolerances
from tasks.parameters import form
from tasks.policy import io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

_MOST_SECONDS = 86_400
TimeTolerance = Annotated[float, form(minimum=0, maximum=_MOST_SECONDS)]


@dataclass(frozen=True)
class ReconcileRun:
    """What every step of one run needs to know."""

    run: str
    now: datetime
    workspace: Workspace
    asked: Asked
    tolerances: Tolerances


@io_task
def open_reconcile_run(
    account: str | None,
    mode: str | None,
    start: datetime | None,
    end: datetime | None,
    time_tolerance: float | None,
) -> ReconcileRun:
    """Read the settings, check the parameters and name the run.

    Raises:
        BadInputError: a parameter makes no sense.
        ForeignStoreError: there is neither a store nor an archive.
    """
    if mode is not None and mode not in MODES:
        raise BadInputError(
            f"there is no mode '{mode}'{nearest(mode, MODES)}",
            next_step=f"give --mode one of {', '.join(MODES)}",
        )
    if start is not None and end is not None and start >= end:
        raise BadInputError(
            f"a period from {start.isoformat()} to {end.isoformat()} has nothing in it",
            next_step="give --to a later time than --from",
        )
    tolerances = Tolerances()
    if time_tolerance is not None:
        if not 0 <= time_tolerance <= _MOST_SECONDS:
            raise BadInputError(
                f"a time tolerance of {time_tolerance} seconds",
                next_step=f"give --time-tolerance 0 to {_MOST_SECONDS:,} seconds",
            )
        tolerances = Tolerances(time=timedelta(seconds=time_tolerance))
    workspace = Workspace.of(settings_of_run())
    if not workspace.layout.root.exists():
        workspace.store.check_there()
    now = utc_now()
    asked = Asked(account, mode, Period(start, end))
    return ReconcileRun(new_run_id(now), now, workspace, asked, tolerances)


@io_task
def compare_ledgers(run: ReconcileRun) -> Reconciled:
    """Match the fills to round trips, and hold the broker's against the bot's trades.

    Raises:
        BadInputError: no fill is of the account that was asked for.
    """
    try:
        ledger = read_ledger(run.workspace)
    finally:
        run.workspace.store.close()
    account = run.asked.account
    accounts = sorted({account_of(fill) for fill in ledger.fills if fill.trade_id is None})
    if account is not None and account not in accounts:
        known = f"the ledger has fills of {', '.join(accounts)}" if accounts else "it has no fills"
        raise BadInputError(
            f"the ledger has no fill of account '{account}'{nearest(account, accounts)}",
            next_step=f"{known}; bring the broker's export in with `fluxhero ingest`",
        )
    found = reconcile(ledger.fills, ledger.trades, run.asked, run.tolerances)
    for compared in found.compared:
        logger.info(
            "%s: %d orders, %d trades, %d differences",
            compared.mode,
            compared.orders,
            compared.trades,
            len(compared.differences),
        )
    return found


@io_task
def record_reconciliation(run: ReconcileRun, found: Reconciled) -> ReconcileReport:
    """Keep the differences and the round trips, and write the report."""
    differences = [one for compared in found.compared for one in compared.differences]
    folder = write_run(run.workspace.data_dir, run.run, run.now, found.trips, differences)
    report = report_of(run.run, run.now, str(run.workspace.store.path), found, str(folder))
    (logger.info if report.ok else logger.warning)(report.verdict)
    return report
