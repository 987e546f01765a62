"""Is my night shift well? What speaks against it, worst first, and the one-word answer."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from fluxhero.api.services import RunLine, Runs
from fluxhero.api.status_models import Grade, Reason, StatusAnswer, Verdict
from fluxhero.integrity.findings import Area, State
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Severity
from fluxhero.wording import counted

STALE: Final = timedelta(hours=2)  # snapshots are taken every few minutes
# The storage check rests from Saturday morning to Monday evening, archiving from Friday to Monday.
UNCHECKED: Final = timedelta(hours=64)
OVERDUE: Final = timedelta(days=4)
LATE: Final = timedelta(minutes=10)

_ORDER: tuple[Grade, ...] = ("critical", "warning", "unknown", "ok")
_HOURS_SHOWN = 48  # of more, days are
_RULES_NAMED = 3
_BAD_STATES = {"FAILED", "CRASHED"}


def verdict_of(status: StatusAnswer) -> Verdict:
    """The answer from everything else that the page shows."""
    reasons = sorted(_reasons(status), key=lambda reason: _ORDER.index(reason.level))
    if not reasons:
        return Verdict(level="ok", text="All is well.", reasons=())
    rest = len(reasons) - 1
    more = f" And {counted(rest, 'more reason')} to look." if rest else ""
    return Verdict(level=reasons[0].level, text=f"{reasons[0].text}{more}", reasons=tuple(reasons))


def _reasons(status: StatusAnswer) -> Iterator[Reason]:
    yield from _of_breaker(status)
    yield from _of_problems(status)
    yield from _of_snapshot(status)
    yield from _of_findings(status)
    yield from _of_archive(status)
    yield from _of_jobs(status)
    yield from _of_alerts(status)
    yield from _of_runs(status.runs, {job.job for job in status.jobs}, status.at)


def _of_breaker(status: StatusAnswer) -> Iterator[Reason]:
    for line in status.breaker:
        if line.level == "critical":
            text = f"The drawdown breaker of {line.mode} is critical: {line.reason}"
            yield Reason(level="critical", text=text)
        elif line.level == "warning":
            text = f"The drawdown breaker of {line.mode} warns: {line.reason}"
            yield Reason(level="warning", text=text)


def _of_problems(status: StatusAnswer) -> Iterator[Reason]:
    for problem in status.problems:
        level: Grade = "critical" if problem.part in {"archive", "breaker"} else "warning"
        yield Reason(level=level, text=f"{_sentence(problem.message)}")


def _of_findings(status: StatusAnswer) -> Iterator[Reason]:
    counting = [line for line in status.findings.open if State(line.state).counts]
    failed = [line for line in counting if line.outcome == Outcome.FAILED]
    kinds = dict.fromkeys((line.area, line.severity) for line in failed)
    for area, severity in kinds:
        rules = [one.rule for one in failed if (one.area, one.severity) == (area, severity)]
        what = "Limits not kept" if area == Area.LIMITS else "Findings of the storage check"
        level: Grade = "warning" if severity == Severity.WARNING else "critical"
        text = f"{what}: {len(rules):,} of severity {severity} ({_some(rules)})."
        yield Reason(level=level, text=text)
    untold = [line.rule for line in counting if line.outcome != Outcome.FAILED]
    if untold:
        text = f"Could not be told: {counted(len(untold), 'check')} ({_some(untold)})."
        yield Reason(level="warning", text=text)
    limits_found = any(line.area == Area.LIMITS for line in counting)
    for line in status.positions:
        if line.breached and not limits_found:
            text = f"{line.mode} breaches its limits: {', '.join(line.breached)}."
            yield Reason(level="warning", text=text)
    checked = status.findings.checked_at
    if checked is None:
        yield Reason(
            level="unknown", text="Storage has not been checked yet: `fluxhero check` does it."
        )
    elif status.at - checked > UNCHECKED:
        yield Reason(
            level="warning",
            text=f"Storage was last checked {_ago(status.at - checked)} ago: `fluxhero check` does it.",
        )


def _of_snapshot(status: StatusAnswer) -> Iterator[Reason]:
    if status.snapshot_at is None:
        text = "Nothing has been measured yet: `fluxhero snapshot` does it."
        yield Reason(level="unknown", text=text)
        return
    if status.snapshot_stale:
        age = _ago(status.at - status.snapshot_at)
        text = f"The figures are {age} old: see why snapshot-metrics does not run."
        yield Reason(level="warning", text=text)
    for line in status.unusable:
        why = "without a result" if line.reason == "no_result" else "without a close time"
        text = f"{line.mode} has {counted(line.trades, 'closed trade')} {why}, so its equity is unknown."
        yield Reason(level="warning", text=text)


def _of_archive(status: StatusAnswer) -> Iterator[Reason]:
    lag = status.archive.lag_seconds if status.archive else None
    if lag is not None and lag > OVERDUE.total_seconds():
        age = _ago(timedelta(seconds=lag))
        yield Reason(level="warning", text=f"Trades have been due for archival for {age}.")


def _of_jobs(status: StatusAnswer) -> Iterator[Reason]:
    for job in status.jobs:
        if job.last_ok is False:
            yield Reason(level="warning", text=f"The last run of {job.job} did not end well.")


def _of_alerts(status: StatusAnswer) -> Iterator[Reason]:
    if status.alerts.overdue or status.alerts.given_up:
        text = f"{status.alerts.text.rstrip('.')}: `fluxhero alert test` tries the targets."
        yield Reason(level="warning", text=text)


def _of_runs(runs: Runs, known: set[str], now: datetime) -> Iterator[Reason]:
    if runs.problem and runs.ui_url:  # a server is configured
        yield Reason(level="warning", text=_sentence(runs.problem))
    last: dict[str, RunLine] = {}
    for run in runs.last:
        last.setdefault(run.flow, run)
    for flow, run in last.items():
        if run.state in _BAD_STATES and flow not in known:
            text = f"The last run of {flow} ended as {run.state_name.lower()}."
            yield Reason(level="warning", text=text)
    late = [run.flow for run in runs.next if run.expected_at and now - run.expected_at > LATE]
    if late:
        yield Reason(level="warning", text=_late(late))


def _some(rules: Sequence[str]) -> str:
    """The first few of them, each once."""
    named = list(dict.fromkeys(rules))
    return ", ".join(named[:_RULES_NAMED]) + (", …" if len(named) > _RULES_NAMED else "")


def _late(flows: Sequence[str]) -> str:
    named = ", ".join(dict.fromkeys(flows))
    return (
        f"Runs are late ({named}): see that a worker runs, `prefect worker start --pool fluxhero`."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _ago(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return counted(hours, "hour") if hours < _HOURS_SHOWN else counted(hours // 24, "day")
