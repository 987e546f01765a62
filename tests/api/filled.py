"""A data folder as a night leaves it, written with the product's own writers: what the API's tests read."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from fluxhero.integrity.catalogue import rules_by_name
from fluxhero.integrity.findings import Area, Finding, judge, latest_findings, write_findings
from fluxhero.integrity.results import Result, failed, passed
from fluxhero.integrity.rules import Rule
from fluxhero.metrics import equity
from fluxhero.metrics.breaker import Thresholds, observe
from fluxhero.metrics.facts import Account, Basis
from fluxhero.metrics.jobs import RunOutcome, RunRecord, record_run
from fluxhero.metrics.limit_rules import LIMIT_RULES
from fluxhero.metrics.samples import Sample, sample
from fluxhero.metrics.snapshots import Snapshot, write_snapshot
from fluxhero.recorded import write_recorded

NOW = datetime(2026, 9, 25, 12, tzinfo=UTC)
STEP = timedelta(minutes=5)
LIMITS = Thresholds(Decimal("0.15"), Decimal("0.20"))


def _live(name: str, value: float) -> Sample:
    return sample(name, value, mode="live", basis="closed")


def samples_of(value: float = 120_000.0) -> list[Sample]:
    """What a run measures: an account 20 % below its best at 120,000, some orders, positions and rows."""
    return [
        _live("equity_usd", value),
        _live("equity_peak_usd", 150_000),
        _live("drawdown_usd", 150_000 - value),
        _live("drawdown_ratio", (150_000 - value) / 150_000),
        _live("drawdown_max_ratio", 0.25),
        _live("drawdown_duration_seconds", 86_400),
        _live("equity_timestamp_seconds", (NOW - STEP).timestamp()),
        sample("trades_unusable", 2, mode="paper", reason="no_result"),
        sample("trades_unusable", 0, mode="paper", reason="no_time"),
        sample("trades_closed_total", 10, mode="live", outcome="win"),
        sample("trades_closed_total", 5, mode="live", outcome="loss"),
        sample("profit_usd_total", 1000, mode="live"),
        sample("loss_usd_total", 300.5, mode="live"),
        sample("win_ratio", 10 / 15, mode="live"),
        sample("positions_open", 3, mode="live"),
        sample("exposure_usd", 72_000, mode="live"),
        sample("exposure_ratio", 0.6, mode="live"),
        sample("positions_without_stop", 1, mode="live"),
        sample("limit_breached", 1, mode="live", limit="exposure"),
        sample("limit_breached", 0, mode="live", limit="position"),
        sample("orders_total", 40, mode="live", broker="alpaca", status="filled"),
        sample("orders_working", 2, mode="live", broker="alpaca", status="open"),
        sample(
            "order_fill_latency_window_samples", 42, mode="live", order_type="limit", window="1d"
        ),
        *(
            sample(
                "order_fill_latency_window_seconds",
                seconds,
                42,
                mode="live",
                order_type="limit",
                window="1d",
                quantile=quantile,
            )
            for quantile, seconds in (("0.5", 0.1), ("0.9", 0.4), ("0.95", 0.6))
        ),
        sample("hot_store_rows", 12, table="trades"),
        sample("hot_store_bytes", 4096),
        sample("archive_lag_seconds", 0),
    ]


def run_id(at: datetime, suffix: str = "0000") -> str:
    return f"{at:%Y%m%dT%H%M%SZ}-{suffix}"


def take(data: Path, at: datetime, samples: Iterable[Sample] | None = None) -> Path:
    """Write a snapshot."""
    chosen = tuple(samples_of() if samples is None else samples)
    return write_snapshot(data, Snapshot(run_id(at), at, chosen))


def check(data: Path, at: datetime, results: Sequence[Result], area: Area = Area.STORAGE) -> Path:
    """Write what a check found, judged by what was found before."""
    before: list[Finding] = latest_findings(data, at, area)
    found = judge(results, before, [], at)
    return write_findings(data, run_id(at), at, found, deep=False, area=area)


def rule(name: str) -> Rule:
    return {**rules_by_name(), **{one.name: one for one in LIMIT_RULES}}[name]


DAMAGED = failed(rule("files.sha256"), "archive/trades/a.parquet", "its bytes have changed")
SOUND = passed(rule("files.sha256"), "12 objects", 12)
EXPOSED = failed(rule("limits.exposure"), "live", "60 % of equity is invested; 50 % is the limit")


def account(value: str, peak: str = "150000", mode: str = "live") -> Account:
    none = timedelta(0)
    return Account(mode, Basis.CLOSED, NOW, Decimal(value), Decimal(peak), Decimal(0), None, none)


def trip(data: Path, value: str, at: datetime) -> None:
    """Let the breaker see an account of 150,000 at its best."""
    observe(data, [account(value)], LIMITS, now=at, run=run_id(at))


def draw(data: Path, days: int = 3) -> Path:
    """Write an equity curve of so many days, the last of them today."""
    rows = [
        {
            "mode": "live",
            "basis": "closed",
            "day": (at := NOW - timedelta(days=days - 1 - day)).date(),
            "at": at,
            "equity": Decimal("150000.12345678") - 10_000 * day,
            "peak": Decimal("150000.12345678"),
            "drawdown_ratio": 10_000 * day / 150_000.12345678,
        }
        for day in range(days)
    ]
    return equity.write_curve(data, pa.Table.from_pylist(rows, schema=equity.CURVE), NOW)


def ran(data: Path, flow: str, outcome: RunOutcome, at: datetime = NOW) -> None:
    """Count a run of a flow."""
    record_run(data, RunRecord(flow=flow, outcome=outcome, ended_at=at, seconds=2.5))


def evaluate(data: Path, name: str, rows: pa.Table, at: datetime = NOW) -> Path:
    """Write a result of the backtest evaluation."""
    path = data / "evaluations" / name
    write_recorded(path, rows, at)
    return path


def fill(data: Path) -> None:
    """All of it, as of `NOW`: a bad night."""
    take(data, NOW - STEP)
    check(data, NOW - STEP, [DAMAGED])
    check(data, NOW - STEP, [EXPOSED], Area.LIMITS)
    trip(data, "120000", NOW - STEP)
    draw(data)
    ran(data, "archive-trades", RunOutcome.OK)
    ran(data, "check-storage", RunOutcome.CRASHED)


def scribble(path: Path) -> None:
    """Damage the middle of a file, as a failing disk does."""
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half - 8 : half + 8] = b"\xff" * 16
    path.write_bytes(content)
