"""The shapes of the operations API's answers, beside `status_models`: what lists, series and health look like.

Times are UTC. Exact money is text, so that no reader rounds it; what comes from a snapshot is a number.
What is unknown is null, never zero.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from fluxhero.api.services import Runs
from fluxhero.api.status_models import BreakerLine

__all__ = [
    "BatchLine",
    "BreakerAnswer",
    "Check",
    "Curve",
    "EquityAnswer",
    "EvaluationLine",
    "EvaluationRows",
    "Health",
    "Line",
    "Liveness",
    "Page",
    "Point",
    "Readiness",
    "Runs",
    "SampleLine",
    "Series",
    "SeriesAnswer",
    "SnapshotAnswer",
]

Grade = Literal["pass", "warn", "fail"]


class Line(BaseModel):
    """What every answer has in common: it never changes once made."""

    model_config = ConfigDict(frozen=True)


T = TypeVar("T", bound=BaseModel)


class Page(Line, Generic[T]):
    """Part of a list; `total` counts all of it."""

    items: tuple[T, ...]
    total: int
    limit: int
    offset: int


class BatchLine(Line):
    """One archived batch, newest first in its list."""

    batch: str
    table: str
    mode: str
    month: str
    created_at: datetime
    rows: int
    bytes: int
    purged: int
    restored: int
    correction: bool
    first_closed_at: datetime
    last_closed_at: datetime


class SampleLine(Line):
    """One number of a snapshot; `count` is how many values an exact quantile was taken from."""

    name: str
    type: str
    labels: dict[str, str]
    value: float
    count: int | None


class SnapshotAnswer(Line):
    """The newest readable snapshot; nulls where there is none. `unreadable` were passed over."""

    run: str | None
    at: datetime | None
    age_seconds: float | None
    unreadable: tuple[str, ...]
    total: int
    limit: int
    offset: int
    samples: tuple[SampleLine, ...]


Point = tuple[datetime, float]


class Series(Line):
    """One metric with one set of labels over time, oldest first."""

    name: str
    labels: dict[str, str]
    points: tuple[Point, ...]


class SeriesAnswer(Line):
    """Series over a span of time; where it has more points than asked for, some are left out."""

    first: datetime
    last: datetime
    series: tuple[Series, ...]


class Curve(Line):
    """An account over time, one point a UTC day: when, equity, high-water mark, the day's worst drawdown."""

    mode: str
    basis: str
    points: tuple[tuple[datetime, str, str, float], ...]


class EquityAnswer(Line):
    """Equity curves with the two limits of the drawdown, as fractions of the high-water mark."""

    curves: tuple[Curve, ...]
    warning: float
    critical: float
    written_at: datetime | None


class EvaluationLine(Line):
    """One result of the backtest evaluation: a Parquet file and what its record says of it."""

    name: str
    written_at: datetime
    rows: int
    bytes: int
    columns: dict[str, str]


class EvaluationRows(Line):
    """Rows of one of them; exact numbers are text."""

    name: str
    rows: tuple[dict[str, Any], ...]
    total: int
    limit: int
    offset: int


class ReportLink(Line):
    """Where a browser finds a report without the token, for so many seconds."""

    path: str
    seconds: int


class BreakerAnswer(Line):
    """The drawdown breaker of each mode."""

    breaker: tuple[BreakerLine, ...]


class Liveness(Line):
    """The process answers."""

    status: Literal["pass"] = "pass"


class Readiness(Line):
    """Whether there is something to answer from; `reasons` are names, not paths."""

    status: Literal["pass", "fail"]
    reasons: tuple[str, ...] = ()


class Check(Line):
    """One part of the installation: how it does, and what was seen."""

    status: Grade
    observed: str
    values: dict[str, float | int | str | bool | None] = {}


class Health(Line):
    """How the installation does; the overall grade is the worst of its parts."""

    status: Grade
    at: datetime
    version: str
    checks: dict[str, Check]
