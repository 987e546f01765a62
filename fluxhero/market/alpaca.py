"""Bars from Alpaca's market data API: stocks, and pairs such as BTC/USD.

How it is asked, and what its troubles mean, is `alpaca_http`'s.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from config.settings import Settings, variable
from fluxhero.alpaca_http import Connection, Patience, Service, keys_of, needed_keys
from fluxhero.errors import ProviderError
from fluxhero.market.cache import BARS
from fluxhero.market.timeframe import Timeframe

FEEDS = ("sip", "iex", "otc", "boats")
_FIELDS = ("o", "h", "l", "c", "v")
_BARS_A_PAGE = 10_000  # the most Alpaca gives
_MOST_PAGES = 10_000
_SHOWN = 200  # characters of a bar that is none


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
        self._service = Service(
            settings.alpaca_data_url,
            variable("alpaca_data_url"),
            if_refused="if it is about the subscription, try --feed iex",
            if_wrong="check the symbol, the timeframe and the adjustment",
        )

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
        with Connection(self._service, self._keys(stock), self._patience) as connection:
            for page in _pages(connection, path, query):
                rows |= dict(_bars(page, symbol))
        columns = zip(*((at, *values) for at, values in sorted(rows.items())), strict=True)
        return pa.table([*map(list, columns)] if rows else [[] for _ in BARS], schema=BARS)

    def _keys(self, needed: bool) -> dict[str, str]:
        if not needed:
            return keys_of(self._settings)
        return needed_keys(
            self._settings,
            "Alpaca's stock bars need",
            otherwise="bring bars in from a file with `fluxhero refresh --from`",
        )


def _pages(connection: Connection, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    token, seen = None, set[str]()
    about = f" for {query['symbols']}"
    for _ in range(_MOST_PAGES):
        asked = query | ({"page_token": token} if token else {})
        page = connection.ask(path, asked, about, _page)
        yield page
        token = page.get("next_page_token")
        if token is None:
            return
        if not isinstance(token, str) or token in seen:
            break
        seen.add(token)
    raise ProviderError(
        f"{connection.place(path)} goes round in circles: it gives the same page again",
        next_step="run again later; nothing of this symbol was stored",
    )


def _page(content: bytes) -> dict[str, Any]:
    try:
        page = json.loads(content)
    except ValueError as error:
        raise ValueError("what it sends is no JSON") from error
    if not isinstance(page, dict) or not isinstance(page.get("bars") or {}, dict):
        raise ValueError("what it sends has no bars in it")  # noqa: TRY004 - a wrong value, not a wrong call
    return page


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
