"""A server that answers as Alpaca's do, with the troubles of a real one; what it has is its users' matter."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.threaded import in_a_thread

KEY, SECRET = "PKTEST0000", "secret-canary-51c7"

Query = dict[str, str]
Trouble = Callable[[BaseHTTPRequestHandler], None]
# What a path answers to a query: the status and the document; None where there is no such path.
Reply = Callable[[str, Query, bool], tuple[int, Any]]


@dataclass
class Served:
    """What a server was asked, and what goes wrong next.

    Attributes:
        troubles: what happens instead of an answer, one for each request, the first first.
        asked: the query of each request.
        paths: the path of each request.
    """

    url: str = ""
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[Query] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


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


def hangs(seconds: float) -> Trouble:
    """No answer for this long, and none after it."""

    def silent(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return silent


@contextmanager
def serving(served: Served, reply: Reply) -> Iterator[None]:
    """The server, as long as the block lasts.

    Args:
        served: is given the address, and tells what goes wrong.
        reply: what is answered to a path and a query, by someone with the right keys or without.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            served.asked.append(query)
            served.paths.append(parts.path)
            if served.troubles:
                served.troubles.pop(0)(self)
                return
            keys = (self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"])
            code, document = reply(parts.path, query, keys == (KEY, SECRET))
            answer(self, code, json.dumps(document).encode())

    with in_a_thread(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}"
        yield
