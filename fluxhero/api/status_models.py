"""The shape of `/api/status`: all that the operations page shows at first sight, in one answer."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fluxhero.api.services import Runs


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)


Grade = Literal["ok", "warning", "critical", "unknown"]


class Reason(_Line):
    """One thing that keeps the verdict from being ok."""

    level: Grade
    text: str


class Verdict(_Line):
    """Is my night shift well? Reasons stand worst first."""

    level: Grade
    text: str
    reasons: tuple[Reason, ...]


class Problem(_Line):
    """Something that cannot be read, so that its part of the answer is empty or older."""

    part: Literal[
        "snapshot", "archive", "findings", "equity", "breaker", "jobs", "reports", "alerts"
    ]
    what: str | None
    message: str
    next_step: str


class AccountLine(_Line):
    """One mode's account on one basis; `as_of` is the last trade, cash flow or point it comes from."""

    mode: str
    basis: str
    equity: float
    peak: float
    drawdown_usd: float
    drawdown_ratio: float
    max_ratio: float | None
    under_water_seconds: float | None
    as_of: datetime | None


class UnusableLine(_Line):
    """Closed trades without a result or time, which leave a mode without an account."""

    mode: str
    reason: str
    trades: int


class LimitsLine(_Line):
    """The limits of the settings; fractions, but for the number of positions."""

    warning: float
    critical: float
    exposure: float
    position: float
    positions_open: int
    risk_trend: float
    risk_mean_reversion: float


class BreakerLine(_Line):
    """The drawdown breaker of one mode; money is exact."""

    mode: str
    level: str
    since: datetime | None
    reason: str
    equity: str | None
    peak: str | None
    basis: str | None


class LatencyLine(_Line):
    """Exact quantiles of one window, in seconds; null where there are too few orders for one."""

    mode: str
    order_type: str
    window: str
    event: Literal["ack", "fill"]
    samples: int
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class OrderLine(_Line):
    """Orders of one status; `working` are those that may still change."""

    mode: str
    broker: str
    status: str
    working: bool
    orders: int


class TradeLine(_Line):
    """Closed trades of one mode since inception."""

    mode: str
    wins: int
    losses: int
    flat: int
    unknown: int
    cancelled: int
    profit: float
    loss: float
    fees: float | None
    win_ratio: float | None


class PositionLine(_Line):
    """What one mode holds, against its limits; `breached` names the limits that are not kept."""

    mode: str
    open: int
    limit: int
    exposure_usd: float | None
    exposure_ratio: float | None
    exposure_limit: float
    largest_ratio: float | None
    largest_limit: float
    risk_at_stops_ratio: float | None
    without_stop: int
    breached: tuple[str, ...]


class LastBatch(_Line):
    """The newest batch of the archive."""

    batch: str
    table: str
    mode: str
    created_at: datetime
    rows: int
    bytes: int


class ArchiveLine(_Line):
    """The archive by its manifests, and the hot store by the last snapshot."""

    rows: int
    files: int
    bytes: int
    lag_seconds: float | None
    last_batch: LastBatch | None
    hot_rows: dict[str, int]
    hot_bytes: int | None


class FindingLine(_Line):
    """One fault that a check found, or the passing of a check."""

    area: str
    rule: str
    severity: str
    object: str
    observed: str
    state: str
    outcome: str
    count: int
    first_seen: datetime | None
    last_seen: datetime | None
    resolved_at: datetime | None
    remedy: str


class FindingsLine(_Line):
    """Open findings, gravest first, waived ones last, at most `MOST_FINDINGS`; `total` counts all of them."""

    open: tuple[FindingLine, ...]
    total: int
    waived: int
    checked_at: datetime | None


class JobLine(_Line):
    """How a flow did last."""

    job: str
    last_success_at: datetime | None
    last_ended_at: datetime | None
    last_ok: bool | None
    last_seconds: float | None


class ReportLine(_Line):
    """An HTML or PDF report; `kind` is check, evaluation or tearsheet."""

    name: str
    kind: str
    written_at: datetime
    bytes: int


class ToldLine(_Line):
    """One alert; `at` is when it happened, `standing` whether it has arrived, `problem` why not."""

    at: datetime
    rule: str
    urgency: str
    title: str
    text: str
    next_step: str
    url: str | None
    standing: str
    problem: str | None


class AlertsLine(_Line):
    """Alerts, newest first, at most `MOST_ALERTS`; the counts are of all. `overdue` wait for ten minutes."""

    text: str
    targets: int
    waiting: int
    overdue: int
    given_up: int
    last: tuple[ToldLine, ...]


class StatusAnswer(_Line):
    """All of it; `at` is the server's clock."""

    at: datetime
    verdict: Verdict
    problems: tuple[Problem, ...]
    snapshot_at: datetime | None
    snapshot_age_seconds: float | None
    snapshot_stale: bool
    accounts: tuple[AccountLine, ...]
    unusable: tuple[UnusableLine, ...]
    limits: LimitsLine
    breaker: tuple[BreakerLine, ...]
    latency: tuple[LatencyLine, ...]
    orders: tuple[OrderLine, ...]
    trades: tuple[TradeLine, ...]
    positions: tuple[PositionLine, ...]
    archive: ArchiveLine | None
    findings: FindingsLine
    jobs: tuple[JobLine, ...]
    reports: tuple[ReportLine, ...]
    alerts: AlertsLine
    runs: Runs
