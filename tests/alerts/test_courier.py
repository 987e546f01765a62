"""The courier against a real server and real files: exactly one alert each, whatever happens to it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from config.settings import Settings
from fluxhero.alerts import rules
from fluxhero.alerts.automations import automations
from fluxhero.alerts.courier import Courier, _deliver, _ui_url, watch
from fluxhero.alerts.dead_runs import lives_here, mark_dead
from fluxhero.alerts.folder_facts import FolderFacts
from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.memory import Memory, memory_file, read_memory
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.run_incidents import Noticed
from fluxhero.alerts.server_facts import HEARTBEAT, Run, ServerFacts
from fluxhero.alerts.sources import Moment, Source, Sources
from fluxhero.errors import AlreadyRunningError, ServerError, StorageIOError
from fluxhero.metrics.jobs import RunOutcome, RunRecord, record_run
from fluxhero.night.server_api import ServerApi
from fluxhero.night.state import NightState, process_created, write_state
from tests.alerts.made import START, a_run
from tests.waiting import wait_for

pytestmark = pytest.mark.measured

NOWHERE = "http://127.0.0.1:9/api"


@dataclass
class Machine:
    """A server with one deployment of ours, and a data folder."""

    api: ServerApi
    data: Path
    alive: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.data)
        self.facts = ServerFacts(self.api)
        self.deployment = self.deploy(f"test-{uuid4().hex[:8]}")

    def deploy(self, name: str, *, beats: bool = True) -> str:
        made = self.api.post("/flows/", {"name": "archive-trades"})
        environment = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"} if beats else {}
        body = {
            "name": name,
            "flow_id": made["id"],
            "tags": ["fluxhero"],
            "job_variables": {"env": environment},
            "enforce_parameter_schema": False,
        }
        return str(self.api.post("/deployments/", body)["id"])

    def run(self, *kinds: str, due: datetime | None = None, **state: Any) -> str:
        """A run that goes through these states; returns its id."""
        made = self.api.post(
            f"/deployments/{self.deployment}/create_flow_run",
            {"state": _state("SCHEDULED", scheduled_for=due or datetime.now(UTC))},
        )
        for kind in kinds:
            self.set(made["id"], kind, **state)
        return str(made["id"])

    def set(self, run: str, kind: str, **state: Any) -> None:
        body = {"state": _state(kind, **state), "force": True}
        self.api.post(f"/flow_runs/{run}/set_state", body)

    def state(self, run: str) -> tuple[str, str]:
        state = self.api.get(f"/flow_runs/{run}")["state"]
        return state["name"], state["message"]

    def sources(self) -> Sources:
        return Sources(
            self.facts,
            FolderFacts(self.data),
            api_url=self.api.api_url,
            ui_url="http://ui",
            due_after=lambda _flow, _after, _paused: None,
            run_limit=timedelta(hours=2),
            history=timedelta(days=30),
            lives=lambda run: run in self.alive,
        )

    def courier(self, *sources: Source) -> Courier:
        """A courier, as it is after a start."""
        return Courier(self.data, self.facts, sources or self.sources().all(), self.outbox.tell)

    def told(self) -> list[Incident]:
        return [entry.incident for entry in self.outbox.entries()]

    def keys_told(self) -> list[str]:
        return [incident.key for incident in self.told()]


def _state(
    kind: str,
    *,
    name: str | None = None,
    message: str = "",
    scheduled_for: datetime | None = None,
) -> dict[str, Any]:
    state: dict[str, Any] = {"type": kind, "message": message}
    if name:
        state["name"] = name
    if scheduled_for:
        state["state_details"] = {"scheduled_time": scheduled_for.isoformat()}
    return state


@pytest.fixture
def machine(prefect_harness: str, data: Path) -> Iterator[Machine]:
    with ServerApi(prefect_harness, patience_seconds=30) as api:
        yield Machine(api, data)


# ----------------------------------------------------------------------------- runs, exactly once


@pytest.mark.server
def test_a_streak_of_failures_is_one_alert_and_the_recovery_another(machine: Machine) -> None:
    courier = machine.courier()
    assert courier.look() == 0
    runs = [machine.run("RUNNING", "FAILED", message="no room") for _ in range(10)]
    for _ in range(3):
        courier._due.clear()
        courier.look()
    assert machine.keys_told() == [f"run:{runs[0]}:failed"]
    machine.run("RUNNING", "COMPLETED")
    courier._due.clear()
    assert courier.look() == 1
    incident = machine.told()[-1]
    assert incident.urgency is Urgency.RESOLVED
    assert "after 10 runs" in incident.text
    assert incident.url is not None
    assert incident.url.startswith("http://ui/runs/flow-run/")


@pytest.mark.server
def test_a_courier_that_was_killed_before_it_remembered_tells_nothing_twice(
    machine: Machine,
) -> None:
    machine.courier().look()
    before = memory_file(machine.data).read_bytes()
    crashed = machine.run("RUNNING", "CRASHED")
    assert machine.courier().look() == 1
    memory_file(machine.data).write_bytes(before)
    assert machine.courier().look() == 0
    assert machine.courier().look() == 0
    assert machine.keys_told() == [f"run:{crashed}:crashed"]


@pytest.mark.server
def test_what_cannot_be_queued_is_told_when_it_can(machine: Machine) -> None:
    courier = machine.courier()
    courier.look()
    machine.run("RUNNING", "CRASHED")
    courier._tell = _refuse
    courier._due.clear()
    assert courier.look() == 0
    courier._tell = machine.outbox.tell
    courier._due.clear()
    assert courier.look() == 1


def _refuse(_incident: Incident) -> bool:
    raise StorageIOError("no room", next_step="make room")


@pytest.mark.server
def test_a_first_courier_tells_nothing_of_the_past_and_a_later_one_catches_up(
    machine: Machine,
) -> None:
    machine.run("RUNNING", "FAILED")
    assert machine.courier().look() == 0
    missed = machine.run("RUNNING", "FAILED")
    assert machine.courier().look() == 1
    assert machine.keys_told() == [f"run:{missed}:failed"]


@pytest.mark.server
def test_subflows_are_told_through_their_parent_and_end_with_it(machine: Machine) -> None:
    courier = machine.courier()
    courier.look()
    parent = machine.run("RUNNING")
    flow = machine.api.post("/flows/", {"name": "check-storage"})
    task = machine.api.post(
        "/task_runs/", {"flow_run_id": parent, "task_key": "t", "dynamic_key": "0"}
    )
    child = machine.api.post(
        "/flow_runs/", {"flow_id": flow["id"], "parent_task_run_id": task["id"]}
    )
    machine.set(child["id"], "RUNNING")
    machine.set(parent, "CRASHED")
    courier._due.clear()
    assert courier.look() == 1
    assert machine.keys_told() == [f"run:{parent}:crashed"]
    assert machine.state(child["id"]) == ("Crashed", rules.PARENT_ENDED_MESSAGE)


@pytest.mark.server
def test_runs_of_others_are_none_of_its_business(machine: Machine) -> None:
    courier = machine.courier()
    courier.look()
    flow = machine.api.post("/flows/", {"name": "somebody-elses"})
    run = machine.api.post("/flow_runs/", {"flow_id": flow["id"]})
    machine.set(run["id"], "CRASHED")
    courier._due.clear()
    assert courier.look() == 0


# ------------------------------------------------------------------------------------- the dead


def long_back(courier: Courier) -> None:
    """As if the server had been there for some time."""
    courier._back_since = datetime.now(UTC) - timedelta(minutes=11)
    courier._awake_since = datetime.now(UTC) - timedelta(minutes=11)


def mark_in_five_minutes(machine: Machine, *disabled: str) -> set[str]:
    """Mark as dead what has been silent by then; returns the ids."""
    then = datetime.now(UTC) + timedelta(minutes=5)
    back = then - timedelta(minutes=4)
    dead = mark_dead(machine.facts, then, back, disabled, lambda run: run in machine.alive)
    return {run.id for run in dead}


@pytest.mark.server
def test_a_run_without_heartbeats_is_marked_and_told_of(machine: Machine) -> None:
    courier = machine.courier()
    courier.look()
    silent, pending, alive = machine.run("RUNNING"), machine.run("PENDING"), machine.run("RUNNING")
    machine.deployment = machine.deploy(f"silent-{uuid4().hex[:8]}", beats=False)
    beatless = machine.run("RUNNING")
    machine.alive = {alive}
    off = (rules.HEARTBEAT_LOST, rules.STUCK_PENDING)
    assert not {silent, pending} & mark_in_five_minutes(machine, *off)
    dead = mark_in_five_minutes(machine)
    assert {silent, pending} <= dead
    assert not {alive, beatless} & dead
    assert machine.state(silent) == ("Crashed", rules.HEARTBEAT_LOST_MESSAGE)
    assert machine.state(pending) == ("Crashed", rules.STUCK_PENDING_MESSAGE)
    courier._due.clear()
    courier.look()
    assert set(machine.keys_told()) == {f"run:{run}:crashed" for run in dead}
    for run in (alive, beatless):
        machine.set(run, "COMPLETED")


@pytest.mark.server
def test_a_run_that_has_just_begun_is_not_dead(machine: Machine) -> None:
    run = machine.run("RUNNING")
    courier = machine.courier()
    long_back(courier)
    courier.look()
    assert machine.state(run)[0] == "Running"
    machine.set(run, "COMPLETED")


@pytest.mark.server
def test_the_last_heartbeat_of_a_run_is_found(machine: Machine) -> None:
    run, began = machine.run("RUNNING"), _ago(timedelta(seconds=1))
    assert machine.facts.last_heartbeat(run, began) is None
    at = datetime.now(UTC)
    event = {
        "occurred": at.isoformat(),
        "event": HEARTBEAT,
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        "id": str(uuid4()),
    }
    machine.api._asked("POST", "/events", [event])
    wait_for(lambda: machine.facts.last_heartbeat(run, began), 60)
    assert machine.facts.last_heartbeat(run, began) == at
    machine.set(run, "COMPLETED")


class Beating(ServerFacts):
    """Of one run that beats."""

    def at_work(self) -> list[Run]:
        return [a_run("RUNNING")]

    def last_heartbeat(self, run_id: str, since: datetime) -> datetime | None:
        return since


def test_a_run_that_beats_or_may_not_have_been_heard_is_not_dead() -> None:
    now = START + timedelta(hours=1)
    with ServerApi(NOWHERE) as api:
        for back in (now - timedelta(minutes=5), now - timedelta(seconds=39)):
            assert mark_dead(Beating(api), now, back, (), lambda _run: False) == []


def _ago(passed: timedelta) -> datetime:
    return datetime.now(UTC) - passed


@pytest.mark.server
@pytest.mark.parametrize("message", [rules.HEARTBEAT_LOST_MESSAGE, rules.STUCK_PENDING_MESSAGE])
def test_a_run_that_the_server_took_for_dead_is_brought_back(
    machine: Machine, message: str
) -> None:
    courier = machine.courier()
    courier.look()
    run = machine.run("RUNNING", "CRASHED", message=message)
    machine.alive = {run}
    courier._due.clear()
    assert courier.look() == 0
    assert machine.state(run)[0] == "Running"
    machine.set(run, "COMPLETED")
    courier._due.clear()
    assert courier.look() == 0


@pytest.mark.server
def test_a_run_that_hangs_before_it_begins_is_not_brought_back(machine: Machine) -> None:
    courier = machine.courier()
    courier.look()
    run = machine.run("PENDING", "CRASHED", message=rules.STUCK_PENDING_MESSAGE)
    machine.alive = {run}
    courier._due.clear()
    assert courier.look() == 1
    assert machine.state(run)[0] == "Crashed"


def test_a_run_lives_while_its_own_process_does() -> None:
    run = str(uuid4())
    assert not lives_here(run)
    waits = "import sys; sys.stdin.read()"
    for name, lives in (("prefect.engine", True), ("an-engine-of-backtests", False)):
        process = subprocess.Popen(
            [sys.executable, "-c", waits, name],
            env={**os.environ, "PREFECT__FLOW_RUN_ID": run},
            stdin=subprocess.PIPE,
        )
        try:
            wait_for(partial(_begun, process.pid), 30)
            assert lives_here(run) is lives
        finally:
            process.kill()
            process.communicate()


def _begun(pid: int) -> bool:
    return b"PREFECT__FLOW_RUN_ID" in Path(f"/proc/{pid}/environ").read_bytes()


# --------------------------------------------------------------------------- late, and switched off


@pytest.mark.server
def test_a_late_run_is_told_of_when_machine_and_server_have_been_there(machine: Machine) -> None:
    due = datetime.now(UTC) - timedelta(minutes=30)
    run = machine.run(due=due)
    machine.set(run, "SCHEDULED", name="Late", scheduled_for=due)
    courier = machine.courier()
    assert courier.look() == 0
    long_back(courier)
    courier._due.clear()
    courier.look()
    assert f"run:{run}:late" in machine.keys_told()
    machine.set(run, "CANCELLED")
    courier._due.clear()
    courier.look()
    assert f"run:{run}:late:resolved" in machine.keys_told()


@pytest.mark.server
def test_a_rule_that_is_switched_off_in_the_ui_sends_nothing(machine: Machine) -> None:
    body = next(one for one in automations() if one["name"] == rules.RUN_FAILED)
    made = machine.api.post("/automations/", {**body, "enabled": False})
    try:
        courier = machine.courier()
        courier.look()
        machine.run("RUNNING", "FAILED")
        courier._due.clear()
        assert courier.look() == 0
        crashed = machine.run("RUNNING", "CRASHED")
        courier._due.clear()
        assert courier.look() == 1
        assert machine.keys_told() == [f"run:{crashed}:crashed"]
    finally:
        machine.api.delete(f"/automations/{made['id']}")


@pytest.mark.server
def test_automations_that_fired_are_looked_at_once(machine: Machine) -> None:
    made = [machine.api.post("/automations/", body) for body in automations()]
    try:
        facts, began = machine.facts, _ago(timedelta(seconds=1))
        machine.run("RUNNING", "FAILED")
        wait_for(lambda: facts.firings(began), 60)
        (firing,) = facts.firings(began)
        assert firing.automation == rules.RUN_FAILED
        assert facts.firings(firing.at) == []
        courier = machine.courier()
        courier.memory = courier.memory.model_copy(update={"fired_until": began})
        courier.look()
        assert courier.memory.fired_until == firing.at
    finally:
        for one in made:
            machine.api.delete(f"/automations/{one['id']}")


@pytest.mark.server
def test_what_is_paused_in_the_ui_is_not_expected(machine: Machine) -> None:
    name = f"archive-trades/{machine.api.get(f'/deployments/{machine.deployment}')['name']}"
    assert name in machine.facts.paused()
    schedule = {"schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"}, "active": True}
    machine.api._asked("POST", f"/deployments/{machine.deployment}/schedules", [schedule])
    assert name not in machine.facts.paused()


# --------------------------------------------------------------------------- sources and the server


def soon(flow: str, after: datetime, _paused: frozenset[str]) -> datetime | None:
    """Snapshots are due five minutes after, and nothing else is."""
    return after + timedelta(minutes=5) if flow == rules.SNAPSHOT_FLOW else None


@pytest.mark.server
def test_a_missing_snapshot_is_told_of_by_job_history(machine: Machine) -> None:
    ended = _ago(timedelta(minutes=100))
    record_run(
        machine.data,
        RunRecord(flow=rules.SNAPSHOT_FLOW, outcome=RunOutcome.OK, ended_at=ended, seconds=1),
    )
    sources = machine.sources()
    sources._due_after = soon
    courier = machine.courier(*(one for one in sources.all() if one.name == "missing runs"))
    assert courier.look() == 0
    courier._back_since = courier._awake_since = _ago(timedelta(minutes=60))
    courier._due.clear()
    courier.look()
    assert machine.keys_told() == [f"missing:snapshot-metrics:{ended.isoformat()}"]


def test_a_server_that_is_away_is_told_of_and_stops_no_other_source(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = settings.data_dir
    with ServerApi(NOWHERE) as api:
        machine_less = Sources(
            ServerFacts(api),
            FolderFacts(data),
            api_url=NOWHERE,
            ui_url="http://ui",
            due_after=lambda _flow, _after, _paused: None,
            run_limit=timedelta(hours=2),
            history=timedelta(days=30),
            lives=lives_here,
        )
        outbox = Outbox(data)
        courier = Courier(data, ServerFacts(api), machine_less.all(), outbox.tell)
        assert courier.look() == 0
        assert courier._away_from is not None
        courier._away_from -= 121
        courier._due.clear()
        assert courier.look() == 0
        courier._away_from -= 60
        courier._due.clear()
        assert courier.look() == 1
        again = Courier(data, ServerFacts(api), machine_less.all(), outbox.tell)
        again._away_from = courier._away_from
        assert again.look() == 0
    (entry,) = outbox.entries()
    assert entry.incident.rule == "server-away"


def test_a_source_that_fails_is_asked_less_often_and_stops_no_other_one(data: Path) -> None:
    asked: list[str] = []

    def fails(_memory: Memory, _moment: Moment) -> Noticed:
        asked.append("fails")
        raise ServerError("it is broken", next_step="mend it")

    def works(memory: Memory, _moment: Moment) -> Noticed:
        asked.append("works")
        return [], memory

    every = timedelta(seconds=5)
    sources = (
        Source("broken", fails, every, asks_server=False),
        Source("sound", works, timedelta(), asks_server=False),
    )
    with ServerApi(NOWHERE) as api:
        courier = Courier(data, ServerFacts(api), sources, Outbox(data).tell)
        for _ in range(3):
            courier.look()
    assert asked == ["fails", "works", "works", "works"]
    due, failures = courier._due["broken"]
    assert failures == 1
    assert due - datetime.now(UTC) > every


@pytest.mark.server
def test_automations_that_cannot_be_asked_are_as_they_were(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = machine.courier()
    courier.look()
    courier.memory = courier.memory.model_copy(update={"disabled": (rules.RUN_CRASHED,)})
    machine.run("RUNNING", "CRASHED")

    def away() -> tuple[str, ...]:
        raise ServerError("it is away", next_step="wait")

    monkeypatch.setattr(machine.facts, "disabled", away)
    courier._due.clear()
    assert courier.look() == 0


def test_a_machine_that_slept_expects_nothing_of_meanwhile(data: Path) -> None:
    with ServerApi(NOWHERE) as api:
        courier = Courier(data, ServerFacts(api), (), Outbox(data).tell)
        courier._awake_since = _ago(timedelta(hours=9))
        courier._back_since = courier._awake_since
        courier._clocks = (_ago(timedelta(hours=8)), courier._clocks[1])
        courier.look()
        assert datetime.now(UTC) - courier._awake_since < timedelta(minutes=1)


def test_a_damaged_memory_is_kept_aside_and_begun_anew(data: Path) -> None:
    path = memory_file(data)
    path.parent.mkdir()
    path.write_text("{")
    now = datetime.now(UTC)
    assert read_memory(data, now) == Memory.fresh(now)
    assert (data / "quarantine" / "files" / path.name).read_text() == "{"


class Once(threading.Event):
    """Set by being waited for."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


def test_an_outbox_that_cannot_be_read_ends_no_courier(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, **_more: object) -> None:
        raise StorageIOError("no room", next_step="make room")

    monkeypatch.setattr("fluxhero.alerts.courier.deliver_due", full)
    _deliver(settings, Once())
    assert "alerts wait" in caplog.text


def test_pages_are_where_the_settings_or_the_night_shift_say(settings: Settings) -> None:
    api = "http://127.0.0.1:4200/api"
    assert _ui_url(settings, api) == "http://127.0.0.1:4200"
    given = settings.model_copy(update={"prefect_ui_url": "http://ui.example/"})
    assert _ui_url(given, api) == "http://ui.example"
    state = NightState(
        token="t",
        pid=os.getpid(),
        created=process_created(os.getpid()),
        started_at=datetime.now(UTC),
        api_url=api,
        ui_url="http://127.0.0.1:4300",
        page_url=None,
        parts=(),
    )
    write_state(settings.data_dir, state)
    assert _ui_url(settings, api) == "http://127.0.0.1:4300"


# ---------------------------------------------------------------------------------- as a process


@pytest.mark.server
def test_one_courier_watches_a_folder_until_it_is_told_to_stop(
    prefect_harness: str, settings: Settings
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(settings.data_dir)],
        env={**os.environ, "PREFECT_API_URL": prefect_harness},
    )
    try:
        wait_for(memory_file(settings.data_dir).exists, 60)
        with pytest.raises(AlreadyRunningError, match="another courier"):
            watch(settings)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


_WATCH = """
import sys
from pathlib import Path
from config.settings import Settings
from fluxhero.alerts.courier import watch
watch(Settings(_env_file=None, data_dir=Path(sys.argv[1])))
"""
