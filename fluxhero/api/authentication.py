"""Who may ask: a token in the Authorization header, or in a browser's WebSocket as a subprotocol; nowhere else.

Two middlewares: `Identification` finds out who asks, so that limits can go by it; `Authentication`, behind the
limits, refuses who may not. A WebSocket is refused before it is accepted.
"""

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from config.settings import variable
from fluxhero.api.errors import ApiError, respond
from fluxhero.api.peers import Peer, Peers
from fluxhero.api.rate_limits import Limit
from fluxhero.api.service_metrics import ServiceMetrics
from fluxhero.api.tokens import Tokens

PROTOCOL: Final = "fluxhero.v1"  # the one that an accepted WebSocket speaks
BEARER: Final = "base64url.bearer."  # a browser's token follows, in unpadded base64url

PUBLIC: Final = frozenset({"/", "/livez", "/readyz"})
# A report's address carries a ticket, which its route checks; a plot's is a name that nobody can guess.
_PUBLIC_FOLDERS: Final = ("/static/", "/reports/", "/plots/")
_LONGEST_TOKEN: Final = 1_024
_QUERY_SECRET = re.compile(r"token|secret|auth|passw|bearer|api[_-]?key|jwt", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who asks: a token, or why it shows none."""

    token: bytes | None
    reason: str = ""


class Identification:
    """Notes on every request its peer and, where a valid token comes with it, its principal."""

    def __init__(self, app: ASGIApp, peers: Peers, tokens: Tokens) -> None:
        self.app = app
        self._peers = peers
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note and pass on."""
        if scope["type"] != "lifespan":
            state = scope.setdefault("state", {})
            state["peer"] = self._peers.of(scope)
            state["shown"] = shown = shown_by(scope)
            state["principal"] = shown.token and self._tokens.principal_of(shown.token)
        await self.app(scope, receive, send)


class Authentication:
    """Refuses who shows no valid token, and who has shown too many wrong ones."""

    def __init__(
        self, app: ASGIApp, failures: Limit, origins: Collection[str], metrics: ServiceMetrics
    ) -> None:
        self.app = app
        self._failures = failures
        self._origins = frozenset(origin.lower() for origin in origins)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "lifespan" or is_public(scope):
            await self.app(scope, receive, send)
        elif refusal := await self._refusal(scope):
            await respond(scope, receive, send, refusal)
        else:
            await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> ApiError | None:
        state = scope["state"]
        peer: Peer = state["peer"]
        shown: Shown = state["shown"]
        if scope["type"] == "websocket" and not self._origin_is_allowed(scope, peer):
            self._metrics.refused("origin")
            return ApiError(
                HTTPStatus.FORBIDDEN,
                "origin",
                "pages of this origin may not connect",
                next_step=f"add the origin to {variable('cors_origins')} if it is yours",
            )
        if shown.token is None:
            self._metrics.refused(shown.reason)
            return _unauthorised(_REASONS[shown.reason])
        # Who has guessed too often waits, whatever it shows then: else guessing would go on unhindered.
        valid = state["principal"] is not None
        waits = self._failures.exhausted if valid else self._failures.one_too_many
        if await waits(peer.key):
            self._metrics.limited("authentication")
            state["principal"] = None
            return await self._failures.refusal(peer.key, "wrong tokens")
        if not valid:
            self._metrics.refused("wrong")
            return _unauthorised("the token is not valid")
        return None

    def _origin_is_allowed(self, scope: Scope, peer: Peer) -> bool:
        """Programs send no origin; a browser's page must be the service's own, or a configured one."""
        origins = _headers(scope, b"origin")
        if not origins:
            return True
        origin = origins[0].decode("latin-1").lower()
        hosts = _headers(scope, b"host")
        own = f"{peer.scheme}://{hosts[0].decode('latin-1').lower()}" if hosts else None
        return len(origins) == 1 and (origin in {own, *self._origins} or "*" in self._origins)


def is_public(scope: Scope) -> bool:
    """Whether no token is needed: the page's own files, reports by ticket, and whether the service is well."""
    path = scope["path"]
    return scope["type"] == "http" and (path in PUBLIC or path.startswith(_PUBLIC_FOLDERS))


def shown_by(scope: Scope) -> Shown:
    """The token that comes with a request or a handshake, or why none does."""
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if any(_QUERY_SECRET.search(name) for name, _ in query):
        return Shown(None, "query")
    headers = _headers(scope, b"authorization")
    offered = [p for p in scope.get("subprotocols", ()) if p.startswith(BEARER)]
    if len(headers) + len(offered) > 1:
        return Shown(None, "malformed")
    if offered:
        token = _of_subprotocol(offered[0]) if PROTOCOL in scope["subprotocols"] else None
    elif headers:
        token = _of_header(headers[0])
    else:
        return Shown(None, "missing")
    return Shown(token) if token else Shown(None, "malformed")


def _of_header(value: bytes) -> bytes | None:
    scheme, _, token = value.strip().partition(b" ")
    token = token.strip()
    usable = scheme.lower() == b"bearer" and len(token) <= _LONGEST_TOKEN
    return token if usable and re.fullmatch(rb"[\x21-\x7e]+", token) else None


def _of_subprotocol(protocol: str) -> bytes | None:
    text = protocol.removeprefix(BEARER)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text) or len(text) > 2 * _LONGEST_TOKEN:
        return None
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]


_REASONS = {
    "missing": "a token is needed",
    "malformed": "the token is not in a form that can be read",
    "query": "a token in the address is not accepted: addresses are logged and kept everywhere",
}


def _unauthorised(message: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNAUTHORIZED,
        "unauthorised",
        message,
        next_step="send `Authorization: Bearer TOKEN`; `fluxhero doctor --make-secret` makes a token",
        headers={"WWW-Authenticate": 'Bearer realm="fluxhero"'},
    )
