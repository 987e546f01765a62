"""The spans of time that exact quantiles are taken over, which quantiles, and from how many values on."""

from datetime import datetime, timedelta
from typing import Final

from fluxhero.engine import moment

QUANTILES: Final = (0.5, 0.9, 0.95, 0.99)
WINDOWS: Final = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}
_FEWEST: Final = {0.95: 20, 0.99: 100}  # values that a quantile needs to mean something


def within_sql(column: str, length: timedelta | None, now: datetime) -> str:
    """SQL condition of a time in the span of this length that ends now; None for all time."""
    if length is None:
        return "true"
    return f"{column} > {moment(now - length)} AND {column} <= {moment(now)}"


def tells(quantile: float, count: int) -> bool:
    """Whether a quantile of so many values means something."""
    return count >= _FEWEST.get(quantile, 1)
