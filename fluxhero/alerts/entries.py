"""What the outbox keeps of one alert: the incident, and how far it has come with each target."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fluxhero.alerts.incidents import Incident

FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(hours=1)
GIVE_UP: Final = timedelta(days=3)
# A target configured later gets what was told this shortly before, not all that was ever told.
NEWS: Final = timedelta(hours=1)


class Standing(StrEnum):
    """How an alert, or its delivery to one target, stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given up"
    KEPT = "sent nowhere"  # no target was configured when it was news


class Progress(BaseModel):
    """How far an alert has come with one target.

    Attributes:
        target: digest of its URL.
        scheme: of its URL.
        attempts: how often it was tried.
        next_attempt: when it is tried next; None once delivered or given up.
        delivered_at: None while it is not.
        problem: why the last attempt failed, without secrets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    scheme: str
    attempts: int = 0
    next_attempt: AwareDatetime | None = None
    delivered_at: AwareDatetime | None = None
    problem: str | None = None

    @property
    def standing(self) -> Standing:
        """Waiting, delivered or given up."""
        if self.delivered_at is not None:
            return Standing.DELIVERED
        return Standing.GIVEN_UP if self.next_attempt is None else Standing.WAITING

    def delivered(self, at: datetime) -> Self:
        """The same after an attempt that went well."""
        return self.model_copy(
            update={
                "attempts": self.attempts + 1,
                "delivered_at": at,
                "next_attempt": None,
                "problem": None,
            }
        )

    def failed(self, problem: str, told_at: datetime, at: datetime) -> Self:
        """The same after an attempt that failed: tried again later, for three days."""
        wait = min(FIRST_WAIT * 2 ** min(self.attempts, 10), LONGEST_WAIT)
        again = None if at - told_at >= GIVE_UP else at + wait
        return self.model_copy(
            update={"attempts": self.attempts + 1, "next_attempt": again, "problem": problem}
        )

    def put_off(self, problem: str, at: datetime) -> Self:
        """The same where nothing was tried, since the target failed with other alerts just now."""
        return self.model_copy(update={"next_attempt": at + FIRST_WAIT, "problem": problem})


class Entry(BaseModel):
    """One alert in the outbox."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    incident: Incident
    told_at: AwareDatetime
    progress: tuple[Progress, ...] = ()

    def of(self, target: str) -> Progress | None:
        """How far it has come with a target; None where it was never tried."""
        return next((one for one in self.progress if one.target == target), None)

    def is_due(self, target: str, configured: Collection[str], now: datetime) -> bool:
        """Whether it is to be sent to a target now."""
        progress = self.of(target)
        if progress is None:
            return self._is_wanted(configured, now)
        again = progress.next_attempt
        # Further away than any wait: the clock was wrong when that was written.
        return again is not None and not now < again <= now + LONGEST_WAIT

    def is_open(self, target: str, configured: Collection[str], now: datetime) -> bool:
        """Whether a target should have it and does not, even if it was given up."""
        progress = self.of(target)
        if progress is None:
            return self._is_wanted(configured, now)
        return progress.standing is not Standing.DELIVERED

    def standing(self, configured: Collection[str], now: datetime) -> Standing:
        """How it stands with the targets that are configured."""
        mine = [self.of(target) for target in configured]
        each = {one.standing for one in mine if one is not None}
        if Standing.WAITING in each or (None in mine and self._is_wanted(configured, now)):
            return Standing.WAITING
        if Standing.GIVEN_UP in each:
            return Standing.GIVEN_UP
        return Standing.DELIVERED if self._was_delivered else Standing.KEPT

    def problem(self, configured: Collection[str]) -> str | None:
        """Why it has not reached all of them."""
        undelivered = (one for one in self.progress if one.target in configured)
        return next((one.problem for one in undelivered if one.problem), None)

    def with_progress(self, progress: Progress, configured: Collection[str]) -> Self:
        """The same with a target's progress; that of targets that are no more is kept once delivered."""
        others = tuple(
            one
            for one in self.progress
            if one.target != progress.target
            and (one.target in configured or one.standing is Standing.DELIVERED)
        )
        return self.model_copy(update={"progress": (*others, progress)})

    @property
    def last_change(self) -> datetime:
        """When it was told, or delivered last."""
        return max([self.told_at, *(p.delivered_at for p in self.progress if p.delivered_at)])

    @property
    def _was_delivered(self) -> bool:
        return any(one.standing is Standing.DELIVERED for one in self.progress)

    def _is_wanted(self, configured: Collection[str], now: datetime) -> bool:
        """Whether a target that knows nothing of it should: it is news, or another's URL was corrected."""
        age = now - self.told_at
        orphaned = any(
            one.standing is Standing.WAITING and one.target not in configured
            for one in self.progress
        )
        return age < GIVE_UP if orphaned else age < NEWS and not self._was_delivered
