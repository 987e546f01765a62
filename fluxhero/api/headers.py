"""Headers that middlewares add to what is answered further in."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send


def adding(headers: Mapping[str, str], send: Send) -> Send:
    """A `send` that adds these headers to the answer, except where it has its own."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = MutableHeaders(scope=message)
            for name, value in headers.items():
                sent.setdefault(name, value)
        await send(message)

    return with_headers
