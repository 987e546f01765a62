"""Which port a server of ours listens on, and who has one that is taken."""

import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import Final

from fluxhero.errors import AddressError

_TRIES: Final = 100
_MOST: Final = 65_535
_DYING_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.05
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True)
class Chosen:
    """A port that is free; `notice` says why it is another one than wanted."""

    port: int
    notice: str | None = None


def choose(
    host: str, wanted: int, *, set_by: str | None, what: str, taken: frozenset[int] = frozenset()
) -> Chosen:
    """A port to listen on.

    Args:
        host: the address.
        wanted: the port.
        set_by: the option or variable that asks for this port and no other; None: the next free one
            does as well.
        what: what is to listen there, for messages.
        taken: ports that are given to something else already.

    Raises:
        AddressError: the port is taken and asked for, or no port is free, or the address is not ours.
    """
    for port in range(wanted, min(wanted + _TRIES, _MOST + 1)):
        free = _is_or_becomes_free if port == wanted else _is_free
        if port not in taken and free(host, port):
            notice = (
                None if port == wanted else f"{_in_use(wanted)}; {what} has port {port} instead"
            )
            return Chosen(port, notice)
        if set_by is not None:
            raise AddressError(
                f"{what} cannot have the port of {set_by}: {_in_use(wanted)}",
                next_step=f"end that program, or give another port with {set_by}",
            )
    raise AddressError(
        f"no port from {wanted} to {min(wanted + _TRIES, _MOST + 1) - 1} is free on {host} for {what}",
        next_step="end a program that listens there, or set FLUXHERO_PREFECT_PORT and FLUXHERO_API_PORT",
    )


def url_of(host: str, port: int) -> str:
    """URL of a server as this machine reaches it, without a slash at its end."""
    host = _EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_or_becomes_free(host: str, port: int) -> bool:
    """Whether a server may listen there, now or once a process has gone that is just ending.

    A process that was killed gives its port back a moment after it has lost its name and environment.
    """
    deadline = time.monotonic() + _DYING_SECONDS
    while not (free := _is_free(host, port)) and time.monotonic() < deadline and not _holder(port):
        time.sleep(_LOOK_SECONDS)
    return free


def _is_free(host: str, port: int) -> bool:
    """Whether a server may listen there now.

    Raises:
        AddressError: nothing can: the address is not of this machine, or the port not of this user.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            said = error.strerror or os.strerror(error.errno or 0)
            raise AddressError(
                f"cannot listen on {host} port {port}: {said}",
                next_step="correct FLUXHERO_PREFECT_HOST or FLUXHERO_API_HOST, or the port",
            ) from error
    return True


def _in_use(port: int) -> str:
    holder = _holder(port)
    return f"port {port} is taken by {holder}" if holder else f"port {port} is taken"


def _holder(port: int) -> str | None:
    """The program that listens on a port, where this user may know it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if listens and connection.pid:
                holder = psutil.Process(connection.pid)
                return f"{holder.name()} (pid {holder.pid})" if holder.cmdline() else None
    except (psutil.Error, OSError):
        pass
    return None
