"""What `/ws` is told of: news only, each once, whatever is damaged or missing meanwhile."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from config.loading import load_settings
from fluxhero.api.app import create_app
from fluxhero.api.services import Event, EventKind, NoRuns, Services
from fluxhero.api.sources import Sources
from fluxhero.api.watcher import Watcher, watch
from fluxhero.integrity.catalogue import RULES
from fluxhero.integrity.findings import Area
from fluxhero.integrity.results import errored, failed, passed
from fluxhero.metrics.breaker import reset
from fluxhero.metrics.breaker_record import path_of
from tests.api.asking import Clock
from tests.api.filled import (
    DAMAGED,
    EXPOSED,
    NOW,
    SOUND,
    STEP,
    check,
    rule,
    samples_of,
    scribble,
    take,
    trip,
)
from tests.api.server import TOKEN


def watcher_of(clock: Clock) -> Watcher:
    return Watcher(Sources(load_settings(env_file=None), clock), clock)


def told(events: list[Event]) -> list[tuple[str, str, str]]:
    """Kind, source and level of each."""
    return [(e.kind, e.data.get("source", ""), e.data.get("level", "")) for e in events]


def test_only_news_is_told_and_each_once(data: Path) -> None:
    clock = Clock()
    watcher = watcher_of(clock)
    assert watcher.look() == []
    take(data, NOW)
    (event,) = watcher.look()
    assert (event.kind, event.at) == (EventKind.SNAPSHOT, NOW)
    assert event.data["accounts"][0]["equity"] == 120_000
    assert watcher.look() == []

    trip(data, "127500", NOW)
    trip(data, "120000", NOW)
    (event,) = watcher.look()
    assert event.data["title"] == "Drawdown breaker of live: ok → critical"
    assert event.data["text"]
    reset(data, None, "looked at it", now=NOW)
    assert told(watcher.look()) == [("alert", "breaker", "ok")]

    check(data, NOW, [DAMAGED])
    check(data, NOW, [EXPOSED], Area.LIMITS)
    events = watcher.look()
    assert told(events) == [("alert", "storage", "critical"), ("alert", "limits", "critical")]
    assert events[0].data["objects"] == ["archive/trades/a.parquet"]
    assert events[0].data["title"] == "files.sha256: archive/trades/a.parquet"
    assert events[0].data["text"] == "its bytes have changed"
    clock.move(STEP)
    check(data, NOW + STEP, [DAMAGED])  # known by now
    assert watcher.look() == []
    clock.move(STEP)
    check(data, NOW + 2 * STEP, [SOUND])
    (event,) = watcher.look()
    assert event.data["title"] == "Resolved: files.sha256"
    kept = passed(rule("limits.exposure"), "live")
    check(data, NOW + 2 * STEP, [kept], Area.LIMITS)
    assert told(watcher.look()) == [("alert", "limits", "ok")]

    clock.move(STEP)
    # However many objects break a rule, it is said once; what could not be told is no proof of a fault.
    many = [failed(rule("files.stray"), f"{n:02}", "stray") for n in range(30)]
    check(data, NOW + 3 * STEP, [*many, errored(rule("store.sound"), "the store", "it is locked")])
    stray, untold = watcher.look()
    assert stray.data["title"] == "files.stray: 00, 01, 02, 03, 04 and 25 more"
    assert stray.data["text"] == "00: stray (and 29 more objects)"
    assert (stray.data["level"], stray.data["count"]) == ("warning", 30)
    assert untold.data["title"] == "store.sound could not be told: the store"
    assert (untold.data["level"], untold.data["severity"]) == ("warning", "critical")
    clock.move(STEP)
    check(data, NOW + 4 * STEP, [failed(one, "x", "wrong") for one in RULES[:25]])
    events = [event for event in watcher.look() if event.data["level"] != "ok"]
    assert len(events) == 21
    assert events[-1].data["title"] == f"Findings of {25 - 20} more rules"


def test_what_was_there_before_is_no_news(night: Path) -> None:
    assert watcher_of(Clock()).look() == []


def test_damage_and_clocks_are_survived(night: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    watcher = watcher_of(clock)
    watcher.look()
    clock.move(STEP)
    for path in (take(night, NOW + STEP), check(night, NOW + STEP, [SOUND])):
        scribble(path)
    assert watcher.look() == []  # what was before is all that can be read
    clock.move(timedelta(days=-30))
    assert (
        watcher.look() == []
    )  # nothing had been measured then, and nothing found: that resolves nothing
    clock.move(timedelta(days=30))
    assert ("snapshot", "", "") in told(watcher.look())
    # A record of the breaker that is damaged counts as critical in every mode; live was already.
    scribble(path_of(night))
    events = watcher.look()
    assert told(events) == [("alert", "breaker", "critical")] * 2
    assert str(night) not in str(events)
    # One that cannot be read at all is said once, and is no news.
    path_of(night).unlink()
    path_of(night).mkdir()
    assert watcher.look() == watcher.look() == []
    mine = [one.getMessage() for one in caplog.records if one.name == "fluxhero.api.watcher"]
    assert [text.split(":")[0] for text in mine] == ["cannot watch the drawdown breaker"]
    shutil.rmtree(night / "snapshots")
    (night / "snapshots").symlink_to("snapshots")  # leads nowhere
    assert watcher.look() == []
    every = list((night / "findings").glob("*.parquet"))
    for path in every:
        scribble(path)
    assert watcher.look() == []  # not resolved: unknown


def test_listeners_hear_of_a_snapshot(data: Path) -> None:
    app = create_app(load_settings(env_file=None, auth_secret=TOKEN), runs=NoRuns(), clock=Clock())
    services: Services = app.state.services

    async def listen() -> Event | None:
        async with services.hub.subscribe() as queue:
            task = asyncio.create_task(watch(services, every=0.01))
            await asyncio.sleep(0.2)
            take(data, NOW, samples_of(1.0))
            try:
                return await asyncio.wait_for(queue.get(), 20)
            finally:
                task.cancel()

    event = asyncio.run(listen())
    assert event is not None
    assert event.data["accounts"][0]["equity"] == 1
