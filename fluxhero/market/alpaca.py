"""Bars from Alpaca's market data API: stocks, and pairs such as BTC/USD.

What passes by itself (a limit of requests, a server's trouble, a broken connection) is asked again
with growing pauses; what does not (a refused key, a wrong question) is told at once, with the setting
to mend. No message contains a key.
"""

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
import pyarrow as pa
from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from config.settings import Settings
from fluxhero.errors import BadInputError, ConfigurationError, FluxHeroError, ProviderError
from fluxhero.market.cache import BARS
from fluxhero.market.timeframe import Timeframe

logger = logging.getLogger(__name__)

FEEDS = ("sip", "iex", "otc", "boats")
_FIELDS = ("o", "h", "l", "c", "v")
_BARS_A_PAGE = 10_000  # the most Alpaca gives
_MOST_PAGES = 10_000
_TIMEOUT = httpx.Timeout(30, connect=10)
_SHOWN = 200  # characters of what the provider says

_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_BUSY = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is made at most, and the pauses between: doubled each time."""

    attempts: int = 5
    first_pause: float = 1.0  # seconds
    longest_pause: float = 60.0


class _AskedToWaitError(ProviderError):
    """The provider says how long to wait."""

    seconds = 0.0


class Alpaca:
    """Alpaca's historical bars."""

    name = "alpaca"
    adjusts = True

    def __init__(
        self, settings: Settings, feed: str | None = None, patience: Patience | None = None
    ) -> None:
        """Take address and keys from the settings; nothing is asked yet."""
        self._settings = settings
        self._feed = feed
        self._patience = patience or Patience()

    def bars(
        self,
        symbol: str,
        timeframe: Timeframe,
        first: datetime,
        last: datetime,
        adjustment: str,
    ) -> pa.Table:
        """Every bar of a symbol that begins in a range of time, both ends included.

        Raises:
            ConfigurationError: the keys, the feed or the address are refused.
            BadInputError: the question is refused, as of an unknown symbol.
            ProviderError: no answer, or none that makes sense, after several attempts.
        """
        stock = "/" not in symbol
        query = {
            "symbols": symbol,
            "timeframe": timeframe.alpaca,
            "start": first.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end": last.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "limit": str(_BARS_A_PAGE),
            "sort": "asc",
        }
        if stock:
            query["adjustment"] = adjustment
            query |= {"feed": self._feed} if self._feed else {}
        path = "/v2/stocks/bars" if stock else "/v1beta3/crypto/us/bars"
        rows: dict[datetime, tuple[float, ...]] = {}
        with httpx.Client(
            base_url=self._settings.alpaca_data_url, headers=self._headers(stock), timeout=_TIMEOUT
        ) as client:
            for page in self._pages(client, path, query):
                rows |= dict(_bars(page, symbol))
        columns = zip(*((at, *values) for at, values in sorted(rows.items())), strict=True)
        return pa.table([*map(list, columns)] if rows else [[] for _ in BARS], schema=BARS)

    def _headers(self, needed: bool) -> dict[str, str]:
        key, secret = self._settings.alpaca_api_key, self._settings.alpaca_api_secret
        if key is None or secret is None:
            if not needed:
                return {}
            missing = "FLUXHERO_ALPACA_API_KEY" if key is None else "FLUXHERO_ALPACA_API_SECRET"
            raise ConfigurationError(
                f"Alpaca's stock bars need a key, and {missing} is not set",
                next_step="set both FLUXHERO_ALPACA_API_KEY and FLUXHERO_ALPACA_API_SECRET,"
                " or bring bars in from a file with `fluxhero refresh --from`",
            )
        return {
            "APCA-API-KEY-ID": key.get_secret_value(),
            "APCA-API-SECRET-KEY": secret.get_secret_value(),
        }

    def _pages(
        self, client: httpx.Client, path: str, query: dict[str, str]
    ) -> Iterator[dict[str, Any]]:
        token, seen = None, set[str]()
        for _ in range(_MOST_PAGES):
            page = self._ask(client, path, query | ({"page_token": token} if token else {}))
            yield page
            token = page.get("next_page_token")
            if token is None:
                return
            if not isinstance(token, str) or token in seen:
                break
            seen.add(token)
        raise ProviderError(
            f"{self._place(path)} goes round in circles: it gives the same page again",
            next_step="run again later; nothing of this symbol was stored",
        )

    def _ask(self, client: httpx.Client, path: str, query: dict[str, str]) -> dict[str, Any]:
        """One page, asked for again as long as that may help."""
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
        return again(self._ask_once, client, path, query)

    def _ask_once(self, client: httpx.Client, path: str, query: dict[str, str]) -> dict[str, Any]:
        try:
            answer = client.get(path, params=query)
        except httpx.HTTPError as error:  # no connection, a time-out, one that broke in the middle
            raise ProviderError(
                f"{self._place(path)} cannot be reached: {type(error).__name__} {error}".rstrip(),
                next_step="check the network and FLUXHERO_ALPACA_DATA_URL, then run again",
            ) from error
        if answer.status_code != HTTPStatus.OK:
            raise self._refusal(answer, path, query)
        try:
            page = json.loads(answer.content)
        except ValueError as error:
            raise self._nonsense(path, "what it sends is no JSON") from error
        if not isinstance(page, dict) or not isinstance(page.get("bars") or {}, dict):
            raise self._nonsense(path, "what it sends has no bars in it")
        return page

    def _refusal(self, answer: httpx.Response, path: str, query: dict[str, str]) -> FluxHeroError:
        """What an answer other than a page means."""
        status, said = answer.status_code, self._said(answer)
        what = f"{self._place(path)} answers {status} for {query['symbols']}{said}"
        if status in _REFUSED:
            return ConfigurationError(
                what,
                next_step="check FLUXHERO_ALPACA_API_KEY, FLUXHERO_ALPACA_API_SECRET and the host in"
                " FLUXHERO_ALPACA_DATA_URL; if it is about the subscription, try --feed iex",
            )
        if status == HTTPStatus.NOT_FOUND or status < HTTPStatus.BAD_REQUEST:
            return ConfigurationError(
                what, next_step="check FLUXHERO_ALPACA_DATA_URL: it is the host alone"
            )
        if status in _BUSY:
            return self._wait_longer(answer, what)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ProviderError(what, next_step="run again later; nothing was lost")
        return BadInputError(what, next_step="check the symbol, the timeframe and the adjustment")

    def _wait_longer(self, answer: httpx.Response, what: str) -> ProviderError:
        seconds = _seconds(answer.headers.get("Retry-After", ""))
        later = f"in {seconds:,.0f} seconds" if seconds else "in a minute"
        waiting = _AskedToWaitError(what, next_step=f"run again {later}; nothing was lost")
        waiting.seconds = seconds
        return waiting

    def _said(self, answer: httpx.Response) -> str:
        """What the provider says about it, without our keys in case it repeats them."""
        try:
            message = str(json.loads(answer.content).get("message", ""))
        except (ValueError, AttributeError):
            return ""
        for secret in self._headers(needed=False).values():
            message = message.replace(secret, "***")
        return f": {message[:_SHOWN]}" if message else ""

    def _nonsense(self, path: str, why: str) -> ProviderError:
        return ProviderError(
            f"{self._place(path)} cannot be understood: {why}",
            next_step="check FLUXHERO_ALPACA_DATA_URL, then run again later",
        )

    def _place(self, path: str) -> str:
        return f"{self._settings.alpaca_data_url}{path}"


def _seconds(text: str) -> float:
    """What a Retry-After says: seconds, or a date; 0 where it says nothing."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _bars(page: dict[str, Any], symbol: str) -> Iterator[tuple[datetime, tuple[float, ...]]]:
    for bar in (page.get("bars") or {}).get(symbol) or ():
        try:
            at = datetime.fromisoformat(bar["t"]).astimezone(UTC).replace(tzinfo=None)
            values = tuple(float(bar[field]) for field in _FIELDS)
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderError(
                f"Alpaca sends a bar of {symbol} that is none: {json.dumps(bar)[:_SHOWN]}",
                next_step="run again later; nothing of this symbol was stored",
            ) from error
        yield at, values
