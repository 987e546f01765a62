"""The HTML and PDF reports, for a browser: a list, and links that work for a while and need no header.

A link cannot carry the token in a header, so it carries a ticket: until when it is good, signed with a key
that only this process knows. It opens any report, so that reports can link each other, and nothing else.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from fluxhero.api.errors import RESPONSES, ApiError
from fluxhero.api.models import Page, ReportLink
from fluxhero.api.services import Services
from fluxhero.api.status_models import ReportLine
from fluxhero.durable import read_bytes
from fluxhero.errors import StorageIOError
from fluxhero.reports import ReportFile, reports

PREFIX: Final = "/reports/"
GOOD_FOR: Final = timedelta(minutes=10)
_KEY_BYTES: Final = 32
_MEDIA_TYPES: Final = {".html": "text/html; charset=utf-8", ".pdf": "application/pdf"}
# No script runs in a report, whatever was written into it, and it loads nothing.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # the ticket is in the address
    "X-Content-Type-Options": "nosniff",
}


class Tickets:
    """Makes and checks tickets; they end with the process."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(_KEY_BYTES)

    def new(self) -> str:
        """A ticket that is good from now on."""
        until = str(int((self._clock() + GOOD_FOR).timestamp()))
        return f"{until}.{self._signature(until)}"

    def good(self, ticket: str) -> bool:
        """Whether it is one of ours, and still good."""
        until, _, signature = ticket.partition(".")
        ours = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return ours and datetime.fromtimestamp(int(until), UTC) > self._clock()

    def _signature(self, until: str) -> str:
        return hmac.new(self._key, until.encode(), hashlib.sha256).hexdigest()


def router(services: Services) -> APIRouter:
    """`/api/reports` lists them, `/api/reports/{name}` gives a link, `/reports/{ticket}/{name}` the file."""
    data_dir, tickets = services.settings.data_dir, Tickets(services.clock)
    routes = APIRouter(tags=["reports"], responses=RESPONSES)

    @routes.get("/api/reports")
    def listed(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    ) -> Page[ReportLine]:
        """HTML and PDF reports of checks and evaluations, newest first."""
        found = reports(data_dir)
        return Page(
            items=tuple(report_line(one) for one in found[offset : offset + limit]),
            total=len(found),
            limit=limit,
            offset=offset,
        )

    @routes.get("/api/reports/{name}")
    def link(name: str) -> ReportLink:
        """A path under which a browser can open this report for ten minutes."""
        found = _named(data_dir, name)
        return ReportLink(
            path=f"{PREFIX}{tickets.new()}/{found.name}", seconds=int(GOOD_FOR.total_seconds())
        )

    @routes.get(PREFIX + "{ticket}/{name}", include_in_schema=False)
    def report(ticket: str, name: str) -> Response:
        if not tickets.good(ticket):
            raise ApiError(
                403,
                "ticket",
                "this link to a report is no longer good",
                next_step="open the report from the operations page again",
            )
        found = _named(data_dir, name)
        try:
            content = read_bytes(found.path)
        except StorageIOError as error:
            raise _unknown() from error
        return Response(content, headers=_HEADERS, media_type=_MEDIA_TYPES[found.path.suffix])

    return routes


def report_line(report: ReportFile) -> ReportLine:
    """A report as the API shows it."""
    return ReportLine(
        name=report.name, kind=report.kind, written_at=report.written_at, bytes=report.bytes
    )


def _named(data_dir: Path, name: str) -> ReportFile:
    """Looked up among those there are, so that no name leads out of the folder."""
    found = next((one for one in reports(data_dir) if one.name == name), None)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> ApiError:
    return ApiError(
        404, "not-found", "there is no report of this name", next_step="/api/reports lists them"
    )
