"""Missed runs run once, and days without trading cost nothing: on a real server, with a real worker."""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxhero.alerts.automations import automations
from fluxhero.errors import NightShiftError
from fluxhero.metrics.jobs import read_jobs
from fluxhero.night.apply import apply, apply_automations, ours_on
from fluxhero.night.catch_up import PENDING_FOR, catch_up
from fluxhero.night.server_api import ServerApi
from tests import samples
from tests.deployed import post, work_once

REPOSITORY = Path(__file__).parents[2]
ARCHIVE, IN_SESSION, HOURLY = (
    "archive-trades/after-close",
    "snapshot-metrics/in-session",
    "snapshot-metrics/hourly",
)
pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]  # two deployments come first


@pytest.fixture
def server(deployed: str) -> Iterator[ServerApi]:
    """The server, with no run of ours waiting before and after."""
    with ServerApi(deployed, patience_seconds=60) as server:
        clear(server)
        yield server
        clear(server)


def clear(server: ServerApi) -> None:
    for run in waiting(server):
        server.delete(f"/flow_runs/{run['id']}")


def waiting(server: ServerApi, *kinds: str) -> list[dict[str, Any]]:
    body = {
        "flow_runs": {"state": {"type": {"any_": list(kinds or ("SCHEDULED", "PENDING"))}}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return list(server.every("/flow_runs/filter", body))


def schedule(server: ServerApi, name: str, first: str, last: str) -> list[dict[str, Any]]:
    """Make the scheduled runs of a range of time that has passed."""
    deployment = ours_on(server)[name]["id"]
    server.post(
        f"/deployments/{deployment}/schedule",
        {"start_time": f"{first}Z", "end_time": f"{last}Z", "min_runs": 50, "max_runs": 50},
    )
    return [
        run
        for run in waiting(server)
        if run["deployment_id"] == deployment
        and first <= run["expected_start_time"][: len(first)] <= last
    ]


def read(server: ServerApi, run: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/flow_runs/{run['id']}")
    return found


def test_of_ten_missed_runs_one_is_run_and_not_the_one_of_the_holiday(
    server: ServerApi, deployed: str, tmp_path: Path
) -> None:
    store = tmp_path / "data" / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    # 17:30 in New York is 22:30 UTC; the last of them is of Thanksgiving.
    runs = schedule(server, ARCHIVE, "2026-11-13T00:00:00", "2026-11-26T23:00:00")
    assert len(runs) == 10
    catch_up(server, exchange="XNYS", now=datetime.now(UTC))
    states = [read(server, run) for run in runs]
    assert Counter(one["state_type"] for one in states) == {"CANCELLED": 9, "SCHEDULED": 1}
    assert states[8]["state_type"] == "SCHEDULED", (
        "Wednesday's: on the holiday there was nothing to do"
    )
    assert states[0]["state"]["message"] == (
        "superseded by the run of 2026-11-25 22:30 UTC; it does everything that is due"
    )
    output = work_once(deployed, tmp_path)
    assert read(server, runs[8])["state_name"] == "Completed", output
    assert [(job.flow, sum(job.outcomes.values())) for job in read_jobs(tmp_path / "data")] == [
        ("archive-trades", 1)
    ]


@pytest.mark.measured
def test_runs_on_a_holiday_and_out_of_session_end_well_and_count_for_nothing(
    server: ServerApi, deployed: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (holiday,) = schedule(server, ARCHIVE, "2025-12-25T00:00:00", "2025-12-25T23:00:00")
    (late,) = schedule(server, IN_SESSION, "2025-12-24T18:04:00", "2025-12-24T18:06:00")
    output = work_once(deployed, tmp_path)
    states = [read(server, run)["state"] for run in (holiday, late)]
    assert [(one["type"], one["name"], one["message"]) for one in states] == [
        ("COMPLETED", "Holiday", "XNYS is closed on 2025-12-25 (Thursday)"),
        (
            "COMPLETED",
            "Out of session",
            "XNYS trades from 09:30 to 13:00 on 2025-12-24, and not at 13:05",
        ),
    ], output
    assert read_jobs(tmp_path / "data") == []


def test_what_somebody_asked_for_and_what_is_still_to_come_stays(server: ServerApi) -> None:
    deployment = ours_on(server)[ARCHIVE]["id"]
    asked = [server.post(f"/deployments/{deployment}/create_flow_run") for _ in range(2)]
    now = datetime.now(UTC)
    server.post(
        f"/deployments/{deployment}/schedule",
        {"start_time": now.isoformat(), "end_time": (now + timedelta(days=5)).isoformat()},
    )
    before = {run["id"] for run in waiting(server, "SCHEDULED")}
    catch_up(server, exchange="XNYS", now=now + timedelta(minutes=1))
    assert {run["id"] for run in waiting(server, "SCHEDULED")} >= before
    assert {one["id"] for one in asked} <= before


def test_snapshots_of_a_session_that_were_missed_are_left_to_the_hourly_one(
    server: ServerApi,
) -> None:
    session = schedule(server, IN_SESSION, "2026-11-25T15:00:00", "2026-11-25T15:30:00")
    hours = schedule(server, HOURLY, "2026-11-25T14:30:00", "2026-11-25T17:30:00")
    assert (len(session), len(hours)) == (6, 3)
    catch_up(server, exchange="XNYS", now=datetime(2026, 11, 25, 17, 40, tzinfo=UTC))
    assert {read(server, run)["state_type"] for run in session} == {"CANCELLED"}
    assert "too late" in read(server, session[-1])["state"]["message"]
    kept = [read(server, run)["state_type"] for run in hours]
    assert kept == ["CANCELLED", "CANCELLED", "SCHEDULED"]


def test_a_snapshot_that_is_only_just_late_is_taken(server: ServerApi) -> None:
    session = schedule(server, IN_SESSION, "2026-11-24T15:00:00", "2026-11-24T15:30:00")
    catch_up(server, exchange="XNYS", now=datetime(2026, 11, 24, 15, 32, tzinfo=UTC))
    kept = [read(server, run)["state_type"] for run in session]
    assert kept == ["CANCELLED"] * 5 + ["SCHEDULED"]


def test_what_a_killed_worker_left_pending_is_crashed(server: ServerApi) -> None:
    deployment = ours_on(server)[ARCHIVE]["id"]
    run = server.post(f"/deployments/{deployment}/create_flow_run")
    server.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": "PENDING"}})
    now = datetime.now(UTC)
    catch_up(server, exchange="XNYS", now=now)
    assert read(server, run)["state_type"] == "PENDING", "a worker may just be starting it"
    catch_up(server, exchange="XNYS", now=now + PENDING_FOR)
    crashed = read(server, run)
    assert crashed["state_type"] == "CRASHED"
    assert "killed before it started" in crashed["state"]["message"]
    second = server.post(f"/deployments/{deployment}/create_flow_run")
    pending = server.post(f"/flow_runs/{second['id']}/set_state", {"state": {"type": "PENDING"}})
    assert pending["state"]["type"] == "PENDING", "the slot of the crashed one is free"


def test_applying_again_keeps_what_somebody_paused_and_removes_what_is_no_longer_ours(
    server: ServerApi, caplog: pytest.LogCaptureFixture
) -> None:
    before = ours_on(server)
    snapshot, hourly = before[IN_SESSION], before[HOURLY]
    hour = f"/deployments/{hourly['id']}/schedules/{hourly['schedules'][0]['id']}"
    server.post(f"/deployments/{snapshot['id']}/pause_deployment")
    server.patch(hour, {"active": False})
    server.post(
        f"/deployments/{hourly['id']}/schedules",
        [{"schedule": {"cron": "1 1 * * *", "timezone": "UTC"}, "slug": "no-longer"}],
    )
    server.patch("/work_pools/fluxhero/queues/store", {"concurrency_limit": None})
    flow = snapshot["flow_id"]
    server.post("/deployments/", {"name": "regular", "flow_id": flow, "tags": ["fluxhero"]})
    own = server.post("/deployments/", {"name": "own", "flow_id": flow, "tags": ["mine"]})
    alerts = automations_on(server)
    off = next(iter(alerts.values()))
    server.patch(f"/automations/{off['id']}", {"enabled": False})
    stale = {name: off[name] for name in ("description", "trigger", "actions")}
    server.post("/automations/", {**stale, "name": "FluxHero: no longer"})
    theirs = server.post("/automations/", {**stale, "name": "somebody's own"})
    try:
        with caplog.at_level(logging.INFO):
            apply(server, REPOSITORY)
        assert {**alerts, "FluxHero: no longer": None}.keys() - automations_on(server).keys() == {
            "FluxHero: no longer"
        }
        for name, one in automations_on(server).items():
            assert one["trigger"] == alerts[name]["trigger"], "its trigger goes on counting"
            assert one["enabled"] == (alerts[name]["enabled"] and name != off["name"])
        assert server.get(f"/automations/{theirs['id']}")["name"] == "somebody's own"
        after = ours_on(server)
        assert sorted(after) == sorted(before), "regular has gone"
        assert [name for name, one in after.items() if one["paused"]] == [IN_SESSION]
        slugs = {one["slug"]: one["active"] for one in after[HOURLY]["schedules"]}
        assert slugs == {"on-the-hour": False}
        assert {one["id"] for one in before.values()} == {one["id"] for one in after.values()}
        assert server.get(f"/deployments/{own['id']}")["name"] == "own"
        assert server.get("/work_pools/fluxhero/queues/store")["concurrency_limit"] == 1
        assert "still paused, as somebody wanted it: snapshot-metrics/in-session" in caplog.text
    finally:
        server.post(f"/deployments/{snapshot['id']}/resume_deployment")
        server.patch(hour, {"active": True})
        server.delete(f"/deployments/{own['id']}")
        server.delete(f"/automations/{theirs['id']}")
        server.patch(f"/automations/{off['id']}", {"enabled": off["enabled"]})


def automations_on(server: ServerApi) -> dict[str, dict[str, Any]]:
    """Ours, by name; what are sets to the server, in order."""
    found = server.every("/automations/filter", {"sort": "NAME_ASC"})
    return {one["name"]: in_order(one) for one in found if one["name"].startswith("FluxHero: ")}


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: in_order(member) for name, member in value.items()}
    if isinstance(value, list):
        return (
            sorted(value) if all(isinstance(one, str) for one in value) else [*map(in_order, value)]
        )
    return value


def test_an_automation_that_is_changed_is_put_right(
    server: ServerApi, caplog: pytest.LogCaptureFixture
) -> None:
    name, before = next(iter(automations_on(server).items()))
    body = {one: before[one] for one in ("name", "enabled", "trigger", "actions")}
    server.put(f"/automations/{before['id']}", {**body, "description": "nonsense"})
    with caplog.at_level(logging.INFO):
        apply_automations(server, automations())
        apply_automations(server, automations())
    assert caplog.text.count("changed the automation") == 1
    assert automations_on(server)[name]["description"] == before["description"]


def test_a_checkout_that_cannot_be_deployed_is_said(server: ServerApi, tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text((REPOSITORY / "prefect.yaml").read_text("utf-8"))
    with pytest.raises(NightShiftError, match=r"No such file or directory: 'flows/"):
        apply(server, tmp_path)


BAD = [
    (ARCHIVE, {"retention_days": -1}),
    (ARCHIVE, {"retention_days": 36_501}),
    (ARCHIVE, {"limit": 0}),
    (ARCHIVE, {"dry_run": "perhaps"}),
    ("restore-trades/on-demand", {"table": "positions"}),
    ("restore-trades/on-demand", {"reason": ""}),
    ("ingest-trades/on-demand", {"paths": []}),
    ("ingest-trades/on-demand", {}),
    ("ingest-trades/on-demand", {"paths": ["x.csv"], "mode": "dream"}),
    ("ingest-trades/on-demand", {"paths": ["x.csv"], "format": "excel"}),
    ("ingest-trades/on-demand", {"paths": ["x.csv"], "timezone": "not a zone"}),
    ("ingest-broker/on-demand", {"mode": "legacy"}),
    ("refresh-market-data/before-open", {"feed": "tape"}),
    ("refresh-market-data/before-open", {"adjustment": "none"}),
    ("refresh-market-data/before-open", {"timeframe": "daily"}),
    ("check-storage/daily", {"deep": 7}),
    ("evaluate-backtests/weekly", {"engines": ["excel"]}),
    ("evaluate-backtests/weekly", {"shares": 0}),
    ("evaluate-backtests/weekly", {"parameters": ["fast"]}),
    ("evaluate-backtests/weekly", {"sweep_engine": "excel"}),
    ("nightly/nightly", {"imports": [""]}),
]


def test_a_parameter_that_makes_no_sense_is_refused_before_there_is_a_run(
    server: ServerApi, deployed: str
) -> None:
    deployments = ours_on(server)
    before = len(waiting(server))
    for name, parameters in BAD:
        answer = httpx.post(
            f"{deployed}/deployments/{deployments[name]['id']}/create_flow_run",
            json={"parameters": parameters},
        )
        assert 400 <= answer.status_code < 500, (name, parameters, answer.text)
    assert len(waiting(server)) == before
    post(
        f"/deployments/{deployments[ARCHIVE]['id']}/create_flow_run",
        parameters={"retention_days": 0, "limit": 1, "as_of": "2026-03-31T22:00:00Z"},
    )
