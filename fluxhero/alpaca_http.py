"""Asking a service of Alpaca's over HTTP: market data and trading alike.

What passes by itself (a limit of requests, a server's trouble, a broken connection) is asked again
with growing pauses; what does not (a refused key, a wrong question) is told at once, with the setting
to mend. No message contains a key. What is asked, and what an answer means, is not of this module.
"""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from config.settings import Settings, variable
from fluxhero.errors import BadInputError, ConfigurationError, FluxHeroError, ProviderError

logger = logging.getLogger(__name__)

T = TypeVar("T")

KEY: Final = variable("alpaca_api_key")
SECRET: Final = variable("alpaca_api_secret")
_CONNECT_SECONDS: Final = 10.0
_SHOWN: Final = 200  # characters of what the provider says

_REFUSED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_BUSY: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is made at most, the pauses between (doubled each time), and the wait for one."""

    attempts: int = 5
    first_pause: float = 1.0  # seconds
    longest_pause: float = 60.0
    silence: float = 30.0  # seconds without a byte, after which a request is given up


@dataclass(frozen=True, slots=True)
class Service:
    """One of Alpaca's services, and what our messages say about it.

    Attributes:
        url: its address.
        setting: the variable that names the address.
        if_refused: what else there is to say where it refuses the keys.
        if_wrong: what to check where it refuses the question.
    """

    url: str
    setting: str
    if_refused: str
    if_wrong: str


def keys_of(settings: Settings) -> dict[str, str]:
    """The headers that carry the keys; none where a key is missing."""
    key, secret = settings.alpaca_api_key, settings.alpaca_api_secret
    if key is None or secret is None:
        return {}
    return {
        "APCA-API-KEY-ID": key.get_secret_value(),
        "APCA-API-SECRET-KEY": secret.get_secret_value(),
    }


def needed_keys(settings: Settings, what: str, *, otherwise: str) -> dict[str, str]:
    """The headers that carry the keys.

    Args:
        settings: where the keys are.
        what: for what they are needed, with its verb.
        otherwise: what the user can do without keys.

    Raises:
        ConfigurationError: a key is missing.
    """
    keys = keys_of(settings)
    if not keys:
        missing = KEY if settings.alpaca_api_key is None else SECRET
        raise ConfigurationError(
            f"{what} a key, and {missing} is not set",
            next_step=f"set both {KEY} and {SECRET}, or {otherwise}",
        )
    return keys


class _AskedToWaitError(ProviderError):
    """The provider says how long to wait."""

    seconds = 0.0


class Connection:
    """Requests to one service, within a `with` block.

    Args:
        service: which one.
        keys: headers that carry the keys.
        patience: how often to ask again.
    """

    def __init__(self, service: Service, keys: dict[str, str], patience: Patience) -> None:
        self._service, self._keys, self._patience = service, keys, patience
        self._client = httpx.Client(
            base_url=service.url,
            headers=keys,
            timeout=httpx.Timeout(patience.silence, connect=_CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def place(self, path: str) -> str:
        """The address of a path, for messages."""
        return f"{self._service.url}{path}"

    def ask(
        self, path: str, query: dict[str, str], about: str, understand: Callable[[bytes], T]
    ) -> T:
        """What an answer means; asked for again as long as that may help.

        Args:
            path: what is asked.
            query: the parameters.
            about: of what, for messages: " for AAPL".
            understand: makes sense of an answer's body; a ValueError says why there is none.

        Raises:
            ConfigurationError: the keys or the address are refused.
            BadInputError: the question is refused.
            ProviderError: no answer, or none that makes sense, after several attempts.
        """
        patience = self._patience
        growing = wait_exponential(patience.first_pause, patience.longest_pause) + wait_random(
            0, patience.first_pause
        )

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.seconds if isinstance(error, _AskedToWaitError) else 0.0
            return max(asked, growing(state))

        def worth_it(error: BaseException) -> bool:
            too_long = (
                isinstance(error, _AskedToWaitError) and error.seconds > patience.longest_pause
            )
            return isinstance(error, ProviderError) and not too_long

        again = Retrying(
            retry=retry_if_exception(worth_it),
            stop=stop_after_attempt(patience.attempts),
            wait=pause,
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        meaning: T = again(self._ask_once, path, query, about, understand)
        return meaning

    def _ask_once(
        self, path: str, query: dict[str, str], about: str, understand: Callable[[bytes], T]
    ) -> T:
        try:
            answer = self._client.get(path, params=query)
        except httpx.HTTPError as error:  # no connection, a time-out, one that broke in the middle
            raise ProviderError(
                f"{self.place(path)} cannot be reached: {type(error).__name__} {error}".rstrip(),
                next_step=f"check the network and {self._service.setting}, then run again",
            ) from error
        if answer.status_code != HTTPStatus.OK:
            raise self._refusal(answer, path, about)
        try:
            return understand(answer.content)
        except ValueError as error:
            raise ProviderError(
                f"{self.place(path)} cannot be understood: {error}",
                next_step=f"check {self._service.setting}, then run again later",
            ) from error

    def _refusal(self, answer: httpx.Response, path: str, about: str) -> FluxHeroError:
        """What an answer other than 200 means."""
        service, status = self._service, answer.status_code
        what = f"{self.place(path)} answers {status}{about}{self._said(answer)}"
        if status in _REFUSED:
            return ConfigurationError(
                what,
                next_step=f"check {KEY}, {SECRET} and the host in {service.setting};"
                f" {service.if_refused}",
            )
        if status == HTTPStatus.NOT_FOUND or status < HTTPStatus.BAD_REQUEST:
            return ConfigurationError(
                what, next_step=f"check {service.setting}: it is the host alone"
            )
        if status in _BUSY:
            return _wait_longer(answer, what)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProviderError(what, next_step="run again later; nothing was lost")
        return BadInputError(what, next_step=service.if_wrong)

    def _said(self, answer: httpx.Response) -> str:
        """What the provider says about it, without our keys in case it repeats them."""
        try:
            message = str(json.loads(answer.content).get("message", ""))
        except (ValueError, AttributeError):
            return ""
        for secret in self._keys.values():
            message = message.replace(secret, "***")
        return f": {message[:_SHOWN]}" if message else ""


def _wait_longer(answer: httpx.Response, what: str) -> ProviderError:
    seconds = _seconds(answer.headers.get("Retry-After", "")) or _until_reset(answer)
    later = f"in {seconds:,.0f} seconds" if seconds else "in a minute"
    waiting = _AskedToWaitError(what, next_step=f"run again {later}; nothing was lost")
    waiting.seconds = seconds
    return waiting


def _seconds(text: str) -> float:
    """What a Retry-After says: seconds, or a date; 0 where it says nothing."""
    try:
        seconds = float(text)
    except ValueError:
        return _from_now(_date(text), datetime.now(UTC))
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _until_reset(answer: httpx.Response) -> float:
    """Seconds until the limit of requests starts anew, by the provider's own clock; 0 where it does not say."""
    try:
        reset = datetime.fromtimestamp(float(answer.headers.get("X-RateLimit-Reset", "")), UTC)
    except (ValueError, OverflowError, OSError):
        return 0.0
    return _from_now(reset, _date(answer.headers.get("Date", "")) or datetime.now(UTC))


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _from_now(at: datetime | None, now: datetime) -> float:
    return max(0.0, (at - now).total_seconds()) if at else 0.0
