"""Ports for servers that a test starts."""

import random
import socket

# Of its own: tests that run beside this one may seed the common one.
_CHOICE = random.SystemRandom()
# Below those that the system gives to connections that go out, one of which could take the port of a
# server just before that starts, or while it is started again.
_LOWEST, _HIGHEST = 10_000, 32_000


def free_port() -> int:
    """A port of the loopback interface that nobody listens on just now."""
    while True:
        port = _CHOICE.randrange(_LOWEST, _HIGHEST)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
