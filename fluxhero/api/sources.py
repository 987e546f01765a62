"""What the operations API reads from the data folder and the archive; each thing once for as long as it stays.

The hot store is not among it: only flows open that. What it holds is known from the last snapshot.
"""

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from config.settings import Settings
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.standing import Alerts, standing_of
from fluxhero.api.measured import Measured
from fluxhero.api.models import Curve
from fluxhero.api.remembered import Remembered, file_identity, folder_identity
from fluxhero.archive.identity import HEAD_FILE, check_head, read_head
from fluxhero.archive.layout import Layout
from fluxhero.archive.manifest import Chain, load_chain
from fluxhero.durable import storage_errors
from fluxhero.errors import DamagedFileError
from fluxhero.integrity.findings import Area, Finding, newest_first, read_findings
from fluxhero.metrics import breaker, breaker_record, equity, jobs, snapshot_files, snapshots
from fluxhero.metrics.breaker_record import BreakerState
from fluxhero.metrics.exposition import render
from fluxhero.metrics.samples import sample
from fluxhero.metrics.snapshots import Latest
from fluxhero.recorded import read_record, record_path

_NEWEST: Final = 8  # files of a folder that are looked at for changes; older ones do not change


@dataclass(frozen=True, slots=True)
class Taken:
    """The newest snapshot that can be read, and its samples by name."""

    latest: Latest
    measured: Measured


@dataclass(frozen=True, slots=True)
class Checked:
    """What the last run of one area's checks found; `unreadable` are later ones that were passed over."""

    run: str | None
    at: datetime | None
    findings: tuple[Finding, ...]
    unreadable: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """Equity curves as last written."""

    curves: tuple[Curve, ...]
    written_at: datetime | None


class Sources:
    """Everything there is to read, as it stands now; each may be asked from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        """Nothing is read yet."""
        self._settings = settings
        self._data_dir = settings.data_dir
        self._layout = Layout(settings.archive_dir)
        self._clock = clock
        self._chain = Remembered(self._chain_identity, self._read_chain)
        self._snapshot = Remembered(self._snapshot_identity, self._read_snapshot)
        self._exposition = Remembered(self._snapshot_identity, self._render)
        self._curves = Remembered(self._curve_identity, self._read_curves)
        self._jobs = Remembered(
            lambda: folder_identity(self._data_dir / jobs.FOLDER),
            lambda: tuple(jobs.read_jobs(self._data_dir)),
        )
        self._breaker = Remembered(
            lambda: file_identity(breaker_record.path_of(self._data_dir)),
            self._read_breaker,
        )
        self._outbox = Outbox(self._data_dir, read_only=True)
        self._checked = {
            area: Remembered(self._checks_identity(area), self._read_checks(area)) for area in Area
        }

    def chain(self) -> Chain:
        """The archive's manifests, proven.

        Raises:
            ManifestError: one is damaged or missing.
            MissingArchiveError: batches that the data folder knows of are gone.
        """
        return self._chain()

    def snapshot(self) -> Taken:
        """The newest snapshot that can be read.

        Raises:
            StorageIOError: the operating system refuses.
        """
        return self._snapshot()

    def exposition(self) -> bytes:
        """The newest snapshot in Prometheus' text format, and how many newer files cannot be read.

        Raises:
            StorageIOError: the operating system refuses.
        """
        return self._exposition()

    def checked(self, area: Area) -> Checked:
        """What the last check found.

        Raises:
            StorageIOError: the operating system refuses.
        """
        return self._checked[area]()

    def breaker(self) -> tuple[BreakerState, ...]:
        """The drawdown breaker of each mode.

        Raises:
            StorageIOError: the operating system refuses.
        """
        return self._breaker()

    def jobs(self) -> tuple[jobs.Job, ...]:
        """How the runs of each flow ended.

        Raises:
            DamagedFileError: a history cannot be read.
        """
        return self._jobs()

    def curves(self) -> Curves:
        """The equity curves.

        Raises:
            DamagedFileError: they cannot be read.
        """
        return self._curves()

    def alerts(self) -> Alerts:
        """The alerts, and whether they have arrived.

        Raises:
            StorageIOError: the operating system refuses.
        """
        return standing_of(self._settings, self._outbox.entries(), self._clock())

    def _minute(self) -> int:
        """What is of time to come is no news yet, so that answers depend on the time a little."""
        return int(self._clock().timestamp() // 60)

    def _chain_identity(self) -> Hashable:
        return folder_identity(self._layout.manifests), file_identity(self._data_dir / HEAD_FILE)

    def _read_chain(self) -> Chain:
        head = read_head(self._data_dir)
        chain = load_chain(self._layout)
        check_head(self._layout, self._data_dir, head, chain)
        return chain

    def _snapshot_identity(self) -> Hashable:
        folder = self._data_dir / snapshot_files.FOLDER
        names = folder_identity(folder, newest=_NEWEST)
        with storage_errors("list", folder):
            days = sorted(folder.glob("[0-9]*-[0-9][0-9]"))[-2:]
        # One written by a clock that was set back by days is seen when the minute is over.
        return self._minute(), names, tuple(folder_identity(day, newest=_NEWEST) for day in days)

    def _read_snapshot(self) -> Taken:
        latest = snapshots.latest_snapshot(self._data_dir, self._clock())
        return Taken(latest, Measured(latest.snapshot.samples if latest.snapshot else ()))

    def _render(self) -> bytes:
        latest = self._snapshot().latest
        measured = latest.snapshot.samples if latest.snapshot else ()
        unreadable = sample("snapshot_files_unreadable", len(latest.unreadable))
        return render([*measured, unreadable])

    def _checks_identity(self, area: Area) -> Callable[[], Hashable]:
        folder = area.folder(self._data_dir)
        return lambda: (self._minute(), folder_identity(folder, newest=_NEWEST))

    def _read_checks(self, area: Area) -> Callable[[], Checked]:
        def read() -> Checked:
            unreadable: list[Path] = []
            for path in newest_first(self._data_dir, self._clock(), area):
                try:
                    findings, record = read_findings(path), read_record(path)
                except DamagedFileError:
                    unreadable.append(path)
                    continue
                at = record.written_at if record else None
                return Checked(path.stem, at, tuple(findings), tuple(unreadable))
            return Checked(None, None, (), tuple(unreadable))

        return read

    def _read_breaker(self) -> tuple[BreakerState, ...]:
        found = breaker.states(self._data_dir).values()
        return tuple(replace(one, reason=shown(one.reason, self._settings)) for one in found)

    def _curve_identity(self) -> Hashable:
        path = equity.curve_path(self._data_dir)
        return file_identity(path), file_identity(record_path(path))

    def _read_curves(self) -> Curves:
        path = equity.curve_path(self._data_dir)
        record = read_record(path)
        table = equity.read_curve(self._data_dir)
        points: dict[tuple[str, str], list[tuple[datetime, str, str, float]]] = {}
        columns = ("mode", "basis", "at", "equity", "peak", "drawdown_ratio")
        for mode, basis, at, value, peak, ratio in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        ):
            line = (at, plain(value), plain(peak), float(ratio))
            points.setdefault((mode, basis), []).append(line)
        curves = tuple(
            Curve(mode=mode, basis=basis, points=tuple(line))
            for (mode, basis), line in sorted(points.items())
        )
        return Curves(curves, record.written_at if record else None)


def shown(text: str, settings: Settings) -> str:
    """A message without the paths of the data folder and the archive, which are nobody's business."""
    text = text.replace(f"{settings.data_dir}{os.sep}", "")
    return text.replace(f"{settings.archive_dir}{os.sep}", f"archive{os.sep}")


def plain(money: Decimal) -> str:
    """An exact number as text, without an exponent and without zeros that say nothing."""
    text = f"{money:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
