"""Which port is taken, and what is said of one that is not free."""

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from fluxhero.errors import AddressError
from fluxhero.night import ports
from fluxhero.night.ports import choose, url_of

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def test_a_free_one_is_had(taken: int) -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free = int(probe.getsockname()[1])
    chosen = choose(HOST, free, set_by="--prefect-port", what="the server")
    assert (chosen.port, chosen.notice) == (free, None)


def test_the_next_one_is_had_where_nobody_asks_for_this_one(taken: int) -> None:
    chosen = choose(HOST, taken, set_by=None, what="the server")
    assert taken < chosen.port < taken + 100
    assert f"port {taken} is taken by" in (chosen.notice or "")
    assert f"(pid {os.getpid()}); the server has port {chosen.port} instead" in (
        chosen.notice or ""
    )


def test_one_that_is_asked_for_and_taken_is_named_with_its_program(taken: int) -> None:
    with pytest.raises(AddressError, match=rf"port {taken} is taken by .*pid {os.getpid()}") as e:
        choose(HOST, taken, set_by="FLUXHERO_PREFECT_PORT", what="the server")
    assert "FLUXHERO_PREFECT_PORT" in e.value.next_step


def test_a_program_that_may_not_be_known_is_left_out(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    monkeypatch.setattr(ports, "_DYING_SECONDS", 0.1)
    with pytest.raises(AddressError, match=f"port {taken} is taken →"):
        choose(HOST, taken, set_by="--api-port", what="the page")


def test_one_whose_program_is_ending_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        port = int(listener.getsockname()[1])

        def ends(_port: int) -> None:
            listener.close()

        monkeypatch.setattr(ports, "_holder", ends)
        assert choose(HOST, port, set_by="--api-port", what="the page").port == port


def test_two_of_ours_never_get_the_same() -> None:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        free = int(probe.getsockname()[1])
    chosen = choose(HOST, free, set_by=None, what="the page", taken=frozenset({free}))
    assert chosen.port != free


def test_no_port_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda _host, _port: False)
    with pytest.raises(AddressError, match="no port from 65500 to 65535 is free"):
        choose(HOST, 65_500, set_by=None, what="the page")


def test_an_address_of_another_machine_is_said_at_once() -> None:
    with pytest.raises(AddressError, match=r"cannot listen on 192\.0\.2\.1"):
        choose("192.0.2.1", 4200, set_by=None, what="the page")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("night.example", "http://night.example:80"),
    ],
)
def test_urls_are_those_this_machine_can_open(host: str, url: str) -> None:
    assert url_of(host, 80) == url
