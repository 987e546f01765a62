"""`fluxhero nightly`: the whole night, now."""

import sys

import click

from fluxhero.commands.output import show_report
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import prefect_ready, report_of


@click.command(short_help="Fetch, bring in, archive, check and measure, one after the other.")
@click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="PATH",
    help="File or folder to bring in first; repeat for more (default: FLUXHERO_NIGHTLY_IMPORTS).",
)
@click.option("--deep", is_flag=True, help="Check every byte and every row.")
@json_option
def nightly(*, imports: tuple[str, ...], deep: bool, as_json: bool) -> None:
    """Do now what the night shift does at 20:30 New York time: broker, ingest, archive, check, snapshot.

    Each step is a run of its own; the broker is asked where FLUXHERO_NIGHTLY_BROKER says so. One that fails
    stops the ones after it, but for the snapshot, which only reads. Stopped at any moment, the next one
    does what is left.

    Ends with 1 when a step found something, and with the exit status of a step that failed.

    \b
    Examples:
      fluxhero nightly
      fluxhero nightly --import /srv/bot/system.db --deep
    """
    with prefect_ready():
        from flows.nightly import nightly as flow

        report = report_of(flow(imports=list(imports) or None, deep=deep, return_state=True))
    show_report(report, as_json=as_json)
    sys.exit(report.exit_status)
