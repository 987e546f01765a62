"""Routes for machines that watch: is it alive, is it ready, how does it do, and Prometheus' metrics."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import generate_latest

from fluxhero.api.health_checks import HealthChecks, worst
from fluxhero.api.models import Health, Liveness, Readiness
from fluxhero.api.services import Runs, Services
from fluxhero.api.told import alert_samples
from fluxhero.metrics.exposition import CONTENT_TYPE, render
from fluxhero.release import release


def router(services: Services) -> APIRouter:
    """The routes; none of them blocks the event loop."""
    routes = APIRouter(tags=["health"])
    checks = HealthChecks(services.settings, services.sources, services.clock)

    @routes.get("/livez")
    async def livez() -> Liveness:
        """Whether the process answers; needs no token and reads nothing."""
        return Liveness()

    @routes.get("/readyz", responses={503: {"model": Readiness}})
    def readyz(response: Response) -> Readiness:
        """Whether there is something to answer from; needs no token, so it names no path."""
        reasons = checks.not_ready()
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return Readiness(status="fail" if reasons else "pass", reasons=reasons)

    @routes.get("/health", responses={503: {"model": Health}})
    def health(response: Response, runs: Annotated[Runs, Depends(services.runs.runs)]) -> Health:
        """How the installation does, part by part; 503 if one part fails."""
        parts = {**checks.measured(), "prefect": checks.prefect(runs)}
        grade = worst(part.status for part in parts.values())
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE if grade == "fail" else HTTPStatus.OK
        return Health(
            status=grade,
            at=services.clock(),
            version=release(),
            checks=parts,
        )

    @routes.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """The newest snapshot and what this service counts, in Prometheus' text format."""
        own = generate_latest(services.metrics.registry)
        told = render(alert_samples(services.sources.alerts()))
        return Response(services.sources.exposition() + told + own, media_type=CONTENT_TYPE)

    return routes
