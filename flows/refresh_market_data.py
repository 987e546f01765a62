"""Bring the bars in the cache up to date, from the market data provider or from files."""

import sys

if __name__ == "__main__":  # Prefect reads its settings when imported, so the command comes first
    from fluxhero.cli import main

    main(["refresh", *sys.argv[1:]])

from prefect import flow

from fluxhero.market.report import RefreshReport
from tasks.ending import told_by
from tasks.history import HOOKS
from tasks.market import (
    Adjustment,
    Feed,
    choose_symbols,
    fetch_bars,
    open_market_run,
    summarise_market_run,
    take_files,
    writing_bars,
)
from tasks.parameters import Moment, Texts, TimeframeName, Zone
from tasks.policy import run_name
from tasks.reporting import publish_report
from tasks.sessions import on_trading_days


@on_trading_days
@flow(name="refresh-market-data", flow_run_name=run_name, retries=0, **HOOKS)
def refresh_market_data(
    symbols: Texts | None = None,
    timeframe: TimeframeName = "1Day",
    paths: Texts | None = None,
    start: Moment | None = None,
    adjustment: Adjustment | None = None,
    feed: Feed | None = None,
    timezone: Zone | None = None,
) -> RefreshReport:
    """Fetch what the cache of bars lacks, and nothing else; only bars that are over are stored.

    A symbol that fails leaves its file as it was and does not stop the others.

    Args:
        symbols: as the broker writes them (AAPL, BTC/USD); those with an open trade when empty.
        timeframe: length of a bar: 1Day, 1Min to 59Min, 1Hour to 23Hour.
        paths: CSV or Parquet files to take the bars from, instead of the provider.
        start: fetch again from this day on, whatever the cache has; what is missing when empty.
        adjustment: what prices are adjusted for: raw, split, dividend or all; as the cache is when empty.
        feed: the provider's source: sip, iex, otc or boats; its own choice when empty.
        timezone: IANA zone of times without an offset in files; the setting when empty.
    """
    run = open_market_run(symbols or [], timeframe, paths or [], start, adjustment, feed, timezone)
    with writing_bars(run):
        groups = choose_symbols(run)
        brought = [take_files(run), *[fetch_bars(run, group) for group in groups]]
        report = summarise_market_run(run, brought)
    publish_report("refresh-market-data", report)
    return told_by(report)
