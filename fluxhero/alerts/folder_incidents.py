"""What is told of facts in the data folder: breaker, limits, storage checks, and runs that never came.

Pure: from facts and what is remembered to incidents and what is to be remembered then. What was so
before the first courier started is taken note of and not told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from fluxhero.alerts import rules
from fluxhero.alerts.incidents import NO_STEP, Incident, Urgency, resolved
from fluxhero.alerts.memory import Memory, Raised
from fluxhero.alerts.run_incidents import Noticed, clock
from fluxhero.integrity.findings import Finding, State
from fluxhero.integrity.rules import Severity, gravest
from fluxhero.metrics.breaker import BreakerState, Level
from fluxhero.wording import counted, printable

_OK: Final = "ok"
_MOST_LISTED = 10  # findings in a message
_BREAKER_URGENCY: Final = {
    Level.OK: Urgency.RESOLVED,
    Level.WARNING: Urgency.WARNING,
    Level.CRITICAL: Urgency.CRITICAL,
}
_CHECK_URGENCY: Final = {
    _OK: Urgency.RESOLVED,
    "warning": Urgency.WARNING,
    "critical": Urgency.CRITICAL,
}

# From a flow and a time to when its first run after that is due.
Dues = Callable[[str, datetime], datetime | None]


@dataclass(frozen=True, slots=True)
class Check:
    """The last run of an area's checks: its id, its time, and what it found."""

    run: str
    at: datetime
    findings: tuple[Finding, ...]


# ------------------------------------------------------------------------------------- the breaker


def breaker_incidents(states: Mapping[str, BreakerState], memory: Memory, now: datetime) -> Noticed:
    """What is to be told of the drawdown breaker: one incident a mode whose level changed."""
    incidents = []
    for mode, state in sorted(states.items()):
        subject = f"breaker:{mode}"
        before = memory.known.get(subject, _OK)
        if before == state.level and subject in memory.known:
            continue
        memory = memory.knowing(subject, state.level)
        past = state.since is not None and state.since <= memory.since
        if not past and before != state.level:
            incidents.append(_of_breaker(state, before, now))
    return incidents, memory


def _of_breaker(state: BreakerState, before: str, now: datetime) -> Incident:
    since = "unknown" if state.since is None else state.since.isoformat()
    at = state.since or now
    return Incident(
        key=f"breaker:{state.mode}:{state.level}:{since}",
        rule=rules.BREAKER.name,
        subject=f"{state.mode} account",
        urgency=_BREAKER_URGENCY[state.level],
        title=f"{state.mode} account: drawdown {before} → {state.level}",
        text=f"The drawdown breaker of the {state.mode} account went from {before} to {state.level} at "
        f"{clock(at)}.\n{printable(state.reason)}\nIt informs; nothing is closed or cancelled for you.",
        next_step=_breaker_step(state.level),
        at=at,
    )


def _breaker_step(level: Level) -> str:
    if level is Level.OK:
        return NO_STEP
    if level is Level.WARNING:
        return (
            "Look at open positions and their stops before it gets critical; `fluxhero snapshot` "
            "measures again."
        )
    return rules.BREAKER.next_step


# -------------------------------------------------------------------------------------- the limits


def limit_incidents(check: Check | None, memory: Memory) -> Noticed:
    """What is to be told of risk limits; drawdown is told by its breaker."""
    if check is None:
        return [], memory
    incidents = []
    broken = {
        f"limit:{one.object}:{one.rule}": one
        for one in check.findings
        if one.state.counts and not one.rule.startswith("limits.drawdown")
    }
    for subject, finding in sorted(broken.items()):
        first_seen = finding.first_seen or check.at
        if subject in memory.levels or first_seen <= memory.since:
            continue
        incident = _breached(finding, first_seen)
        incidents.append(incident)
        raised = Raised(key=incident.key, at=first_seen, level=incident.title)
        memory = memory.with_level(subject, raised)
    for subject, raised in memory.levels.items():
        if subject.startswith("limit:") and subject not in broken:
            incidents.append(_kept_again(subject, raised, check.at))
            memory = memory.without_level(subject)
    return incidents, memory


def _breached(finding: Finding, first_seen: datetime) -> Incident:
    what = finding.rule.removeprefix("limits.")
    grave = finding.severity is Severity.CRITICAL
    return Incident(
        key=f"limit:{finding.object}:{finding.rule}:{first_seen.isoformat()}",
        rule=rules.LIMIT.name,
        subject=f"{finding.object} account",
        urgency=Urgency.CRITICAL if grave else rules.LIMIT.urgency,
        title=f"{finding.object} account: limit {what} breached",
        text=f"Since {clock(first_seen)}: {printable(finding.observed)}.",
        next_step=rules.LIMIT.next_step,
        at=first_seen,
    )


def _kept_again(subject: str, raised: Raised, at: datetime) -> Incident:
    account = subject.split(":")[1]
    return resolved(
        raised.key,
        rule=rules.LIMIT.name,
        subject=f"{account} account",
        title=raised.level.replace("breached", "kept again"),
        text=f"The limit is kept again at {clock(at)}; it was not since {clock(raised.at)}.",
        at=at,
    )


# ------------------------------------------------------------------------------------- the storage


def integrity_incidents(check: Check | None, memory: Memory) -> Noticed:
    """What is to be told of the storage check: one incident a change of its verdict."""
    if check is None:
        return [], memory
    level = integrity_level(check.findings)
    before = memory.known.get("integrity", _OK)
    if level == before:
        return [], memory
    memory = memory.knowing("integrity", level)
    return ([] if check.at <= memory.since else [_verdict(check, before, level)]), memory


class Judged(Protocol):
    """Something found: a finding, or a line of a report."""

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        ...

    @property
    def state(self) -> State:
        """Whether it is there."""
        ...


def integrity_level(findings: Sequence[Judged]) -> str:
    """Of what is found and not waived: critical, warning or ok."""
    found = gravest(one.severity for one in findings if one.state.counts)
    if found is None:
        return _OK
    return "critical" if found is Severity.CRITICAL else "warning"


def _verdict(check: Check, before: str, level: str) -> Incident:
    found = [one for one in check.findings if one.state.counts]
    found.sort(key=lambda one: list(Severity).index(one.severity))
    listed = [
        f"- {one.severity}: {one.rule}, {printable(one.object)}: {printable(one.observed)}"
        for one in found[:_MOST_LISTED]
    ]
    if len(found) > _MOST_LISTED:
        listed.append(f"- and {len(found) - _MOST_LISTED} more")
    said = f"found {counted(len(found), 'fault')}" if found else "found nothing"
    return Incident(
        key=f"integrity:{level}:{check.run}",
        rule=rules.INTEGRITY.name,
        subject="storage",
        urgency=_CHECK_URGENCY[level],
        title=f"storage check: {before} → {level}",
        text="\n".join([f"The check of {clock(check.at)} {said}.", *listed]),
        next_step=rules.INTEGRITY.next_step if found else NO_STEP,
        at=check.at,
    )


# -------------------------------------------------------------------------------- runs that are missing


def missing_incidents(
    ended: Mapping[str, datetime],
    memory: Memory,
    now: datetime,
    watching_since: datetime,
    *,
    due_after: Dues,
    run_limit: timedelta,
) -> Noticed:
    """What is to be told of scheduled flows of which no run ended in time.

    How the last run ended does not matter here: one that failed or crashed was told of by itself.

    Args:
        ended: when a run of each flow last ended, as the data folder has it.
        memory: what is remembered.
        now: the time.
        watching_since: what was due before is not expected: a machine that was off catches up first.
        due_after: when a run of a flow is next due.
        run_limit: how long a run may take.
    """
    incidents = []
    for flow in rules.FLOWS:
        subject = f"missing:{flow}"
        ends = [times[flow] for times in (ended, memory.ended) if flow in times]
        last = max(ends, default=memory.since)
        raised = memory.levels.get(subject)
        if raised is not None:
            if ends and last > raised.at:
                incidents.append(_missing_no_more(flow, raised, last))
                memory = memory.without_level(subject)
            continue
        due = due_after(flow, max(last, watching_since))
        if due is None or due + _grace(flow, run_limit) > now:
            continue
        incident = missing_incident(flow, last, due, now)
        incidents.append(incident)
        memory = memory.with_level(subject, Raised(key=incident.key, at=incident.at))
    return incidents, memory


def _grace(flow: str, run_limit: timedelta) -> timedelta:
    if flow == rules.SNAPSHOT_FLOW:
        return rules.SNAPSHOT_GRACE
    return run_limit + rules.MISSING_GRACE


def missing_incident(flow: str, last: datetime, due: datetime | None, now: datetime) -> Incident:
    """That no run of a flow came to an end.

    Args:
        flow: its name.
        last: when one last did, or the watch began.
        due: when one was due; None where the schedule is not known.
        now: the time.
    """
    was_due = "" if due is None else f" One was due at {clock(due)}."
    return Incident(
        key=f"missing:{flow}:{last.isoformat()}",
        rule=rules.MISSING.name,
        subject=flow,
        urgency=rules.MISSING.urgency,
        title=f"{flow}: no run since {clock(last)}",
        text=f"No run of {flow} has ended between {clock(last)} and {clock(now)}.{was_due}",
        next_step=rules.MISSING.next_step,
        at=due or now,
    )


def _missing_no_more(flow: str, raised: Raised, last: datetime) -> Incident:
    return resolved(
        raised.key,
        rule=rules.MISSING.name,
        subject=flow,
        title=f"{flow} runs again",
        text=f"A run of {flow} ended at {clock(last)}; one had been missing since {clock(raised.at)}.",
        at=last,
    )
