"""The operations API as one application: its middlewares in order, its routes, and what runs beside them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from config.settings import Settings
from fluxhero.api import data, health
from fluxhero.api.errors import ErrorBoundary, add_handlers
from fluxhero.api.hub import Hub
from fluxhero.api.service_metrics import ServiceMetrics
from fluxhero.api.services import RunSource, Services
from fluxhero.api.sources import Sources
from fluxhero.archive.batches import utc_now

Background = Callable[[Services], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)
_PAUSE: Final = 5.0  # seconds before background work that failed begins again


def create_app(
    settings: Settings,
    *,
    runs: RunSource,
    clock: Callable[[], datetime] = utc_now,
    background: Sequence[Background] = (),
) -> FastAPI:
    """Make the application.

    Args:
        settings: limits, hosts, origins, tokens, folders.
        runs: where flow runs are asked for.
        clock: the time now, in UTC.
        background: what runs beside the routes, such as a watch over the data folder.

    Returns:
        The application; `app.state.services` is what its routes work with.
    """
    hub = Hub()
    services = Services(settings, runs, hub, ServiceMetrics(hub), clock, Sources(settings, clock))
    app = FastAPI(
        title="FluxHero operations",
        version=version("fluxhero-pipeline"),
        openapi_url="/api/openapi.json",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        middleware=_middlewares(services),
        lifespan=lambda _app: _working(services, background),
    )
    app.state.services = services
    app.include_router(health.router(services))
    app.include_router(data.router(services))
    add_handlers(app, settings)
    return app


def _middlewares(services: Services) -> list[Middleware]:
    """From the outermost on; CORS is, so that a page of an allowed origin can read refusals too."""
    settings = services.settings
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET",),
            allow_headers=("Authorization", "X-Request-ID"),
            expose_headers=("X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"),
        ),
        Middleware(ErrorBoundary),
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
