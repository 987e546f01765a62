"""Trades: how many ended how, what they made and lost, and how long they were held."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import duckdb

from fluxhero.metrics.histograms import histogram_samples
from fluxhero.metrics.samples import Sample, sample
from fluxhero.metrics.windows import columns_sql, window_samples

HOLDING_BOUNDS: Final = (60, 300, 900, 3600, 14_400, 86_400, 172_800, 604_800, 2_592_000)
_MICROSECONDS = 1_000_000
_TOTALS_SQL = """
SELECT mode,
    count(*) FILTER (closed AND realized_pnl > 0), count(*) FILTER (closed AND realized_pnl < 0),
    count(*) FILTER (closed AND realized_pnl = 0), count(*) FILTER (closed AND realized_pnl IS NULL),
    count(*) FILTER (status = 'cancelled'),
    coalesce(sum(realized_pnl) FILTER (closed AND realized_pnl > 0), 0),
    coalesce(-sum(realized_pnl) FILTER (closed AND realized_pnl < 0), 0),
    sum(fees) FILTER (closed OR status = 'cancelled')
FROM (SELECT *, status = 'closed' AS closed FROM trades) GROUP BY mode ORDER BY mode
"""
# In whole microseconds, so that no sum depends on the order of rows. Only a time of exit will do: that of
# the last update, which dates other trades, may be long after.
_HELD_SQL = """
SELECT mode, exit_time, epoch_us(exit_time) - epoch_us(entry_time) AS held
FROM trades WHERE status = 'closed' AND exit_time >= entry_time
"""


def trade_samples(connection: duckdb.DuckDBPyConnection, now: datetime) -> list[Sample]:
    """The metrics of trades, of every mode that has some.

    Args:
        connection: of `ledger_facts`.
        now: end of the windows.
    """
    totals = connection.execute(_TOTALS_SQL).fetchall()
    samples = [one for row in totals for one in _of_mode(*row)]
    for mode, total, *counts in connection.execute(_histogram_sql()).fetchall():
        samples += histogram_samples(
            "holding_seconds", HOLDING_BOUNDS, counts, float(total) / _MICROSECONDS, mode=mode
        )
    windows = (
        f"SELECT mode, {columns_sql('held', 'exit_time', now)} FROM ({_HELD_SQL}) GROUP BY mode"
    )
    for mode, *found in connection.execute(f"{windows} ORDER BY mode").fetchall():
        samples += window_samples("holding_window", found, mode=mode)
    return samples


def _of_mode(
    mode: str,
    wins: int,
    losses: int,
    flat: int,
    unknown: int,
    cancelled: int,
    profit: Any,
    loss: Any,
    fees: Any,
) -> Iterator[Sample]:
    outcomes = {"win": wins, "loss": losses, "flat": flat, "unknown": unknown}
    for outcome, count in outcomes.items():
        yield sample("trades_closed_total", count, mode=mode, outcome=outcome)
    yield sample("trades_cancelled_total", cancelled, mode=mode)
    yield sample("profit_usd_total", float(profit), mode=mode)
    yield sample("loss_usd_total", float(loss), mode=mode)
    if fees is not None:
        yield sample("fees_usd_total", float(fees), mode=mode)
    if told := wins + losses + flat:
        yield sample("win_ratio", wins / told, mode=mode)


def _histogram_sql() -> str:
    bounds = [-1, *(bound * _MICROSECONDS for bound in HOLDING_BOUNDS)]
    bands = [f"count(*) FILTER (held > {low} AND held <= {high})" for low, high in pairwise(bounds)]
    bands.append(f"count(*) FILTER (held > {bounds[-1]})")
    return (
        f"SELECT mode, sum(held), {', '.join(bands)} FROM ({_HELD_SQL}) GROUP BY mode ORDER BY mode"
    )
