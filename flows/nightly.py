"""The whole night in one run: fetch, bring in, archive, check, measure."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["nightly", *sys.argv[1:]])

from typing import Any

from prefect import State, flow

from flows.archive_trades import archive_trades
from flows.check_storage import check_storage
from flows.ingest_broker import ingest_broker
from flows.ingest_trades import ingest_trades
from flows.snapshot_metrics import snapshot_metrics
from tasks.cost import measuring_cost
from tasks.history import HOOKS
from tasks.nightly import night_as, not_run, open_night, run_step, skipped, summarise_night
from tasks.parameters import Texts
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.sessions import on_trading_days


@on_trading_days
@measuring_cost
@flow(name="nightly", flow_run_name=run_name, retries=0, **HOOKS)
def nightly(imports: Texts | None = None, deep: bool = False) -> State[Any]:
    """Fetch, bring in, archive, check and measure, one after the other, each as a run of its own.

    A step that fails stops the ones after it, but for the snapshot, which only reads. The run ends Failed
    then, naming the step and the cause; killed at any moment, its next run does what is left.

    Args:
        imports: files and folders to bring in first; those of FLUXHERO_NIGHTLY_IMPORTS when empty.
        deep: check every byte and every row; otherwise what is new, changed or due by schedule.
    """
    night = open_night(imports)
    if night.broker:
        broker = run_step("broker", lambda: ingest_broker(return_state=True))
    else:
        broker = skipped("broker", "FLUXHERO_NIGHTLY_BROKER does not say that it is to be asked")
    if broker.stops:
        ingest = not_run("ingest", broker)
    elif night.imports:
        ingest = run_step("ingest", lambda: ingest_trades(paths=night.imports, return_state=True))
    else:
        ingest = skipped("ingest", "FLUXHERO_NIGHTLY_IMPORTS names nothing to bring in")
    if ingest.stops:
        archive = not_run("archive", ingest)
    else:
        archive = run_step("archive", lambda: archive_trades(return_state=True))
    if archive.stops:
        check = not_run("check", archive)
    else:
        check = run_step("check", lambda: check_storage(deep=deep, return_state=True))
    snapshot = run_step("snapshot", lambda: snapshot_metrics(return_state=True))
    report = summarise_night(night, [broker, ingest, archive, check, snapshot])
    publish_report("nightly", report)
    return night_as(report)
