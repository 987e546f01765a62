"""`fluxhero serve` as a process of its own: it says where to look, and ends in order."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from config.loading import load_settings
from fluxhero.api.tokens import Tokens, make_secret
from fluxhero.commands import serving
from tests.api.server import TOKEN
from tests.command import Run

pytestmark = pytest.mark.measured

REPOSITORY = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9/api"  # a Prefect server that is away


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **{name: value for name, value in os.environ.items() if "FLUXHERO" not in name},
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_API_URL": NOWHERE,
        "FLUXHERO_DATA_DIR": str(folder / "data"),
    }
    program = "import sys; from fluxhero.cli import main; main(['serve', *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_serves_until_it_is_told_to_stop(clean_environment: Path) -> None:
    secret = clean_environment / "data" / "auth-secret"
    make_secret(secret)
    token = secret.read_text().strip()
    with served(clean_environment, "--port", "0", "--json") as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        assert document["pid"] == process.pid
        url = document["url"]
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            assert client.get("/livez").json() == {"status": "pass"}
            assert client.get("/").status_code == 200
            assert client.get("/api/runs").status_code == 401
            runs = client.get("/api/runs", headers={"Authorization": f"Bearer {token}"}).json()
            assert "Prefect server" in runs["problem"]
        port = url.rstrip("/").rpartition(":")[2]
        with served(clean_environment, "--port", port) as second:
            _, err = second.communicate(timeout=120)
            assert second.returncode == 3
            assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in err
            assert "--port" in err
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.rstrip().endswith("Stopped.")
    assert "GET /api/runs 200" in err
    assert token not in out + err


def test_ctrl_c_ends_it_and_text_says_where_to_look(clean_environment: Path) -> None:
    make_secret(clean_environment / "data" / "auth-secret")
    with served(clean_environment, "--host", "0.0.0.0", "--port", "0") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("The operations page is at http://127.0.0.1:")
        assert httpx.get(first.split()[-1] + "livez", trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_without_a_good_token_it_does_not_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run("serve", "--port", "0")
    assert ended.status == 2
    assert "fluxhero doctor --make-secret" in ended.err
    monkeypatch.setenv("FLUXHERO_AUTH_SECRET", "changeme" * 8)
    ended = run("serve", "--port", "0")
    assert ended.status == 2
    assert "changeme" not in ended.err
    assert not ended.out
    monkeypatch.delenv("FLUXHERO_AUTH_SECRET")
    Path(".env").write_text(f"FLUXHERO_AUTH_SECRET={'sample' * 8}\n")
    ended = run("serve", "--port", "0")
    assert ended.status == 2
    assert "the token in FLUXHERO_AUTH_SECRET is a sample" in ended.err
    Path(".env").write_text(f"FLUXHERO_AUTH_SECRET={TOKEN}\n")
    assert Tokens(load_settings()).principal_of(TOKEN.encode())


def test_an_address_that_is_not_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXHERO_AUTH_SECRET", TOKEN)
    ended = run("serve", "--host", "192.0.2.1", "--port", "8400")
    assert ended.status == 3
    assert "cannot listen on 192.0.2.1 port 8400" in ended.err
    ended = run("serve", "--host", "no.such.host.invalid")
    assert ended.status == 3
    assert "it is no address of this machine" in ended.err
    assert "--host" in ended.err
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", "--host", "::1", "--port", str(port))
        assert ended.status == 3
        assert "Address already in use" in ended.err


def test_answers_do_not_wait_for_acknowledgements() -> None:
    async def scenario() -> int:
        at_once: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def met(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            at_once.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = serving._listening("127.0.0.1", 0)
        async with await asyncio.start_server(met, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return await at_once

    assert asyncio.run(scenario())
