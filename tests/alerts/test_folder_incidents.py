"""What is told of the data folder, from the files that the product's own steps write."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fluxhero.alerts import rules
from fluxhero.alerts.fired import fired_incidents
from fluxhero.alerts.folder_facts import FolderFacts
from fluxhero.alerts.folder_incidents import (
    breaker_incidents,
    integrity_incidents,
    limit_incidents,
    missing_incidents,
)
from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.memory import Memory
from fluxhero.alerts.server_facts import Firing
from fluxhero.integrity.findings import Area, judge, latest_findings, new_run_id, write_findings
from fluxhero.integrity.results import Result, failed, passed
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.metrics import breaker, breaker_record
from fluxhero.metrics.breaker import Thresholds
from fluxhero.metrics.facts import Account, Basis
from fluxhero.metrics.jobs import RunOutcome, RunRecord, record_run
from fluxhero.metrics.limit_rules import DRAWDOWN_WARNING, EXPOSURE
from tests.alerts.made import MEMORY, START, minutes

NOW = START + minutes(10)
GRAVE = Rule("files.sha256", Severity.CRITICAL, "says", "means", "remedy")
SLIGHT = Rule("trades.odd", Severity.WARNING, "says", "means", "remedy")


def account(equity: int, mode: str = "live") -> Account:
    return Account(
        mode=mode,
        basis=Basis.CLOSED,
        at=START,
        equity=Decimal(equity),
        peak=Decimal(100_000),
        worst_ratio=Decimal(0),
        under_water_since=None,
        longest_under_water=minutes(0),
    )


def observed(data: Path, equity: int, after: float) -> None:
    """A snapshot finds that value of an account that has been worth 100,000."""
    thresholds = Thresholds(Decimal("0.15"), Decimal("0.20"))
    breaker.observe(
        data, [account(equity)], thresholds, now=START + minutes(after), run=f"run-{after}"
    )


def of_breaker(data: Path, memory: Memory) -> tuple[list[Incident], Memory]:
    return breaker_incidents(FolderFacts(data).breaker(), memory, NOW)


def checked(data: Path, after: float, *results: Result, area: Area = Area.STORAGE) -> None:
    """A check comes to these results."""
    at = START + minutes(after)
    findings = judge(results, latest_findings(data, at, area), [], at)
    write_findings(data, new_run_id(at), at, findings, deep=False, area=area)


def of_checks(data: Path, memory: Memory) -> tuple[list[Incident], Memory]:
    return integrity_incidents(FolderFacts(data).check(Area.STORAGE, NOW), memory)


def of_limits(data: Path, memory: Memory) -> tuple[list[Incident], Memory]:
    return limit_incidents(FolderFacts(data).check(Area.LIMITS, NOW), memory)


# ------------------------------------------------------------------------------------- the breaker


def test_each_change_of_the_breaker_is_told_of_once(tmp_path: Path) -> None:
    observed(tmp_path, 99_000, 1)
    incidents, memory = of_breaker(tmp_path, MEMORY)
    assert incidents == []
    observed(tmp_path, 84_000, 2)
    (warning,), memory = of_breaker(tmp_path, memory)
    assert warning.key == f"breaker:live:warning:{(START + minutes(2)).isoformat()}"
    assert warning.urgency is Urgency.WARNING
    assert "stops" in warning.next_step
    assert of_breaker(tmp_path, memory) == ([], memory)
    observed(tmp_path, 79_000, 3)
    (critical,), memory = of_breaker(tmp_path, memory)
    assert critical.urgency is Urgency.CRITICAL
    assert "warning to critical" in critical.text
    breaker.reset(tmp_path, None, "looked at it", now=START + minutes(4))
    (reset,), memory = of_breaker(tmp_path, memory)
    assert reset.urgency is Urgency.RESOLVED
    assert "looked at it" in reset.text


def test_what_was_critical_before_the_first_courier_is_taken_note_of(tmp_path: Path) -> None:
    observed(tmp_path, 79_000, -5)
    incidents, memory = of_breaker(tmp_path, MEMORY)
    assert incidents == []
    assert memory.known == {"breaker:live": "critical"}
    breaker.reset(tmp_path, None, "fine", now=START + minutes(4))
    assert len(of_breaker(tmp_path, memory)[0]) == 1


def test_a_damaged_record_is_told_of(tmp_path: Path) -> None:
    observed(tmp_path, 99_000, 1)
    _, memory = of_breaker(tmp_path, MEMORY)
    path = breaker_record.path_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"99000", b"98000"))
    incidents, memory = of_breaker(tmp_path, memory)
    assert "breaker:live:critical:unknown" in {one.key for one in incidents}
    assert of_breaker(tmp_path, memory) == ([], memory)


def test_the_record_is_read_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed(tmp_path, 99_000, 1)
    facts = FolderFacts(tmp_path)
    before = facts.breaker()
    monkeypatch.setattr(breaker, "states", lambda _data: pytest.fail("it was read"))
    assert facts.breaker() == before


# -------------------------------------------------------------------------------------- the limits


def test_a_breached_limit_is_told_of_once_and_so_is_that_it_is_kept_again(tmp_path: Path) -> None:
    assert of_limits(tmp_path, MEMORY) == ([], MEMORY)
    checked(tmp_path, 1, failed(EXPOSURE, "live", "positions are worth 60 %"), area=Area.LIMITS)
    (breached,), memory = of_limits(tmp_path, MEMORY)
    assert breached.title == "live account: limit exposure breached"
    assert "positions are worth 60 %" in breached.text
    checked(tmp_path, 2, failed(EXPOSURE, "live", "70 %", count=2), area=Area.LIMITS)
    assert of_limits(tmp_path, memory) == ([], memory)
    checked(tmp_path, 3, passed(EXPOSURE, "live", 1), area=Area.LIMITS)
    (kept,), memory = of_limits(tmp_path, memory)
    assert kept.key == f"{breached.key}:resolved"
    assert kept.title == "live account: limit exposure kept again"
    assert memory == MEMORY


def test_drawdown_is_left_to_its_breaker(tmp_path: Path) -> None:
    checked(tmp_path, 1, failed(DRAWDOWN_WARNING, "live", "16 %"), area=Area.LIMITS)
    assert of_limits(tmp_path, MEMORY) == ([], MEMORY)


def test_a_limit_breached_before_the_first_courier_is_not_told_of(tmp_path: Path) -> None:
    checked(tmp_path, -1, failed(EXPOSURE, "live", "60 %"), area=Area.LIMITS)
    checked(tmp_path, 1, failed(EXPOSURE, "live", "60 %"), area=Area.LIMITS)
    assert of_limits(tmp_path, MEMORY) == ([], MEMORY)


# ------------------------------------------------------------------------------------- the storage


def test_each_change_of_the_verdict_is_told_of(tmp_path: Path) -> None:
    assert of_checks(tmp_path, MEMORY) == ([], MEMORY)
    checked(tmp_path, 1, passed(GRAVE, "archive", 9))
    assert of_checks(tmp_path, MEMORY) == ([], MEMORY)
    checked(tmp_path, 2, failed(SLIGHT, "trades", "odd"), passed(GRAVE, "archive", 9))
    (warning,), memory = of_checks(tmp_path, MEMORY)
    assert warning.urgency is Urgency.WARNING
    damaged = failed(GRAVE, "archive/x.parquet", "its bytes changed")
    checked(tmp_path, 3, failed(SLIGHT, "trades", "odd"), damaged)
    (critical,), memory = of_checks(tmp_path, memory)
    assert critical.urgency is Urgency.CRITICAL
    assert critical.title == "storage check: warning → critical"
    assert critical.text.splitlines()[1].startswith("- critical: files.sha256, archive/x.parquet")
    assert of_checks(tmp_path, memory) == ([], memory)
    checked(tmp_path, 4, passed(SLIGHT, "trades"), passed(GRAVE, "archive"))
    (resolved,), memory = of_checks(tmp_path, memory)
    assert resolved.urgency is Urgency.RESOLVED
    assert "found nothing" in resolved.text


def test_many_findings_are_counted(tmp_path: Path) -> None:
    checked(tmp_path, 1, *(failed(SLIGHT, f"trades {number}", "odd") for number in range(12)))
    (incident,), _ = of_checks(tmp_path, MEMORY)
    assert incident.text.splitlines()[-1] == "- and 2 more"


def test_findings_of_before_the_first_courier_are_taken_note_of(tmp_path: Path) -> None:
    checked(tmp_path, -5, failed(GRAVE, "archive", "its bytes changed"))
    incidents, memory = of_checks(tmp_path, MEMORY)
    assert incidents == []
    checked(tmp_path, 1, passed(GRAVE, "archive"))
    assert len(of_checks(tmp_path, memory)[0]) == 1


# -------------------------------------------------------------------------------- runs that are missing


def hourly(flow: str, after: datetime) -> datetime | None:
    """The next full hour, for snapshots."""
    if flow != rules.SNAPSHOT_FLOW:
        return None
    return after.replace(minute=0, second=0) + timedelta(hours=1)


def of_missing(
    data: Path, memory: Memory, after: float, watching: float = 0
) -> tuple[list[Incident], Memory]:
    return missing_incidents(
        FolderFacts(data).ended(),
        memory,
        START + minutes(after),
        START + minutes(watching),
        due_after=hourly,
        run_limit=minutes(120),
    )


def ran(data: Path, after: float, outcome: RunOutcome = RunOutcome.OK) -> None:
    at = START + minutes(after)
    record_run(data, RunRecord(flow=rules.SNAPSHOT_FLOW, outcome=outcome, ended_at=at, seconds=1))


def test_a_run_that_did_not_come_is_told_of_once(tmp_path: Path) -> None:
    ran(tmp_path, 1)
    assert of_missing(tmp_path, MEMORY, 74) == ([], MEMORY)
    (missing,), memory = of_missing(tmp_path, MEMORY, 75)
    assert missing.key == f"missing:snapshot-metrics:{(START + minutes(1)).isoformat()}"
    assert missing.urgency is Urgency.CRITICAL
    assert of_missing(tmp_path, memory, 300) == ([], memory)
    ran(tmp_path, 301)
    (resolved,), memory = of_missing(tmp_path, memory, 302)
    assert resolved.key == f"{missing.key}:resolved"
    assert memory == MEMORY


def test_a_run_that_failed_is_not_missing(tmp_path: Path) -> None:
    ran(tmp_path, 60, RunOutcome.FAILED)
    assert of_missing(tmp_path, MEMORY, 100) == ([], MEMORY)


def test_a_machine_that_was_off_catches_up_first(tmp_path: Path) -> None:
    ran(tmp_path, 1)
    assert of_missing(tmp_path, MEMORY, 500, watching=499) == ([], MEMORY)
    assert len(of_missing(tmp_path, MEMORY, 560, watching=499)[0]) == 1


def test_a_fresh_installation_does_not_alert_at_once(tmp_path: Path) -> None:
    assert of_missing(tmp_path, MEMORY, 70) == ([], MEMORY)
    assert len(of_missing(tmp_path, MEMORY, 76)[0]) == 1


def test_runs_of_another_machine_count_too(tmp_path: Path) -> None:
    memory = MEMORY.model_copy(update={"ended": {rules.SNAPSHOT_FLOW: START + minutes(61)}})
    assert of_missing(tmp_path, memory, 100) == ([], memory)


def test_other_flows_get_the_time_that_a_run_may_take(tmp_path: Path) -> None:
    def once(flow: str, after: datetime) -> datetime | None:
        return after + minutes(1) if flow == rules.NIGHTLY_FLOW else None

    def missing(after: float) -> list[Incident]:
        at = START + minutes(after)
        return missing_incidents({}, MEMORY, at, START, due_after=once, run_limit=minutes(120))[0]

    assert missing(135) == []
    assert [one.subject for one in missing(136)] == ["nightly"]


def fired(automation: str, after: float, memory: Memory = MEMORY) -> tuple[list[Incident], Memory]:
    return fired_incidents([Firing(automation, START + minutes(after))], memory, START)


def test_an_automation_tells_of_a_missing_run() -> None:
    (incident,), memory = fired(rules.SNAPSHOT_MISSING, 76)
    assert incident.key == f"missing:snapshot-metrics:{START.isoformat()}"
    assert fired(rules.SNAPSHOT_MISSING, 152, memory)[0] == []


def test_an_automation_that_fires_for_when_the_machine_was_off_is_not_believed() -> None:
    incidents, memory = fired(rules.SNAPSHOT_MISSING, 2)
    assert incidents == []
    assert memory.fired_until == START + minutes(2)


def test_the_courier_and_an_automation_tell_of_a_missing_run_once(tmp_path: Path) -> None:
    (by_courier,), memory = of_missing(tmp_path, MEMORY, 76)
    assert fired(rules.SNAPSHOT_MISSING, 77, memory)[0] == []
    (by_automation,), _ = fired(rules.SNAPSHOT_MISSING, 77)
    assert by_automation.key == by_courier.key


def test_other_automations_only_show_in_the_ui() -> None:
    assert fired(rules.RUN_FAILED, 5)[0] == []
