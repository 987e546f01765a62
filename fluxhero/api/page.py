"""The operations page: fixed files, read from the package once and sent with headers that lock it down.

The page holds no data. What it shows it fetches from the API with the token that its reader enters.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

PAGE = "index.html"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Only the page's own files, only to its own origin, in nobody's frame.
_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for anew each time, answered with "not modified": an update never meets an old script.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page, ready to be sent."""

    body: bytes
    media_type: str
    tag: str


def read_assets() -> dict[str, Asset]:
    """Every file of the page, by its name."""
    folder = files("fluxhero.api") / "static"
    return {
        entry.name: _asset(entry.name, entry.read_bytes())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if _suffix(entry.name) in MEDIA_TYPES
    }


def _asset(name: str, body: bytes) -> Asset:
    return Asset(body, MEDIA_TYPES[_suffix(name)], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def router() -> APIRouter:
    """The routes of the page: itself at `/`, its parts under `/static/`; neither needs a token."""
    assets = read_assets()
    page = assets.pop(PAGE)
    routes = APIRouter(include_in_schema=False)

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return _answer(request, page)

    @routes.api_route("/static/{name}", methods=["GET", "HEAD"])
    async def part(request: Request, name: str) -> Response:
        asset = assets.get(name)
        if asset is None:
            raise HTTPException(404)
        return _answer(request, asset)

    return routes


def _answer(request: Request, asset: Asset) -> Response:
    headers = SECURITY_HEADERS | {"ETag": asset.tag}
    known = request.headers.get("if-none-match", "")
    if asset.tag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)
