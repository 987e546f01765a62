"""`/ws`: events as they happen, to clients that have shown a token. It speaks; it does not listen.

The token has been checked before the handshake is accepted; it is checked again while the connection lasts.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import pydantic_core
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from fluxhero.api.authentication import PROTOCOL, Shown
from fluxhero.api.errors import ApiError
from fluxhero.api.hub import Queue
from fluxhero.api.services import Event, EventKind, Services
from fluxhero.api.tokens import Tokens

NOT_ALLOWED: Final = 1008
TOO_SLOW: Final = 1013


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen on a connection, in seconds.

    Attributes:
        recheck: between two looks at whether the token is still valid.
        alive: of silence until a message says that the service is there; browsers see no protocol pings.
        send: that one message may take to leave.
    """

    recheck: float = 15 * 60
    alive: float = 20
    send: float = 10


class Feed:
    """What a connection does.

    Args:
        services: whose events they are.
        tokens: those valid.
        pace: how often things happen.
    """

    def __init__(self, services: Services, tokens: Tokens, pace: Pace) -> None:
        self._hub = services.hub
        self._clock = services.clock
        self._tokens = tokens
        self._pace = pace

    async def serve(self, websocket: WebSocket) -> None:
        """Accept a client and tell it of events until it leaves, lags or loses its right to."""
        if self._hub.full:
            await websocket.send_denial_response(_FULL.response())
            return
        async with self._hub.subscribe() as queue:
            spoken = PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None
            await websocket.accept(subprotocol=spoken)
            code = await _first(self._speak(websocket, queue), _listen(websocket))
        if code is not None:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(self._pace.send):
                    await websocket.close(code)

    async def _speak(self, websocket: WebSocket, queue: Queue) -> int | None:
        """Send what comes, until there is a reason to close (its code) or nobody is left."""
        now = asyncio.get_running_loop().time
        recheck_at = now() + self._pace.recheck
        event: Event | None = self._alive()
        while event is not None:
            try:
                async with asyncio.timeout(self._pace.send):
                    await websocket.send_text(_text(event))
            except TimeoutError:
                self._hub.drop(queue)
                return TOO_SLOW
            except WebSocketDisconnect:
                return None
            try:
                async with asyncio.timeout(min(self._pace.alive, recheck_at - now())):
                    event = await queue.get()
            except TimeoutError:
                event = self._alive()
            if now() >= recheck_at:
                recheck_at = now() + self._pace.recheck
                if not self._still_allowed(websocket):
                    return NOT_ALLOWED
        return TOO_SLOW

    def _alive(self) -> Event:
        return Event(EventKind.ALIVE, self._clock())

    def _still_allowed(self, websocket: WebSocket) -> bool:
        shown: Shown = websocket.scope["state"]["shown"]
        return shown.token is not None and self._tokens.principal_of(shown.token) is not None


def router(services: Services, tokens: Tokens, pace: Pace) -> APIRouter:
    """The route of the WebSocket."""
    routes = APIRouter()
    feed = Feed(services, tokens, pace)

    @routes.websocket("/ws")
    async def events(websocket: WebSocket) -> None:
        await feed.serve(websocket)

    return routes


async def _listen(websocket: WebSocket) -> int | None:
    """Wait for the client to leave; one that talks has mistaken this for something else."""
    message = await websocket.receive()
    return None if message["type"] == "websocket.disconnect" else NOT_ALLOWED


async def _first(*works: Coroutine[Any, Any, int | None]) -> int | None:
    """The result of the work that ends first; the other is stopped."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return done.pop().result()


def _text(event: Event) -> str:
    line = {"kind": event.kind, "at": event.at, "data": event.data}
    return pydantic_core.to_json(line, inf_nan_mode="null").decode()


_FULL = ApiError(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "full",
    "as many clients as can be served are connected",
    next_step="close some, or come back later",
    headers={"Retry-After": "30"},
)
