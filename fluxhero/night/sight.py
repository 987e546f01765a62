"""What the status screen shows beside the parts: runs that were, runs to come, alerts. Reads only.

Asked in a thread of its own and seldom, so that the screen neither waits nor costs anything.
"""

import json
import logging
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.standing import Alerts, standing_of
from fluxhero.errors import FluxHeroError, first_line
from fluxhero.night.parts import Command, Place
from fluxhero.night.server_api import ServerApi

ASK_SECONDS: Final = 5.0
AGENDA_SECONDS: Final = 6 * 3600.0
RUNS: Final = 6
_A_DAY_SECONDS: Final = 20 * 3600.0
_AGENDA_WITHIN_SECONDS: Final = 120.0
_GOING_ON: Final = ("PENDING", "RUNNING", "CANCELLING")
_ENDED: Final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunLine:
    """A run: of which deployment or flow, how it stands, since when, and what it says of itself."""

    name: str
    state: str
    kind: str
    at: datetime
    message: str


@dataclass(frozen=True)
class Coming:
    """A run to come; `skipped` says why it will do nothing."""

    at: datetime
    deployment: str
    skipped: str | None


@dataclass(frozen=True)
class Sight:
    """All of it; `problem` says why there is less than there could be."""

    runs: tuple[RunLine, ...] = ()
    coming: tuple[Coming, ...] = ()
    alerts: Alerts | None = None
    problem: str | None = None

    def next_runs(self, now: datetime) -> list[Coming]:
        """The next of each deployment; one that is skipped has the next that works beside it."""
        first: dict[tuple[str, bool], Coming] = {}
        for run in self.coming:
            if run.at > now:
                first.setdefault((run.deployment, run.skipped is None), run)
        working = {key[0]: run for key, run in first.items() if key[1]}
        shown = [run for run in first.values() if run.skipped is None or _matters(run, working)]
        return sorted(shown, key=lambda run: run.at)


def _matters(run: Coming, working: Mapping[str, Coming]) -> bool:
    """Whether a skipped run is worth a line: a whole day falls out, not minutes before the open."""
    instead = working.get(run.deployment)
    if instead is None:
        return True
    return run.at < instead.at and (instead.at - run.at).total_seconds() > _A_DAY_SECONDS


class Lookout(threading.Thread):
    """Keeps `sight` up to date until it is told to stop."""

    def __init__(self, place: Place) -> None:
        super().__init__(name="lookout", daemon=True)
        self.sight = Sight()
        self._place = place
        self._outbox = Outbox(place.settings.data_dir)
        self._names: dict[str, str] = {}
        self._agenda_at = 0.0
        self._ends = threading.Event()

    def stop(self) -> None:
        """Look no more."""
        self._ends.set()

    def run(self) -> None:
        """Look until told to stop."""
        with ServerApi(self._place.api_url) as server:
            while not self._ends.wait(ASK_SECONDS):
                self._look(server)

    def _look(self, server: ServerApi) -> None:
        if time.time() - self._agenda_at > AGENDA_SECONDS:
            self._agenda_at = time.time()
            self.sight = replace(self.sight, coming=agenda(self._place.agenda()))
        try:
            entries = self._outbox.entries()
            alerts = standing_of(self._place.settings, entries, datetime.now(UTC))
            self.sight = replace(self.sight, alerts=alerts)
            self.sight = replace(self.sight, runs=self._runs(server), problem=None)
        except FluxHeroError as error:
            self.sight = replace(self.sight, problem=error.what)
        except (KeyError, TypeError, ValueError) as error:  # a server of another release
            problem = f"the server's answer has another shape: {first_line(error)}"
            self.sight = replace(self.sight, problem=problem)

    def _runs(self, server: ServerApi) -> tuple[RunLine, ...]:
        going_on = self._found(server, _GOING_ON, "EXPECTED_START_TIME_DESC")
        ended = self._found(server, _ENDED, "END_TIME_DESC")
        return tuple(self._line(server, run) for run in (*going_on, *ended)[:RUNS])

    @staticmethod
    def _found(server: ServerApi, states: tuple[str, ...], sort: str) -> list[dict[str, Any]]:
        wanted = {
            "state": {"type": {"any_": list(states)}},
            "parent_task_run_id": {"is_null_": True},
        }
        body = {"flow_runs": wanted, "sort": sort, "limit": RUNS}
        found: list[dict[str, Any]] = server.post("/flow_runs/filter", body)
        return found

    def _line(self, server: ServerApi, run: Mapping[str, Any]) -> RunLine:
        return RunLine(
            name=self._run_name(server, run),
            state=str(run["state_name"]),
            kind=str(run["state_type"]),
            at=_time(run["end_time"] or run["start_time"] or run["expected_start_time"]),
            message=str((run["state"] or {}).get("message") or ""),
        )

    def _run_name(self, server: ServerApi, run: Mapping[str, Any]) -> str:
        """As `nightly/nightly`; of a run without a deployment, its flow."""
        flow = self._named(server, f"/flows/{run['flow_id']}")
        if run["deployment_id"] is None:
            return flow
        deployment = self._named(server, f"/deployments/{run['deployment_id']}")
        return f"{flow}/{deployment}"

    def _named(self, server: ServerApi, path: str) -> str:
        if path not in self._names:
            found = server.find(path)
            self._names[path] = "?" if found is None else str(found["name"])
        return self._names[path]


def agenda(command: Command) -> tuple[Coming, ...]:
    """The scheduled runs to come; none, and a line in the log, where they cannot be told."""
    try:
        ended = subprocess.run(  # noqa: S603 - a command of ours
            command.arguments,
            env=dict(command.environment),
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_AGENDA_WITHIN_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning("the runs to come cannot be told: %s", error)
        return ()
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    runs = [Coming(_time(one["at"]), one["deployment"], one["skipped"]) for one in lines]
    return tuple(sorted(runs, key=lambda run: run.at))


def _time(text: str | None) -> datetime:
    return datetime.now(UTC) if text is None else datetime.fromisoformat(text)
