"""How long a client may take, and the server that holds it to that: uvicorn, with what it leaves open closed.

uvicorn waits for ever for a request that is never finished, and for a reader that never reads. Here a request
has to be whole in time, and who does not take its answer is cut off.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

LARGEST_REQUEST: Final = 1024 * 1024  # bytes that are read of one, whatever is done with them
LARGEST_MESSAGE: Final = 4_096  # bytes of a WebSocket client's, which nobody reads
MOST_CONNECTIONS: Final = 2_000

_TROUBLE = b'{"error":{"kind":"too-slow","message":"the request was not finished","next_step":""}}'
_TIMED_OUT = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TROUBLE), _TROUBLE)
)
_WHOLE = {h11.DONE, h11.MUST_CLOSE, h11.CLOSED}


class _Deadline:
    """Something that happens unless it is called off in time."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float, then: Callable[[], object]) -> None:
        """Begin to wait; where that has begun already, go on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def call_off(self) -> None:
        """Do not wait any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class HttpConnection(H11Protocol):
    """A client's connection.

    Attributes:
        request_seconds: until a request, its body too, has to be whole.
        answer_seconds: that an answer may take to leave.
    """

    request_seconds = 15.0
    answer_seconds = 60.0

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._request, self._answer = _Deadline(), _Deadline()
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # whatever has not left yet is waited for
        self._request.set(self.request_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._request.call_off()
        self._answer.call_off()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within bounds."""
        self._received += len(data)
        if self._received > LARGEST_REQUEST:
            self.transport.abort()
            return
        super().data_received(data)
        if self.transport.get_protocol() is not self:  # it is a WebSocket's now
            self._request.call_off()
        elif self.conn.their_state in _WHOLE:
            self._request.call_off()
            self._received = 0
        else:
            self._request.set(self.request_seconds, self._too_slow)

    def on_response_complete(self) -> None:
        """Go on with a request that came along with the one answered, and may not be whole."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._request.set(self.request_seconds, self._too_slow)

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while."""
        super().pause_writing()
        self._answer.set(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._answer.call_off()

    def _too_slow(self) -> None:
        unanswered = self.cycle is None or not self.cycle.response_started
        between = self.conn.their_state is h11.IDLE and self._received > 0
        if between or (unanswered and self.conn.their_state is h11.SEND_BODY):
            self.transport.write(_TIMED_OUT)
        self.transport.close()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A client's WebSocket."""

    answer_seconds = 60.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over from HTTP."""
        super().connection_made(transport)
        self._answer = _Deadline()
        self.transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._answer.call_off()
        super().connection_lost(exc)

    async def send(self, message: ASGISendEvent) -> None:
        """Send; a refusal ends the handshake too, of which uvicorn complains in the log else."""
        await super().send(message)
        self.handshake_complete = self.handshake_complete or self.close_sent

    def pause_writing(self) -> None:
        """Wait for the client to read, for a while."""
        super().pause_writing()
        self._answer.set(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._answer.call_off()


def server_of(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """The server that an application runs on; port 0 is any free one.

    It logs only what is wrong: its own lines about requests show the whole address, query and all.
    """
    return uvicorn.Server(
        Config(
            app,
            host=host,
            port=port,
            http=HttpConnection,
            ws=WebSocketConnection,
            ws_max_size=LARGEST_MESSAGE,
            ws_per_message_deflate=False,
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=20,
            timeout_graceful_shutdown=5,
        )
    )
