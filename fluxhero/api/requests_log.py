"""One line a request: its id, route, answer, duration and who asked. Never a path, a query value or a secret.

The path asked for is whatever a stranger typed; the route's template says as much and cannot forge a line.
"""

import logging
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.logging import log_context
from fluxhero.api.service_metrics import NO_ROUTE, ServiceMetrics, method_label

_log = logging.getLogger(__name__)
_HEADER: Final = b"x-request-id"
_USABLE = re.compile(rb"[A-Za-z0-9_-]{8,64}")
_GONE: Final = 499  # the client left before there was an answer
_STARTS = {"http.response.start", "websocket.http.response.start", "websocket.accept"}


@dataclass(slots=True)
class _Answer:
    status: int = _GONE
    size: int = 0
    seconds: float | None = None


class RequestLog:
    """Gives every request an id, logs its answer and counts it; a WebSocket's line comes when it ends."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note what comes back."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer()
        request = _id_of(scope)
        scope.setdefault("state", {})["request_id"] = request

        async def noted(message: Message) -> None:
            if message["type"] in _STARTS:
                answer.status = message.get("status", HTTPStatus.SWITCHING_PROTOCOLS.value)
                answer.seconds = time.perf_counter() - began
                message.setdefault("headers", [])
                MutableHeaders(scope=message)["X-Request-ID"] = request
            answer.size += len(message.get("body") or message.get("text") or b"")
            await send(message)

        with log_context(request=request):
            try:
                await self.app(scope, receive, noted)
            finally:
                self._record(scope, answer, time.perf_counter() - began)

    def _record(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        method = scope.get("method", "GET")
        route = _route_of(scope)
        state = scope["state"]
        peer = state.get("peer")
        self._metrics.answered(method, route, answer.status, answer.seconds or seconds)
        _log.info(
            "%s %s %s",
            method_label(method) if scope["type"] == "http" else "WebSocket",
            route,
            answer.status,
            extra={
                "status": answer.status,
                "milliseconds": round(seconds * 1000, 1),
                "bytes": answer.size,
                "principal": state.get("principal"),
                "peer": peer.key if peer else None,
            },
        )


def _id_of(scope: Scope) -> str:
    """The id that the client gave, if it is one that cannot do harm; else a new one."""
    given = [value for name, value in scope["headers"] if name == _HEADER]
    if len(given) == 1 and _USABLE.fullmatch(given[0]):
        known: bytes = given[0]
        return known.decode("ascii")
    return uuid4().hex


def _route_of(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", NO_ROUTE))
