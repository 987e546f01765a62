"""`fluxhero ingest-broker`."""

from datetime import datetime

import click

from fluxhero.commands.output import finish, progress_bar
from fluxhero.commands.parameters import UTC_TIME, json_option
from fluxhero.commands.running import prefect_ready


@click.command("ingest-broker", short_help="Fetch the account's orders and activities from Alpaca.")
@click.option(
    "--since",
    type=UTC_TIME,
    help="Fetch again from this time on, whatever was fetched before (default: since the last fetch).",
)
@click.option(
    "--mode",
    metavar="M",
    help="live or paper, where the host in FLUXHERO_ALPACA_API_URL does not tell.",
)
@json_option
def ingest_broker(since: datetime | None, mode: str | None, *, as_json: bool) -> None:
    """Fetch orders, fills, dividends, fees and transfers of the account whose keys are in the settings.

    FLUXHERO_ALPACA_API_URL is the host, paper trading's by default; FLUXHERO_ALPACA_API_KEY and
    FLUXHERO_ALPACA_API_SECRET are the account's. The first run fetches the whole history, the next
    ones what is new or may have changed. Running twice adds nothing.

    \b
    Examples:
      fluxhero ingest-broker                        what is new since the last time
      fluxhero ingest-broker --since 2024-01-01     everything from there on again
    """
    with prefect_ready():
        from flows.ingest_broker import ingest_broker as flow

        with progress_bar(as_json=as_json):
            report = flow(since=since, mode=mode)
    finish(report, as_json=as_json)
