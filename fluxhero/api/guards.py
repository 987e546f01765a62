"""What a request has to be before anybody looks at it: for one of our names, and not too large.

A name that is not ours is how a page of another site reaches a service on this machine (DNS rebinding).
"""

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.settings import variable
from fluxhero.api.errors import ApiError, respond
from fluxhero.api.headers import adding

LARGEST_BODY: Final = 64 * 1024  # bytes

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.IGNORECASE)
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class AnswerHeaders:
    """Tells browsers how to take every answer that does not say so itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add to what comes back."""
        await self.app(scope, receive, adding(_HEADERS, send))


class HostGuard:
    """Refuses requests for a name that the service does not go by.

    Args:
        app: what the request is passed on to.
        names: the address listened on, and the names that are allowed.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self.app = app
        self._names = {_bracketed(name).lower() for name in (*_LOCAL, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "lifespan" or self._knows(scope):
            await self.app(scope, receive, send)
        else:
            await respond(scope, receive, send, _WRONG_HOST)

    def _knows(self, scope: Scope) -> bool:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        match = _HOST.fullmatch(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if match is None:
            return False
        server = scope.get("server")
        name = match["name"].lower()
        # The very address that the connection came to cannot be a name that somebody rebound.
        return name in self._names or (server is not None and name == _bracketed(server[0]).lower())


class BodyGuard:
    """Refuses bodies that are too large, whether they say so or not."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self.app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value) > self._largest for value in announced):
            await respond(scope, receive, send, _TOO_LARGE)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._largest:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self.app(scope, counted, send)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


_WRONG_HOST = ApiError(
    HTTPStatus.BAD_REQUEST,
    "unknown-host",
    "the service does not go by this host name",
    next_step=f"use the address it listens on, or add the name to {variable('allowed_hosts')}",
)
_TOO_LARGE = ApiError(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "too-large",
    f"a body may have {LARGEST_BODY:,} bytes at most",
    next_step="send less; nothing here takes a body",
    headers={"Connection": "close"},
)
