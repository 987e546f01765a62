"""`fluxhero refresh`."""

from datetime import datetime

import click

from fluxhero.commands.output import finish
from fluxhero.commands.parameters import UTC_TIME, json_option, timeframe_option
from fluxhero.commands.running import prefect_ready


@click.command(short_help="Bring the cache of price bars up to date.")
@click.argument("symbols", nargs=-1, metavar="[SYMBOL]...")
@timeframe_option
@click.option(
    "--from",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Take the bars from this CSV or Parquet file instead of the provider; repeat for more.",
)
@click.option(
    "--start",
    type=UTC_TIME,
    help="Fetch again from this day on, whatever the cache has (default: what is missing).",
)
@click.option(
    "--adjustment",
    metavar="A",
    help="What prices are adjusted for: raw, split, dividend or all (default: as the cache is, "
    "else split; of files it is not known).",
)
@click.option(
    "--feed",
    metavar="F",
    help="Source of the bars: sip, iex, otc or boats (default: Alpaca's choice).",
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Zone of times without an offset in files (default: FLUXHERO_SOURCE_TIMEZONE).",
)
@json_option
def refresh(
    symbols: tuple[str, ...],
    timeframe: str,
    paths: tuple[str, ...],
    start: datetime | None,
    adjustment: str | None,
    feed: str | None,
    timezone: str | None,
    *,
    as_json: bool,
) -> None:
    """Fetch the bars that the cache lacks, and nothing else. Running twice fetches nothing twice.

    SYMBOL is written as the broker writes it: AAPL, BRK.B, BTC/USD. Without one, the symbols with an
    open trade or position are refreshed. Only bars that are over are stored, and of those shorter
    than a day only the exchange's regular hours.

    \b
    Examples:
      fluxhero refresh                                   what is traded now, daily bars
      fluxhero refresh AAPL BTC/USD --timeframe 5Min     these, 5-minute bars
      fluxhero refresh AAPL --start 2024-01-01           fetch again from there on
      fluxhero refresh AAPL --from aapl.csv --timezone America/New_York
    """
    with prefect_ready():
        from flows.refresh_market_data import refresh_market_data

        report = refresh_market_data(
            symbols=list(symbols),
            timeframe=timeframe,
            paths=list(paths),
            start=start,
            adjustment=adjustment,
            feed=feed,
            timezone=timezone,
        )
    finish(report, as_json=as_json)
