"""How each part of the installation does: the machine, its disks, the stores, the snapshots, the flows.

Cheap enough to be asked every few seconds: nothing is opened but what `Sources` has read already.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import psutil

from config.settings import Settings
from fluxhero.api.models import Check, Grade
from fluxhero.api.services import Runs
from fluxhero.api.sources import Sources, shown
from fluxhero.api.verdict import STALE
from fluxhero.errors import FluxHeroError
from fluxhero.wording import counted

KEEP_SECONDS: Final = 1.5
BUSY_PERCENT: Final = 95.0
MEMORY_WARN, MEMORY_FAIL = 90.0, 98.0  # per cent used
DISK_WARN, DISK_FAIL = 0.10, 0.02  # fraction free
_MIB: Final = 1 << 20
_GRADES: tuple[Grade, ...] = ("fail", "warn", "pass")


def worst(grades: Iterable[Grade]) -> Grade:
    """The worst of these; pass of none."""
    present = set(grades)
    return next((grade for grade in _GRADES if grade in present), "pass")


class HealthChecks:
    """Looks at everything, and looks again no sooner than a moment later."""

    def __init__(self, settings: Settings, sources: Sources, clock: Callable[[], datetime]) -> None:
        """Nothing is looked at yet; how busy the processor is, is measured from here on."""
        self._spent = _spent()
        self._settings = settings
        self._sources = sources
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Check] = {}
        self._until = 0.0

    def not_ready(self) -> tuple[str, ...]:
        """Names of what keeps the API from answering."""
        reasons = []
        data_dir = self._settings.data_dir
        if not (data_dir.is_dir() and os.access(data_dir, os.R_OK | os.X_OK)):
            reasons.append("data-folder")
        if self._archive().status == "fail":
            reasons.append("archive-manifests")
        if self._snapshot().status == "fail":
            reasons.append("snapshots")
        return tuple(reasons)

    def measured(self) -> dict[str, Check]:
        """Each part by its name, as of a moment ago at most."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._known = self._measure()
                self._until = time.monotonic() + KEEP_SECONDS
            return self._known

    def prefect(self, runs: Runs) -> Check:
        """Whether the Prefect server answers."""
        if runs.problem:
            return Check(status="warn" if runs.ui_url else "pass", observed=runs.problem)
        return Check(
            status="pass",
            observed=f"answers; next is {runs.next[0].flow}"
            if runs.next
            else "answers; no run is planned",
            values={"last": len(runs.last), "next": len(runs.next)},
        )

    def _measure(self) -> dict[str, Check]:
        return {
            "cpu": self._cpu(),
            "memory": _memory(),
            "disk_data": _disk(self._settings.data_dir),
            "disk_archive": _disk(self._settings.archive_dir),
            "store": self._store(),
            "archive": self._archive(),
            "snapshot": self._snapshot(),
            "jobs": self._jobs(),
            "alerts": self._alerts(),
        }

    def _cpu(self) -> Check:
        # psutil's own percentage is kept apart for each thread, and another thread asks each time.
        before, self._spent = self._spent, _spent()
        percent = _busy_percent(before, self._spent)
        load = psutil.getloadavg()[0]
        cores = os.cpu_count() or 1
        return Check(
            status="warn" if percent >= BUSY_PERCENT and load > 2 * cores else "pass",
            observed=f"{percent:.0f} % of {counted(cores, 'core')} busy, load {load:.1f}",
            values={"percent": percent, "load_1m": round(load, 2), "cores": cores},
        )

    def _store(self) -> Check:
        path = self._settings.store_path
        kind = self._settings.store_kind
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            # A bot's database has to be there; our own is made by the first ingest.
            return Check(
                status="fail" if kind == "sqlite" else "warn",
                observed="there is no store" if kind == "sqlite" else "there is no store yet",
                values={"kind": kind, "exists": False},
            )
        except OSError as error:
            why = f"cannot be looked at: {error.strerror}"
            return Check(status="fail", observed=why, values={"kind": kind})
        values = {"kind": kind, "exists": True, "bytes": size}
        return Check(status="pass", observed=counted(size, "byte"), values=values)

    def _archive(self) -> Check:
        try:
            chain = self._sources.chain()
        except FluxHeroError as error:
            return self._failed(error)
        rows = sum(manifest.file.rows for manifest in chain.manifests)
        return Check(
            status="pass",
            observed=f"{counted(rows, 'row')} in {counted(len(chain), 'batch')}",
            values={"rows": rows, "batches": len(chain)},
        )

    def _snapshot(self) -> Check:
        try:
            latest = self._sources.snapshot().latest
        except FluxHeroError as error:
            return self._failed(error)
        damaged = len(latest.unreadable)
        if latest.snapshot is None:
            if damaged:
                return Check(
                    status="fail", observed=f"{counted(damaged, 'damaged file')}, no other"
                )
            return Check(status="warn", observed="there is none yet")
        age = self._clock() - latest.snapshot.at
        grade: Grade = "warn" if damaged or age > STALE else "pass"
        newer = f"; {counted(damaged, 'newer file')} cannot be read" if damaged else ""
        seconds = round(age.total_seconds(), 1)
        return Check(
            status=grade,
            observed=f"{seconds:,.0f} s old{newer}",
            values={"age_seconds": seconds, "unreadable": damaged},
        )

    def _jobs(self) -> Check:
        try:
            jobs = self._sources.jobs()
        except FluxHeroError as error:
            return Check(status="warn", observed=self._told(error))
        bad = [job.flow for job in jobs if not job.last_ok]
        if bad:
            return Check(
                status="warn",
                observed=f"the last run did not end well: {', '.join(bad)}",
                values={"flows": len(jobs), "failed": len(bad)},
            )
        ran = (
            f"the last runs of {counted(len(jobs), 'flow')} ended well" if jobs else "none ran yet"
        )
        return Check(status="pass", observed=ran, values={"flows": len(jobs), "failed": 0})

    def _alerts(self) -> Check:
        try:
            alerts = self._sources.alerts()
        except FluxHeroError as error:
            return Check(status="warn", observed=self._told(error))
        return Check(
            status="pass" if alerts.ok else "warn",
            observed=shown(alerts.verdict, self._settings),
            values={
                "targets": alerts.targets,
                "waiting": alerts.waiting,
                "overdue": alerts.overdue,
                "given_up": alerts.given_up,
            },
        )

    def _failed(self, error: FluxHeroError) -> Check:
        return Check(status="fail", observed=self._told(error))

    def _told(self, error: FluxHeroError) -> str:
        return shown(error.what, self._settings)


def _spent() -> dict[str, float]:
    """What the processor's time went to so far; on Linux a guest's is in the user's already."""
    times = psutil.cpu_times()._asdict()
    return {name: spent for name, spent in times.items() if not name.startswith("guest")}


def _busy_percent(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    total = sum(after.values()) - sum(before.values())
    idle = sum(after.get(name, 0.0) - before.get(name, 0.0) for name in ("idle", "iowait"))
    return round(min(max(100 * (1 - idle / total), 0.0), 100.0), 1) if total > 0 else 0.0


def _memory() -> Check:
    memory = psutil.virtual_memory()
    own = psutil.Process().memory_info().rss
    grade: Grade = "pass"
    if memory.percent >= MEMORY_WARN:
        grade = "fail" if memory.percent >= MEMORY_FAIL else "warn"
    return Check(
        status=grade,
        observed=f"{memory.percent:.0f} % of {memory.total // _MIB:,} MiB used; this process has "
        f"{own // _MIB:,} MiB",
        values={
            "percent": memory.percent,
            "available_bytes": memory.available,
            "process_bytes": own,
        },
    )


def _disk(folder: Path) -> Check:
    place = next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        return Check(status="fail", observed=f"cannot be looked at: {error.strerror}")
    free = usage.free / usage.total if usage.total else 0.0
    grade: Grade = "pass"
    if free < DISK_WARN:
        grade = "fail" if free < DISK_FAIL else "warn"
    return Check(
        status=grade,
        observed=f"{usage.free // _MIB:,} MiB free of {usage.total // _MIB:,} ({free:.0%})",
        values={"free_bytes": usage.free, "total_bytes": usage.total},
    )
