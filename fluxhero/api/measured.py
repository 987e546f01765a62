"""What a snapshot's samples say, gathered into the lines that the operations page shows."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

from config.settings import Settings
from fluxhero.api.status_models import (
    AccountLine,
    LatencyLine,
    LimitsLine,
    OrderLine,
    PositionLine,
    TradeLine,
    UnusableLine,
)
from fluxhero.metrics.samples import PREFIX, Sample

_EVENTS: tuple[Literal["ack", "fill"], ...] = ("ack", "fill")
_WINDOWS = ("1d", "7d", "30d", "all")


class Measured:
    """The samples of one snapshot, found by name and labels."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        """Index them once; each question after that is a look-up."""
        self._by_name: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        self._exact: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for one in samples:
            name = one.name.removeprefix(PREFIX)
            self._by_name[name].append((dict(one.labels), one.value))
            self._exact[name, frozenset(one.labels)] = one.value

    def all(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each sample of this name that has these labels."""
        for found, value in self._by_name.get(name, ()):
            if labels.items() <= found.items():
                yield found, value

    def one(self, name: str, **labels: str) -> float | None:
        """The value of the sample that has these labels and no others; None if there is none."""
        return self._exact.get((name, frozenset(labels.items())))

    def values(self, label: str, *names: str) -> list[str]:
        """What a label can be, over these metrics, in order."""
        return sorted({found[label] for name in names for found, _ in self.all(name)})


def accounts(measured: Measured) -> tuple[AccountLine, ...]:
    """Each account with its drawdown."""
    return tuple(
        AccountLine(
            mode=labels["mode"],
            basis=labels["basis"],
            equity=equity,
            peak=measured.one("equity_peak_usd", **labels) or equity,
            drawdown_usd=measured.one("drawdown_usd", **labels) or 0,
            drawdown_ratio=measured.one("drawdown_ratio", **labels) or 0,
            max_ratio=measured.one("drawdown_max_ratio", **labels),
            under_water_seconds=measured.one("drawdown_duration_seconds", **labels),
            as_of=_time(measured.one("equity_timestamp_seconds", **labels)),
        )
        for labels, equity in measured.all("equity_usd")
    )


def unusable(measured: Measured) -> tuple[UnusableLine, ...]:
    """Why a mode may have no account."""
    return tuple(
        UnusableLine(mode=labels["mode"], reason=labels["reason"], trades=int(count))
        for labels, count in measured.all("trades_unusable")
        if count
    )


def limits_of(settings: Settings) -> LimitsLine:
    """The limits of the settings."""
    return LimitsLine(
        warning=float(settings.drawdown_warning_pct),
        critical=float(settings.drawdown_critical_pct),
        exposure=float(settings.max_total_exposure_pct),
        position=float(settings.max_position_size_pct),
        positions_open=settings.max_open_positions,
        risk_trend=float(settings.max_risk_pct_trend),
        risk_mean_reversion=float(settings.max_risk_pct_mean_rev),
    )


def latency(measured: Measured) -> tuple[LatencyLine, ...]:
    """Quantiles by event, order type and window; where there is no sample there is no line."""
    lines = [
        LatencyLine(
            mode=labels["mode"],
            order_type=labels["order_type"],
            window=labels["window"],
            event=event,
            samples=int(samples),
            **_quantiles(measured, f"order_{event}_latency_window_seconds", labels),
        )
        for event in _EVENTS
        for labels, samples in measured.all(f"order_{event}_latency_window_samples")
    ]
    return tuple(
        sorted(
            lines,
            key=lambda line: (line.mode, line.event, line.order_type, _place(line.window)),
        )
    )


def _quantiles(measured: Measured, name: str, labels: Mapping[str, str]) -> dict[str, float | None]:
    wanted = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
    return {
        field: measured.one(name, **labels, quantile=quantile) for field, quantile in wanted.items()
    }


def _place(window: str) -> int:
    return _WINDOWS.index(window) if window in _WINDOWS else len(_WINDOWS)


def orders(measured: Measured) -> tuple[OrderLine, ...]:
    """Orders by mode, broker and status; those at an end first."""
    return tuple(
        OrderLine(
            mode=labels["mode"],
            broker=labels["broker"],
            status=labels["status"],
            working=working,
            orders=int(count),
        )
        for name, working in (("orders_total", False), ("orders_working", True))
        for labels, count in measured.all(name)
    )


def trades(measured: Measured) -> tuple[TradeLine, ...]:
    """Closed trades and their results by mode."""
    return tuple(
        TradeLine(
            mode=mode,
            wins=_count(measured, "trades_closed_total", mode=mode, outcome="win"),
            losses=_count(measured, "trades_closed_total", mode=mode, outcome="loss"),
            flat=_count(measured, "trades_closed_total", mode=mode, outcome="flat"),
            unknown=_count(measured, "trades_closed_total", mode=mode, outcome="unknown"),
            cancelled=_count(measured, "trades_cancelled_total", mode=mode),
            profit=measured.one("profit_usd_total", mode=mode) or 0,
            loss=measured.one("loss_usd_total", mode=mode) or 0,
            fees=measured.one("fees_usd_total", mode=mode),
            win_ratio=measured.one("win_ratio", mode=mode),
        )
        for mode in measured.values("mode", "trades_closed_total", "trades_cancelled_total")
    )


def positions(measured: Measured, limits: LimitsLine) -> tuple[PositionLine, ...]:
    """What each mode holds, and which limits it breaches."""
    return tuple(
        PositionLine(
            mode=labels["mode"],
            open=int(count),
            limit=limits.positions_open,
            exposure_usd=measured.one("exposure_usd", mode=labels["mode"]),
            exposure_ratio=measured.one("exposure_ratio", mode=labels["mode"]),
            exposure_limit=limits.exposure,
            largest_ratio=measured.one("position_max_ratio", mode=labels["mode"]),
            largest_limit=limits.position,
            risk_at_stops_ratio=measured.one("risk_at_stops_ratio", mode=labels["mode"]),
            without_stop=_count(measured, "positions_without_stop", mode=labels["mode"]),
            breached=breached(measured, labels["mode"]),
        )
        for labels, count in measured.all("positions_open")
    )


def breached(measured: Measured, mode: str) -> tuple[str, ...]:
    """Names of the limits that a mode breaches."""
    found = measured.all("limit_breached", mode=mode)
    return tuple(sorted(labels["limit"] for labels, value in found if value))


def hot_rows(measured: Measured) -> dict[str, int]:
    """Rows in the hot store by table."""
    return {labels["table"]: int(rows) for labels, rows in measured.all("hot_store_rows")}


def _count(measured: Measured, name: str, **labels: str) -> int:
    return int(sum(value for _, value in measured.all(name, **labels)))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
