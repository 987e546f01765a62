"""A server that speaks Alpaca's documented bars endpoints, with the troubles of a real one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.threaded import in_a_thread

KEY, SECRET = "PKTEST0000", "secret-canary-51c7"
STOCKS, CRYPTO = "/v2/stocks/bars", "/v1beta3/crypto/us/bars"

Bar = dict[str, Any]
Trouble = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Alpaca:
    """What the server has, what it was asked, and what goes wrong next.

    Attributes:
        bars: by symbol, in order of time.
        page: most bars in an answer.
        troubles: what happens instead of an answer, one for each request, the first first.
        asked: the query of each request.
        paths: the path of each request.
    """

    url: str = ""
    bars: dict[str, list[Bar]] = field(default_factory=dict)
    page: int = 10_000
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def bar(at: str, close: float, volume: float = 1000.0) -> Bar:
    """A bar as Alpaca writes it."""
    return {
        "t": at, "o": close - 0.5, "h": close + 1, "l": close - 1, "c": close,
        "v": volume, "n": 10, "vw": close,
    }  # fmt: skip


def answer(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, message: str = "no", **headers: str) -> Trouble:
    """An answer with this status, as Alpaca words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: answer(handler, code, json.dumps({"message": message}).encode(), named)


def says(text: str) -> Trouble:
    """A fine answer of this text."""
    return lambda handler: answer(handler, 200, text.encode())


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    """The connection ends in the middle of the body."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"bars": {"AAPL": [{"t": "2024-')
    handler.close_connection = True


@contextmanager
def serving() -> Iterator[Alpaca]:
    """The server, as long as the block lasts."""
    alpaca = Alpaca()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            alpaca.asked.append(query)
            alpaca.paths.append(parts.path)
            if alpaca.troubles:
                alpaca.troubles.pop(0)(self)
                return
            known = (self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"])
            if parts.path == STOCKS and known != (KEY, SECRET):
                status(403, "forbidden.")(self)
                return
            if parts.path not in {STOCKS, CRYPTO}:
                status(404)(self)
                return
            answer(self, 200, json.dumps(found(alpaca, query)).encode())

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        server.daemon_threads = True
        alpaca.url = f"http://127.0.0.1:{server.server_port}"
        yield alpaca


def found(alpaca: Alpaca, query: dict[str, str]) -> dict[str, Any]:
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
