"""When a run of a flow is due, by `prefect.yaml`, the exchange's calendar and what is paused in the UI."""

import functools
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from fluxhero.errors import ConfigurationError
from fluxhero.night.deployments import read_deployments
from fluxhero.night.upcoming import runs_of

_MOST_SKIPPED: Final = 2000  # snapshots of a week that is all holidays

# From a flow, a time, and the deployments that are paused, to when its first run after that time is due.
DueAfter = Callable[[str, datetime, frozenset[str]], datetime | None]


def dues_of(checkout: Path, exchange: str) -> DueAfter:
    """By the schedules of a checkout; each question is reckoned once, as it takes a moment.

    A folder without `prefect.yaml` has no schedules.

    Args:
        checkout: its folder.
        exchange: ISO 10383 code of the one whose holidays count.
    """

    @functools.lru_cache(maxsize=64)
    def due_after(flow: str, after: datetime, paused: frozenset[str]) -> datetime | None:
        try:
            deployments = read_deployments(checkout)
        except ConfigurationError:
            return None
        firsts = []
        for one in deployments:
            if one.name.partition("/")[0] != flow or one.name in paused:
                continue
            runs = islice(runs_of(one, after, exchange=exchange), _MOST_SKIPPED)
            firsts += list(islice((run.at for run in runs if run.skipped is None), 1))
        return min(firsts, default=None)

    return due_after
