"""The operations API as one application: its middlewares in order, its routes, and what runs beside them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from config.settings import Settings
from fluxhero.api import data, health, page, plots, reports, websocket
from fluxhero.api.authentication import Authentication, Identification
from fluxhero.api.description import DescribedApi
from fluxhero.api.errors import RESPONSES, ErrorBoundary, add_handlers
from fluxhero.api.guards import AnswerHeaders, BodyGuard, HostGuard
from fluxhero.api.hub import Hub
from fluxhero.api.peers import Peers
from fluxhero.api.rate_limits import Limit, RateLimits
from fluxhero.api.requests_log import RequestLog
from fluxhero.api.service_metrics import ServiceMetrics
from fluxhero.api.services import RunSource, Services
from fluxhero.api.sources import Sources
from fluxhero.api.tokens import Tokens
from fluxhero.api.websocket import Pace
from fluxhero.archive.batches import utc_now
from fluxhero.release import release

Background = Callable[[Services], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)
_USUAL: Final = Pace()
_PAUSE: Final = 5.0  # seconds before background work that failed begins again


def create_app(
    settings: Settings,
    *,
    runs: RunSource,
    clock: Callable[[], datetime] = utc_now,
    background: Sequence[Background] = (),
    pace: Pace = _USUAL,
) -> FastAPI:
    """Make the application.

    Args:
        settings: limits, hosts, origins, tokens, folders.
        runs: where flow runs are asked for.
        clock: the time now, in UTC.
        background: what runs beside the routes, such as a watch over the data folder.
        pace: how often things happen on a WebSocket.

    Returns:
        The application; `app.state.services` is what its routes work with.

    Raises:
        ConfigurationError: no token is set, or one that everybody could guess.
    """
    tokens = Tokens(settings)
    hub = Hub()
    services = Services(settings, runs, hub, ServiceMetrics(hub), clock, Sources(settings, clock))
    app = DescribedApi(
        title="FluxHero operations",
        version=release(),
        openapi_url="/api/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        middleware=_middlewares(services, tokens),
        lifespan=lambda _app: _working(services, background),
    )
    app.state.services = services
    add_handlers(app, settings)
    app.include_router(health.router(services), responses=RESPONSES)
    app.include_router(data.router(services))
    app.include_router(reports.router(services))
    app.include_router(plots.router(services))
    app.include_router(page.router())
    app.include_router(websocket.router(services, tokens, pace))
    return app


def _middlewares(services: Services, tokens: Tokens) -> list[Middleware]:
    """From the outermost on.

    CORS comes first, so that a page of an allowed origin can read refusals too; then the log, so that it has
    every answer. Who asks is known before limits count, and limits count before anybody is refused.
    """
    settings, metrics = services.settings, services.metrics
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET",),
            allow_headers=("Authorization", "X-Request-ID"),
            expose_headers=("X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"),
        ),
        Middleware(RequestLog, metrics),
        Middleware(AnswerHeaders),
        Middleware(ErrorBoundary),
        Middleware(Identification, Peers(settings.trusted_proxies), tokens),
        Middleware(HostGuard, (settings.api_host, *settings.allowed_hosts)),
        Middleware(RateLimits, Limit(settings.rate_limit), metrics),
        Middleware(Authentication, Limit(settings.auth_failures), settings.cors_origins, metrics),
        Middleware(BodyGuard),
    ]


@asynccontextmanager
async def _working(services: Services, background: Sequence[Background]) -> AsyncIterator[None]:
    """Keep the background work going within the block."""
    tasks = [asyncio.create_task(_kept_up(work, services)) for work in background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_up(work: Background, services: Services) -> None:
    """Begin work again when it fails; only being cancelled ends it."""
    while True:
        task = asyncio.create_task(work(services))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        if error := task.exception():
            _log.error("background work failed and begins again", exc_info=error)
        await asyncio.sleep(_PAUSE)
