"""What the operations API answers when it refuses or fails: one shape, `{"error": {kind, message, next_step}}`.

An answer never shows how the service is built: no traceback, no path beyond the data folder's own, no input
given back. Middlewares call `respond`; routes raise `ApiError`, or let an error of ours pass.
"""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.settings import Settings
from fluxhero.api.sources import shown
from fluxhero.errors import BadInputError, FluxHeroError, IntegrityError, TransientError

_log = logging.getLogger(__name__)
_INTERNAL_ERROR = 1011  # close code of a WebSocket


class Trouble(BaseModel):
    """What went wrong, and what to do about it."""

    kind: str
    message: str
    next_step: str


class Failed(BaseModel):
    """Every answer that is not the one asked for."""

    error: Trouble


class ApiError(Exception):
    """An answer other than the one asked for.

    Args:
        status: of HTTP.
        kind: a word that programs go by.
        message: what happened, for people.
        next_step: what to do about it.
        headers: to be sent with it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        next_step: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, kind, message)
        self.status = status
        self.headers = dict(headers or {})
        self.answer = Failed(error=Trouble(kind=kind, message=message, next_step=next_step))

    def response(self) -> JSONResponse:
        """The same as a response."""
        return JSONResponse(self.answer.model_dump(), self.status, headers=self.headers)


_BY_STATUS = {
    HTTPStatus.NOT_FOUND: (
        "not-found",
        "there is nothing under this path",
        "see /api/openapi.json",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method-not-allowed",
        "this path does not know the method",
        "use a method that the Allow header names",
    ),
}

_DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "The request makes no sense.",
    HTTPStatus.UNAUTHORIZED: "No token, or not a valid one.",
    HTTPStatus.NOT_FOUND: "There is nothing under this path.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The path does not know the method.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A parameter is not what it should be.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests, or too many wrong tokens.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the service.",
    HTTPStatus.SERVICE_UNAVAILABLE: "What was asked for cannot be read now.",
}
# For the OpenAPI document: what every route may answer besides its own.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status.value: {"model": Failed, "description": text} for status, text in _DESCRIPTIONS.items()
}


async def respond(scope: Scope, receive: Receive, send: Send, error: ApiError) -> None:
    """Answer a request, or refuse a WebSocket before it is accepted."""
    if scope["type"] == "http":
        await error.response()(scope, receive, send)
        return
    body = json.dumps(error.answer.model_dump()).encode()
    headers = {**error.headers, "content-type": "application/json"}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "websocket.http.response.start", "status": error.status, "headers": raw})
    await send({"type": "websocket.http.response.body", "body": body})


def add_handlers(app: FastAPI, settings: Settings) -> None:
    """Give every error that leaves a route the one shape."""

    async def known(_request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, ApiError):
            return error.response()
        if isinstance(error, RequestValidationError):
            return _invalid(error).response()
        if isinstance(error, FluxHeroError):
            return _of_ours(error, settings).response()
        return _of_http(error).response()

    for kind in (ApiError, RequestValidationError, FluxHeroError, HTTPException):
        app.add_exception_handler(kind, known)


def _invalid(error: RequestValidationError) -> ApiError:
    said = [
        f"{'.'.join(str(part) for part in each['loc'][1:])}: {each['msg']}"
        for each in error.errors()
    ]
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid-parameter",
        "; ".join(said),
        next_step="see /api/openapi.json",
    )


def _of_ours(error: FluxHeroError, settings: Settings) -> ApiError:
    """An error of the product's tree."""
    what, next_step = shown(error.what, settings), shown(error.next_step, settings)
    kind = type(error).__name__
    if isinstance(error, BadInputError):
        return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, kind, what, next_step=next_step)
    if isinstance(error, IntegrityError | TransientError):
        _log.warning("%s", error)
    else:
        _log.error("%s", error)
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, kind, what, next_step=next_step)


def _of_http(error: Exception) -> ApiError:
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR))
    plain = (status.phrase.lower().replace(" ", "-"), status.phrase, "")
    kind, message, next_step = _BY_STATUS.get(status, plain)
    headers = getattr(error, "headers", None)
    return ApiError(status, kind, message, next_step=next_step, headers=headers)


class ErrorBoundary:
    """Answers 500 for whatever nobody expected, and logs it; the only place that catches everything."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        began = False

        async def noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            _log.exception("a request ended in an error that nobody expected")
            if not began:
                await respond(scope, receive, send, _unexpected(scope))
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": _INTERNAL_ERROR})
            else:
                raise  # the server closes the connection: half an answer must not look whole


def _unexpected(scope: Scope) -> ApiError:
    request_id = scope.get("state", {}).get("request_id", "")
    return ApiError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal-error",
        "the service met a fault of its own",
        next_step=f"look for request {request_id} in the log of `fluxhero serve`",
    )
