"""Fetch from the broker what the account did, and bring it into the hot store."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["ingest-broker", *sys.argv[1:]])

from prefect import flow

from fluxhero.broker.report import BrokerReport
from tasks.broker import (
    BrokerMode,
    bring_in,
    choose_beginning,
    fetch_activities,
    fetch_orders,
    find_account,
    move_watermark,
    open_broker_run,
    summarise_broker_run,
)
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.ingest import prepare_store
from tasks.locking import exclusively
from tasks.parameters import Moment
from tasks.policy import run_name
from tasks.reporting import publish_report


@flow(name="ingest-broker", flow_run_name=run_name, retries=0, **HOOKS)
def ingest_broker(since: Moment | None = None, mode: BrokerMode | None = None) -> BrokerReport:
    """Fetch an account's orders and activities from Alpaca since the last time; nothing comes in twice.

    What the broker sends is kept as it came, and goes in by the rules of every ingest. Only then is the
    account's watermark moved on: a run that is stopped at any moment is made good by the next one.

    Args:
        since: fetch again from this time on, whatever was fetched before; since the last fetch when empty.
        mode: live or paper, where the host does not tell; by the host, or as before, when empty.
    """
    run = open_broker_run(since, mode)
    with exclusively(run.workspace, "ingest_broker"):
        prepare_store(run.ingest)
        pull = choose_beginning(run, find_account(run))
        orders = fetch_orders(run, pull)
        activities = fetch_activities(run, pull)
        ingested = bring_in(run, pull, orders, activities)
        mark = move_watermark(run, pull, orders, activities)
        report = summarise_broker_run(run, pull, orders, activities, ingested, mark)
    publish_report("ingest-broker", report)
    return told_by(report)
