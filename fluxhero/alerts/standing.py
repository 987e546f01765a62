"""How the alerts stand: which were told, and whether they have arrived. Reads only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

from config.settings import Settings
from fluxhero.alerts.entries import Entry, Standing
from fluxhero.alerts.incidents import Urgency
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.targets import targets
from fluxhero.wording import counted

OVERDUE: Final = timedelta(minutes=10)  # an alert that waits longer than that is a problem
LATELY: Final = timedelta(days=7)  # what was given up before that is history


class AlertLine(BaseModel):
    """One alert.

    Attributes:
        standing: waiting, delivered, given up, or sent nowhere.
        attempts: how often it was tried, with all targets together.
        problem: why it has not reached every target, without secrets.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    rule: str
    subject: str
    urgency: Urgency
    title: str
    text: str
    next_step: str
    url: str | None
    at: datetime
    told_at: datetime
    standing: Standing
    attempts: int
    problem: str | None


class Alerts(BaseModel):
    """All that are kept, newest first.

    Attributes:
        targets: how many are configured.
        waiting: told, and not with every target yet.
        overdue: of those, the ones that wait for longer than ten minutes.
        given_up: within the last week.
        problem: why the newest of them did not arrive.
    """

    model_config = ConfigDict(frozen=True)

    targets: int
    waiting: int
    overdue: int
    given_up: int
    problem: str | None
    lines: tuple[AlertLine, ...]

    @classmethod
    def none(cls) -> Self:
        """Where nothing can be read."""
        return cls(targets=0, waiting=0, overdue=0, given_up=0, problem=None, lines=())

    @property
    def ok(self) -> bool:
        """Whether everything arrives."""
        return not self.overdue and not self.given_up

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        why = f": {self.problem}" if self.problem else ""
        if self.overdue:
            what = f"{counted(self.overdue, 'alert')} not delivered for more than 10 minutes"
            return f"{what}{why}"
        if self.given_up:
            return f"{counted(self.given_up, 'alert')} given up within the last week{why}"
        if not self.targets:
            return "Nowhere to send alerts: set FLUXHERO_ALERT_URLS; they are kept and shown"
        if self.waiting:
            return f"{counted(self.waiting, 'alert')} on the way{why}"
        return f"Alerts reach {counted(self.targets, 'target')}"


def standing_of(settings: Settings, entries: Sequence[Entry], now: datetime) -> Alerts:
    """How the outbox's entries stand with the targets of the settings."""
    configured = tuple(target.digest for target in targets(settings))
    lines = [_line(entry, configured, now) for entry in entries]
    lines.sort(key=lambda line: line.told_at, reverse=True)
    waiting = [line for line in lines if line.standing is Standing.WAITING]
    overdue = [line for line in waiting if now - line.told_at > OVERDUE]
    given_up = [
        line for line in lines if line.standing is Standing.GIVEN_UP and now - line.told_at < LATELY
    ]
    return Alerts(
        targets=len(configured),
        waiting=len(waiting),
        overdue=len(overdue),
        given_up=len(given_up),
        problem=next((line.problem for line in (*waiting, *given_up) if line.problem), None),
        lines=tuple(lines),
    )


def standing_now(settings: Settings) -> Alerts:
    """How the alerts of a data folder stand now.

    Raises:
        StorageIOError: the outbox cannot be read.
    """
    entries = Outbox(settings.data_dir, read_only=True).entries()
    return standing_of(settings, entries, datetime.now(UTC))


def _line(entry: Entry, configured: Sequence[str], now: datetime) -> AlertLine:
    incident = entry.incident
    standing = entry.standing(configured, now)
    return AlertLine(
        **incident.model_dump(),
        told_at=entry.told_at,
        standing=standing,
        attempts=sum(one.attempts for one in entry.progress),
        problem=None if standing is Standing.DELIVERED else entry.problem(configured),
    )
