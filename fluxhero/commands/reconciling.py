"""`fluxhero reconcile`: does the bot's ledger say what the broker executed?"""

from datetime import datetime

import click

from fluxhero.commands.output import finish
from fluxhero.commands.parameters import SECONDS, UTC_TIME, json_option
from fluxhero.commands.running import prefect_ready


@click.command(short_help="Hold the broker's executions against the bot's ledger.")
@click.option(
    "--account", metavar="A", help="The broker's account (default: every one that has fills)."
)
@click.option("--mode", metavar="M", help="live, paper or legacy (default: all that have fills).")
@click.option(
    "--from",
    "start",
    type=UTC_TIME,
    metavar="T",
    help="Only from then on (default: from when both sides have records).",
)
@click.option(
    "--to",
    "end",
    type=UTC_TIME,
    metavar="T",
    help="Only before then (default: up to the broker's last fill).",
)
@click.option(
    "--time-tolerance",
    type=SECONDS,
    metavar="S",
    help="Seconds by which a time may differ (default: 60).",
)
@json_option
def reconcile(
    account: str | None,
    mode: str | None,
    start: datetime | None,
    end: datetime | None,
    time_tolerance: float | None,
    *,
    as_json: bool,
) -> None:
    """Find what the broker executed and the bot's ledger has not, or has otherwise, and the reverse.

    The broker's side are the fills of its exports (`fluxhero ingest`, docs/imports.md), the bot's side
    its trades, hot and archived. Nothing is corrected: each difference is listed with what it changes
    in the bot's P&L and what to do. All are in the tables differences and round_trips of
    `fluxhero query`.

    Ends with 1 when something differs, or when there was nothing to compare.

    \b
    Examples:
      fluxhero reconcile
      fluxhero reconcile --account U1234567 --from 2026-01-01 --to 2026-04-01
      fluxhero query "SELECT * FROM differences WHERE kind = 'missing'"
    """
    with prefect_ready():
        from flows.reconcile_ledger import reconcile_ledger

        report = reconcile_ledger(
            account=account, mode=mode, start=start, end=end, time_tolerance=time_tolerance
        )
    finish(report, as_json=as_json)
