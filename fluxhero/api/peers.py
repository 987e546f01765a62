"""Who is at the other end: the peer's address, and what a trusted proxy says of it.

A forwarding header is believed only from a configured proxy, and only the part that this proxy wrote.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from starlette.types import Scope

_Address = IPv4Address | IPv6Address
_LOCAL: Final = "local"  # a peer without an address: a Unix socket's
_IPV6_SITE: Final = 64  # bits; one client has all addresses of such a network
_MOST_HOPS: Final = 32


@dataclass(frozen=True, slots=True)
class Peer:
    """Who sent a request.

    Attributes:
        key: what limits go by.
        loopback: it is on this machine, and nobody's proxy.
        scheme: http or https, as the client sees it.
    """

    key: str
    loopback: bool
    scheme: str


class Peers:
    """Tells peers, given the networks of proxies that are believed."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusted = [ip_network(proxy) for proxy in trusted_proxies]

    def of(self, scope: Scope) -> Peer:
        """The peer of a request or handshake."""
        client = scope.get("client")
        address = _address(client[0]) if client else None
        forwarded = [
            value.decode("latin-1")
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
        ]
        scheme = "https" if scope["scheme"] in {"https", "wss"} else "http"
        if address is None or not self._is_trusted(address):
            loopback = address is not None and address.is_loopback and not forwarded
            return Peer(_key(address), loopback, scheme)
        return Peer(
            _key(self._behind(address, ",".join(forwarded))),
            loopback=False,
            scheme=_forwarded_scheme(scope) or scheme,
        )

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)

    def _behind(self, proxy: _Address, forwarded: str) -> _Address:
        """The nearest address that is no trusted proxy's; what stands left of it anybody may have written."""
        nearest = proxy
        for text in reversed(forwarded.split(",")[-_MOST_HOPS:]):
            address = _address(text)
            if address is None:
                break
            nearest = address
            if not self._is_trusted(address):
                break
        return nearest


def _address(text: str) -> _Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _key(address: _Address | None) -> str:
    if address is None:
        return _LOCAL
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_SITE), strict=False))
    return str(address)


def _forwarded_scheme(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
    scheme = values[-1].decode("latin-1").rpartition(",")[2].strip().lower() if values else ""
    return scheme if scheme in {"http", "https"} else None
