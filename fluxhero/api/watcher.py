"""Watches the data folder and tells `/ws` what is new: snapshots, the drawdown breaker, findings.

It compares what the sources say now with what they said before. What is there at the start is no news;
what cannot be read is neither news nor a reason to stop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from fluxhero.api.measured import accounts
from fluxhero.api.services import Event, EventKind, Services
from fluxhero.api.sources import Checked, Sources
from fluxhero.errors import FluxHeroError
from fluxhero.integrity.findings import Area, Finding
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Severity
from fluxhero.metrics.breaker_record import BreakerState, Level
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
MOST_ALERTS: Final = 20  # rules of one look; more are told of in one sentence
MOST_NAMED: Final = 5  # objects of one rule

T = TypeVar("T")
_Fault = tuple[Area, str, str]


async def watch(services: Services, every: float = POLL_SECONDS) -> None:
    """Publish what is new until cancelled."""
    watcher = Watcher(services.sources, services.clock)
    while True:
        for event in await asyncio.to_thread(watcher.look):
            services.hub.publish(event)
        await asyncio.sleep(every)


@dataclass
class _Seen:
    """What was known at the last look; None until it could first be read."""

    run: str | None = None
    looked: bool = False
    breaker: dict[str, BreakerState] | None = None
    faults: dict[Area, dict[_Fault, Finding] | None] = field(
        default_factory=lambda: dict.fromkeys(Area)
    )


class Watcher:
    """What changed since the last look."""

    def __init__(self, sources: Sources, clock: Callable[[], datetime]) -> None:
        """Looks at nothing yet."""
        self._sources = sources
        self._clock = clock
        self._seen = _Seen()
        self._silent: set[str] = set()

    def look(self) -> list[Event]:
        """The news since the last look; of the first one, none."""
        at = self._clock()
        return [*self._of_snapshot(at), *self._of_breaker(at), *self._of_findings(at)]

    def _of_snapshot(self, at: datetime) -> Iterator[Event]:
        taken = self._asked("the newest snapshot", self._sources.snapshot)
        if taken is None:
            return
        snapshot, seen = taken.latest.snapshot, self._seen
        run = snapshot.run if snapshot else None
        if snapshot and seen.looked and run != seen.run:
            lines = [line.model_dump(mode="json") for line in accounts(taken.measured)]
            yield Event(EventKind.SNAPSHOT, at, {"run": run, "accounts": lines})
        seen.run, seen.looked = run, True

    def _of_breaker(self, at: datetime) -> Iterator[Event]:
        read = self._asked("the drawdown breaker", self._sources.breaker)
        if read is None:
            return
        before, now = self._seen.breaker, {state.mode: state for state in read}
        self._seen.breaker = now
        for mode, state in now.items():
            known = before.get(mode) if before is not None else None
            level = known.level if known else Level.OK
            if before is not None and level is not state.level:
                title = f"Drawdown breaker of {mode}: {level} → {state.level}"
                more = {"mode": mode, "before": str(level)}
                yield _alert(at, "breaker", str(state.level), title, state.reason, **more)

    def _of_findings(self, at: datetime) -> Iterator[Event]:
        for area in Area:
            checked = self._asked(f"the findings of {area}", self._checked(area))
            before = self._seen.faults[area]
            if checked is None or (checked.run is None and (checked.unreadable or before)):
                continue  # nobody knows: that resolves nothing
            now = {
                (area, one.rule, one.object): one for one in checked.findings if one.state.counts
            }
            self._seen.faults[area] = now
            if before is not None:
                yield from _changes(at, area, before, now)

    def _checked(self, area: Area) -> Callable[[], Checked]:
        return lambda: self._sources.checked(area)

    def _asked(self, what: str, read: Callable[[], T]) -> T | None:
        """What a source says; None where it cannot be read, which is logged once until it can."""
        try:
            answer = read()
        except FluxHeroError as error:
            if what not in self._silent:
                logger.warning("cannot watch %s: %s", what, error)
                self._silent.add(what)
            return None
        self._silent.discard(what)
        return answer


def _changes(
    at: datetime, area: Area, before: dict[_Fault, Finding], now: dict[_Fault, Finding]
) -> Iterator[Event]:
    """What is new and what is gone, a sentence for each rule however many objects break it."""
    fresh = _by_rule(one for fault, one in now.items() if fault not in before)
    gone = _by_rule(one for fault, one in before.items() if fault not in now)
    for group in fresh[:MOST_ALERTS]:
        yield _alert(at, area, _level(group), _title(group), _text(group), **_details(group))
    if len(fresh) > MOST_ALERTS:
        rest = fresh[MOST_ALERTS:]
        level = _level([one for group in rest for one in group])
        more = f"Findings of {counted(len(rest), 'more rule')}"
        yield _alert(at, area, level, more, f"{more}: `/api/findings` has all.")
    for group in gone[:MOST_ALERTS]:
        text = f"{group[0].rule} on {_objects(group)} is not found any more, or is waived."
        yield _alert(at, area, "ok", f"Resolved: {group[0].rule}", text, **_details(group))


def _by_rule(findings: Iterable[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[str, Outcome], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.rule, one.outcome), []).append(one)
    return list(groups.values())


def _title(group: Sequence[Finding]) -> str:
    untold = " could not be told" if group[0].outcome is Outcome.ERRORED else ""
    return f"{group[0].rule}{untold}: {_objects(group)}"


def _text(group: Sequence[Finding]) -> str:
    if len(group) == 1:
        return group[0].observed
    return f"{group[0].object}: {group[0].observed} (and {counted(len(group) - 1, 'more object')})"


def _objects(group: Sequence[Finding]) -> str:
    named = ", ".join(one.object for one in group[:MOST_NAMED])
    more = len(group) - MOST_NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _level(group: Iterable[Finding]) -> str:
    """Critical where something is known to be wrong; a check that could not be done is a warning."""
    wrong = any(
        one.outcome is Outcome.FAILED and one.severity is not Severity.WARNING for one in group
    )
    return "critical" if wrong else "warning"


def _details(group: Sequence[Finding]) -> dict[str, Any]:
    return {
        "rule": group[0].rule,
        "objects": [one.object for one in group[:MOST_NAMED]],
        "severity": str(group[0].severity),
        "count": sum(one.count for one in group),
    }


def _alert(at: datetime, source: str, level: str, title: str, text: str, **more: Any) -> Event:
    data = {"source": str(source), "level": level, "title": title, "text": text, **more}
    return Event(EventKind.ALERT, at, data)
