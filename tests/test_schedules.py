"""A server as the user starts it makes the scheduled runs that `prefect.yaml` asks for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.ports import free_port

REPOSITORY = Path(__file__).parents[1]
START_SECONDS, SCHEDULE_SECONDS = 120, 90


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A `prefect server start` of its own; the environment that its clients need."""
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "NO_COLOR": "1",
    }
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"],
        cwd=REPOSITORY,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for(lambda: answers(environment["PREFECT_API_URL"]), START_SECONDS)
        yield environment | {"LOG": str(tmp_path / "server.log")}
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def answers(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def wait_for(happened: Any, seconds: float) -> Any:
    """What `happened` returns as soon as it is true; what it returned last when the time is up."""
    end = time.monotonic() + seconds
    while not (found := happened()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def scheduled_runs(api_url: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    runs: list[dict[str, Any]] = httpx.post(f"{api_url}/flow_runs/filter", json=wanted).json()
    return runs


def deployments(api_url: str) -> dict[str, str]:
    """Id → name; no two that are scheduled have the same one."""
    found: list[dict[str, Any]] = httpx.post(f"{api_url}/deployments/filter", json={}).json()
    return {one["id"]: one["name"] for one in found}


def every_weekday(hour: int, minute: int) -> Callable[[datetime], bool]:
    return lambda at: at.isoweekday() < 6 and (at.hour, at.minute) == (hour, minute)


def saturday_morning(at: datetime) -> bool:
    return at.isoweekday() == 6 and (at.hour, at.minute) == (6, 0)


def sunday_morning(at: datetime) -> bool:
    return (at.isoweekday(), at.hour, at.minute) == (7, 10, 0)


def every_five_minutes_of_a_session(at: datetime) -> bool:
    since_open = (at.hour - 9) * 60 + at.minute - 30
    return at.isoweekday() < 6 and 0 <= since_open < 390 and at.minute % 5 == 0


def on_the_hour(at: datetime) -> bool:
    return at.minute == 0


# Deployment → whether a run belongs at this time in New York.
_TIMES = {
    "before-open": every_weekday(8, 30),
    "after-close": every_weekday(17, 30),
    "daily": every_weekday(18, 30),
    "deep": saturday_morning,
    "weekly": sunday_morning,
    "in-session": every_five_minutes_of_a_session,
    "hourly": on_the_hour,
    "nightly": every_weekday(20, 30),
}


@pytest.mark.server
def test_the_archive_is_scheduled_after_the_us_close(server: dict[str, str]) -> None:
    for arguments in (
        ("work-pool", "create", "--type", "process", "fluxhero"),
        ("work-queue", "create", "store", "--pool", "fluxhero", "--limit", "1"),
        ("deploy", "--all"),
    ):
        subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=REPOSITORY,
            env=server,
            stdin=subprocess.DEVNULL,
            check=True,
            capture_output=True,
            timeout=START_SECONDS,
        )
    names = deployments(server["PREFECT_API_URL"])

    def every_kind() -> list[dict[str, Any]]:
        """The runs, once the scheduler has come to each deployment."""
        found = scheduled_runs(server["PREFECT_API_URL"])
        kinds = {names[run["deployment_id"]] for run in found}
        return found if kinds == set(_TIMES) else []

    runs = wait_for(every_kind, SCHEDULE_SECONDS)
    log = Path(server["LOG"]).read_text()
    assert runs, log
    starts = [datetime.fromisoformat(run["expected_start_time"]) for run in runs]
    for run, start in zip(runs, starts, strict=True):
        local = start.astimezone(ZoneInfo("America/New_York"))
        assert _TIMES[names[run["deployment_id"]]](local), (run["name"], local)
    assert min(starts) > datetime.now(UTC)
    assert "Traceback" not in log
