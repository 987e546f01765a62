"""An API that answers what a test tells it to: for states that the real one reaches only in months or by accident.

The routes and their JSON are those of `fluxhero.api.data`; the page and its headers are the product's.
"""

import asyncio
import base64
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from fluxhero.api import page

TOKEN = "kJ8sPq2Lm4Zx7Rt9Vw3Yb6Nc1Df5Gh0A"
Json = dict[str, Any]


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def empty_status(now: datetime) -> Json:
    """What /api/status says of a ledger without a row, before the first snapshot."""
    return {
        "at": iso(now),
        "verdict": {"level": "unknown", "text": "Nothing is known yet.", "reasons": []},
        "problems": [],
        "snapshot_at": None,
        "snapshot_age_seconds": None,
        "snapshot_stale": True,
        "accounts": [],
        "unusable": [],
        "limits": {"warning": 0.15, "critical": 0.2, "exposure": 0.5, "position": 0.2},
        "breaker": [],
        "latency": [],
        "orders": [],
        "trades": [],
        "positions": [],
        "archive": {
            "rows": 0,
            "files": 0,
            "bytes": 0,
            "lag_seconds": None,
            "last_batch": None,
            "hot_rows": {},
            "hot_bytes": None,
        },
        "findings": {"open": [], "total": 0, "waived": 0, "checked_at": None},
        "jobs": [],
        "reports": [],
        "alerts": {
            "text": "Nowhere to send alerts",
            "targets": 0,
            "waiting": 0,
            "overdue": 0,
            "given_up": 0,
            "last": [],
        },
        "runs": {"last": [], "next": [], "ui_url": None, "problem": None},
    }


@dataclass
class Script:
    """What the API says; change it and tell the sockets."""

    status: Json
    equity: Json = field(default_factory=lambda: {"curves": [], "warning": 0.15, "critical": 0.2})
    refusal: tuple[int, Json, dict[str, str]] | None = None
    equity_refusal: tuple[int, Json, dict[str, str]] | None = None
    token: str = TOKEN
    websocket: bool = True
    asked: list[str] = field(default_factory=list)
    sockets: set[WebSocket] = field(default_factory=set)
    loop: asyncio.AbstractEventLoop | None = None

    def tell(self, kind: str, data: Json) -> None:
        """Send an event to every browser."""
        text = json.dumps({"kind": kind, "at": iso(datetime.now(UTC)), "data": data})
        self._on_each(lambda socket: socket.send_text(text))

    def hang_up(self, code: int) -> None:
        """Close every connection."""
        self._on_each(lambda socket: socket.close(code))

    def _on_each(self, act: Any) -> None:
        assert self.loop is not None
        for socket in list(self.sockets):
            asyncio.run_coroutine_threadsafe(act(socket), self.loop).result(10)


def scripted_app(script: Script) -> FastAPI:
    """The application; a new one each time it is served."""
    app = FastAPI()
    app.include_router(page.router())

    def answer(
        request: Request, document: Json, refusal: tuple[int, Json, dict[str, str]] | None
    ) -> JSONResponse:
        script.asked.append(request.url.path)
        if request.headers.get("authorization") != f"Bearer {script.token}":
            return JSONResponse({"error": {"kind": "unauthorized", "message": "no"}}, 401)
        if refusal is not None:
            status, error, headers = refusal
            return JSONResponse({"error": error}, status, headers)
        return JSONResponse(document)

    @app.get("/api/status")
    async def status(request: Request) -> JSONResponse:
        return answer(request, script.status | {"at": iso(datetime.now(UTC))}, script.refusal)

    @app.get("/api/equity")
    async def equity(request: Request) -> JSONResponse:
        return answer(request, script.equity, script.equity_refusal)

    @app.websocket("/ws")
    async def live(socket: WebSocket) -> None:
        offered = socket.headers.get("sec-websocket-protocol", "").split(", ")
        wanted = base64.urlsafe_b64encode(script.token.encode()).decode().rstrip("=")
        if not script.websocket or f"base64url.bearer.{wanted}" not in offered:
            await socket.close()
            return
        await socket.accept(subprotocol="fluxhero.v1")
        script.loop = asyncio.get_running_loop()
        script.sockets.add(socket)
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            script.sockets.discard(socket)

    return app


# ------------------------------------------------------------------------------- a night shift


def night_shift(now: datetime) -> Script:
    """A year of trading that ends below the warning limit, with two findings open."""
    script = Script(empty_status(now))
    script.equity["curves"] = [_curve(now, "live", 1.0), _curve(now, "paper", 0.35)]
    script.status |= {
        "verdict": {
            "level": "warning",
            "text": "Warning: 2 findings are open.",
            "reasons": [
                {"level": "warning", "text": "The storage check has 1 error and 1 warning open."},
            ],
        },
        "snapshot_at": iso(now - timedelta(minutes=3)),
        "snapshot_age_seconds": 180.0,
        "snapshot_stale": False,
        "accounts": [_account(curve) for curve in script.equity["curves"]],
        "breaker": [
            _state("live", "ok", now - timedelta(days=40), "4.1 % below the high-water mark"),
            _state("paper", "ok", now - timedelta(days=90), "at the high-water mark"),
        ],
        "latency": _latency(),
        "orders": [
            _orders("live", status, number)
            for status, number in (
                ("filled", 2914),
                ("canceled", 371),
                ("rejected", 12),
                ("new", 3),
            )
        ],
        "trades": [
            {
                "mode": "live",
                "wins": 812,
                "losses": 601,
                "flat": 4,
                "unknown": 0,
                "cancelled": 9,
                "profit": 184_310.4,
                "loss": 141_022.1,
                "fees": 2_913.6,
                "win_ratio": 0.5731,
            }
        ],
        "positions": [
            {
                "mode": "live",
                "open": 3,
                "limit": 5,
                "exposure_usd": 43_100.0,
                "exposure_ratio": 0.301,
                "exposure_limit": 0.5,
                "largest_ratio": 0.142,
                "largest_limit": 0.2,
                "risk_at_stops_ratio": 0.0121,
                "without_stop": 0,
                "breached": [],
            }
        ],
        "archive": {
            "rows": 128_412,
            "files": 46,
            "bytes": 9_412_300,
            "lag_seconds": 0.0,
            "hot_rows": {"trades": 214, "orders": 512, "cash_flows": 18},
            "hot_bytes": 4_812_800,
            "last_batch": {
                "batch": "b",
                "table": "trades",
                "mode": "live",
                "created_at": iso(now - timedelta(hours=7)),
                "rows": 96,
                "bytes": 21_000,
            },
        },
        "findings": {
            "open": _findings(now),
            "total": 2,
            "waived": 0,
            "checked_at": iso(now - timedelta(hours=6)),
        },
        "jobs": [
            _job("archive-trades", now - timedelta(hours=7), 4.2),
            _job("check-storage", now - timedelta(hours=6), 9.81),
            _job("snapshot-metrics", now - timedelta(minutes=3), 1.31),
            _job("refresh-bars", now - timedelta(hours=5), 38.0),
        ],
        "reports": [
            {
                "name": "check-latest.html",
                "kind": "check",
                "written_at": iso(now - timedelta(hours=6)),
                "bytes": 41_000,
            },
        ],
        "alerts": {
            "text": "Alerts reach 2 targets",
            "targets": 2,
            "waiting": 0,
            "overdue": 0,
            "given_up": 0,
            "last": [
                _told(now - timedelta(hours=7), "resolved", "archive-trades succeeds again"),
                _told(now - timedelta(hours=31), "critical", "archive-trades failed"),
            ],
        },
        "runs": {
            "last": [
                _run(index, flow, now - timedelta(minutes=minutes), seconds, state)
                for index, (flow, minutes, seconds, state) in enumerate(_LAST)
            ],
            "next": [
                _run(20 + index, flow, now + timedelta(minutes=minutes), None, "SCHEDULED")
                for index, (flow, minutes) in enumerate(_NEXT)
            ],
            "ui_url": "http://127.0.0.1:4200",
            "problem": None,
        },
    }
    return script


_LAST = [
    ("snapshot-metrics", 3, 1.31, "COMPLETED"),
    ("snapshot-metrics", 8, 1.27, "COMPLETED"),
    ("refresh-bars", 300, 38.0, "COMPLETED"),
    ("check-storage", 360, 9.81, "FAILED"),
    ("archive-trades", 420, 4.2, "COMPLETED"),
    ("snapshot-metrics", 425, 1.4, "COMPLETED"),
]
_NEXT = [
    ("snapshot-metrics", 2),
    ("archive-trades", 1020),
    ("check-storage", 1080),
    ("refresh-bars", 1140),
]


def _curve(now: datetime, mode: str, size: float) -> Json:
    chance = random.Random(29)
    points, equity, peak = [], 100_000.0, 100_000.0
    for day in range(400):
        drift = -0.0042 if 205 <= day < 250 else 0.0013
        equity *= 1 + size * chance.gauss(drift, 0.0085)
        peak = max(peak, equity)
        at = (now - timedelta(days=399 - day)).replace(hour=0, minute=0)
        points.append([iso(at), f"{equity:.2f}", f"{peak:.2f}", 1 - equity / peak])
    return {"mode": mode, "basis": "closed", "points": points}


def _account(curve: Json) -> Json:
    at, equity, peak, ratio = curve["points"][-1]
    return {
        "mode": curve["mode"],
        "basis": "closed",
        "equity": float(equity),
        "peak": float(peak),
        "drawdown_usd": float(peak) - float(equity),
        "drawdown_ratio": ratio,
        "max_ratio": max(point[3] for point in curve["points"]),
        "under_water_seconds": 9 * 86_400.0,
        "as_of": at,
    }


def _state(mode: str, level: str, since: datetime, reason: str) -> Json:
    return {"mode": mode, "level": level, "since": iso(since), "reason": reason, "equity": None}


def _latency() -> list[Json]:
    lines: list[Json] = []
    for event, scale in (("fill", 1.0), ("ack", 0.05)):
        for window, samples in (("1d", 14), ("7d", 96), ("30d", 402), ("all", 2914)):
            for order_type, factor in (("market", 0.2), ("limit", 40.0), ("stop_limit", 12.0)):
                number = samples if order_type != "stop_limit" else samples // 8
                base = scale * factor
                lines.append(
                    {
                        "mode": "live",
                        "order_type": order_type,
                        "window": window,
                        "event": event,
                        "samples": number,
                        "p50": base,
                        "p90": base * 3.1,
                        "p95": base * 4.4 if number >= 20 else None,
                        "p99": base * 9 if number >= 100 else None,
                    }
                )
    return lines


def _orders(mode: str, status: str, number: int) -> Json:
    working = status == "new"
    return {
        "mode": mode,
        "broker": "alpaca",
        "status": status,
        "working": working,
        "orders": number,
    }


def _findings(now: datetime) -> list[Json]:
    common: Json = {"area": "storage", "last_seen": iso(now - timedelta(hours=6))}
    return [
        common
        | {
            "rule": "files.sha256",
            "severity": "error",
            "object": "trades/mode=live/month=2026-03/9f31c2.parquet",
            "observed": "the file's SHA-256 is not the one its manifest names",
            "state": "new",
            "count": 1,
            "first_seen": iso(now - timedelta(hours=6)),
            "remedy": "`fluxhero check --repair` puts the mirror's copy in its place.",
        },
        common
        | {
            "rule": "trades.pnl",
            "severity": "warning",
            "object": "trades of live",
            "observed": "3 trades whose result is not what their prices and fees make",
            "state": "known",
            "count": 3,
            "first_seen": iso(now - timedelta(days=4)),
            "remedy": "Look at them with `fluxhero query`; correct the source, or waive them.",
        },
    ]


def _told(at: datetime, urgency: str, title: str) -> Json:
    return {
        "at": iso(at),
        "rule": "run-failed",
        "urgency": urgency,
        "title": title,
        "text": "",
        "next_step": "see the run's page: its last log lines say why",
        "url": "http://127.0.0.1:4200/runs/flow-run/1",
        "standing": "delivered",
        "problem": None,
    }


def _job(name: str, at: datetime, seconds: float) -> Json:
    return {
        "job": name,
        "last_success_at": iso(at),
        "last_ended_at": iso(at),
        "last_ok": name != "check-storage",
        "last_seconds": seconds,
    }


def _run(number: int, flow: str, at: datetime, seconds: float | None, state: str) -> Json:
    return {
        "id": f"run-{number}",
        "name": f"brave-otter-{number}",
        "flow": flow,
        "deployment": flow,
        "state": state,
        "state_name": state.capitalize(),
        "message": None,
        "expected_at": iso(at),
        "started_at": None if seconds is None else iso(at),
        "ended_at": None if seconds is None else iso(at + timedelta(seconds=seconds)),
        "seconds": seconds,
        "url": f"http://127.0.0.1:4200/runs/flow-run/run-{number}",
    }
