"""Delivering what the outbox has: each alert to each target once, however long a target is away.

What belongs here: what is due, in which messages, and what is written down of each attempt. An alert
is marked after it was sent; a process that is killed in between sends it again: at least once, never
not at all.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event, Lock
from typing import Final, TypeAlias

from config.settings import Settings
from fluxhero.alerts.entries import Entry, Progress, Standing
from fluxhero.alerts.handing import LONGEST_SECONDS, handed, unreadable
from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.outbox import KEPT_DAYS, Outbox
from fluxhero.alerts.targets import Target, targets
from fluxhero.errors import AlreadyRunningError, DeliveryError
from fluxhero.locks import locked

FLOOD: Final = 20  # more than that at once are one message that lists them
LOCK: Final = "delivery.lock"
_NOT_TRIED: Final = "put off, since others failed there just before or the sending was stopped"
_ENDED: Final = "the process that was sending it ended; it may have arrived"
_PATIENCE_SECONDS: Final = 20.0
_logger = logging.getLogger(__name__)


Due: TypeAlias = dict[Target, list[Entry]]


@dataclass
class Delivered:
    """What a round did, counted by alert and target."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    problems: list[str] = field(default_factory=list)  # each once
    busy: bool = False  # another process delivers just now


@dataclass(frozen=True)
class Tried:
    """How a test message went to one target."""

    target: Target
    error: DeliveryError | None


class _Round:
    """One round: several targets at a time, each entry written by one of them at a time."""

    def __init__(
        self,
        outbox: Outbox,
        configured: Sequence[Target],
        now: datetime,
        longest_seconds: float,
        stop: Event,
    ) -> None:
        self.done = Delivered()
        self.outbox = outbox
        self._configured = tuple(target.digest for target in configured)
        self._longest_seconds = longest_seconds
        self._stop = stop
        self._began, self._began_at = time.monotonic(), now
        self._writing = Lock()

    def deliver(self, due: Due) -> None:
        """Send to all targets at once; each takes its messages one after the other."""
        with ThreadPoolExecutor(max_workers=len(due)) as threads:
            each = [threads.submit(self._to, target, due[target]) for target in due]
            for one in each:
                one.result()

    def _to(self, target: Target, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._reserve(target, entry)
        left = deque([entries] if len(entries) > FLOOD else [[entry] for entry in entries])
        incidents = [[entry.incident for entry in message] for message in left]
        outcomes = handed(target, incidents, longest_seconds=self._longest_seconds, stop=self._stop)
        with closing(outcomes):
            for error in outcomes:
                for entry in left.popleft():
                    self._record(target, entry, error)
        for message in left:
            for entry in message:
                untried = _progress(entry, target).put_off(_NOT_TRIED, self._now())
                self._write(entry, untried)

    def _reserve(self, target: Target, entry: Entry) -> None:
        """Note the attempt beforehand: where nothing can be written, nothing is sent again and again."""
        progress = _progress(entry, target).failed(_ENDED, entry.told_at, self._now())
        self._write(entry, progress)

    def _record(self, target: Target, entry: Entry, error: DeliveryError | None) -> None:
        before, now = _progress(entry, target), self._now()
        if error is None:
            self._write(entry, before.delivered(now))
            self._count(delivered=1)
            _logger.info("alert sent to %s: %s", target.shown, entry.incident.title)
            return
        after = before.failed(error.what, entry.told_at, now)
        self._write(entry, after)
        given_up = after.standing is Standing.GIVEN_UP
        self._count(failed=1, given_up=int(given_up), problem=error.what)
        level = logging.ERROR if given_up else logging.WARNING
        become = "given up" if given_up else "not sent, and tried again later"
        _logger.log(level, "alert %s: %s: %s", become, entry.incident.title, error)

    def _count(
        self, *, delivered: int = 0, failed: int = 0, given_up: int = 0, problem: str = ""
    ) -> None:
        with self._writing:
            self.done.delivered += delivered
            self.done.failed += failed
            self.done.given_up += given_up
            if problem and problem not in self.done.problems:
                self.done.problems.append(problem)

    def _write(self, entry: Entry, progress: Progress) -> None:
        with self._writing:
            on_disk = self.outbox.read(entry.incident) or entry
            self.outbox.replace(on_disk.with_progress(progress, self._configured))

    def _now(self) -> datetime:
        return self._began_at + timedelta(seconds=time.monotonic() - self._began)


def _progress(entry: Entry, target: Target) -> Progress:
    return entry.of(target.digest) or Progress(target=target.digest, scheme=target.scheme)


def deliver_due(
    settings: Settings,
    outbox: Outbox,
    now: datetime,
    *,
    longest_seconds: float = LONGEST_SECONDS,
    stop: Event | None = None,
) -> Delivered:
    """Send what is due, and write down what became of it; a target that fails is no error.

    Args:
        settings: name the targets.
        outbox: what may be due.
        now: the moment to count from.
        longest_seconds: that a target may take before it is ended.
        stop: set it to end the round within a second; what is not noted as sent is sent again.

    Raises:
        StorageIOError: the outbox cannot be read or written; what was not noted is sent again later.
    """
    configured = targets(settings)
    outbox.prune(now, kept_days=max(KEPT_DAYS, settings.history_days))

    def due() -> Due:
        return _chosen(outbox, configured, lambda entry, own, all_: entry.is_due(own, all_, now))

    if not due():
        return Delivered()
    try:
        one = _Round(outbox, configured, now, longest_seconds, stop or Event())
        return _locked(one, due, wait_seconds=0)
    except AlreadyRunningError:
        return Delivered(busy=True)


def retry(
    settings: Settings,
    outbox: Outbox,
    now: datetime,
    *,
    longest_seconds: float = LONGEST_SECONDS,
) -> Delivered:
    """Send all that waits or was given up, whenever it was due.

    Raises:
        AlreadyRunningError: another process delivers, and does not end.
        StorageIOError: the outbox cannot be read or written.
    """
    configured = targets(settings)

    def open_ones() -> Due:
        return _chosen(outbox, configured, lambda entry, own, all_: entry.is_open(own, all_, now))

    one = _Round(outbox, configured, now, longest_seconds, Event())
    return _locked(one, open_ones, wait_seconds=longest_seconds + _PATIENCE_SECONDS)


def try_targets(
    settings: Settings, now: datetime, *, longest_seconds: float = LONGEST_SECONDS
) -> list[Tried]:
    """Send a test message to every target, now."""
    configured = targets(settings)
    test = Incident(
        key=f"test:{now.isoformat()}",
        rule="test",
        subject="alerts",
        urgency=Urgency.RESOLVED,
        title="this is a test of FluxHero's alerts",
        text="Alerts reach you here. Nothing has happened.",
        next_step="nothing; alerts look like this, and begin with Warning or Critical",
        at=now,
    )

    def tried(target: Target) -> Tried:
        outcomes = handed(target, [[test]], longest_seconds=longest_seconds)
        with closing(outcomes):
            return Tried(target, next(outcomes))

    with ThreadPoolExecutor(max_workers=max(len(configured), 1)) as threads:
        return list(threads.map(tried, configured))


def unreadable_targets(settings: Settings) -> list[DeliveryError]:
    """What is wrong with the URLs that Apprise cannot read. Nothing is sent."""
    configured = targets(settings)
    with ThreadPoolExecutor(max_workers=max(len(configured), 1)) as threads:
        return [error for error in threads.map(unreadable, configured) if error]


def _chosen(
    outbox: Outbox,
    configured: Sequence[Target],
    chosen: Callable[[Entry, str, Collection[str]], bool],
) -> Due:
    """What is to be sent to each target; only those to which anything is."""
    digests = tuple(target.digest for target in configured)
    entries = outbox.entries()
    each = {t: [one for one in entries if chosen(one, t.digest, digests)] for t in configured}
    return {target: found for target, found in each.items() if found}


def _locked(one: _Round, due: Callable[[], Due], *, wait_seconds: float) -> Delivered:
    """One process delivers at a time, and looks again at what is due once it may."""
    with locked(one.outbox.folder / LOCK, _busy, wait_seconds=wait_seconds):
        found = due()
        if found:
            one.deliver(found)
    return one.done


def _busy() -> AlreadyRunningError:
    return AlreadyRunningError(
        "another process is delivering alerts",
        next_step="wait for it: the night shift tries what is due by itself; or run this again",
    )
