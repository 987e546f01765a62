"""The courier: looks at the server and the data folder every few seconds, and queues what is to be told.

One works on a data folder. What it remembers is on disk, so one that was killed goes on where it was, and
one that was away catches up. A source that fails is asked less and less often and stops no other one.
Sending takes a thread of its own: a mail server that does not answer delays nothing that is looked for.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

from config.prefect_env import prefect_api_url
from config.settings import Settings
from fluxhero.alerts.automations import is_silenced
from fluxhero.alerts.dead_runs import lives_here
from fluxhero.alerts.delivery import deliver_due
from fluxhero.alerts.dues import dues_of
from fluxhero.alerts.folder_facts import FolderFacts
from fluxhero.alerts.incidents import Incident
from fluxhero.alerts.memory import Memory, memory_file, read_memory, write_memory
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.server_facts import ServerFacts
from fluxhero.alerts.sources import Moment, Source, Sources, utc_now
from fluxhero.errors import AlreadyRunningError, FluxHeroError, ServerError
from fluxhero.locks import locked
from fluxhero.night.server_api import ServerApi
from fluxhero.night.state import read_state

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = timedelta(seconds=5)
_MOST_BACK_OFF: Final = timedelta(seconds=60)
_ASLEEP: Final = timedelta(seconds=30)  # by which the clock ran ahead of the processor's own
_START_SECONDS: Final = 120.0  # that a server may take to start, and is not away
_STOPPED_WITHIN_SECONDS: Final = 5.0
# What a source may raise: ours, and what an answer of another shape makes of reading it.
_SOURCE_ERRORS: Final = (FluxHeroError, LookupError, TypeError, ValueError)

Tell = Callable[[Incident], bool]


class Courier:
    """Looks, and remembers what it has told; `look` is one round."""

    def __init__(
        self, data_dir: Path, facts: ServerFacts, sources: Sequence[Source], tell: Tell
    ) -> None:
        """Reads what is remembered.

        Args:
            data_dir: the data folder.
            facts: of the server.
            sources: what to look at.
            tell: queues an incident durably; False if its key was told before.

        Raises:
            StorageIOError: the operating system refuses.
        """
        self._data_dir = data_dir
        self._facts = facts
        self._sources = sources
        self._tell = tell
        now = utc_now()
        self.memory = read_memory(data_dir, now)
        if not memory_file(data_dir).exists():
            write_memory(data_dir, self.memory)
        self._awake_since = now
        self._back_since: datetime | None = None
        self._away_from: float | None = None
        self._start_seconds = _START_SECONDS
        self._clocks = (now, time.monotonic())
        self._due: dict[str, tuple[datetime, int]] = {}  # when a source is next asked, its failures

    def look(self) -> int:
        """Look at every source whose turn it is; returns how many incidents were queued."""
        moment = self._moment()
        told = 0
        for source in self._sources:
            due, failures = self._due.get(source.name, (moment.now, 0))
            if moment.now < due <= moment.now + _MOST_BACK_OFF:
                continue
            if source.asks_server and moment.back_since is None:
                continue
            try:
                told += self._look_at(source, moment)
            except _SOURCE_ERRORS as error:
                failures += 1
                pause = min(source.every * 2**failures, _MOST_BACK_OFF)
                logger.warning("%s: %s; again in %ds", source.name, error, pause.total_seconds())
                self._due[source.name] = (moment.now + pause, failures)
            else:
                self._due[source.name] = (moment.now + source.every, 0)
        return told

    def _look_at(self, source: Source, moment: Moment) -> int:
        incidents, memory = source.look(self.memory, moment)
        if incidents:
            memory = self._with_disabled(memory, moment)
        told = 0
        for incident in incidents:
            if is_silenced(incident, memory.disabled):
                logger.info("%s: not told, since switched off in the UI", incident.title)
            elif self._tell(incident):
                logger.warning("%s: %s", incident.urgency, incident.title)
                told += 1
        if memory != self.memory:
            write_memory(self._data_dir, memory)
            self.memory = memory
        return told

    def _with_disabled(self, memory: Memory, moment: Moment) -> Memory:
        """Which automations are switched off now; while nobody answers, as it was last known."""
        if moment.back_since is None:
            return memory
        try:
            return memory.model_copy(update={"disabled": self._facts.disabled()})
        except ServerError as error:
            logger.warning("%s; going by which automations were switched off before", error)
            return memory

    def _moment(self) -> Moment:
        now, monotonic = utc_now(), time.monotonic()
        passed = timedelta(seconds=monotonic - self._clocks[1])
        if abs(now - self._clocks[0] - passed) > _ASLEEP:
            logger.info(
                "the machine slept, or its clock was set; what was due meanwhile is not missed"
            )
            self._awake_since = now
            self._back_since = now if self._back_since else None
        self._clocks = (now, monotonic)
        if self._facts.healthy():
            self._back_since = self._back_since or now
            self._away_from, self._start_seconds = None, 0.0
            return Moment(now, self._awake_since, self._back_since, timedelta())
        self._back_since = None
        if self._away_from is None:
            self._away_from = monotonic + self._start_seconds
        # Never zero, which would say that it answers.
        away = timedelta(seconds=max(monotonic - self._away_from, 0), microseconds=1)
        return Moment(now, self._awake_since, None, away)


def watch(settings: Settings) -> None:
    """Look and deliver until told to stop (SIGTERM or SIGINT).

    Args:
        settings: name the data folder and where alerts go.

    Raises:
        AlreadyRunningError: another courier works on this data folder.
        StorageIOError: the operating system refuses what is needed to begin.
    """
    data_dir = settings.data_dir
    stop = threading.Event()
    api_url = prefect_api_url() or f"http://{settings.prefect_host}:{settings.prefect_port}/api"
    lock = memory_file(data_dir).with_suffix(".lock")
    with locked(lock, lambda: _busy(data_dir)), _told_to_stop(stop), ServerApi(api_url) as api:
        facts = ServerFacts(api)
        sources = Sources(
            facts,
            FolderFacts(data_dir),
            api_url=api_url,
            ui_url=_ui_url(settings, api_url),
            due_after=dues_of(Path.cwd(), settings.exchange),
            run_limit=timedelta(minutes=settings.run_limit_minutes),
            history=timedelta(days=settings.history_days),
            lives=lives_here,
        )
        courier = Courier(data_dir, facts, sources.all(), Outbox(data_dir).tell)
        sender = threading.Thread(target=_deliver, args=(settings, stop), daemon=True)
        sender.start()
        logger.info("watching %s and %s", api_url, data_dir)
        while not stop.is_set():
            courier.look()
            stop.wait(LOOK_EVERY.total_seconds())
        sender.join(_STOPPED_WITHIN_SECONDS)  # what it does not finish, the next courier sends


def _deliver(settings: Settings, stop: threading.Event) -> None:
    """Send what is due until told to stop."""
    outbox = Outbox(settings.data_dir)
    while not stop.is_set():
        try:
            deliver_due(settings, outbox, utc_now(), stop=stop)
        except FluxHeroError as error:
            logger.warning("alerts wait: %s", error)
        stop.wait(LOOK_EVERY.total_seconds())


@contextmanager
def _told_to_stop(stop: threading.Event) -> Iterator[None]:
    """Within the block, SIGTERM and SIGINT set the event."""

    def told(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {one: signal.signal(one, told) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _busy(data_dir: Path) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another courier watches {data_dir}",
        next_step="see with `fluxhero status` which night shift runs; `fluxhero down` ends it",
    )


def _ui_url(settings: Settings, api_url: str) -> str:
    if settings.prefect_ui_url:
        return settings.prefect_ui_url.rstrip("/")
    state = read_state(settings.data_dir)
    return state.ui_url.rstrip("/") if state else api_url.removesuffix("/api")
