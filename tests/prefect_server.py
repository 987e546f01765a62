"""A Prefect server as a user starts it, in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fluxhero.night.server_api import ServerApi
from tests.ports import free_port
from tests.waiting import wait_for

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 240  # of a machine that is busy with other tests
STOP_SECONDS = 30


@dataclass(frozen=True)
class PrefectServer:
    """One that answers."""

    api: ServerApi
    environment: dict[str, str]  # what its clients need
    log: Path


@contextmanager
def prefect_server(folder: Path, **more: str) -> Iterator[PrefectServer]:
    """A server whose home is in a folder; `more` are variables of its alone. It ends with the block."""
    port, log = free_port(), folder / "server.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "NO_COLOR": "1",
    }
    with log.open("wb") as output, ServerApi(environment["PREFECT_API_URL"]) as api:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            cwd=folder,
            env=environment | more,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(
                lambda: process.poll() is not None or api.healthy(), START_SECONDS, "its start"
            )
            assert process.poll() is None, "it ended at once"
            yield PrefectServer(api, environment, log)
        except AssertionError as failure:
            failure.add_note(log.read_text())
            raise
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
