"""Runs whose processes are killed, with real servers, workers and heartbeats: minutes each."""

import time
from pathlib import Path

import pytest

from fluxhero.alerts import rules
from tests.alerts.servers import Night, night
from tests.waiting import wait_for

CRASHED_WITHIN = 120.0  # seconds from the kill: what the product promises
HEARD_WITHIN = 60.0  # and from a server's return, if that took longer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def running(made: Night, *runs: str) -> bool:
    """Whether runs and subflows, two at least, are at work."""
    states = made.states()
    at_work = [run for run, (name, _) in states.items() if name == "Running"]
    return all(run in at_work for run in runs) and len(at_work) > len(runs)


def crashed(made: Night) -> set[str]:
    return {run for run, (name, _) in made.states().items() if name == "Crashed"}


def test_killed_runs_become_crashed_in_time_and_no_others(tmp_path: Path) -> None:
    with night(tmp_path) as made:
        made.start_courier()
        parent, alone, failing = (
            made.run(made.deployment(name), seconds=seconds)
            for name, seconds in (("parent", 600), ("alone", 150), ("failing", 0))
        )
        wait_for(lambda: made.state(failing) == "Failed", 180)
        wait_for(lambda: running(made, parent, alone), 180)
        child = next(run for run in made.states() if run not in {parent, alone, failing})
        time.sleep(35)  # the first heartbeats are over
        made.kill_run(parent)
        wait_for(lambda: crashed(made) >= {parent, child}, CRASHED_WITHIN)
        assert made.states()[parent][1] == rules.HEARTBEAT_LOST_MESSAGE
        wait_for(lambda: made.state(alone) == "Completed", 300)
        wait_for(lambda: f"run:{failing}:failed" in made.alerts(), 60)
        assert crashed(made) == {parent, child}
        assert [key for key in made.alerts() if "crashed" in key] == [f"run:{parent}:crashed"]


def test_a_server_that_was_killed_too_finds_killed_runs_and_spares_those_that_live(
    tmp_path: Path,
) -> None:
    with night(tmp_path) as made:
        made.start_courier()
        dead = made.run(made.deployment("parent"), seconds=900)
        alive = made.run(made.deployment("alone"), seconds=900)
        wait_for(lambda: running(made, dead, alive), 180)
        child = next(run for run in made.states() if run not in {dead, alive})
        time.sleep(35)
        made.kill_run(dead)
        made.kill_server()
        began = time.monotonic()
        time.sleep(75)  # a run's last heartbeat is too old by then, and the server forgets it
        made.start_server()
        back = time.monotonic()
        wait_for(lambda: crashed(made) >= {dead, child}, CRASHED_WITHIN + 60)
        ended = time.monotonic()
        assert ended - began < CRASHED_WITHIN or ended - back < HEARD_WITHIN
        wait_for(lambda: f"run:{dead}:crashed" in made.alerts(), 60)
        time.sleep(60)  # two more heartbeats
        assert made.state(alive) == "Running"
        crashes = [key for key in made.alerts() if "crashed" in key]
        assert crashes == [f"run:{dead}:crashed"]
