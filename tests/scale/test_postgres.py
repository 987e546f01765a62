"""The same flows on a Prefect server that keeps everything in PostgreSQL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxhero.night.server_api import ServerApi
from tests import samples
from tests.ports import free_port
from tests.scale.postgres import postgresql

REPOSITORY = Path(__file__).parents[2]
START_SECONDS, RUN_SECONDS = 240, 400
TRADES = 7


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server over PostgreSQL; what its clients need."""
    with postgresql() as database:
        port = free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "FLUXHERO_DATA_DIR": str(tmp_path / "data"),
            "NO_COLOR": "1",
        }
        log = (tmp_path / "server.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
            cwd=tmp_path,
            env={**environment, "PREFECT_API_DATABASE_CONNECTION_URL": database},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with ServerApi(environment["PREFECT_API_URL"]) as server:
                until(lambda: process.poll() is not None or server.healthy(), START_SECONDS)
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            yield environment
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


def until(happened: Callable[[], Any], seconds: float) -> Any:
    """What `happened` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.25)
    return found


def run(environment: dict[str, str], folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(900)
@pytest.mark.server
def test_a_worker_archives_through_a_server_over_postgresql(
    environment: dict[str, str], tmp_path: Path
) -> None:
    store = tmp_path / "data" / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    rows = [samples.ledger_trade(number) for number in range(TRADES)]
    samples.insert_duckdb(store, "trades", *rows)
    with ServerApi(environment["PREFECT_API_URL"]) as server:
        run(environment, tmp_path, "fluxhero.night.apply")
        (deployment,) = server.post(
            "/deployments/filter", {"deployments": {"name": {"any_": ["after-close"]}}}
        )
        automation = server.post("/automations/", on_completion(deployment["flow_id"]))
        made = server.post(f"/deployments/{deployment['id']}/create_flow_run")
        worker = ("worker", "start", "--pool", "fluxhero", "--run-once")
        run(environment, tmp_path, "prefect", *worker, "--install-policy", "never")
        ended = server.get(f"/flow_runs/{made['id']}")
        assert ended["state_name"] == "Completed", ended["state"]
        assert list((tmp_path / "data" / "archive" / "trades").rglob("*.parquet"))
        occurrences = until(lambda: events_of(server, made["id"]), 30)
        assert "prefect.flow-run.Completed" in occurrences
        fired = f"prefect.automation.{automation['id']}"
        until(lambda: "prefect.automation.triggered" in events_of(server, fired), 30)
    assert not (tmp_path / "prefect" / "prefect.db").exists(), "nothing is in SQLite"


def on_completion(flow_id: str) -> dict[str, Any]:
    """An automation that fires when a run of the flow completes, and does nothing."""
    related = {"prefect.resource.id": f"prefect.flow.{flow_id}", "prefect.resource.role": "flow"}
    return {
        "name": "a run completed",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": ["prefect.flow-run.Completed"],
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": related,
            "threshold": 1,
            "within": 0,
        },
        "actions": [{"type": "do-nothing"}],
    }


def events_of(server: ServerApi, resource: str) -> set[str]:
    """The names of all events of a flow run, by its id, or of another resource, by its whole name."""
    name = resource if "." in resource else f"prefect.flow-run.{resource}"
    found = server.post("/events/filter", {"filter": {"resource": {"id": [name]}}, "limit": 50})
    return {one["event"] for one in found["events"]}
