"""Who is at the other end, whatever headers say."""

from typing import Any

import pytest

from fluxhero.api.peers import Peer, Peers


def scope(client: str | None, *headers: tuple[str, str], scheme: str = "http") -> dict[str, Any]:
    return {
        "scheme": scheme,
        "client": client and (client, 1234),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def forwarded(*values: str) -> list[tuple[str, str]]:
    return [("x-forwarded-for", value) for value in values]


@pytest.mark.parametrize(
    ("client", "headers", "key"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", forwarded("198.51.100.1"), "203.0.113.9"),  # nobody's proxy
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", forwarded("198.51.100.1"), "198.51.100.1"),
        ("10.0.0.1", forwarded("1.1.1.1, 198.51.100.1"), "198.51.100.1"),  # the left is forged
        ("10.0.0.1", forwarded("1.1.1.1", "198.51.100.1, 10.0.0.2"), "198.51.100.1"),
        ("10.0.0.1", forwarded("10.0.0.3, 10.0.0.2"), "10.0.0.3"),
        ("10.0.0.1", forwarded("198.51.100.1, nonsense\r\n"), "10.0.0.1"),
        ("10.0.0.1", forwarded("nonsense, 10.0.0.2"), "10.0.0.2"),
        ("10.0.0.1", forwarded("198.51.100.1:4711"), "198.51.100.1"),
        ("10.0.0.1", forwarded("[2001:db8:1:2:3::4]:4711"), "2001:db8:1:2::/64"),
        ("10.0.0.1", forwarded(", " * 5_000), "10.0.0.1"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        ("2001:db8:1:2::77", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, forwarded("198.51.100.1"), "local"),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_what_it_saw(
    client: str | None, headers: list[tuple[str, str]], key: str
) -> None:
    assert Peers(["10.0.0.0/8"]).of(scope(client, *headers)).key == key


def test_loopback_is_who_is_here_and_forwards_for_nobody() -> None:
    peers = Peers(())
    assert peers.of(scope("127.0.0.1")) == Peer("127.0.0.1", loopback=True, scheme="http")
    assert peers.of(scope("::1", scheme="wss")) == Peer("::/64", loopback=True, scheme="https")
    assert not peers.of(scope("127.0.0.1", *forwarded("198.51.100.1"))).loopback
    assert not Peers(["127.0.0.0/8"]).of(scope("127.0.0.1")).loopback
    assert not peers.of(scope("203.0.113.9")).loopback


def test_the_scheme_is_what_the_trusted_proxy_says() -> None:
    said = ("x-forwarded-proto", "https, HTTPS")
    assert Peers(["10.0.0.1"]).of(scope("10.0.0.1", said)).scheme == "https"
    assert Peers(["10.0.0.2"]).of(scope("10.0.0.1", said)).scheme == "http"
    nonsense = ("x-forwarded-proto", "javascript")
    assert Peers(["10.0.0.1"]).of(scope("10.0.0.1", nonsense, scheme="https")).scheme == "https"
