"""What is started for a browser to look at: a real Prefect server with the deployments, and a worker."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from config.prefect_env import DEFAULTS
from fluxhero.night.prefect_ui import ui_environment

REPOSITORY = Path(__file__).parents[2]
STARTS_WITHIN = 120
ENDS_WITHIN = 60
PREFECT = ("-m", "prefect", "--no-prompt")
FLUXHERO = ("-c", "from fluxhero.cli import main; main()")


@dataclass(frozen=True)
class Night:
    """What runs: where its UI is, and the environment of a process that belongs to it."""

    ui_url: str
    environment: dict[str, str]


@contextmanager
def night(folder: Path) -> Iterator[Night]:
    """A server with every deployment, until the block ends.

    Args:
        folder: of its own; the server's home is in it.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | DEFAULTS
    environment |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"{url}/api",
        "PYTHONPATH": str(REPOSITORY),
        "NO_COLOR": "1",
    }
    environment |= ui_environment(folder / "prefect" / "ui", f"{url}/api")
    server = (*PREFECT, "server", "start", "--port", str(port))
    with running(server, environment, f"{url}/api/health"):
        run((*PREFECT, "work-pool", "create", "--type", "process", "fluxhero"), environment)
        run((*PREFECT, "work-queue", "create", "store", "--pool", "fluxhero"), environment)
        run((*PREFECT, "deploy", "--all"), environment)
        yield Night(url, environment)


@contextmanager
def worker(night: Night, data_dir: Path) -> Iterator[None]:
    """A worker on a data folder, until the block ends."""
    ours = night.environment | {"FLUXHERO_DATA_DIR": str(data_dir)}
    command = (
        "worker",
        "start",
        "--pool",
        "fluxhero",
        "--type",
        "process",
        "--name",
        "night-shift",
    )
    with running((*PREFECT, *command), ours):
        yield


def run(
    arguments: Sequence[str], environment: dict[str, str], ends_with: tuple[int, ...] = (0,)
) -> None:
    """Run a command of the product's or Prefect's."""
    command = [sys.executable, *arguments]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode in ends_with, f"{command}\n{ended.stdout}\n{ended.stderr}"


@contextmanager
def running(
    arguments: Sequence[str], environment: dict[str, str], url: str | None = None
) -> Iterator[None]:
    """A service, from when it answers, if it has a URL, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + STARTS_WITHIN
        while url is not None and not _answers(url):
            assert process.poll() is None, f"{arguments} ended"
            assert time.monotonic() < until, f"{arguments} does not answer"
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=ENDS_WITHIN)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
