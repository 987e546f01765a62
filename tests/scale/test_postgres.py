"""The same flows on a Prefect server that keeps everything in PostgreSQL."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxhero.night.server_api import ServerApi
from tests import samples
from tests.prefect_server import PrefectServer, prefect_server
from tests.scale.postgres import postgresql
from tests.waiting import wait_for

RUN_SECONDS, EVENTS_WITHIN = 400, 30
TRADES = 7


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectServer]:
    """A Prefect server over PostgreSQL."""
    with (
        postgresql() as database,
        prefect_server(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=database) as started,
    ):
        yield started


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
    server: PrefectServer, tmp_path: Path
) -> None:
    store = tmp_path / "data" / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    rows = [samples.ledger_trade(number) for number in range(TRADES)]
    samples.insert_duckdb(store, "trades", *rows)
    environment = server.environment | {"FLUXHERO_DATA_DIR": str(tmp_path / "data")}
    api = server.api
    run(environment, tmp_path, "fluxhero.night.apply")
    (deployment,) = api.post(
        "/deployments/filter", {"deployments": {"name": {"any_": ["after-close"]}}}
    )
    automation = api.post("/automations/", on_completion(deployment["flow_id"]))
    made = api.post(f"/deployments/{deployment['id']}/create_flow_run")
    worker = ("worker", "start", "--pool", "fluxhero", "--run-once")
    run(environment, tmp_path, "prefect", *worker, "--install-policy", "never")
    ended = api.get(f"/flow_runs/{made['id']}")
    assert ended["state_name"] == "Completed", ended["state"]
    assert list((tmp_path / "data" / "archive" / "trades").rglob("*.parquet"))
    wait_for(lambda: "prefect.flow-run.Completed" in events_of(api, made["id"]), EVENTS_WITHIN)
    fired = f"prefect.automation.{automation['id']}"
    wait_for(lambda: "prefect.automation.triggered" in events_of(api, fired), EVENTS_WITHIN)
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


def events_of(api: ServerApi, resource: str) -> set[str]:
    """The names of all events of a flow run, by its id, or of another resource, by its whole name."""
    name = resource if "." in resource else f"prefect.flow-run.{resource}"
    found = api.post("/events/filter", {"filter": {"resource": {"id": [name]}}, "limit": 50})
    return {one["event"] for one in found["events"]}
