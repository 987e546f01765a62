"""Asking a Prefect server by its REST API: small, quick to import, and with our errors.

What belongs here: one request and what can go wrong with it. Prefect's own client takes 1.4 CPU
seconds to import, which a process that only asks now and then should not cost.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from config.prefect_env import api_auth, api_key
from fluxhero.errors import ServerError, first_line

ANSWER_SECONDS: Final = 15.0
PAGE: Final = 200  # most rows the server gives at once
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


class ServerApi:
    """A Prefect server's REST API; a context manager that closes its connections."""

    def __init__(
        self, api_url: str, *, patience_seconds: float = 0, client: httpx.Client | None = None
    ) -> None:
        """Touches nothing yet.

        Args:
            api_url: as http://127.0.0.1:4200/api.
            patience_seconds: for how long a server that is away or busy is asked again, with back-off.
            client: takes the place of the one that would be made.
        """
        self.api_url = api_url.rstrip("/")
        self._client = client or httpx.Client(timeout=ANSWER_SECONDS, **_credentials())
        self._patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def healthy(self) -> bool:
        """Whether the server answers that it is well."""
        try:
            return self._client.get(f"{self.api_url}/health").is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str) -> Any:
        """What is there.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        return self._asked("GET", path, None)

    def find(self, path: str) -> Any | None:
        """What is there; None if nothing is.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        try:
            return self.get(path)
        except ServerError as error:
            cause = error.__cause__
            missing = httpx.codes.NOT_FOUND
            if isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code == missing:
                return None
            raise

    def post(self, path: str, body: Mapping[str, Any] | Sequence[Any] | None = None) -> Any:
        """What is answered to a body sent there.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        return self._asked("POST", path, body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Replace what is there.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        self._asked("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change what is there.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        self._asked("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Remove what is there.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        self._asked("DELETE", path, None)

    def every(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All rows that a filter finds, page by page; the body should name a `sort` that is stable.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        offset = 0
        while True:
            rows = self.post(path, {**body, "limit": PAGE, "offset": offset})
            yield from rows
            if len(rows) < PAGE:
                return
            offset += PAGE

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None) -> Any:
        for attempt in Retrying(
            retry=retry_if_exception_type(_AwayError),
            stop=stop_after_delay(self._patience_seconds),
            wait=wait_random_exponential(multiplier=0.5, max=8),
            reraise=True,
        ):
            with attempt:
                return self._once(method, path, body)
        raise AssertionError("unreachable")  # pragma: no cover

    def _once(self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None) -> Any:
        url = f"{self.api_url}{path}"
        try:
            answer = self._client.request(method, url, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            kind = _AwayError if status in _BUSY else ServerError
            said = error.response.text[:300]
            raise kind(
                f"the Prefect server at {self.api_url} answered {method} {path} with {status}: {said}",
                next_step="look at its log; `fluxhero up` keeps it in the data folder, in night/logs",
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise _AwayError(
                f"the Prefect server at {self.api_url} does not answer: {first_line(error)}",
                next_step="start it with `fluxhero up`, or correct PREFECT_API_URL",
            ) from error


class _AwayError(ServerError):
    """May be back in a moment."""


def _credentials() -> dict[str, Any]:
    """What Prefect's own client would authenticate with."""
    key, (user, colon, password) = api_key(), api_auth().partition(":")
    if key:
        return {"headers": {"Authorization": f"Bearer {key}"}}
    return {"auth": (user, password)} if colon else {}
