"""Clients that take their time, talk without end or do not read: each is dealt with, and the service stays up."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import APIRouter, Response

from config.settings import Settings
from fluxhero.api.app import create_app
from fluxhero.api.connections import HttpConnection
from fluxhero.api.services import NoRuns
from tests.api.server import TOKEN, serving

HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
LARGE = 30_000_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("slow"), auth_secret=TOKEN, rate_limit="100000/minute"
    )
    app = create_app(settings, runs=NoRuns())
    routes = APIRouter()

    @routes.get("/try")
    async def small() -> str:
        return "fine"

    @routes.get("/large")
    async def large() -> Response:
        return Response(b"x" * LARGE)

    app.include_router(routes)
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(app) as url,
    ):
        patch.setattr(HttpConnection, "request_seconds", 0.4)
        patch.setattr(HttpConnection, "answer_seconds", 0.4)
        yield url


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        yield client
    answer = httpx.get(f"{url}/try", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json() == "fine", "the service is there for others"


def flood(client: socket.socket, data: bytes) -> bool:
    """Send; whether the server took it."""
    try:
        client.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def all_of(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    try:
        while part := client.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_a_connection_on_which_nothing_comes_is_closed(url: str) -> None:
    with connection(url) as client:
        assert all_of(client) == b""


def test_a_head_that_trickles_in_is_not_waited_for(url: str) -> None:
    with connection(url) as client:
        for letter in f"GET /try HTTP/1.1\r\n{HEAD}X-Slow: ":
            flood(client, letter.encode())
            time.sleep(0.01)
        assert all_of(client)[:12] in {b"HTTP/1.1 408", b""}  # b"" if it was reset meanwhile
    with connection(url) as client:
        client.send(b"GET /try HTTP/1.1\r\nHost: local")
        answer = all_of(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b'"next_step":""}}')


def test_a_body_that_never_ends_is_not_waited_for(url: str) -> None:
    head = f"GET /try HTTP/1.1\r\n{HEAD}Content-Length: 1000\r\n\r\nxxx"
    with connection(url) as client:
        client.send(head.encode())
        assert all_of(client).endswith(b'"fine"')
    with connection(url) as client:  # together with a whole one before it
        client.send(f"GET /try HTTP/1.1\r\n{HEAD}\r\n{head}".encode())
        assert all_of(client).count(b'"fine"') == 2


def test_a_body_larger_than_anybody_reads_is_cut_off(url: str) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with connection(url) as client:
        client.send(f"GET /try HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        assert any(not flood(client, chunk) for _ in range(1_000))


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n",
        b"GET /try HTTP/1.1\r\n\r\n",
        b"GET /try HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /try HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 2_000_000,
        b"POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_and_done_with(url: str, nonsense: bytes) -> None:
    with connection(url) as client:
        flood(client, nonsense)
        assert all_of(client)[:12] in {b"HTTP/1.1 400", b""}  # b"" if it was reset meanwhile


def test_who_does_not_read_is_cut_off(url: str) -> None:
    with connection(url) as client:
        client.send(f"GET /large HTTP/1.1\r\n{HEAD}\r\n".encode())
        time.sleep(1.0)
        assert len(all_of(client)) < LARGE


def test_a_connection_serves_one_request_after_another(url: str) -> None:
    request = f"GET /try HTTP/1.1\r\n{HEAD}\r\n".encode()
    with connection(url) as client:
        for _ in range(3):
            client.send(request)
            answers(client, 1)
            time.sleep(0.25)  # together longer than one request may take
        client.send(request * 5)
        answers(client, 5)
        client.shutdown(socket.SHUT_WR)  # half open: it has nothing more to say
        assert all_of(client) == b""


def answers(client: socket.socket, count: int) -> None:
    received = b""
    while received.count(b'"fine"') < count:
        part = client.recv(1 << 16)
        assert part, "the server closed the connection"
        received += part
