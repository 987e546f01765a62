"""The sources of alerts, each one look at the server or the data folder.

A look takes what is remembered and gives incidents with what is to be remembered when they are queued.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fluxhero.alerts import rules
from fluxhero.alerts.dead_runs import Lives, mark_children, mark_dead, revive, was_taken_for_dead
from fluxhero.alerts.dues import DueAfter
from fluxhero.alerts.fired import fired_incidents
from fluxhero.alerts.folder_facts import FolderFacts
from fluxhero.alerts.folder_incidents import (
    breaker_incidents,
    integrity_incidents,
    limit_incidents,
    missing_incidents,
)
from fluxhero.alerts.memory import Memory
from fluxhero.alerts.run_incidents import (
    OVERLAP,
    Noticed,
    away_incidents,
    ended_incidents,
    late_incidents,
)
from fluxhero.alerts.server_facts import Run, ServerFacts
from fluxhero.integrity.findings import Area

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a look is taken.

    Attributes:
        now: the time.
        awake_since: since when this machine has been on, and the courier at work.
        back_since: since when the server has answered without a break; None while it does not.
        away_for: for how long it has not answered; zero while it does.
    """

    now: datetime
    awake_since: datetime
    back_since: datetime | None
    away_for: timedelta


Look = Callable[[Memory, Moment], Noticed]


@dataclass(frozen=True, slots=True)
class Source:
    """One source: its name in the log, its look, how often, and whether it asks the server."""

    name: str
    look: Look
    every: timedelta
    asks_server: bool


class Sources:
    """The looks, over one server and one data folder."""

    def __init__(
        self,
        facts: ServerFacts,
        folder: FolderFacts,
        *,
        api_url: str,
        ui_url: str,
        due_after: DueAfter,
        run_limit: timedelta,
        history: timedelta,
        lives: Lives,
    ) -> None:
        """Touches nothing yet.

        Args:
            facts: of the server.
            folder: of the data folder.
            api_url: of the server's API.
            ui_url: of its pages.
            due_after: when a run of a flow is next due.
            run_limit: how long a run may take.
            history: for how long the server keeps runs: nothing older is looked for.
            lives: whether a run's process is on this machine.
        """
        self._facts = facts
        self._folder = folder
        self._api_url = api_url
        self._ui_url = ui_url
        self._due_after = due_after
        self._run_limit = run_limit
        self._history = history
        self._lives = lives

    def all(self) -> tuple[Source, ...]:
        """All of them, the quickest to change first."""
        often, seldom, rarely = (timedelta(seconds=seconds) for seconds in (5, 15, 60))
        return (
            Source("server", self.server, often, asks_server=False),
            Source("ended runs", self.ended, often, asks_server=True),
            Source("drawdown", self.breaker, often, asks_server=False),
            Source("risk limits", self.limits, often, asks_server=False),
            Source("storage checks", self.integrity, often, asks_server=False),
            Source("dead runs", self.dead, seldom, asks_server=True),
            Source("late runs", self.late, seldom, asks_server=True),
            Source("automations", self.fired, seldom, asks_server=True),
            Source("missing runs", self.missing, rarely, asks_server=True),
        )

    def server(self, memory: Memory, moment: Moment) -> Noticed:
        """Whether the server answers."""
        return away_incidents(self._api_url, memory, moment.now, moment.away_for)

    def ended(self, memory: Memory, moment: Moment) -> Noticed:
        """Runs that ended."""
        earliest = max(memory.since, moment.now - self._history)
        runs = self._facts.ended(max(memory.runs_until - OVERLAP, earliest))
        dead = {run.id for run in runs if self._is_new(run, memory) and self._taken_for_dead(run)}
        return ended_incidents((run for run in runs if run.id not in dead), memory, self._page)

    @staticmethod
    def _is_new(run: Run, memory: Memory) -> bool:
        return run.kind == "CRASHED" and memory.seen.get(run.id) != run.ended_at

    def _taken_for_dead(self, run: Run) -> bool:
        """Bring back a run that lives, and end the subflows of one that does not."""
        if was_taken_for_dead(run, self._lives):
            revive(self._facts, run)
            return True
        mark_children(self._facts, run)
        return False

    def dead(self, memory: Memory, moment: Moment) -> Noticed:
        """Runs that are dead: they are told of when they have ended."""
        if moment.back_since is not None:
            mark_dead(self._facts, moment.now, moment.back_since, memory.disabled, self._lives)
        return [], memory

    def late(self, memory: Memory, moment: Moment) -> Noticed:
        """Runs that are late; those that waited for the machine or the server get their time first."""
        quiet_since = max(moment.awake_since, moment.back_since or moment.now)
        if moment.now - quiet_since < rules.LATE_AFTER:
            return [], memory
        runs = self._facts.waiting(moment.now - rules.LATE_AFTER)
        return late_incidents(runs, memory, moment.now, self._page)

    def fired(self, memory: Memory, moment: Moment) -> Noticed:
        """Automations that fired, and which of them are switched off."""
        firings = self._facts.firings(max(memory.fired_until, moment.now - self._history))
        for firing in firings:
            logger.info("fired: %s at %s", firing.automation, firing.at)
        watching_since = max(moment.awake_since, moment.back_since or moment.now)
        memory = memory.model_copy(update={"disabled": self._facts.disabled()})
        return fired_incidents(firings, memory, watching_since)

    def breaker(self, memory: Memory, moment: Moment) -> Noticed:
        """The drawdown breaker."""
        return breaker_incidents(self._folder.breaker(), memory, moment.now)

    def limits(self, memory: Memory, moment: Moment) -> Noticed:
        """The risk limits."""
        return limit_incidents(self._folder.check(Area.LIMITS, moment.now), memory)

    def integrity(self, memory: Memory, moment: Moment) -> Noticed:
        """The storage checks."""
        return integrity_incidents(self._folder.check(Area.STORAGE, moment.now), memory)

    def missing(self, memory: Memory, moment: Moment) -> Noticed:
        """Scheduled runs that did not come; what is paused in the UI is not expected."""
        paused = self._facts.paused()
        return missing_incidents(
            self._folder.ended(),
            memory,
            moment.now,
            max(moment.awake_since, moment.back_since or moment.now),
            due_after=lambda flow, after: self._due_after(flow, after, paused),
            run_limit=self._run_limit,
        )

    def _page(self, run_id: str) -> str:
        return f"{self._ui_url}/runs/flow-run/{run_id}"


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)
