"""Each account's equity and drawdown over time, as charts for a run's page."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.mermaid import line_chart

_POINTS: Final = 40
_MOST_ACCOUNTS: Final = 4


def account_charts(curve: pa.Table) -> tuple[str, ...]:
    """Two charts an account, of the curve that a snapshot keeps; none for one of a single day.

    Args:
        curve: in the columns of `fluxhero.metrics.equity.CURVE`, as `equity_curve` sorts it.
    """
    kinds = curve.select(["mode", "basis"]).group_by(["mode", "basis"]).aggregate([]).to_pylist()
    ordered = sorted((str(kind["mode"]), str(kind["basis"])) for kind in kinds)[:_MOST_ACCOUNTS]
    return tuple(chart for mode, basis in ordered for chart in _charts(curve, mode, basis))


def _charts(curve: pa.Table, mode: str, basis: str) -> Iterator[str]:
    rows = curve.filter((pc.field("mode") == mode) & (pc.field("basis") == basis))
    days: list[date] = rows["day"].to_pylist()
    if not days or days[0] == days[-1]:
        return
    first, last = days[0], days[-1]
    grid = _grid(first, last)
    ends = [bisect_right(days, day) for day in grid]
    equity: list[Decimal] = rows["equity"].to_pylist()
    peaks: list[Decimal] = rows["peak"].to_pylist()
    worst: list[float] = rows["drawdown_ratio"].to_pylist()
    held = [f"{equity[end - 1]:.2f}" for end in ends]
    yield line_chart(f"{mode} ({basis}): equity, USD", first, last, held)
    stands = [_below(now, peak) for now, peak in zip(equity, peaks, strict=True)]
    deepest = [
        f"{-100 * max(worst[start:end], default=stands[end - 1]):.2f}"
        for start, end in pairwise([0, *ends])
    ]
    yield line_chart(f"{mode} ({basis}): drawdown, %", first, last, deepest)


def _below(equity: Decimal, peak: Decimal) -> float:
    return float((peak - equity) / peak) if peak > 0 else float(peak > equity)


def _grid(first: date, last: date) -> list[date]:
    """Days evenly spread, both ends among them: days without a step have no row of their own."""
    span = (last - first).days
    steps = min(span, _POINTS - 1)
    return [first + timedelta(days=span * step // steps) for step in range(steps + 1)]
