"""`python -m fluxhero.night.agenda`: the scheduled runs to come, as JSON lines on stdout.

A process of its own, since exchange calendars bring pandas along, which the supervisor would then carry
for as long as it runs.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from config.loading import load_settings
from fluxhero.night.deployments import checkout, read_deployments
from fluxhero.night.upcoming import Upcoming, runs_of

AHEAD: Final = timedelta(hours=30)


def main() -> None:
    """Write all that come within thirty hours, and of each deployment the next that will work."""
    settings = load_settings()
    for run in coming(datetime.now(UTC), settings.exchange):
        line = {"at": run.at.isoformat(), "deployment": run.deployment, "skipped": run.skipped}
        sys.stdout.write(json.dumps(line) + "\n")


def coming(now: datetime, exchange: str) -> Iterator[Upcoming]:
    """All that come within thirty hours, and of each deployment the next that will work.

    Raises:
        ConfigurationError: `prefect.yaml` is missing or cannot be used.
        StorageIOError: the operating system refuses.
    """
    for deployment in read_deployments(checkout()):
        yield from _of_one(runs_of(deployment, now, exchange=exchange), now + AHEAD)


def _of_one(runs: Iterator[Upcoming], until: datetime) -> Iterator[Upcoming]:
    works = False
    for run in runs:
        if run.at >= until and works:
            return
        works = works or run.skipped is None
        if run.at < until or run.skipped is None:
            yield run


if __name__ == "__main__":
    main()
