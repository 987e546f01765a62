"""What alerts are about: something that happened, or whose level changed, to one subject."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

NO_STEP: Final = "Nothing need be done."
_RESOLVED: Final = ":resolved"


class Urgency(StrEnum):
    """How soon somebody should look; `RESOLVED` says that nobody need any more."""

    RESOLVED = "resolved"
    WARNING = "warning"
    CRITICAL = "critical"


class Incident(BaseModel):
    """One thing to tell somebody, once.

    Attributes:
        key: the same for the same thing, however often and from wherever it is seen: built from
            durable facts (a run's id, the moment a breaker changed), never from when it was noticed.
        rule: name of the alert rule.
        subject: what it happened to: a run, a deployment, an account, the archive.
        urgency: how soon to look.
        title: one line, the answer first.
        text: what happened, with figures; plain text, several lines.
        next_step: what to do now.
        at: when it happened.
        url: page that shows more; None where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    rule: str
    subject: str
    urgency: Urgency
    title: str
    text: str
    next_step: str
    at: AwareDatetime
    url: str | None = None

    @property
    def digest(self) -> str:
        """A short name for files, made of the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:24]


def resolved(
    key: str,
    *,
    rule: str,
    subject: str,
    title: str,
    text: str,
    at: datetime,
    next_step: str = NO_STEP,
    url: str | None = None,
) -> Incident:
    """That what was told under a key is over."""
    return Incident(
        key=f"{key}{_RESOLVED}",
        rule=rule,
        subject=subject,
        urgency=Urgency.RESOLVED,
        title=title,
        text=text,
        next_step=next_step,
        at=at,
        url=url,
    )
