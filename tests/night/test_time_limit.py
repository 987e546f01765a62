"""A scheduled run that hangs is ended, with its stacks in its log; one that nobody can reach, from C."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.deployed import environment, post, work_once

pytestmark = pytest.mark.measured

REPOSITORY = Path(__file__).parents[2]


def deploy(name: str) -> str:
    """A deployment of a flow that hangs; its id."""
    flow = post("/flows/", name=name)
    body: dict[str, Any] = {
        "name": "hanging",
        "flow_id": flow["id"],
        "entrypoint": f"tests/night/hanging.py:{name}",
        "pull_steps": [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}
        ],
        "work_pool_name": "fluxhero",
        "work_queue_name": "watch",
    }
    return str(post("/deployments/", **body)["id"])


@pytest.mark.server
@pytest.mark.timeout(900)
def test_runs_that_hang_in_c_end_failed_with_their_stacks_in_their_logs(
    deployed: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    made = {name: deploy(name) for name in ("sleeps", "queries")}
    runs = {
        name: post(f"/deployments/{deployment}/create_flow_run")["id"]
        for name, deployment in made.items()
    }
    try:
        output = work_once(
            deployed, tmp_path, FLUXHERO_RUN_LIMIT_MINUTES="1", PYTHONPATH=str(REPOSITORY)
        )
        for name, run_id in runs.items():
            (run,) = post("/flow_runs/filter", flow_runs={"id": {"any_": [run_id]}})
            assert (run["state_type"], run["state_name"]) == ("FAILED", "TimedOut"), output
            assert "FLUXHERO_RUN_LIMIT_MINUTES" in run["state"]["message"]
            lines = post("/logs/filter", logs={"flow_run_id": {"any_": [run_id]}})
            (said,) = [one["message"] for one in lines if one["message"].startswith("Ended: ")]
            assert f"in {name}" in said, "the stack names where it was"
            assert not [
                process
                for process in psutil.process_iter(["environ"])
                if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == run_id
            ]
    finally:
        for deployment in made.values():
            httpx.delete(f"{deployed}/deployments/{deployment}").raise_for_status()


_HOLDS_THE_LOCK = """
import re, types
from tasks import time_limit
vars(time_limit).update(MINUTE_SECONDS=0.5, GRACE_SECONDS=0.5)
time_limit.limit_time(None, types.SimpleNamespace(id="x", deployment_id="y"), None)
re.match("(a+)+$", "a" * 60 + "b")  # for ever, without letting another thread have a turn
"""


def test_a_run_that_keeps_the_interpreters_lock_is_ended_from_c(tmp_path: Path) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _HOLDS_THE_LOCK],
        env=environment(
            PYTHONPATH=str(REPOSITORY),
            FLUXHERO_RUN_LIMIT_MINUTES="1",
            FLUXHERO_DATA_DIR=str(tmp_path),
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Timeout" in done.stderr
    assert "re/__init__.py" in done.stderr
    assert time.monotonic() > began


def run_of(script: str, tmp_path: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment(PYTHONPATH=str(REPOSITORY), FLUXHERO_DATA_DIR=str(tmp_path), **changes),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


_ENDS_ITSELF = """
import subprocess, sys, types
from tasks import time_limit
vars(time_limit)["PATIENCE_SECONDS"] = 0.1
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time_limit.end_run("00000000-0000-0000-0000-000000000000", 1)
"""


def test_with_no_server_to_tell_the_process_and_its_children_are_ended_all_the_same(
    tmp_path: Path,
) -> None:
    done = run_of(_ENDS_ITSELF, tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == -9
    assert "its state could not be set" in done.stderr
    assert "most recent call first" in done.stderr
    assert not is_running(int(done.stdout.split()[0]))


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and str(psutil.Process(pid).status()) != "zombie"


_OF_NO_DEPLOYMENT = """
import threading, types
from tasks.time_limit import limit_time
limit_time(None, types.SimpleNamespace(id="x", deployment_id={deployment}), None)
print([thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize(
    ("deployment", "limit"), [("None", "1"), ("'y'", "nonsense")], ids=["by-hand", "bad-settings"]
)
def test_a_run_by_hand_and_one_without_settings_has_no_limit(
    tmp_path: Path, deployment: str, limit: str
) -> None:
    script = _OF_NO_DEPLOYMENT.format(deployment=deployment)
    done = run_of(script, tmp_path, FLUXHERO_RUN_LIMIT_MINUTES=limit)
    assert "time-limit" not in done.stdout
    assert "MainThread" in done.stdout, done.stderr


def test_a_run_of_a_deployment_is_watched(tmp_path: Path) -> None:
    done = run_of(_OF_NO_DEPLOYMENT.format(deployment="'y'"), tmp_path)
    assert "time-limit" in done.stdout, done.stderr
