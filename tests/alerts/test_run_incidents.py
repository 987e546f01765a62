"""What is told of runs and of the server, once a change of level."""

from datetime import timedelta

from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.memory import Memory
from fluxhero.alerts.run_incidents import (
    OVERLAP,
    away_incidents,
    ended_incidents,
    late_incidents,
)
from fluxhero.alerts.server_facts import Run
from tests.alerts.made import MEMORY, START, a_run, minutes, page


def told_of(runs: list[Run], memory: Memory = MEMORY) -> tuple[list[Incident], Memory]:
    return ended_incidents(runs, memory, page)


def late_at(
    runs: list[Run], memory: Memory = MEMORY, after: float = 30
) -> tuple[list[Incident], Memory]:
    return late_incidents(runs, memory, START + minutes(after), page)


def away_for(
    seconds: float, memory: Memory = MEMORY, after: float = 30
) -> tuple[list[Incident], Memory]:
    return away_incidents(
        "http://there/api", memory, START + minutes(after), timedelta(seconds=seconds)
    )


def test_a_run_that_succeeds_is_not_told_of() -> None:
    incidents, memory = told_of([a_run()])
    assert incidents == []
    assert memory.ended == {"nightly": START + minutes(1)}


def test_ten_runs_that_fail_are_told_of_once_and_their_recovery_once() -> None:
    runs = [a_run("FAILED", number) for number in range(1, 11)]
    (first,), memory = told_of(runs)
    assert first.key == f"run:{runs[0].id}:failed"
    assert first.rule == "run-failed"
    assert first.urgency is Urgency.CRITICAL
    assert "check: 3 findings" in first.text
    assert first.url == f"http://ui/{runs[0].id}"
    (last,), memory = told_of([a_run("COMPLETED", 11)], memory)
    assert last.key == f"{first.key}:resolved"
    assert last.urgency is Urgency.RESOLVED
    assert "after 10 runs that did not" in last.text
    assert told_of([a_run("COMPLETED", 12)], memory)[0] == []


def test_deployments_have_their_own_levels() -> None:
    runs = [a_run("FAILED", 1), a_run("FAILED", 2, deployment="archive-trades/after-close")]
    assert len(told_of(runs)[0]) == 2


def test_a_run_that_was_looked_at_before_is_left_out() -> None:
    runs = [a_run("FAILED", 1), a_run("CRASHED", 2)]
    incidents, memory = told_of(runs)
    assert len(incidents) == 2
    assert told_of(runs, memory) == ([], memory)


def test_a_run_that_ended_before_the_streak_began_is_no_recovery() -> None:
    _, memory = told_of([a_run("FAILED", 20)])
    incidents, memory = told_of([a_run("COMPLETED", 10)], memory)
    assert incidents == []
    assert memory.levels


def test_a_run_that_had_nothing_to_do_is_no_recovery() -> None:
    _, memory = told_of([a_run("FAILED", 1)])
    assert told_of([a_run("COMPLETED", 10, state="Holiday")], memory)[0] == []


def test_each_crash_is_told_of() -> None:
    runs = [a_run("CRASHED", 1), a_run("CRASHED", 2)]
    incidents, memory = told_of(runs)
    assert [one.key for one in incidents] == [f"run:{run.id}:crashed" for run in runs]
    assert not memory.levels


def test_a_run_that_is_tried_again_by_hand_may_crash_again() -> None:
    run = a_run("CRASHED", 1)
    _, memory = told_of([run])
    again = a_run("CRASHED", 5, id=run.id, attempts=2)
    assert [one.key for one in told_of([again], memory)[0]] == [f"run:{run.id}:crashed:2"]


def test_a_run_that_hung_has_its_own_rule() -> None:
    run = a_run("FAILED", 1, state="TimedOut", message="")
    (incident,), memory = told_of([run])
    assert (incident.rule, incident.key) == ("run-hanging", f"run:{run.id}:hanging")
    assert "says: nothing" in incident.text
    (recovered,), _ = told_of([a_run("COMPLETED", 2)], memory)
    assert recovered.rule == "run-hanging"


def test_a_check_that_found_something_critical_is_left_to_the_rule_about_findings() -> None:
    failed = a_run("FAILED", 1)
    found = a_run("FAILED", 2, state="Critical findings")
    assert told_of([found])[0] == []
    first, last = told_of([failed, found])[0]  # it could do its work again
    assert (first.rule, last.urgency) == ("run-failed", Urgency.RESOLVED)


def test_what_was_seen_is_remembered_for_the_overlap_only() -> None:
    first, last = a_run(after=1), a_run(after=2 + OVERLAP.seconds / 60)
    _, memory = told_of([first, last])
    assert list(memory.seen) == [last.id]
    assert memory.runs_until == last.ended_at


def test_what_a_state_says_cannot_move_the_cursor() -> None:
    (incident,), _ = told_of([a_run("FAILED", message="bad\x1b[2J\nline")])
    assert "\x1b" not in incident.text
    assert "bad\\x1b[2J\nline" in incident.text


def test_late_runs_are_told_of_once_a_deployment() -> None:
    runs = [a_run("SCHEDULED", 1), a_run("SCHEDULED", 5)]
    (incident,), memory = late_at(runs)
    assert incident.key == f"run:{runs[0].id}:late"
    assert incident.urgency is Urgency.WARNING
    assert "2 runs of it are waiting" in incident.text
    assert late_at(runs[1:], memory) == ([], memory)
    (resolved,), memory = late_at([], memory)
    assert resolved.key == f"{incident.key}:resolved"
    assert resolved.subject == "nightly/nightly"
    assert late_at([], memory) == ([], memory)


def test_one_late_run_does_not_say_how_many_wait() -> None:
    (incident,), _ = late_at([a_run("SCHEDULED", 1, expected_at=None)])
    assert "waiting" not in incident.text


def test_a_server_that_is_away_for_a_moment_is_not_told_of() -> None:
    incidents, memory = away_for(20)
    assert incidents == []
    assert memory.away_since == START + minutes(30) - timedelta(seconds=20)
    incidents, memory = away_for(0, memory)
    assert incidents == []
    assert memory == MEMORY


def test_a_server_that_stays_away_is_told_of_once_and_its_return_once() -> None:
    _, memory = away_for(1)
    (gone,), memory = away_for(61, memory, after=31)
    assert gone.rule == "server-away"
    assert gone.urgency is Urgency.CRITICAL
    assert memory.away_since is not None
    assert gone.key == f"server-away:{memory.away_since.isoformat()}"
    assert away_for(600, memory, after=40) == ([], memory)
    (back,), memory = away_for(0, memory, after=41)
    assert back.key == f"{gone.key}:resolved"
    assert memory == MEMORY
