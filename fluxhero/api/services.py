"""What the operations API works with, handed to it once when it is made: no module of it has state of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import BaseModel, ConfigDict

from config.settings import Settings

if TYPE_CHECKING:
    from fluxhero.api.hub import Hub
    from fluxhero.api.service_metrics import ServiceMetrics
    from fluxhero.api.sources import Sources

NO_SERVER: Final = "no Prefect server: start one with `fluxhero up`"


class EventKind(StrEnum):
    """What a client of `/ws` is told of."""

    RUN = "run"
    SNAPSHOT = "snapshot"
    ALERT = "alert"
    ALIVE = "alive"  # nothing happened, and the service is there


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `data` is ready for JSON."""

    kind: EventKind
    at: datetime
    data: dict[str, Any] = field(default_factory=dict)


class RunLine(BaseModel):
    """A flow run as the API shows it; `url` is its page in the Prefect UI."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    flow: str
    deployment: str | None
    state: str
    state_name: str
    message: str | None
    expected_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    url: str | None


class Runs(BaseModel):
    """The last runs, newest first, and the next ones; `problem` says why there are none to show."""

    model_config = ConfigDict(frozen=True)

    last: tuple[RunLine, ...] = ()
    next: tuple[RunLine, ...] = ()
    ui_url: str | None = None
    problem: str | None = None


class RunSource(Protocol):
    """Where flow runs are asked for: a Prefect server, or nothing."""

    async def runs(self) -> Runs:
        """The runs as they stand; a server that does not answer is a `problem`, not an error."""
        ...


class NoRuns:
    """No Prefect server is configured and none runs."""

    async def runs(self) -> Runs:
        """Nothing, and why."""
        return Runs(problem=NO_SERVER)


@dataclass(frozen=True, slots=True)
class Services:
    """All that routes and background work have to do with; one for each app.

    Attributes:
        settings: as read once at the start.
        runs: where flow runs are asked for.
        hub: to whom events go.
        metrics: what the service counts about itself, with its registry.
        clock: the time now, in UTC.
        sources: what is read from the data folder and the archive.
    """

    settings: Settings
    runs: RunSource
    hub: "Hub"
    metrics: "ServiceMetrics"
    clock: Callable[[], datetime]
    sources: "Sources"
