"""Exact quantiles of durations: over which spans of time, which ones, and from how many values on."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fluxhero.engine import moment
from fluxhero.metrics.samples import Sample, sample

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
WINDOWS: Final = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
_MICROSECONDS = 1_000_000
_FEWEST: Final = {0.95: 20, 0.99: 100}  # values that a quantile needs to mean something


def columns_sql(value: str, column: str, now: datetime) -> str:
    """SQL columns for `window_samples`: of each window how many values there are, and their quantiles.

    Args:
        value: SQL of a duration in whole microseconds.
        column: SQL of the time that says whether a row is in a window.
        now: end of the windows.
    """
    return ", ".join(
        f"count(*) FILTER ({within}), quantile_cont({value}, {list(QUANTILES)}) FILTER ({within})"
        for within in (_within_sql(column, length, now) for length in WINDOWS.values())
    )


def _within_sql(column: str, length: timedelta | None, now: datetime) -> str:
    """SQL condition of a time in the span of this length that ends now; None for all time."""
    if length is None:
        return "true"
    return f"{column} > {moment(now - length)} AND {column} <= {moment(now)}"


def window_samples(name: str, found: Sequence[Any], **labels: str) -> Iterator[Sample]:
    """Samples of what `columns_sql` selected; a window without values has none.

    Args:
        name: of the two families, without `_samples` and `_seconds`.
        found: the columns' values.
        labels: those before the window and the quantile.
    """
    for window, count, values in zip(WINDOWS, found[::2], found[1::2], strict=True):
        if not count:
            continue
        yield sample(f"{name}_samples", count, None, **labels, window=window)
        for quantile, value in zip(QUANTILES, values, strict=True):
            if count >= _FEWEST.get(quantile, 1):
                seconds = value / _MICROSECONDS
                told = {**labels, "window": window, "quantile": str(quantile)}
                yield sample(f"{name}_seconds", seconds, count, **told)
