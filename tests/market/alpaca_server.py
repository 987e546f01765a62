"""A server that speaks Alpaca's documented bars endpoints, with the troubles of a real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests import alpaca_http
from tests.alpaca_http import KEY, SECRET, Query, Served, Trouble, answer, breaks_off, says, status

__all__ = [
    "CRYPTO",
    "KEY",
    "SECRET",
    "STOCKS",
    "Alpaca",
    "Trouble",
    "answer",
    "bar",
    "breaks_off",
    "found",
    "says",
    "serving",
    "status",
]

STOCKS, CRYPTO = "/v2/stocks/bars", "/v1beta3/crypto/us/bars"

Bar = dict[str, Any]


@dataclass
class Alpaca(Served):
    """What the server has.

    Attributes:
        bars: by symbol, in order of time.
        page: most bars in an answer.
    """

    bars: dict[str, list[Bar]] = field(default_factory=dict)
    page: int = 10_000


def bar(at: str, close: float, volume: float = 1000.0) -> Bar:
    """A bar as Alpaca writes it."""
    return {
        "t": at, "o": close - 0.5, "h": close + 1, "l": close - 1, "c": close,
        "v": volume, "n": 10, "vw": close,
    }  # fmt: skip


@contextmanager
def serving() -> Iterator[Alpaca]:
    """The server, as long as the block lasts."""
    alpaca = Alpaca()

    def reply(path: str, query: Query, known: bool) -> tuple[int, Any]:
        if path == STOCKS and not known:
            return 403, {"message": "forbidden."}
        if path not in {STOCKS, CRYPTO}:
            return 404, {"message": "no"}
        return 200, found(alpaca, query)

    with alpaca_http.serving(alpaca, reply):
        yield alpaca


def found(alpaca: Alpaca, query: Query) -> dict[str, Any]:
    """A page of the bars asked for."""
    symbol = query["symbols"]
    first, last = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
    every = [
        one
        for one in alpaca.bars.get(symbol, [])
        if first <= datetime.fromisoformat(one["t"]) <= last
    ]
    begin = int(query.get("page_token", "0"))
    end = begin + min(alpaca.page, int(query["limit"]))
    token = str(end) if end < len(every) else None
    page = every[begin:end]
    return {"bars": {symbol: page} if page else {}, "next_page_token": token}
