"""`prefect.yaml` as a server understands it, and each way of running a flow outside a command."""

import asyncio
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from config.prefect_env import (
    DEFAULTS,
    LOCAL_HOST,
    LOCAL_PORT,
    OF_DEPLOYMENTS,
    server_answers,
)
from fluxhero.metrics.jobs import read_jobs
from tests import samples
from tests.deployed import environment, post, work_once

REPOSITORY = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "deployments.json"
REWRITE = "REWRITE_GOLDEN"
EVERY = (
    "archive-trades/after-close",
    "restore-trades/on-demand",
    "ingest-trades/on-demand",
    "ingest-broker/on-demand",
    "reconcile-ledger/on-demand",
    "evaluate-backtests/weekly",
    "refresh-market-data/before-open",
    "check-storage/daily",
    "check-storage/deep",
    "snapshot-metrics/in-session",
    "snapshot-metrics/hourly",
    "nightly/nightly",
)
(
    ARCHIVE,
    RESTORE,
    INGEST,
    BROKER,
    RECONCILE,
    EVALUATE,
    REFRESH,
    CHECK,
    DEEP_CHECK,
    IN_SESSION,
    HOURLY,
    NIGHTLY,
) = EVERY
NEW_YORK = ZoneInfo("America/New_York")
TRADES = 7
RUN_SECONDS = 120
# What a server makes up, or what changes whenever a flow's code does.
_VOLATILE = {
    "id", "created", "updated", "version", "version_id", "version_info", "branch", "flow_id",
    "work_queue_id", "last_polled", "status", "created_by", "updated_by", "labels", "deployment_id",
    "global_concurrency_limit", "infra_overrides",
}  # fmt: skip


def python(script: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def deployments(deployed: str) -> dict[str, dict[str, Any]]:
    """The deployments by flow and name."""
    flows = {flow["id"]: flow["name"] for flow in post("/flows/filter")}
    found = post("/deployments/filter")
    return {f"{flows[one['flow_id']]}/{one['name']}": one for one in found}


def without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {name: member for name, member in value.items() if name not in _VOLATILE}
        return {name: without_volatile(member) for name, member in sorted(kept.items())}
    if isinstance(value, list):
        return [without_volatile(member) for member in value]
    return "{checkout}" if value == str(REPOSITORY) else value


@pytest.mark.server
def test_deploying_twice_leaves_one_deployment_of_each(
    deployments: dict[str, dict[str, Any]],
) -> None:
    assert sorted(deployments) == sorted(EVERY)


@pytest.mark.server
def test_the_deployments_are_the_golden_ones(deployments: dict[str, dict[str, Any]]) -> None:
    rendered = json.dumps(without_volatile(deployments), indent=1, sort_keys=True) + "\n"
    if os.environ.get(REWRITE):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(rendered, encoding="utf-8")
    assert rendered == GOLDEN.read_text(encoding="utf-8"), (
        "the deployments changed: look at the difference, and if it is meant, rewrite the golden "
        f"file with `{REWRITE}=1 python -m pytest -m server tests/test_deployments.py`"
    )


@pytest.mark.server
def test_the_archive_runs_after_the_us_close_on_weekdays(
    deployments: dict[str, dict[str, Any]],
) -> None:
    schedules = {name: one["schedules"] for name, one in deployments.items()}
    (schedule,) = schedules[ARCHIVE]
    assert schedule["slug"] == "after-us-close"
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "30 17 * * 1-5"
    assert schedule["schedule"]["timezone"] == "America/New_York"
    assert not schedules[RESTORE]
    assert not schedules[INGEST]
    assert not schedules[BROKER]


@pytest.mark.server
def test_the_bars_are_refreshed_before_the_us_open_on_weekdays(
    deployments: dict[str, dict[str, Any]],
) -> None:
    (schedule,) = deployments[REFRESH]["schedules"]
    assert schedule["slug"] == "before-us-open"
    assert schedule["active"]
    assert schedule["schedule"]["cron"] == "30 8 * * 1-5"
    assert schedule["schedule"]["timezone"] == "America/New_York"


@pytest.mark.server
def test_checks_run_after_the_archive_and_read_everything_on_saturdays(
    deployments: dict[str, dict[str, Any]],
) -> None:
    (daily,), (deep,) = (deployments[name]["schedules"] for name in (CHECK, DEEP_CHECK))
    assert daily["schedule"]["cron"] == "30 18 * * 1-5"
    assert deep["schedule"]["cron"] == "0 6 * * 6"
    assert {one["schedule"]["timezone"] for one in (daily, deep)} == {"America/New_York"}
    depths = [deployments[name]["parameters"]["deep"] for name in (CHECK, DEEP_CHECK)]
    assert depths == [False, True]


@pytest.mark.server
@pytest.mark.parametrize("start", ["2026-10-27", "2027-03-09"], ids=["autumn", "spring"])
def test_daylight_saving_does_not_move_the_run(
    deployments: dict[str, dict[str, Any]], start: str
) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    schedule = CronSchedule(**deployments[ARCHIVE]["schedules"][0]["schedule"])
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    runs = [run.astimezone(NEW_YORK) for run in asyncio.run(schedule.get_dates(10, start=begin))]
    assert {(run.hour, run.minute) for run in runs} == {(17, 30)}
    assert {run.isoweekday() for run in runs} == {1, 2, 3, 4, 5}
    assert len({run.date() for run in runs}) == 10
    assert len({run.utcoffset() for run in runs}) == 2, "the dates are to span a change"
    assert runs[-1] - runs[0] < timedelta(days=14)


@pytest.mark.server
def test_two_runs_do_not_write_the_store_at_once(deployments: dict[str, dict[str, Any]]) -> None:
    for name, one in deployments.items():
        assert one["global_concurrency_limit"]["limit"] == 1, name
        assert one["concurrency_options"]["collision_strategy"] == "CANCEL_NEW", name
        queue_name = (
            "watch" if name in {IN_SESSION, HOURLY, EVALUATE, RECONCILE} else "store"
        )  # they do not write it
        assert (one["work_pool_name"], one["work_queue_name"]) == ("fluxhero", queue_name), name
    (queue,) = post("/work_queues/filter", work_queues={"name": {"any_": ["store"]}})
    assert queue["concurrency_limit"] == 1


@pytest.mark.server
def test_a_second_run_waits_in_the_queue_and_is_not_cancelled(
    deployments: dict[str, dict[str, Any]],
) -> None:
    def waiting() -> set[str]:
        """Runs made here that a worker would get; a snapshot that is due by its schedule waits too."""
        until = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        due = post("/work_pools/fluxhero/get_scheduled_flow_runs", scheduled_before=until)
        return {one["flow_run"]["id"] for one in due}.intersection(runs)

    def put(run: str, state: str) -> str:
        answer = post(
            f"/flow_runs/{run}/set_state", state={"type": state}, force=state != "PENDING"
        )
        return str(answer["state"]["type"])

    runs: list[str] = []

    def new(name: str) -> str:
        given = {"paths": ["x.csv"]} if name == INGEST else {}
        made = post(f"/deployments/{deployments[name]['id']}/create_flow_run", parameters=given)
        runs.append(str(made["id"]))
        return runs[-1]

    try:
        first = new(ARCHIVE)
        assert waiting() == {first}
        assert put(first, "PENDING") == "PENDING"
        second, other = new(ARCHIVE), new(INGEST)
        assert waiting() == set(), "one at a time, whichever deployment it is of"
        assert put(second, "PENDING") == "CANCELLED", "handed out all the same, it would be"
        put(first, "COMPLETED")
        assert waiting() == {other}
    finally:
        for run in runs:
            put(run, "CANCELLED")


@pytest.mark.server
def test_every_parameter_is_explained_in_the_form(deployments: dict[str, dict[str, Any]]) -> None:
    for name, one in deployments.items():
        assert one["description"], name
        assert one["enforce_parameter_schema"], name
        properties = one["parameter_openapi_schema"]["properties"]
        silent = [key for key, field in properties.items() if not field.get("description")]
        assert not silent, f"describe these in the Args of {name}'s flow: {silent}"
        assert set(one["parameters"]) <= set(properties), name


@pytest.mark.server
def test_a_worker_runs_the_deployment(
    deployments: dict[str, dict[str, Any]], deployed: str, tmp_path: Path
) -> None:
    store = tmp_path / "data" / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    rows = [samples.ledger_trade(number) for number in range(TRADES)]
    samples.insert_duckdb(store, "trades", *rows)
    run_id = UUID(post(f"/deployments/{deployments[ARCHIVE]['id']}/create_flow_run")["id"])

    output = work_once(deployed, tmp_path)

    (run,) = post("/flow_runs/filter", flow_runs={"id": {"any_": [str(run_id)]}})
    assert run["state_name"] == "Completed", output
    archived = sorted((tmp_path / "data" / "archive" / "trades").rglob("*.parquet"))
    assert len(archived) == 1
    assert count(store) == 0
    assert [job.flow for job in read_jobs(tmp_path / "data")] == ["archive-trades"]
    artifacts = post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [str(run_id)]}})
    assert {(one["type"], one["key"]) for one in artifacts} == {
        ("markdown", "archive-trades"),
        ("table", "archive-trades-table"),
    }
    assert all(f"purged {TRADES} rows" in one["description"] for one in artifacts)
    ours = [line for line in log_lines(run_id) if line["name"].startswith(("tasks.", "fluxhero."))]
    assert any(f"published {TRADES} rows in 1 batch" in line["message"] for line in ours), ours
    assert all(line["task_run_id"] for line in ours)


def count(store: Path) -> int:
    import duckdb

    with duckdb.connect(str(store), read_only=True) as db:
        return int((db.execute("SELECT count(*) FROM trades").fetchone() or (0,))[0])


def log_lines(run_id: UUID) -> list[dict[str, Any]]:
    """The run's log; its last lines arrive a moment after the run has ended."""
    lines: list[dict[str, Any]] = []
    for _ in range(20):
        lines = post("/logs/filter", logs={"flow_run_id": {"any_": [str(run_id)]}})
        if any(
            "Finished in state" in line["message"] and not line["task_run_id"] for line in lines
        ):
            break
        time.sleep(0.25)
    return lines


def test_runs_of_a_worker_have_the_commands_prefect_settings() -> None:
    document = import_module("yaml").safe_load(
        (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    )
    ours = {name: value for name, value in DEFAULTS.items() if "SERVER_EPHEMERAL" not in name}
    wanted = {**ours, **OF_DEPLOYMENTS}
    for one in document["deployments"]:
        assert one["work_pool"]["job_variables"]["env"] == wanted, (
            f"give {one['entrypoint']} in prefect.yaml the settings of config/prefect_env.py"
        )


def test_no_path_of_a_machine_is_in_prefect_yaml() -> None:
    text = (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    assert str(REPOSITORY) not in text
    assert "/home/" not in text


def test_flows_load_by_file_and_by_module() -> None:
    names = (
        "archive_trades",
        "evaluate_backtests",
        "ingest_broker",
        "ingest_trades",
        "nightly",
        "refresh_market_data",
        "restore_trades",
    )
    forms = [f"flows/{name}.py:{name}" for name in names]
    forms += [f"flows.{name}.{name}" for name in names]
    done = python(
        "from prefect.flows import load_flow_from_entrypoint as load\n"
        f"for form in {forms}:\n"
        "    flow = load(form)\n"
        "    assert flow.name.replace('-', '_') in form and callable(flow.fn), form\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.server
def test_a_flow_runs_without_any_server(tmp_path: Path) -> None:
    """With a fresh Prefect home and nothing configured, Prefect's temporary server is enough."""
    if server_answers(LOCAL_HOST, LOCAL_PORT):
        pytest.skip(f"a Prefect server runs on port {LOCAL_PORT}, and the run would use it")
    store = tmp_path / "data" / "fluxhero.duckdb"
    samples.create_duckdb_store(store)
    samples.insert_duckdb(store, "trades", *[samples.ledger_trade(n) for n in range(TRADES)])
    done = subprocess.run(
        [sys.executable, "-m", "flows.archive_trades"],
        cwd=tmp_path,
        env=environment(
            PYTHONPATH=str(REPOSITORY),
            PREFECT_HOME=str(tmp_path / "prefect"),
            PREFECT_API_URL=None,
            FLUXHERO_DATA_DIR=str(tmp_path / "data"),
        ),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"purged {TRADES} rows" in done.stdout
    assert count(store) == 0


_TELEMETRY_OFF = (
    "from prefect._internal.analytics.enabled import is_telemetry_enabled\n"
    "from prefect.settings import get_current_settings\n"
    "assert not is_telemetry_enabled()\n"
    "settings = get_current_settings()\n"
    "assert not settings.server.analytics_enabled\n"
    "assert not settings.telemetry.enable_resource_metrics\n"
    "assert not settings.cloud.enable_orchestration_telemetry\n"
)
# Prefect's own check is off in continuous integration anyway, which would prove nothing.
_TRACKABLE: dict[str, None] = dict.fromkeys(
    [*DEFAULTS, "CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD", "BUILDKITE"]
)


@pytest.mark.parametrize(
    "beginning",
    [
        "from config.prefect_env import prepare_prefect_environment as p; p()\n",
        "from fluxhero.commands.running import prefect_ready as p; c = p(); c.__enter__()\n",
    ],
    ids=["prepared", "command"],
)
def test_nothing_sends_telemetry(beginning: str) -> None:
    done = python(beginning + _TELEMETRY_OFF, **_TRACKABLE)
    assert done.returncode == 0, done.stderr


def test_prefects_own_commands_see_telemetry_switched_off() -> None:
    show = (
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'prefect', 'config', "
        "'view', '--show-defaults', '--show-sources'], check=True)"
    )
    prepared = python(
        "from config.prefect_env import prepare_prefect_environment as p; p(); " + show,
        **_TRACKABLE,
    )
    assert "PREFECT_SERVER_ANALYTICS_ENABLED='false' (from env)" in prepared.stdout
    assert "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS='false' (from env)" in prepared.stdout
    # `prefect server start` in the checkout reads prefect.toml.
    bare = python(show, **_TRACKABLE)
    assert "PREFECT_SERVER_ANALYTICS_ENABLED='False' (from prefect.toml)" in bare.stdout
