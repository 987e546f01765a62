"""Bring files into the hot store: a bot's database, an older archive, or canonical rows."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["ingest", *sys.argv[1:]])

from prefect import flow

from fluxhero.ledger.ingest_report import IngestReport
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.ingest import (
    FormatName,
    LedgerTable,
    Mode,
    ingest_path,
    open_ingest_run,
    prepare_store,
    summarise_ingest_run,
)
from tasks.locking import exclusively
from tasks.parameters import SomeTexts, Zone
from tasks.policy import run_name
from tasks.reporting import publish_report


@flow(name="ingest-trades", flow_run_name=run_name, retries=0, **HOOKS)
def ingest_trades(
    paths: SomeTexts,
    format: FormatName | None = None,
    table: LedgerTable | None = None,
    mode: Mode | None = None,
    timezone: Zone | None = None,
    account: str | None = None,
) -> IngestReport:
    """Ingest files into the DuckDB store; the same file again adds nothing.

    A bad row goes to quarantine with its reason and the rest goes in; a bad file changes nothing.
    Ingest and archive never run at the same time.

    Args:
        paths: files, folders (the files in them that a format recognises) or patterns.
        format: name of the files' format; found by content when empty.
        table: ledger table that csv, jsonl and parquet rows belong to; trades when empty.
        mode: mode of rows whose file does not tell: live, paper or legacy.
        timezone: IANA zone of times without an offset; the setting when empty.
        account: account of rows whose file does not tell, as the broker calls it.
    """
    run = open_ingest_run(paths, format, table, mode, timezone, account)
    with exclusively(run.workspace, "ingest_trades"):
        prepare_store(run)
        ingested = [ingest_path(run, group) for group in run.groups]
        report = summarise_ingest_run(run, ingested)
    publish_report("ingest-trades", report)
    return told_by(report)
