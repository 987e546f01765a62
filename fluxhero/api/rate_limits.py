"""How many requests, handshakes and wrong tokens a client may send: sliding windows of bounded memory.

A client is a principal, or a peer while it has none. The answer says what is left and when to come back.
"""

import math
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import Final

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from fluxhero.api.errors import ApiError, respond
from fluxhero.api.headers import adding
from fluxhero.api.peers import Peer
from fluxhero.api.service_metrics import ServiceMetrics
from fluxhero.wording import counted

MOST_CLIENTS: Final = 4_096  # counted at one time

_ALWAYS: Final = "/livez"
_FROM_HERE: Final = "/metrics"


class Limit:
    """One limit, counted by client.

    Args:
        rate: as in "120/minute".
        most: clients that are counted; beyond, the one not seen for longest is forgotten.
    """

    def __init__(self, rate: str, most: int = MOST_CLIENTS) -> None:
        self._item = parse(rate)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._seen)

    async def one_too_many(self, client: str) -> bool:
        """Count one; whether it is one too many."""
        self._seen[client] = None
        self._seen.move_to_end(client)
        if len(self._seen) > self._most:
            forgotten, _ = self._seen.popitem(last=False)
            await self._limiter.clear(self._item, forgotten)
        return not await self._limiter.hit(self._item, client)

    async def exhausted(self, client: str) -> bool:
        """Whether one more would be too many."""
        return not await self._limiter.test(self._item, client)

    async def headers(self, client: str) -> dict[str, str]:
        """The policy, what is left of it, and in how many seconds there is more."""
        reset_at, remaining = await self._limiter.get_window_stats(self._item, client)
        seconds = max(1, math.ceil(reset_at - time.time()))
        return {
            "RateLimit-Policy": f'"default";q={self._item.amount};w={self._item.get_expiry()}',
            "RateLimit": f'"default";r={remaining};t={seconds}',
        }

    async def refusal(self, client: str, what: str) -> ApiError:
        """The answer to one too many."""
        headers = await self.headers(client)
        seconds = headers["RateLimit"].rpartition("=")[2]
        return ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many",
            f"too many {what}",
            next_step=f"come back in {counted(int(seconds), 'second')}",
            headers={**headers, "Retry-After": seconds},
        )


class RateLimits:
    """Refuses what is one too many, before anything else is done for it.

    `/livez` is never refused, nor is `/metrics` from this machine: a monitor must not be kept out by what it
    watches. Who has asked is in the request's state: `peer`, and `principal` once it has shown a token.
    """

    def __init__(self, app: ASGIApp, limit: Limit, metrics: ServiceMetrics) -> None:
        self.app = app
        self._limit = limit
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count, then pass on or refuse."""
        if scope["type"] == "lifespan" or _is_exempt(scope):
            await self.app(scope, receive, send)
            return
        state = scope["state"]
        peer: Peer = state["peer"]
        client = state.get("principal") or peer.key
        if await self._limit.one_too_many(client):
            kind = "request" if scope["type"] == "http" else "handshake"
            self._metrics.limited(kind)
            await respond(scope, receive, send, await self._limit.refusal(client, f"{kind}s"))
            return
        await self.app(scope, receive, adding(await self._limit.headers(client), send))


def _is_exempt(scope: Scope) -> bool:
    path, peer = scope["path"], scope["state"]["peer"]
    return bool(path == _ALWAYS or (path == _FROM_HERE and peer.loopback))
