"""`fluxhero ingest`."""

import click

from fluxhero.commands.output import finish, progress_bar
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import prefect_ready


@click.command(short_help="Bring a bot's database or exported rows into the hot store.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "format_name",
    metavar="F",
    help="alpaca-orders, alpaca-activities, ibkr-flex, freqtrade, fluxhero, fluxhero-archive, csv, jsonl or "
    "parquet (default: found by content).",
)
@click.option(
    "--table",
    metavar="T",
    help="Of csv, jsonl and parquet: trades, orders, fills, cash_flows, equity or positions (default: trades).",
)
@click.option(
    "--mode", metavar="M", help="live, paper or legacy: for rows whose file does not tell."
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Zone of times without an offset (default: FLUXHERO_SOURCE_TIMEZONE); ibkr-flex needs it named.",
)
@click.option(
    "--account", metavar="A", help="The broker's account: for rows whose file does not tell."
)
@json_option
def ingest(
    paths: tuple[str, ...],
    format_name: str | None,
    table: str | None,
    mode: str | None,
    timezone: str | None,
    account: str | None,
    *,
    as_json: bool,
) -> None:
    """Copy trades, orders or other rows into the DuckDB hot store. Running twice adds nothing.

    PATH is a file, a folder (its files of a known format) or a quoted pattern. A row that cannot be
    used goes to quarantine with its reason and the rest goes in; a bad file changes nothing.

    \b
    Examples:
      fluxhero ingest system.db                          a FluxHero bot's database
      fluxhero ingest archives/                          trades_archive_*.parquet of older years
      fluxhero ingest orders.csv --table orders --timezone America/New_York
      fluxhero ingest flex.xml --timezone America/New_York   a Flex statement of Interactive Brokers
      fluxhero ingest activities.json --mode live            activities of an Alpaca account
    """
    with prefect_ready():
        from flows.ingest_trades import ingest_trades

        with progress_bar(as_json=as_json):
            report = ingest_trades(
                paths=list(paths),
                format=format_name,
                table=table,
                mode=mode,
                timezone=timezone,
                account=account,
            )
    finish(report, as_json=as_json)
