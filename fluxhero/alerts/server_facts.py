"""What the courier asks a Prefect server: runs, their last heartbeats, firings, switched-off automations.

Facts only; what they mean is told by the modules that make incidents of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from fluxhero.alerts import rules
from fluxhero.night.server_api import ServerApi

HEARTBEAT: Final = "prefect.flow-run.heartbeat"
TRIGGERED: Final = "prefect.automation.triggered"
_FREQUENCY: Final = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
_OURS: Final[Mapping[str, Any]] = {"deployments": {"tags": {"all_": [rules.TAG]}}}
_TOP: Final[Mapping[str, Any]] = {"parent_task_run_id": {"is_null_": True}}
_ENDED: Final = ("COMPLETED", "FAILED", "CRASHED")
_AT_WORK: Final = ("RUNNING", "PENDING")
_NOT_ENDED: Final = (*_AT_WORK, "SCHEDULED", "PAUSED", "CANCELLING")
_MOST_FIRINGS: Final = 50  # the server gives no more at once


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as far as alerts go.

    Attributes:
        id: its id.
        name: its readable name.
        flow: its flow's name.
        deployment: `flow/deployment`; of a subflow, its flow's name.
        kind: type of its state, as `FAILED`.
        state: name of its state, as `TimedOut`.
        message: what its state says.
        since: when it came into the state.
        ended_at: when it ended; None of one that has not.
        expected_at: when it was due.
        attempts: how often it was started.
        beats: whether its deployment makes it send heartbeats.
    """

    id: str
    name: str
    flow: str
    deployment: str
    kind: str
    state: str
    message: str
    since: datetime
    ended_at: datetime | None
    expected_at: datetime | None
    attempts: int
    beats: bool


@dataclass(frozen=True, slots=True)
class Firing:
    """An automation that fired."""

    automation: str
    at: datetime


@dataclass(frozen=True, slots=True)
class _Deployment:
    name: str
    beats: bool


class ServerFacts:
    """Asks one server; remembers the names of flows and deployments."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api
        self._flows: dict[str, str] = {}
        self._deployments: dict[str, _Deployment] = {}

    def healthy(self) -> bool:
        """Whether the server answers that it is well."""
        return self._api.healthy()

    def ended(self, since: datetime) -> list[Run]:
        """Runs of our deployments that ended since then, oldest first; no subflows.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        found = self._runs(
            {
                **_TOP,
                "end_time": {"after_": since.isoformat()},
                "state": {"type": {"any_": [*_ENDED]}},
            },
            _OURS,
        )
        return sorted(found, key=lambda run: run.ended_at or run.since)

    def waiting(self, due_before: datetime) -> list[Run]:
        """Runs of our deployments that were due before then and have not started, oldest first.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        found = self._runs(
            {
                "expected_start_time": {"before_": due_before.isoformat()},
                "state": {"name": {"any_": ["Late"]}},
            },
            _OURS,
        )
        return sorted(found, key=lambda run: run.expected_at or run.since)

    def at_work(self) -> list[Run]:
        """Runs of our deployments that run, or are about to; no subflows.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        return list(self._runs({**_TOP, "state": {"type": {"any_": [*_AT_WORK]}}}, _OURS))

    def children(self, run_id: str) -> list[Run]:
        """Subflows of a run that have not ended.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        state = {"type": {"any_": [*_NOT_ENDED]}}
        return list(self._runs({"parent_flow_run_id": {"any_": [run_id]}, "state": state}, {}))

    def last_heartbeat(self, run_id: str, since: datetime) -> datetime | None:
        """When a run last sent a sign of life; None if it sent none since then.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        page = self._events(
            [HEARTBEAT], since, "DESC", limit=1, resource={"id": [f"prefect.flow-run.{run_id}"]}
        )
        return datetime.fromisoformat(page[0]["occurred"]) if page else None

    def firings(self, since: datetime) -> list[Firing]:
        """Which automations fired after then, oldest first, as many as the server gives at once.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        after = since + timedelta(microseconds=1)
        found = self._events([TRIGGERED], after, "ASC", limit=_MOST_FIRINGS)
        return [
            Firing(
                event["resource"].get("prefect.resource.name", ""),
                datetime.fromisoformat(event["occurred"]),
            )
            for event in found
        ]

    def paused(self) -> frozenset[str]:
        """Our deployments, as `flow/deployment`, that nothing starts by the clock now.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        rows = [*self._api.every("/deployments/filter", {**_OURS, "sort": "NAME_ASC"})]
        idle = [
            row
            for row in rows
            if row["paused"] or not any(one["active"] for one in row["schedules"])
        ]
        flows = self._names_of_flows({row["flow_id"] for row in idle})
        return frozenset(f"{flows.get(row['flow_id'], '')}/{row['name']}" for row in idle)

    def disabled(self) -> tuple[str, ...]:
        """Names of our automations that are switched off.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        found = self._api.every("/automations/filter", {"sort": "NAME_ASC"})
        names = {one["name"] for one in found if not one["enabled"]}
        return tuple(sorted(name for name in names if name.startswith(rules.PREFIX)))

    def crash(self, run: Run, message: str) -> None:
        """Mark a run as crashed; one that has ended meanwhile stays as it is.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        self._set_state(run, "CRASHED", message, force=False)

    def revive(self, run: Run, message: str) -> None:
        """Mark a run as running that was taken for dead.

        Raises:
            ServerError: the server does not answer, or refuses.
        """
        self._set_state(run, "RUNNING", message, force=True)

    def _set_state(self, run: Run, kind: str, message: str, *, force: bool) -> None:
        state = {"type": kind, "message": message}
        self._api.post(f"/flow_runs/{run.id}/set_state", {"state": state, "force": force})

    def _events(
        self, names: list[str], since: datetime, order: str, *, limit: int, **more: Any
    ) -> list[dict[str, Any]]:
        asked = {
            "event": {"name": names},
            "occurred": {"since": since.isoformat()},
            "order": order,
            **more,
        }
        page = self._api.post("/events/filter", {"filter": asked, "limit": limit})
        found: list[dict[str, Any]] = page["events"]
        return found

    def _runs(self, asked: Mapping[str, Any], more: Mapping[str, Any]) -> Iterator[Run]:
        body = {**more, "flow_runs": asked, "sort": "ID_DESC"}
        rows = [row for row in self._api.every("/flow_runs/filter", body) if row["state"]]
        flows = {row["flow_id"] for row in rows} - self._flows.keys()
        if flows:
            self._flows |= self._names_of_flows(flows)
        deployments = {row["deployment_id"] for row in rows} - self._deployments.keys() - {None}
        if deployments:
            self._deployments |= self._found_deployments(deployments)
        return (self._run(row) for row in rows)

    def _run(self, row: Mapping[str, Any]) -> Run:
        flow = self._flows.get(row["flow_id"], "")
        deployment = self._deployments.get(row["deployment_id"] or "")
        state = row["state"]
        return Run(
            id=row["id"],
            name=row["name"],
            flow=flow,
            deployment=f"{flow}/{deployment.name}" if deployment else flow,
            kind=state["type"],
            state=state["name"],
            message=state["message"] or "",
            since=datetime.fromisoformat(state["timestamp"]),
            ended_at=_time(row["end_time"]),
            expected_at=_time(row["expected_start_time"]),
            attempts=row["run_count"],
            beats=deployment is not None and deployment.beats,
        )

    def _names_of_flows(self, ids: set[str]) -> dict[str, str]:
        body = {"flows": {"id": {"any_": sorted(ids)}}, "sort": "NAME_ASC"}
        return {row["id"]: row["name"] for row in self._api.every("/flows/filter", body)}

    def _found_deployments(self, ids: set[str]) -> dict[str, _Deployment]:
        body = {"deployments": {"id": {"any_": sorted(ids)}}, "sort": "NAME_ASC"}
        return {
            row["id"]: _Deployment(row["name"], beats=_FREQUENCY in _environment(row))
            for row in self._api.every("/deployments/filter", body)
        }


def as_child_of(child: Run, parent: Run) -> Run:
    """A subflow that beats as its parent does, since both are one process."""
    return replace(child, beats=parent.beats)


def _environment(row: Mapping[str, Any]) -> Mapping[str, Any]:
    environment = (row["job_variables"] or {}).get("env")
    return environment if isinstance(environment, dict) else {}


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
