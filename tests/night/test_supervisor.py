"""What starts when, what is started again, and how all of it ends; with programs of the test's own."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from fluxhero.errors import NightShiftError, ServerError
from fluxhero.night import back_off, leftovers, step, supervised, supervisor
from fluxhero.night.state import NightState, Part, last_state, read_state
from tests.night.stand_ins import DEAF, Watched, stand_in


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "SETTLED_SECONDS", 0.2)
    monkeypatch.setattr(back_off, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "BUSY_TICK_SECONDS", 0.02)
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.05)


def pid_of(state: NightState, part: Part) -> int | None:
    return next(one.pid for one in state.parts if one.part is part)


def stands(state: NightState, part: Part) -> str:
    return next(str(one.standing) for one in state.parts if one.part is part)


def restarts(state: NightState, part: Part) -> int:
    return next(one.restarts for one in state.parts if one.part is part)


def test_everything_comes_up_and_nothing_is_left(tmp_path: Path) -> None:
    place = stand_in(tmp_path)
    seen = Watched(place, tuple(Part), lambda state: state.all_up).run()
    first_up = {part: next(s for s in seen.states if pid_of(s, part)) for part in Part}
    assert pid_of(first_up[Part.SERVER], Part.WORKER) is None
    assert all(seen.of(part) == ["starting", "up", "stopping", "stopped"] for part in Part)
    assert (tmp_path / "data" / "caught-up").read_text() == "x"
    ended = {
        part: next(n for n, s in enumerate(seen.states) if stands(s, part) == "stopped")
        for part in Part
    }
    assert sorted(Part, key=lambda part: ended[part]) == [
        Part.WORKER,
        Part.ALERTS,
        Part.API,
        Part.SERVER,
    ]
    assert leftovers.find(place.token) == []


def test_the_state_is_there_for_others_meanwhile(tmp_path: Path) -> None:
    place = stand_in(tmp_path)
    found: list[NightState | None] = []

    def enough(state: NightState) -> bool:
        found.append(read_state(tmp_path / "data"))
        return state.all_up

    Watched(place, (Part.SERVER,), enough).run()
    assert found[-1] is not None
    assert found[-1].all_up
    assert found[-1].pid == os.getpid()
    last = last_state(tmp_path / "data")
    assert last is not None
    assert [str(part.standing) for part in last.parts] == ["stopped"]


def test_a_part_that_is_killed_is_started_again(tmp_path: Path) -> None:
    killed: list[int] = []

    def enough(state: NightState) -> bool:
        if state.all_up and not killed:
            killed.append(pid_of(state, Part.WORKER) or 0)
            os.kill(killed[0], signal.SIGKILL)
            return False
        return bool(killed) and state.all_up and restarts(state, Part.WORKER) == 1

    seen = Watched(stand_in(tmp_path), (Part.SERVER, Part.WORKER), enough).run()
    last = seen.states[-1].parts[1]
    assert last.problem == "ended by SIGKILL"
    assert "waiting to start again" in seen.of(Part.WORKER)
    # Before its first start and before the second one.
    assert (tmp_path / "data" / "caught-up").read_text() == "xx"


def test_what_a_part_said_last_is_its_problem(tmp_path: Path) -> None:
    place = stand_in(
        tmp_path, alerts="print('\\x1b[31mno such mailbox\\x1b[0m'); raise SystemExit(4)"
    )
    seen = Watched(place, (Part.SERVER, Part.ALERTS), lambda s: restarts(s, Part.ALERTS) > 2).run()
    assert seen.states[-1].parts[1].problem == "ended with status 4: no such mailbox"


def test_a_server_that_hangs_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "HANGING_SECONDS", 0.5)
    monkeypatch.setattr(supervised, "HANGING_FAILURES", 2)
    monkeypatch.setattr("fluxhero.night.health.LATER_SECONDS", 0.1)
    monkeypatch.setattr("fluxhero.night.health.SOON_SECONDS", 0.05)
    monkeypatch.setattr("fluxhero.night.health.ANSWER_SECONDS", 0.3)
    hang = tmp_path / "data" / "hang"
    hung: list[bool] = []

    def enough(state: NightState) -> bool:
        if state.all_up and not hung:
            hung.append(True)
            hang.touch()
        if restarts(state, Part.SERVER):
            hang.unlink(missing_ok=True)
            return state.all_up
        return False

    seen = Watched(stand_in(tmp_path), (Part.SERVER,), enough).run()
    problem = seen.states[-1].parts[0].problem or ""
    assert problem.startswith("did not answer for")


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "START_SECONDS", 0.3)
    place = stand_in(
        tmp_path, server="import time; print('database is locked', flush=True); time.sleep(60)"
    )
    with pytest.raises(NightShiftError, match="database is locked") as raised:
        Watched(place, tuple(Part), lambda _: False).run()
    assert "server.log" in raised.value.next_step
    assert leftovers.find(place.token) == []


def test_somebody_elses_server_that_is_away_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SERVER_AWAY_SECONDS", 0.3)
    place = stand_in(tmp_path, own_server=False)
    with pytest.raises(ServerError, match=place.api_url) as raised:
        Watched(place, (Part.WORKER,), lambda _: False).run()
    assert "PREFECT_API_URL" in raised.value.next_step


def test_deployments_that_cannot_be_applied_are_tried_again_and_shown(tmp_path: Path) -> None:
    script = (
        "import pathlib; f = pathlib.Path('tries'); f.touch(); n = len(f.read_text()); f.write_text('x' * (n + 1))\n"
        "if n < 2: raise SystemExit('the pool is away')"
    )
    place = stand_in(tmp_path, apply=script)
    tries = tmp_path / "data" / "tries"

    def enough(state: NightState) -> bool:
        done = tries.exists() and len(tries.read_text()) > 2
        return done and state.all_up and not state.notices

    seen = Watched(place, (Part.SERVER, Part.WORKER), enough).run()
    notices = {notice for state in seen.states for notice in state.notices}
    assert notices == {
        "bringing deployments up to date: failed, ended with status 1: the pool is away"
    }


def test_a_step_that_takes_too_long_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "LONGEST_SECONDS", 0.2)
    place = stand_in(tmp_path, catch_up="import time; time.sleep(60)")
    seen = Watched(place, (Part.SERVER, Part.WORKER), lambda state: state.all_up).run()
    assert any("was killed" in notice for notice in seen.states[-1].notices)
    assert leftovers.find(place.token) == []


def test_after_the_clock_jumped_schedules_are_caught_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught_up = tmp_path / "data" / "caught-up"
    real = time.time
    slept: list[float] = []
    monkeypatch.setattr(time, "time", lambda: real() + sum(slept))

    def enough(state: NightState) -> bool:
        if state.all_up and not slept:
            slept.append(3600)
        return caught_up.exists() and len(caught_up.read_text()) == 2

    Watched(stand_in(tmp_path), (Part.SERVER, Part.WORKER), enough).run()
    assert caught_up.read_text() == "xx"


def test_what_a_worker_has_started_ends_with_it_and_one_that_is_deaf_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(supervisor, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(supervisor, "WORKER_PATIENCE_SECONDS", 0.5)
    starts = (
        "import subprocess, sys, pathlib\n"
        f"p = subprocess.Popen([sys.executable, '-c', {DEAF!r}], start_new_session=True)\n"
        "pathlib.Path('run').write_text(str(p.pid))\n"
    )
    run = tmp_path / "data" / "run"
    place = stand_in(tmp_path, worker=starts + DEAF)
    pids: list[int] = []

    def enough(state: NightState) -> bool:
        log = tmp_path / "data" / "night" / "logs" / "worker.log"
        ready = log.exists() and log.read_text().count("deaf") == 2
        if ready:
            pids.extend([int(run.read_text()), pid_of(state, Part.WORKER) or 0])
        return ready

    Watched(place, (Part.SERVER, Part.WORKER), enough).run()
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_second_signal_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stand_in(tmp_path, worker=DEAF)
    log = tmp_path / "data" / "night" / "logs" / "worker.log"
    asked: list[int] = []

    def hurried(state: NightState) -> None:
        if not asked and any(str(part.standing) == "stopping" for part in state.parts):
            asked.append(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    def enough(_state: NightState) -> bool:
        return log.exists() and "deaf" in log.read_text()

    with monkeypatch.context() as patience:
        patience.setattr(supervisor, "WORKER_PATIENCE_SECONDS", 3600)
        seen = Watched(place, (Part.SERVER, Part.WORKER), enough, hurried).run()
    assert asked
    assert seen.of(Part.WORKER)[-1] == "stopped"
    assert leftovers.find(place.token) == []


def test_a_full_disk_ends_no_night_shift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fluxhero.errors import StorageIOError

    calls: list[int] = []

    def full(*_: object) -> None:
        calls.append(1)
        raise StorageIOError("could not write night.json: no space left", next_step="make room")

    monkeypatch.setattr(supervisor, "write_state", full)
    seen = Watched(stand_in(tmp_path), (Part.SERVER,), lambda s: s.all_up and len(calls) > 5).run()
    assert seen.of(Part.SERVER)[-1] == "stopped"
    assert caplog.text.count("no space left") == 1  # said once
