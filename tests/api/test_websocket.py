"""`/ws` on a real uvicorn: who gets in, what it says, and when it ends."""

import asyncio
import base64
import json
import logging
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_many
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from config.logging import Record
from config.settings import Settings
from fluxhero.api.app import create_app
from fluxhero.api.connections import HttpConnection, WebSocketConnection
from fluxhero.api.hub import Hub
from fluxhero.api.services import Event, EventKind, NoRuns, Services
from fluxhero.api.tokens import make_secret, previous
from fluxhero.api.websocket import Pace
from tests.api.server import TOKEN, logged, serving

GOOD = {"Authorization": f"Bearer {TOKEN}"}
ORIGIN = "https://desk.example"
AT = datetime(2026, 9, 1, 20, 0, tzinfo=UTC)
SOON = Pace(recheck=0.2, alive=0.1, send=0.3)


def bearer(token: str) -> str:
    return "base64url.bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


class Service:
    """An application, and its event loop, into which other threads may reach."""

    def __init__(self, settings: Settings, pace: Pace | None = None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.app: FastAPI = create_app(
            settings, runs=NoRuns(), background=[self._note_loop], pace=pace or Pace()
        )
        self.services: Services = self.app.state.services
        self.url = ""

    async def _note_loop(self, _services: Services) -> None:
        self.loop = asyncio.get_running_loop()
        await asyncio.Event().wait()

    def publish(self, **data: Any) -> None:
        assert self.loop is not None
        event = Event(EventKind.ALERT, AT, data)
        self.loop.call_soon_threadsafe(self.services.hub.publish, event)

    def metric(self, line: str) -> bool:
        """Whether the metrics come to have this line; the server may be about to end a connection."""
        deadline = time.monotonic() + 10
        while line not in generate_latest(self.services.metrics.registry).decode():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def settings_of(folder: Path, **changes: Any) -> Settings:
    given = {"auth_secret": TOKEN, "rate_limit": "100000/minute", "cors_origins": ORIGIN}
    return Settings(data_dir=folder, **{**given, "auth_failures": "100000/minute", **changes})


def served(service: Service) -> Iterator[Service]:
    with serving(service.app) as url:
        service.url = url.replace("http:", "ws:") + "/ws"
        yield service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from served(Service(settings_of(tmp_path_factory.mktemp("ws"))))


def refusal(url: str, **how: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        connect(url, **how).close()
    response = refused.value.response
    assert response.body is not None
    return response.status_code, json.loads(bytes(response.body))["error"]["kind"]


def close_code(websocket: Any) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        drain(websocket)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def drain(websocket: Any) -> None:
    while True:
        websocket.recv(timeout=10)


def test_programs_and_pages_get_in(service: Service) -> None:
    own = service.url.replace("ws:", "http:").removesuffix("/ws")
    for how in (
        {"additional_headers": GOOD},
        {"additional_headers": GOOD, "origin": own},
        {"subprotocols": ["fluxhero.v1", bearer(TOKEN)], "origin": own},
        {"subprotocols": [bearer(TOKEN), "fluxhero.v1"], "origin": ORIGIN},
        {"subprotocols": ["fluxhero.v1"], "additional_headers": GOOD},
    ):
        with connect(service.url, **how) as websocket:
            expected = "fluxhero.v1" if "subprotocols" in how else None
            assert websocket.subprotocol == expected
            assert websocket.response is not None
            assert TOKEN not in str(websocket.response.headers)
            assert bearer(TOKEN) not in str(websocket.response.headers)
            first = json.loads(websocket.recv(timeout=10))
            assert (first["kind"], first["data"]) == ("alive", {})
            service.publish(text="<b>drawdown</b>", ratio=float("nan"))
            event = json.loads(websocket.recv(timeout=10))
            assert event == {
                "kind": "alert",
                "at": "2026-09-01T20:00:00Z",
                "data": {"text": "<b>drawdown</b>", "ratio": None},
            }


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, (401, "unauthorised")),
        ({"additional_headers": {"Authorization": f"Bearer {TOKEN[1:]}x"}}, (401, "unauthorised")),
        ({"subprotocols": ["fluxhero.v1", bearer("x" + TOKEN)]}, (401, "unauthorised")),
        ({"subprotocols": ["fluxhero.v1", "base64url.bearer.A"]}, (401, "unauthorised")),
        ({"subprotocols": ["fluxhero.v1", "base64url.bearer.a!b"]}, (401, "unauthorised")),
        (
            {"subprotocols": ["fluxhero.v1", "base64url.bearer." + "A" * 4000]},
            (401, "unauthorised"),
        ),
        ({"subprotocols": [bearer(TOKEN)]}, (401, "unauthorised")),
        ({"subprotocols": ["fluxhero.v1", bearer(TOKEN), bearer(TOKEN)]}, (401, "unauthorised")),
        (
            {"subprotocols": ["fluxhero.v1", bearer(TOKEN)], "additional_headers": GOOD},
            (401, "unauthorised"),
        ),
        ({"additional_headers": {"Cookie": f"token={TOKEN}"}}, (401, "unauthorised")),
        ({"additional_headers": GOOD, "origin": "https://evil.example"}, (403, "origin")),
        ({"additional_headers": GOOD, "origin": "null"}, (403, "origin")),
        ({"additional_headers": GOOD, "origin": "https://127.0.0.1"}, (403, "origin")),
    ],
)
def test_others_are_refused_before_they_are_accepted(
    service: Service, how: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert refusal(service.url, **how) == expected
    assert service.metric("trading_websocket_clients 0.0")


def test_a_name_that_somebody_rebound_is_refused(service: Service) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port)) as sock:
        url = f"ws://evil.example:{address.port}/ws"
        how = {"origin": url.removesuffix("/ws"), "additional_headers": GOOD}
        assert refusal(url, sock=sock, **how) == (400, "unknown-host")


def test_a_token_in_the_address_is_refused_and_never_logged(
    service: Service, caplog: pytest.LogCaptureFixture, restored_logging: None
) -> None:
    logging.setLogRecordFactory(Record)
    ours = {"X-Request-ID": "ws-line-by-line"}
    with caplog.at_level(logging.INFO):
        assert refusal(f"{service.url}?token={TOKEN}", additional_headers=GOOD | ours)[0] == 401
        assert refusal(f"{service.url}/{TOKEN}?x={TOKEN}", additional_headers=ours)[0] == 401
        with connect(f"{service.url}?x={TOKEN}", additional_headers=GOOD | ours) as websocket:
            websocket.recv(timeout=10)
        lines = logged(caplog, "fluxhero.api.requests_log", 3, request="ws-line-by-line")
    said = sorted(line["message"] for line in lines)
    assert said == ["WebSocket /ws 101", *["WebSocket none 401"] * 2]
    assert TOKEN not in str([r.getMessage() for r in caplog.records if "websockets" not in r.name])


def test_handshakes_and_guesses_are_limited(tmp_path: Path) -> None:
    changes = {"rate_limit": "6/hour", "auth_failures": "2/hour"}
    for service in served(Service(settings_of(tmp_path, **changes))):
        wrong = {"additional_headers": {"Authorization": f"Bearer {TOKEN[::-1]}"}}
        statuses = [refusal(service.url, **wrong) for _ in range(3)]
        assert statuses == [(401, "unauthorised")] * 2 + [(429, "too-many")]
        own_page = {"origin": "https://evil.example", "additional_headers": GOOD}
        assert refusal(service.url, **own_page) == (403, "origin")
        assert [refusal(service.url)[0] for _ in range(4)] == [401] * 3 + [429]
        assert service.metric('trading_rate_limited_total{kind="handshake"} 1.0')
        assert service.metric('trading_rate_limited_total{kind="authentication"} 1.0')


def test_a_token_that_loses_its_validity_ends_the_connection(settings: Settings) -> None:
    make_secret(settings.auth_secret_file)
    token = settings.auth_secret_file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    for service in served(Service(settings, SOON)):
        with connect(service.url, additional_headers=headers) as websocket:
            kinds = [json.loads(websocket.recv(timeout=10))["kind"] for _ in range(5)]
            assert kinds == ["alive"] * 5, "checked again by now, and still valid"
            make_secret(settings.auth_secret_file)
            websocket.recv(timeout=10)
            previous(settings.auth_secret_file).unlink()
            assert close_code(websocket) == 1008


def test_it_lasts_longer_than_a_request_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpConnection, "request_seconds", 0.2)
    for service in served(Service(settings_of(tmp_path), SOON)):
        with connect(service.url, additional_headers=GOOD) as websocket:
            kinds = [json.loads(websocket.recv(timeout=10))["kind"] for _ in range(6)]
            assert kinds == ["alive"] * 6


def test_it_does_not_listen(service: Service) -> None:
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.send("subscribe")
        assert close_code(websocket) == 1008
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.send("x" * 5_000)
        assert close_code(websocket) == 1009
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.recv(timeout=10)
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.socket.shutdown(socket.SHUT_RDWR)  # gone without a word


def test_who_reads_too_slowly_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketConnection, "answer_seconds", 2.0)
    for service in served(Service(settings_of(tmp_path), SOON)):
        with (
            connect(service.url, additional_headers=GOOD, max_queue=1, max_size=None) as slow,
            connect(service.url, additional_headers=GOOD, max_size=None) as quick,
        ):
            for number in range(400):
                service.publish(number=number, text="x" * 100_000)
                received = json.loads(quick.recv(timeout=10))
                while received["kind"] == "alive":
                    received = json.loads(quick.recv(timeout=10))
                assert received["data"]["number"] == number
                if service.services.hub.dropped:
                    break
            assert service.services.hub.dropped == 1
            assert service.metric("trading_websocket_clients 1.0")
            with pytest.raises(ConnectionClosed):
                drain(slow)
        assert service.metric("trading_websocket_dropped_total 1.0")


def test_a_queue_that_overflows_ends_with_nothing() -> None:
    async def play() -> tuple[list[Event | None], int]:
        hub = Hub(most=1, queued=2)
        event = Event(EventKind.RUN, AT)
        async with hub.subscribe() as queue:
            assert hub.full
            for _ in range(4):
                hub.publish(event)
            hub.drop(queue)
            return [queue.get_nowait() for _ in range(queue.qsize())], hub.dropped

    assert asyncio.run(play()) == ([None], 1)


def test_a_full_house_says_so(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.services.hub, "_most", 1)
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.recv(timeout=10)
        assert refusal(service.url, additional_headers=GOOD) == (503, "full")


def test_a_fault_on_a_connection_is_logged_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> datetime:
        raise RuntimeError("internal-canary")

    app = create_app(settings_of(tmp_path), runs=NoRuns(), clock=broken)
    with serving(app) as url:
        feed = url.replace("http:", "ws:") + "/ws"
        with connect(feed, additional_headers=GOOD) as websocket:
            assert close_code(websocket) == 1011
    assert "a request ended in an error that nobody expected" in caplog.text


def test_every_client_gets_every_event(service: Service) -> None:
    async def listen(websocket: ClientConnection) -> list[Any]:
        return [json.loads(await websocket.recv()) for _ in range(3)]

    async def play() -> list[list[Any]]:
        clients = [
            await connect_many(service.url, additional_headers=GOOD, ping_interval=None)
            for _ in range(60)
        ]
        service.publish(number=1)
        service.publish(number=2)
        heard = await asyncio.gather(*(listen(client) for client in clients))
        await asyncio.gather(*(client.close() for client in clients))
        return heard

    for alive, first, second in asyncio.run(play()):
        assert alive["kind"] == "alive"
        assert (first["data"]["number"], second["data"]["number"]) == (1, 2)


def test_the_server_going_away_says_so(tmp_path: Path) -> None:
    serving_it = served(Service(settings_of(tmp_path)))
    service = next(serving_it)
    with connect(service.url, additional_headers=GOOD) as websocket:
        websocket.recv(timeout=10)
        next(serving_it, None)
        assert close_code(websocket) == 1012
