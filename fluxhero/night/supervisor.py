"""The supervisor: what starts when, what waits for what, and how all of it ends.

The order: the Prefect server until it answers; then the operations page and the courier, and the
deployments are brought up to date; then missed schedules are caught up with, and the worker starts.
"""

import logging
import os
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from fluxhero.errors import FluxHeroError, NightShiftError, ServerError
from fluxhero.night import leftovers
from fluxhero.night.health import Watch
from fluxhero.night.logs import last_lines
from fluxhero.night.parts import Place
from fluxhero.night.signals import StopSignals
from fluxhero.night.state import NightState, Part, Standing, process_created, write_state
from fluxhero.night.step import Step
from fluxhero.night.supervised import Supervised

TICK_SECONDS: Final = 1.0
BUSY_TICK_SECONDS: Final = 0.2  # while something is starting
JUMP_SECONDS: Final = 60.0
SERVER_AWAY_SECONDS: Final = 30.0  # for somebody else's server, at the start
FAILED_STARTS: Final = 3
PATIENCE_SECONDS: Final = 10.0
WORKER_PATIENCE_SECONDS: Final = 20.0
_BOUND_SECONDS: Final = 30.0
_STOP_ORDER: Final = (Part.WORKER, Part.ALERTS, Part.API, Part.SERVER)
_SHOWN_LINES: Final = 5

Told = Callable[[NightState], None]
_log = logging.getLogger(__name__)


class Supervisor:
    """Runs a night shift until it is told to stop.

    Args:
        place: where it works.
        parts: those that it is to run.
        notices: what is to be said from the start.
        told: called with the state whenever it changes.
        beat: called with the same state again and again, about every second.
    """

    def __init__(
        self,
        place: Place,
        parts: Collection[Part],
        notices: Collection[str],
        *,
        told: Told = lambda _state: None,
        beat: Told = lambda _state: None,
    ) -> None:
        self._place = place
        urls = {Part.SERVER: place.ui_url, Part.API: place.page_url}
        self._parts = {
            part: Supervised(part, place.part(part), urls.get(part))
            for part in Part
            if part in parts
        }
        self._notices = tuple(notices)
        self._told = told
        self._beat = beat
        self._apply = Step(place.apply(), "bringing deployments up to date", until_done=True)
        self._catch_up = Step(place.catch_up(), "catching up with schedules", until_done=False)
        health = {part: one.command.health_url for part, one in self._parts.items()}
        health[Part.SERVER] = f"{place.api_url}/health"
        self._watch = Watch({part: url for part, url in health.items() if url is not None})
        self._started_at = datetime.now(UTC)
        self._created = process_created(os.getpid())
        self._began = time.monotonic()
        self._server_seen = False
        self._worker_prepared = False
        self._said: NightState | None = None
        self._written = True
        self._clock = time.time() - time.monotonic()
        self._bounded = 0.0

    @property
    def state(self) -> NightState:
        """As others may read it."""
        steps = (self._apply.problem, self._catch_up.problem)
        return NightState(
            token=self._place.token,
            pid=os.getpid(),
            created=self._created,
            started_at=self._started_at,
            api_url=self._place.api_url,
            ui_url=self._place.ui_url,
            page_url=self._place.page_url if Part.API in self._parts else None,
            parts=tuple(part.state for part in self._parts.values()),
            notices=(*self._notices, *(step for step in steps if step)),
        )

    def run(self, signals: StopSignals) -> str:
        """Supervise until a signal comes, then end everything.

        Returns:
            The signal's name.

        Raises:
            NightShiftError: the server does not come up.
            ServerError: somebody else's does not answer.
        """
        self._watch.start()
        try:
            while (signal := signals.take()) is None:
                self._tick(time.monotonic())
                self._publish()
                busy = not all(part.is_up for part in self._parts.values())
                signals.wait(BUSY_TICK_SECONDS if busy else TICK_SECONDS)
            return signal
        finally:
            self._watch.stop()
            self._stop(signals)

    def _tick(self, now: float) -> None:
        for part, one in self._parts.items():
            one.look(now, self._watch.of(part))
        self._check_server(now)
        self._look_at_clock(now)
        for part, one in self._parts.items():
            if one.due(now) and self._may_start(part, now):
                self._watch.started(part)
                one.start(now)
        if Part.WORKER in self._parts and self._server_answers:
            self._apply.tick(now)
            self._catch_up.tick(now)
        if now - self._bounded > _BOUND_SECONDS:
            self._bounded = now
            for one in self._parts.values():
                one.bound_log()

    @property
    def _server_answers(self) -> bool:
        if server := self._parts.get(Part.SERVER):
            return server.is_up
        return self._watch.of(Part.SERVER).failures == 0 and self._server_seen

    def _check_server(self, now: float) -> None:
        """Raise if the server has not been seen and is not to be waited for any longer."""
        if self._watch.of(Part.SERVER).answered is not None and not self._server_seen:
            self._server_seen = True
            self._apply.ask(now)
        if self._server_seen:
            return
        server = self._parts.get(Part.SERVER)
        if server is None:
            if now - self._began > SERVER_AWAY_SECONDS:
                raise ServerError(
                    f"the Prefect server at {self._place.api_url} does not answer",
                    next_step="start it, or remove PREFECT_API_URL from the environment, .env and Prefect's"
                    " profile: `fluxhero up` then starts one of its own",
                )
        elif server.failed_starts >= FAILED_STARTS:
            raise NightShiftError(
                "the Prefect server does not start. It said last:\n  "
                + "\n  ".join(last_lines(server.command.log, _SHOWN_LINES) or ["nothing"])
                + "\n",
                next_step=f"its log is {server.command.log}; correct what it says, then `fluxhero up` again",
            )

    def _may_start(self, part: Part, now: float) -> bool:
        if part is Part.SERVER:
            return True
        if part is not Part.WORKER:
            return self._server_seen
        if not (self._server_answers and self._apply.attempted):
            return False
        if not self._worker_prepared:
            self._worker_prepared = True
            self._catch_up.ask(now)
        if not self._catch_up.attempted:
            return False
        self._worker_prepared = False  # the next start is to be prepared again
        return True

    def _look_at_clock(self, now: float) -> None:
        """Catch up if the machine slept or its clock was set: schedules may have passed unseen."""
        clock = time.time() - now
        jumped, self._clock = clock - self._clock, clock
        if abs(jumped) > JUMP_SECONDS and self._apply.attempted:
            _log.warning("the clock jumped by %.0f s: catching up with schedules", jumped)
            self._catch_up.ask(now)

    def _publish(self) -> None:
        """Write the state if it changed, log what did, and tell."""
        state = self.state
        if self._said is None or state != self._said or not self._written:
            self._write(state)
            self._log_changes(state)
            self._said = state
            self._told(state)
        self._beat(self._said)

    def _write(self, state: NightState) -> None:
        try:
            write_state(self._place.settings.data_dir, state)
            self._written = True
        except FluxHeroError as error:  # a full disk ends no night shift
            if self._written:
                _log.warning("%s", error)
            self._written = False

    def _log_changes(self, state: NightState) -> None:
        before = {part.part: part for part in self._said.parts} if self._said else {}
        for part in state.parts:
            if before.get(part.part) != part:
                waits = part.standing is Standing.WAITING
                problem = f" ({part.problem})" if waits else ""
                _log.info("%s: %s%s", part.part, part.standing, problem)

    # ---- the end

    def _stop(self, signals: StopSignals) -> None:
        """End everything: the runs first, while their worker sees it and the server can be told."""
        for step in (self._apply, self._catch_up):
            step.end(0 if signals.wait(0) else PATIENCE_SECONDS)
        for part in self._parts.values():
            part.stopping()
        self._publish()
        for kind in _STOP_ORDER:
            if kind not in self._parts:
                continue
            if kind is Part.WORKER:
                self._end_runs(signals)
            patience = WORKER_PATIENCE_SECONDS if kind is Part.WORKER else PATIENCE_SECONDS
            self._parts[kind].end(patience, hurry=lambda: signals.wait(0))
            if kind is Part.WORKER:
                self._end_runs(signals)  # that began meanwhile
            self._publish()
        leftovers.end(self._place.token, since=self._created, patience_seconds=0)

    def _end_runs(self, signals: StopSignals) -> None:
        """End what the worker has started.

        By SIGTERM a run tells the server that it crashed; of one that has to be killed the worker tells
        it. A worker that is stopped leaves its runs going, and one whose worker is gone cannot even say
        that it ends: its output leads nowhere.
        """
        pids = [part.process.pid for part in self._parts.values() if part.process is not None]
        leftovers.end(
            self._place.token,
            since=self._created,
            spared=pids,
            patience_seconds=0 if signals.wait(0) else PATIENCE_SECONDS,
        )
