"""A server as the user starts it makes the scheduled runs that `prefect.yaml` asks for."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fluxhero.night.server_api import ServerApi
from tests.prefect_server import prefect_server
from tests.waiting import wait_for

REPOSITORY = Path(__file__).parents[1]
DEPLOY_SECONDS, SCHEDULE_SECONDS = 120, 90


def scheduled_runs(api: ServerApi) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return [*api.every("/flow_runs/filter", wanted)]


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
def test_the_archive_is_scheduled_after_the_us_close(tmp_path: Path) -> None:
    with prefect_server(tmp_path) as server:
        for arguments in (
            ("work-pool", "create", "--type", "process", "fluxhero"),
            ("work-queue", "create", "store", "--pool", "fluxhero", "--limit", "1"),
            ("deploy", "--all"),
        ):
            subprocess.run(
                [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
                cwd=REPOSITORY,
                env=server.environment,
                stdin=subprocess.DEVNULL,
                check=True,
                capture_output=True,
                timeout=DEPLOY_SECONDS,
            )
        names = {one["id"]: one["name"] for one in server.api.every("/deployments/filter", {})}

        def every_kind() -> list[dict[str, Any]]:
            """The runs, once the scheduler has come to each deployment."""
            found = scheduled_runs(server.api)
            kinds = {names[run["deployment_id"]] for run in found}
            return found if kinds == set(_TIMES) else []

        runs = wait_for(every_kind, SCHEDULE_SECONDS)
    for run in runs:
        start = datetime.fromisoformat(run["expected_start_time"])
        local = start.astimezone(ZoneInfo("America/New_York"))
        assert _TIMES[names[run["deployment_id"]]](local), (run["name"], local)
        assert start > datetime.now(UTC)
    assert "Traceback" not in server.log.read_text()
