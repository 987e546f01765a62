"""What the courier reads of the data folder; looked at often, so read anew only when something changed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from fluxhero.alerts.folder_incidents import Check
from fluxhero.integrity.findings import Area, latest_findings, newest_first
from fluxhero.metrics import breaker, breaker_record, jobs
from fluxhero.metrics.breaker import BreakerState

_T = TypeVar("_T")
_RUN_TIME = "%Y%m%dT%H%M%SZ"
_RUN_TIME_LENGTH = 16


class FolderFacts:
    """Reads one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._breaker: _Unchanged[dict[str, BreakerState]] = _Unchanged()
        self._ended: _Unchanged[dict[str, datetime]] = _Unchanged()
        self._checks: dict[Area, _Unchanged[Check | None]] = {area: _Unchanged() for area in Area}

    def breaker(self) -> dict[str, BreakerState]:
        """The breaker's state of each mode.

        Raises:
            StorageIOError: the record cannot be read.
        """
        record = breaker_record.path_of(self._data_dir)
        watched = (record, record.parent)  # what the last snapshot saw lies beside it
        return self._breaker.read(watched, lambda: breaker.states(self._data_dir))

    def check(self, area: Area, now: datetime) -> Check | None:
        """The last check of an area; None if there was none.

        Raises:
            StorageIOError: the findings cannot be read.
        """
        watched = (area.folder(self._data_dir),)
        return self._checks[area].read(watched, lambda: _last_check(self._data_dir, now, area))

    def ended(self) -> dict[str, datetime]:
        """When a run of each flow last ended.

        Raises:
            StorageIOError: the histories cannot be read.
        """
        watched = (self._data_dir / jobs.FOLDER,)
        found = self._ended.read(watched, lambda: _last_ends(self._data_dir))
        return dict(found)


class _Unchanged(Generic[_T]):
    """What was read, as long as what it was read from has not changed."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, ...], _T] | None = None

    def read(self, watched: tuple[Path, ...], anew: Callable[[], _T]) -> _T:
        signature = tuple(_changed(path) for path in watched)
        if self._kept is None or self._kept[0] != signature:
            self._kept = (signature, anew())
        return self._kept[1]


def _changed(path: Path) -> int:
    """When a file, or the names in a folder, last changed; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _last_check(data_dir: Path, now: datetime, area: Area) -> Check | None:
    files = newest_first(data_dir, now, area)
    if not files:
        return None
    run = files[0].stem
    at = datetime.strptime(run[:_RUN_TIME_LENGTH], _RUN_TIME).replace(tzinfo=UTC)
    return Check(run, at, tuple(latest_findings(data_dir, now, area)))


def _last_ends(data_dir: Path) -> dict[str, datetime]:
    return {job.flow: job.last_ended_at for job in jobs.readable_jobs(data_dir)}
