"""Every metric there is: its name, kind, labels, meaning, formula and where that comes from.

The one list of them. Measuring, the exposition, the alert rules and `docs/metrics.md` go by it. Names follow
Prometheus' conventions: base units, `_total` for what only accumulates, `_ratio` for fractions.
"""

from dataclasses import dataclass
from enum import StrEnum

from fluxhero.metrics.samples import PREFIX


class Kind(StrEnum):
    """What may happen to a metric's value."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes:
        name: with the prefix; a counter's ends in `_total`.
        kind: gauge, counter or histogram.
        help: one sentence for whoever meets it in a dashboard.
        labels: names in order; a histogram's `le` is not among them.
        formula: how it is reckoned, in words or symbols; empty where the help says all.
        source: who defines the formula, where somebody does.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    formula: str = ""
    source: str = ""


def _gauge(name: str, text: str, *labels: str, formula: str = "", source: str = "") -> Family:
    return Family(PREFIX + name, Kind.GAUGE, text, labels, formula, source)


def _counter(name: str, text: str, *labels: str, formula: str = "") -> Family:
    return Family(PREFIX + name, Kind.COUNTER, text, labels, formula)


def _histogram(name: str, text: str, *labels: str, formula: str = "") -> Family:
    return Family(PREFIX + name, Kind.HISTOGRAM, text, labels, formula)


_DRAWDOWN = "Magdon-Ismail and Atiya, Maximum Drawdown, Risk 17 (10), 2004"
_QUANTILE = "Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996, type 7"
_LATENCY = "finite, non-negative values; p99 from 100 of them on, p95 from 20 on"

ACCOUNT: tuple[Family, ...] = (
    _gauge(
        "equity_usd",
        "Value of the account.",
        "mode",
        "basis",
        formula="closed: initial capital + cash flows + results of closed trades (after fees); marked: the last "
        "value that the source recorded",
    ),
    _gauge(
        "equity_peak_usd",
        "High-water mark of the account since its inception, the start included.",
        "mode",
        "basis",
        formula="largest equity so far; a deposit adds to it, a withdrawal takes its part of the equity off it",
    ),
    _gauge(
        "drawdown_usd",
        "How far the account is below its high-water mark.",
        "mode",
        "basis",
        formula="peak − equity",
    ),
    _gauge(
        "drawdown_ratio",
        "Drawdown as a fraction of the high-water mark.",
        "mode",
        "basis",
        formula="(peak − equity) ÷ peak",
        source=_DRAWDOWN,
    ),
    _gauge(
        "drawdown_max_ratio",
        "Largest drawdown since inception.",
        "mode",
        "basis",
        formula="max over time of (peak − equity) ÷ peak",
        source=_DRAWDOWN,
    ),
    _gauge(
        "drawdown_duration_seconds",
        "Time since the account was last at its high-water mark; 0 at it.",
        "mode",
        "basis",
    ),
    _gauge(
        "drawdown_duration_max_seconds",
        "Longest time under water since inception, the present one included.",
        "mode",
        "basis",
    ),
    _gauge(
        "equity_timestamp_seconds",
        "Time of the last trade, cash flow or recorded value that the equity comes from.",
        "mode",
        "basis",
    ),
    _gauge("unrealized_pnl_usd", "Open result as the source last recorded it.", "mode"),
    _gauge(
        "cash_flow_usd",
        "Sum of cash flows since inception; withdrawals and fees are negative.",
        "mode",
        "kind",
    ),
    _gauge(
        "trades_unusable",
        "Closed trades without a result or a time: while there is one, the mode has no equity.",
        "mode",
        "reason",
    ),
    _gauge(
        "rows_other_currency",
        "Trades and cash flows in another currency than USD, which no other metric has in it.",
        "mode",
        "table",
    ),
)

TRADES: tuple[Family, ...] = (
    _counter("trades_closed_total", "Closed trades.", "mode", "outcome"),
    _counter("trades_cancelled_total", "Cancelled trades.", "mode"),
    _counter("profit_usd_total", "Sum of the results of winning trades.", "mode"),
    _counter("loss_usd_total", "Sum of the losses of losing trades, as a positive number.", "mode"),
    _counter("fees_usd_total", "Fees of trades, where the source has them.", "mode"),
    _gauge(
        "win_ratio",
        "Fraction of closed trades that made money.",
        "mode",
        formula="wins ÷ closed trades with a result",
    ),
    _histogram("holding_seconds", "Time from entry to exit of closed trades.", "mode"),
    _gauge(
        "holding_window_seconds",
        "Exact quantiles of the holding time of trades closed in a window.",
        "mode",
        "window",
        "quantile",
        formula="trades that have a time of exit; p99 from 100 of them on, p95 from 20 on",
        source=_QUANTILE,
    ),
    _gauge(
        "holding_window_samples", "Trades that those quantiles are taken from.", "mode", "window"
    ),
)

HOLDINGS: tuple[Family, ...] = (
    _gauge("positions_open", "Open positions, one a symbol and side.", "mode"),
    _gauge(
        "exposure_usd",
        "Sum of the values of open positions, whatever their side.",
        "mode",
        formula="Σ quantity × last price, for want of one × entry price",
    ),
    _gauge("exposure_ratio", "Exposure as a fraction of equity.", "mode"),
    _gauge("position_max_ratio", "Largest open position as a fraction of equity.", "mode"),
    _gauge(
        "risk_at_stops_usd",
        "What open trades lose if every stop is hit.",
        "mode",
        formula="Σ max(0, (entry − stop) × quantity) for long, mirrored for short",
    ),
    _gauge("risk_at_stops_ratio", "Risk at stops as a fraction of equity.", "mode"),
    _gauge(
        "trade_risk_max_ratio",
        "Largest risk at its stop of one open trade as a fraction of equity.",
        "mode",
        "strategy",
    ),
    _gauge("positions_without_stop", "Open trades that have no stop.", "mode"),
)

LIMITS: tuple[Family, ...] = (
    _gauge("limit_ratio", "Risk limit of the settings, as a fraction.", "limit"),
    _gauge("positions_open_limit", "Most positions open at one time, by the settings."),
    _gauge("limit_breached", "Whether a limit is breached now (1) or kept (0).", "mode", "limit"),
    _gauge(
        "breaker_state",
        "State of the drawdown breaker: 1 for the one it is in.",
        "mode",
        "state",
    ),
    _gauge("breaker_changed_timestamp_seconds", "When the breaker last changed.", "mode"),
)

ORDERS: tuple[Family, ...] = (
    _counter("orders_total", "Orders that have come to an end.", "mode", "broker", "status"),
    _gauge("orders_working", "Orders that may still change.", "mode", "broker", "status"),
    _histogram(
        "order_ack_latency_seconds",
        "Time from submission to the broker's acknowledgement.",
        "mode",
        "broker",
        "order_type",
    ),
    _histogram(
        "order_fill_latency_seconds",
        "Time from submission to the last fill.",
        "mode",
        "broker",
        "order_type",
    ),
    _gauge(
        "order_ack_latency_window_seconds",
        "Exact quantiles of the acknowledgement latency of orders acknowledged in a window.",
        "mode",
        "order_type",
        "window",
        "quantile",
        formula=_LATENCY,
        source=_QUANTILE,
    ),
    _gauge(
        "order_ack_latency_window_samples",
        "Orders that those quantiles are taken from.",
        "mode",
        "order_type",
        "window",
    ),
    _gauge(
        "order_fill_latency_window_seconds",
        "Exact quantiles of the fill latency of orders filled in a window.",
        "mode",
        "order_type",
        "window",
        "quantile",
        formula=_LATENCY,
        source=_QUANTILE,
    ),
    _gauge(
        "order_fill_latency_window_samples",
        "Orders that those quantiles are taken from.",
        "mode",
        "order_type",
        "window",
    ),
    _counter(
        "order_latency_negative_total",
        "Orders whose latency is negative (clocks apart, or times cut to seconds); in no quantile.",
        "mode",
        "event",
    ),
)

STORAGE: tuple[Family, ...] = (
    _gauge("hot_store_rows", "Rows in the hot store.", "table"),
    _gauge("hot_store_bytes", "Bytes of the hot store's file."),
    _gauge("archive_files", "Data files of the archive."),
    _gauge("archive_bytes", "Bytes of the archive's data files."),
    _counter("archive_rows_total", "Rows ever archived.", "table"),
    _counter("purged_rows_total", "Rows ever removed from the hot store after archival.", "table"),
    _counter("restored_rows_total", "Rows ever brought back from the archive.", "table"),
    _gauge(
        "archive_lag_seconds",
        "How long the oldest eligible trade or order has been due for archival; 0 if none is.",
        formula="now − retention − close time",
    ),
    _gauge("quarantined_rows", "Rows in quarantine that nobody has resolved.", "reason"),
    _counter(
        "integrity_failures_total",
        "Runs in which a check failed on something that is not waived.",
        "check",
    ),
    _gauge(
        "findings_open",
        "Findings of the last storage check that are open and not waived.",
        "severity",
    ),
    _gauge("integrity_last_run_timestamp_seconds", "When storage was last checked."),
    _gauge(
        "integrity_last_ok_timestamp_seconds",
        "When a storage check last found nothing that counts.",
    ),
)

JOBS: tuple[Family, ...] = (
    _gauge("job_last_success_timestamp_seconds", "When the flow last ended well.", "job_name"),
    _gauge(
        "job_last_run_success", "Whether the flow's last run ended well (1) or not (0).", "job_name"
    ),
    _gauge("job_last_run_timestamp_seconds", "When the flow's last run ended.", "job_name"),
    _gauge("job_last_duration_seconds", "How long the flow's last run took.", "job_name"),
    _histogram("job_duration_seconds", "How long the flow's runs took.", "job_name"),
    _counter("job_runs_total", "Runs of the flow.", "job_name", "outcome"),
)

SNAPSHOT: tuple[Family, ...] = (
    _gauge("snapshot_timestamp_seconds", "When the metrics shown were measured."),
    _gauge("build_info", "1; the release is the label.", "version"),
)

SERVICE: tuple[Family, ...] = (
    _histogram(
        "http_request_duration_seconds",
        "Time to answer requests, by route template.",
        "method",
        "route",
        "status_class",
    ),
    _counter(
        "auth_failures_total", "Requests and WebSocket handshakes without a valid token.", "reason"
    ),
    _counter("rate_limited_total", "Requests and WebSocket handshakes over their limit.", "kind"),
    _gauge("websocket_clients", "WebSocket clients connected now."),
    _counter("websocket_dropped_total", "WebSocket clients dropped because they read too slowly."),
    _gauge(
        "snapshot_files_unreadable",
        "Newest snapshot files that could not be read and were passed over.",
    ),
    _gauge(
        "alerts",
        "Alerts of the last 90 days; standing is waiting, delivered, given_up or sent_nowhere.",
        "urgency",
        "standing",
    ),
    _gauge("alert_targets", "Targets that alerts are sent to; 0 if they go nowhere."),
)

# What a snapshot measures, and what the operations API counts by itself while it runs.
MEASURED = (*ACCOUNT, *TRADES, *HOLDINGS, *LIMITS, *ORDERS, *STORAGE, *JOBS, *SNAPSHOT)
FAMILIES = (*MEASURED, *SERVICE)

_PARTS = ("_bucket", "_sum", "_count")


def family_of(name: str) -> Family | None:
    """The family that a sample of this name belongs to; None if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    for part in _PARTS:
        family = _BY_NAME.get(name.removesuffix(part))
        if name.endswith(part) and family and family.kind is Kind.HISTOGRAM:
            return family
    return None


_BY_NAME = {family.name: family for family in FAMILIES}
