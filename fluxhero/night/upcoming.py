"""Which scheduled runs come next, by `prefect.yaml` and the exchange's calendar alone.

It is what a server makes of the same file, a second after it has taken it; what was paused there is not
known here.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path

from cronsim import CronSim

from fluxhero.market.trading_days import closed_at
from fluxhero.night.deployments import Deployment, Schedule, read_deployments


@dataclass(frozen=True, slots=True, order=True)
class Upcoming:
    """One run to come.

    Attributes:
        at: when, in UTC.
        deployment: of which, as `archive-trades/after-close`.
        skipped: why it will do nothing, as "XNYS is closed on 2026-12-25 (Friday)"; None where it will work.
    """

    at: datetime
    deployment: str
    skipped: str | None = None


def upcoming_runs(
    checkout: Path, now: datetime, count: int, *, exchange: str = "XNYS"
) -> list[Upcoming]:
    """The next runs of all deployments together, in order of time.

    Args:
        checkout: folder of `prefect.yaml`.
        now: from when on, with its zone; a run at this very moment is not among them.
        count: how many.
        exchange: ISO 10383 code of the one whose holidays count.

    Raises:
        ConfigurationError: the file is missing or cannot be used.
        StorageIOError: the operating system refuses.
    """
    streams = [runs_of(one, now, exchange=exchange) for one in read_deployments(checkout)]
    return list(islice(heapq.merge(*streams, key=lambda run: run.at), count))


def next_of_each(checkout: Path, now: datetime, *, exchange: str = "XNYS") -> list[Upcoming]:
    """The next run that will work, of each deployment that has a schedule, in order of time.

    Raises:
        ConfigurationError: the file is missing or cannot be used.
        StorageIOError: the operating system refuses.
    """
    firsts: list[Upcoming] = []
    for deployment in read_deployments(checkout):
        runs = runs_of(deployment, now, exchange=exchange)
        firsts += islice((run for run in runs if run.skipped is None), 1)
    return sorted(firsts, key=lambda run: run.at)


def runs_of(deployment: Deployment, now: datetime, *, exchange: str) -> Iterator[Upcoming]:
    """The runs of one deployment, without end; none if it has no schedule."""
    for at in _distinct(_times(schedule, now) for schedule in deployment.schedules):
        closed = closed_at(exchange, deployment.tags, at)
        yield Upcoming(at, deployment.name, None if closed is None else closed.why)


def _distinct(streams: Iterable[Iterator[datetime]]) -> Iterator[datetime]:
    return (at for at, _same in groupby(heapq.merge(*streams)))


def _times(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    for at in CronSim(schedule.cron, now.astimezone(schedule.zone)):
        yield at.astimezone(UTC)
