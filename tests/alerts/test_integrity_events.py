"""The event that a storage check emits when its verdict changes."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from fluxhero.integrity.check_report import CheckReport, report_lines
from fluxhero.integrity.findings import judge, latest_findings, new_run_id, write_findings
from fluxhero.integrity.results import Result, failed, passed
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.integrity.scope import Scope
from tasks import integrity as steps
from tests.alerts.made import START, minutes

GRAVE = Rule("files.sha256", Severity.CRITICAL, "says", "means", "remedy")
SLIGHT = Rule("trades.odd", Severity.WARNING, "says", "means", "remedy")
RULES = {rule.name: rule for rule in (GRAVE, SLIGHT)}


class Emitted(list[tuple[str, dict[str, Any]]]):
    """Stands in for Prefect's `emit_event`."""

    def __call__(self, event: str, *, payload: dict[str, Any], **_more: Any) -> None:
        self.append((event, payload))


def checked(settings: Settings, at: datetime, *results: Result) -> None:
    """A check comes to these results, and tells of them."""
    data: Path = settings.data_dir
    run = steps.CheckRun(new_run_id(at), Scope.of(settings, now=at, deep=False))
    findings = judge(results, latest_findings(data, at), [], at)
    write_findings(data, run.run, at, findings, deep=False)
    report = CheckReport(
        run=run.run,
        at=at,
        deep=False,
        store="store",
        archive="archive",
        rules=2,
        checked=2,
        findings=report_lines(findings, RULES),
    )
    steps.tell_of_check.fn(run, report)


def test_an_event_says_that_the_verdict_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = Emitted()
    monkeypatch.setattr(steps, "emit_event", emitted)
    odd, damaged = failed(SLIGHT, "trades", "odd"), failed(GRAVE, "archive", "its bytes changed")
    rounds: list[tuple[Result, ...]] = [
        (passed(SLIGHT, "trades"), passed(GRAVE, "archive")),
        (odd, passed(GRAVE, "archive")),
        (odd, damaged),
        (odd, damaged),
        (passed(SLIGHT, "trades"), passed(GRAVE, "archive")),
    ]
    told = []
    for number, results in enumerate(rounds):
        emitted.clear()
        checked(settings, START + minutes(number), *results)
        told.append([event for event, _payload in emitted])
    assert told == [
        [],
        ["fluxhero.integrity.warning"],
        ["fluxhero.integrity.critical"],
        [],
        ["fluxhero.integrity.ok"],
    ]
    assert emitted[0][1]["before"] == "critical"
    assert emitted[0][1]["text"]
