"""Plots for the pages of another server: whoever knows a plot's name may see it (see `fluxhero.plots`)."""

from typing import Final

from fastapi import APIRouter, Response

from fluxhero.api.errors import ApiError
from fluxhero.api.services import Services
from fluxhero.errors import StorageIOError
from fluxhero.plots import read_plot

PREFIX: Final = "/plots/"
_HEADERS: Final = {
    "Cache-Control": "private, max-age=86400, immutable",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "cross-origin",  # Prefect's UI listens on another port
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def router(services: Services) -> APIRouter:
    """`/plots/{name}`, one picture."""
    data_dir = services.settings.data_dir
    routes = APIRouter()

    @routes.get(PREFIX + "{name}", include_in_schema=False)
    def plot(name: str) -> Response:
        try:
            picture = read_plot(data_dir, name)
        except StorageIOError:
            picture = None
        if picture is None:
            raise ApiError(
                404,
                "not-found",
                "there is no such plot",
                next_step="run the flow again: it draws one",
            )
        return Response(picture, headers=_HEADERS, media_type="image/png")

    return routes
