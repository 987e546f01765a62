"""The application on a real uvicorn, in a thread of the test's own process, and what it logs."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from config.logging import JsonFormatter
from fluxhero.api.connections import server_of

START_SECONDS = 30
TOKEN = "7hE-oWl.flies_at.N1ght-0ver.th3~sea"


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The URL of the running service, without a slash at its end."""
    server = server_of(app, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < deadline, "the service takes too long to start"
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)


def logged(
    caplog: pytest.LogCaptureFixture, logger: str, count: int, **fields: str
) -> list[dict[str, Any]]:
    """So many JSON lines of a logger with these fields; the server's thread may be about to write them."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        records = [record for record in caplog.records if record.name == logger]
        lines = [json.loads(JsonFormatter().format(record)) for record in records]
        lines = [line for line in lines if fields.items() <= line.items()]
        if len(lines) >= count:
            return lines
        assert time.monotonic() < deadline, f"only {len(lines)} of {count} lines"
        time.sleep(0.01)
