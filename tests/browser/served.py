"""The product's own server on a free port of the loopback, in a thread; stopped and started again at will."""

import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import uvicorn
from fastapi import FastAPI

from fluxhero.api.connections import server_of

STARTS_WITHIN = 20


class Served:
    """One application under one address, which stays the same over a restart."""

    def __init__(self, make_app: Callable[[], FastAPI]) -> None:
        self._make_app = make_app
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._server = server_of(self._make_app(), "127.0.0.1", self.port)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + STARTS_WITHIN
        while not self._server.started:
            assert self._thread.is_alive(), "uvicorn did not start"
            assert time.monotonic() < until, "uvicorn takes too long to start"
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STARTS_WITHIN)
        assert not self._thread.is_alive(), "uvicorn did not stop"
        self._server = self._thread = None
