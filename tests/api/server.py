"""The application on a real uvicorn, in a thread of the test's own process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

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
