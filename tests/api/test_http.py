"""Requests to the application on a real uvicorn: who is let in, how often, and what is said and logged of it."""

import asyncio
import logging
import re
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from prometheus_client import generate_latest

from config.logging import JsonFormatter, Record
from config.settings import Settings
from fluxhero.api import rate_limits
from fluxhero.api.app import create_app
from fluxhero.api.errors import ApiError
from fluxhero.api.services import NoRuns, Services
from fluxhero.errors import BadInputError, ConfigurationError, DamagedFileError
from tests.api.server import TOKEN, logged, serving

GOOD = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": f"Bearer {TOKEN[::-1]}"}
ORIGIN = "https://desk.example"


def app_for(folder: Path, **changes: Any) -> FastAPI:
    """The application, and routes that do what routes may do."""
    given = {"rate_limit": "100000/minute", "auth_failures": "100000/minute", **changes}
    settings = Settings(data_dir=folder, auth_secret=TOKEN, cors_origins=ORIGIN, **given)
    app = create_app(settings, runs=NoRuns())
    routes = APIRouter()

    @routes.get("/try/echo/{number}")
    async def echo(number: int, q: str = "") -> str:
        return f"{number}"

    @routes.post("/try/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @routes.get("/try/raise/{what}")
    async def fail(what: str) -> None:
        file = settings.data_dir / "x.parquet"
        raise {
            "bad": BadInputError("a date that is none", next_step="give a date"),
            "damaged": DamagedFileError(f"{file} is damaged", next_step=f"look at {file}"),
            "setup": ConfigurationError("wrong", next_step="mend it"),
            "own": ApiError(409, "busy", "it is busy", next_step="wait", headers={"X-Why": "1"}),
        }.get(what, RuntimeError("internal-canary"))

    @routes.get("/try/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the other half is gone")

        return StreamingResponse(parts())

    app.include_router(routes)
    return app


def metrics_of(app: FastAPI) -> str:
    return generate_latest(app.state.services.metrics.registry).decode()


def error_of(response: httpx.Response) -> dict[str, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"kind", "message", "next_step"}
    error: dict[str, str] = body["error"]
    return error


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return app_for(tmp_path_factory.mktemp("api"), allowed_hosts="fluxhero.lan")


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with serving(app) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "a token is needed"),
        (WRONG, "the token is not valid"),
        ({"Authorization": TOKEN}, "not in a form"),
        ({"Authorization": f"Basic {TOKEN}"}, "not in a form"),
        ({"Authorization": "Bearer"}, "not in a form"),
        ({"Authorization": f"Bearer {TOKEN} {TOKEN}"}, "not in a form"),
        ({"Authorization": f"Bearer {'x' * 5_000}"}, "not in a form"),
        ([(b"Authorization", b"Bearer \xff\xfe\xfd")], "not in a form"),
        ([*GOOD.items(), *GOOD.items()], "not in a form"),
        ({"Cookie": f"token={TOKEN}", "X-Api-Key": TOKEN}, "a token is needed"),
        ({"Sec-WebSocket-Protocol": "fluxhero.v1"}, "a token is needed"),
    ],
)
def test_without_a_valid_token_nothing_is_told(
    client: httpx.Client, headers: Any, says: str
) -> None:
    for path in ("/try/echo/1", "/no/such/thing", "/api/openapi.json", "/static", "/livez/../try"):
        refused = client.get(path, headers=headers)
        assert refused.status_code == 401, path
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="fluxhero"'
        assert says in error_of(refused)["message"]


def test_a_token_in_the_address_is_refused_and_never_logged(
    client: httpx.Client, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for query in (f"token={TOKEN}", f"x=1&access_token={TOKEN}", f"%74oken={TOKEN}"):
            refused = client.get(f"/try/echo/1?{query}", headers=GOOD)
            assert refused.status_code == 401
            assert "address" in error_of(refused)["message"]
        assert client.get(f"/try/echo/1?q={TOKEN}", headers=GOOD).status_code == 200
        assert logged(caplog, "fluxhero.api.requests_log", 4)
    lines = [JsonFormatter().format(record) for record in caplog.records if record.name != "httpx"]
    assert TOKEN not in "".join(lines)
    assert 'trading_auth_failures_total{reason="query"} 3.0' in metrics_of(app)


def test_every_error_has_one_shape_and_shows_nothing_inside(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, app: FastAPI
) -> None:
    def get(path: str, method: str = "GET") -> tuple[httpx.Response, dict[str, str]]:
        response = client.request(method, path, headers=GOOD)
        return response, error_of(response)

    assert get("/no/such/thing")[0].status_code == 404
    wrong_method, said = get("/try/size")
    assert (wrong_method.status_code, wrong_method.headers["Allow"]) == (405, "POST")
    assert said["kind"] == "method-not-allowed"
    invalid, said = get("/try/echo/canary-of-input")
    assert invalid.status_code == 422
    assert said["message"].startswith("number: ")
    assert "canary-of-input" not in invalid.text

    bad, said = get("/try/raise/bad")
    assert (bad.status_code, said["message"]) == (422, "a date that is none")
    damaged, said = get("/try/raise/damaged")
    assert (damaged.status_code, said["message"]) == (503, "x.parquet is damaged")
    assert said["next_step"] == "look at x.parquet"
    assert get("/try/raise/setup")[0].status_code == 503
    own, said = get("/try/raise/own")
    assert (own.status_code, said["kind"], own.headers["X-Why"]) == (409, "busy", "1")

    caplog.clear()
    fault = client.get("/try/raise/fault", headers={**GOOD, "Origin": ORIGIN})
    assert fault.status_code == 500
    assert "canary" not in fault.text
    assert fault.headers["X-Request-ID"] in error_of(fault)["next_step"]
    assert fault.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert fault.headers["X-Content-Type-Options"] == "nosniff"
    logged = next(r for r in caplog.records if r.name == "fluxhero.api.errors")
    assert "internal-canary" in JsonFormatter().format(logged)


def test_half_an_answer_does_not_look_whole(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/try/half", headers=GOOD)
    assert client.get("/try/echo/1", headers=GOOD).status_code == 200


def test_origins(client: httpx.Client) -> None:
    for headers in (GOOD, {}):  # refusals can be read too
        answer = client.get("/try/echo/1", headers={**headers, "Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Access-Control-Allow-Credentials" not in answer.headers
        foreign = client.get("/try/echo/1", headers={**headers, "Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in foreign.headers
    asks = {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    allowed = client.options("/try/echo/1", headers={**asks, "Origin": ORIGIN})
    assert allowed.status_code == 200
    refused = client.options("/try/echo/1", headers={**asks, "Origin": "https://evil.example"})
    assert refused.status_code == 400
    wiping = {**asks, "Access-Control-Request-Method": "POST", "Origin": ORIGIN}
    assert client.options("/try/size", headers=wiping).status_code == 400


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8400", 200),
        ("LOCALHOST", 200),
        ("[::1]:8400", 200),
        ("fluxhero.lan", 200),
        ("evil.example", 400),
        ("fluxhero.lan.evil.example", 400),
        ("localhost@evil.example", 400),
        ("localhost:8400:1", 400),
        ("127.0.0.2", 400),
        ("", 400),
    ],
)
def test_only_names_of_its_own(client: httpx.Client, host: str, status: int) -> None:
    answer = client.get("/try/echo/1", headers={**GOOD, "Host": host})
    assert answer.status_code == status
    if status == 400:
        assert error_of(answer)["kind"] == "unknown-host"


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", "a;b|c'd\"e"])
def test_a_request_id_that_could_do_harm_is_replaced(client: httpx.Client, given: str) -> None:
    answer = client.get("/try/echo/1", headers=[*GOOD.items(), ("X-Request-ID", given)])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
    kept = client.get("/try/echo/1", headers={**GOOD, "X-Request-ID": "desk-7_Request"})
    assert kept.headers["X-Request-ID"] == "desk-7_Request"


def test_a_line_for_every_request_and_nothing_of_the_strangers_choosing(
    client: httpx.Client,
    app: FastAPI,
    caplog: pytest.LogCaptureFixture,
    restored_logging: None,
) -> None:
    logging.setLogRecordFactory(Record)
    hostile = '/x%0d%0a{"level":"error"}%1b[31m"%7d,route="a'
    headers = {**GOOD, "X-Request-ID": "line-by-line"}
    with caplog.at_level(logging.INFO, "fluxhero.api"):
        assert client.get("/try/echo/7?q=query-canary", headers=headers).status_code == 200
        assert client.get(hostile, headers=headers).status_code == 404
        assert client.request("BREW", "/try/echo/7", headers=headers).status_code == 405
        lines = logged(caplog, "fluxhero.api.requests_log", 3, request="line-by-line")
    first, second, third = lines
    assert first["message"] == "GET /try/echo/{number} 200"
    assert first["bytes"] == len('"7"')
    assert first["principal"].startswith("token-")
    assert first["peer"] == "127.0.0.1"
    assert {"status", "milliseconds"} <= set(first)
    assert second["message"] == "GET none 404"
    assert third["message"] == "other /try/echo/{number} 405"
    assert not any(canary in str(lines) for canary in ("canary", "31m", "x%0d", "BREW"))
    text = metrics_of(app)
    assert 'method="other",route="/try/echo/{number}",status_class="4xx"' in text
    assert "31m" not in text
    assert "_created" not in text


def test_bodies_are_bounded_whether_they_say_so_or_not(client: httpx.Client) -> None:
    size = 64 * 1024
    assert client.post("/try/size", content=b"x" * size, headers=GOOD).json() == size

    def endless() -> Iterator[bytes]:
        for _ in range(size // 1024 + 1):
            yield b"x" * 1024

    for content in (b"x" * (size + 1), endless()):
        refused = client.post("/try/size", content=content, headers=GOOD)
        assert refused.status_code == 413
        assert error_of(refused)["kind"]
    assert client.post("/try/size", content=b"x" * (size + 1)).status_code == 401
    assert client.get("/try/echo/1", headers=GOOD).status_code == 200


def test_who_guesses_waits_and_nobody_else_does(tmp_path: Path) -> None:
    app = app_for(tmp_path, auth_failures="3/hour", trusted_proxies="127.0.0.1")
    with serving(app) as url, httpx.Client(base_url=url) as client:

        def ask(token: dict[str, str], peer: str) -> httpx.Response:
            return client.get("/try/echo/1", headers={**token, "X-Forwarded-For": peer})

        assert [ask({}, "198.51.100.1").status_code for _ in range(9)] == [401] * 9
        assert ask(GOOD, "198.51.100.1").status_code == 200, "to send no token is no guess"
        assert [ask(WRONG, "198.51.100.1").status_code for _ in range(5)] == [401] * 3 + [429] * 2
        waits = ask(GOOD, "9.9.9.9, 198.51.100.1")
        assert waits.status_code == 429
        assert int(waits.headers["Retry-After"]) > 0
        assert ask(GOOD, "198.51.100.2").status_code == 200
    text = metrics_of(app)
    assert 'trading_auth_failures_total{reason="wrong"} 3.0' in text
    assert 'trading_rate_limited_total{kind="authentication"} 3.0' in text


def test_limits_go_by_principal_else_by_peer(tmp_path: Path) -> None:
    app = app_for(tmp_path, rate_limit="4/hour")
    with serving(app) as url, httpx.Client(base_url=url) as client:
        first = client.get("/try/echo/1", headers=GOOD)
        assert first.headers["RateLimit-Policy"] == '"default";q=4;w=3600'
        assert re.fullmatch(r'"default";r=3;t=\d+', first.headers["RateLimit"])
        statuses = [
            # a forged peer opens no new account
            client.get("/try/echo/1", headers={**GOOD, "X-Forwarded-For": f"1.1.1.{n}"}).status_code
            for n in range(5)
        ]
        assert statuses == [200] * 3 + [429] * 2
        too_many = client.get("/try/echo/1", headers=GOOD)
        assert too_many.headers["RateLimit"].startswith('"default";r=0;t=')
        assert 0 < int(too_many.headers["Retry-After"]) <= 3600
        assert [client.get("/x").status_code for _ in range(5)] == [401] * 4 + [429]
        assert client.get("/livez").status_code != 429
        assert client.get("/metrics", headers=GOOD).status_code != 429
        forwarded = client.get("/metrics", headers={**GOOD, "X-Forwarded-For": "1.1.1.1"})
        assert forwarded.status_code == 429
    assert 'trading_rate_limited_total{kind="request"} 5.0' in metrics_of(app)


async def _ask(app: FastAPI, path: str, peer: str) -> int:
    """One request past the server, which is not what is measured."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "client": (peer, 1),
            "server": ("127.0.0.1", 8400),
            "headers": [
                (b"host", b"localhost"),
                (b"authorization", GOOD["Authorization"].encode()),
            ],
        },
        receive,
        send,
    )
    return statuses[0]


def test_ten_thousand_paths_and_peers_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits.Limit.__init__, "__defaults__", (200,))
    app = app_for(tmp_path)

    async def flood(start: int, count: int) -> None:
        for n in range(start, start + count):
            assert await _ask(app, f"/no/such/{n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") == 404

    async def measured() -> int:
        await flood(0, 8_500)
        series = metrics_of(app).count("\n")
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await flood(8_500, 1_500)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert metrics_of(app).count("\n") == series
        return grown

    logging.disable(logging.INFO)
    try:
        assert asyncio.run(measured()) < 100_000
    finally:
        logging.disable(logging.NOTSET)


def test_a_limit_forgets_who_was_not_seen_for_longest() -> None:
    limit = rate_limits.Limit("1/hour", most=3)

    async def play() -> list[bool]:
        clients = ["a", "b", "c", "a", "d", "b", "a"]
        return [await limit.one_too_many(client) for client in clients]

    assert asyncio.run(play()) == [False, False, False, True, False, False, True]
    assert len(limit) == 3


def test_without_a_good_token_there_is_no_application(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a sample"):
        create_app(Settings(data_dir=tmp_path, auth_secret="changeme" * 8), runs=NoRuns())


def test_background_work_that_fails_begins_again_and_ends_with_the_service(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhero.api.app._PAUSE", 0.0)
    begun, ended = [], []
    second = threading.Event()

    async def work(services: Services) -> None:
        begun.append(services)
        if len(begun) == 1:
            raise RuntimeError("the disk is gone")
        second.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    settings = Settings(data_dir=tmp_path, auth_secret=TOKEN)
    app = create_app(settings, runs=NoRuns(), background=[work])
    with serving(app):
        assert second.wait(30)
    assert begun == [app.state.services] * 2
    assert ended == [True]
    assert "background work failed and begins again" in caplog.text
