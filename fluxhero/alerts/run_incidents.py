"""What is told of runs: crashed, failed, hung, late, and of the server that does not answer.

Pure: from facts and what is remembered to incidents and what is to be remembered then.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from fluxhero.alerts import rules
from fluxhero.alerts.incidents import Incident, resolved
from fluxhero.alerts.memory import Memory, Raised
from fluxhero.alerts.rules import AlertRule
from fluxhero.alerts.server_facts import Run
from fluxhero.integrity.rules import CRITICAL_FINDINGS
from fluxhero.market.trading_days import NOTHING_TO_DO
from fluxhero.wording import counted, printable

# A run's end is written with the time its process ended; one that could not reach the server is late.
OVERLAP: Final = timedelta(minutes=30)
_TIMED_OUT: Final = "TimedOut"
_AWAY: Final = "server"
_MOST_TEXT = 1500  # characters of what a state says

Page = Callable[[str], str]  # from a run's id to the URL of its page
Noticed = tuple[list[Incident], Memory]


def ended_incidents(runs: Iterable[Run], memory: Memory, page: Page) -> Noticed:
    """What is to be told of runs that have ended.

    Args:
        runs: oldest first; those that were looked at before are left out here.
        memory: what is remembered.
        page: where a run's page is.
    """
    incidents: list[Incident] = []
    for run in runs:
        ended = run.ended_at or run.since
        if memory.seen.get(run.id) == ended:
            continue
        told, memory = _ended(run, memory, page)
        incidents += told
        until = max(memory.runs_until, ended)
        seen = {**memory.seen, run.id: ended}
        last = max(ended, memory.ended.get(run.flow, ended))
        memory = memory.model_copy(
            update={
                "runs_until": until,
                "seen": {one: at for one, at in seen.items() if at >= until - OVERLAP},
                "ended": {**memory.ended, run.flow: last},
            }
        )
    return incidents, memory


def _ended(run: Run, memory: Memory, page: Page) -> Noticed:
    if run.kind == "CRASHED":
        return [_crashed(run, page)], memory
    subject = f"run:{run.deployment}"
    raised = memory.levels.get(subject)
    if run.kind == "FAILED" and run.state != CRITICAL_FINDINGS:  # those are told of as findings
        if raised is None:
            incident = _failed(run, page)
            first = Raised(key=incident.key, at=incident.at, level=incident.rule)
            return [incident], memory.with_level(subject, first)
        again = raised.model_copy(update={"count": raised.count + 1})
        return [], memory.with_level(subject, again)
    if raised is None or run.since < raised.at or run.state in NOTHING_TO_DO:
        return [], memory  # what ended before it failed, or did nothing, is no recovery
    return [_recovered(run, raised, page)], memory.without_level(subject)


def _crashed(run: Run, page: Page) -> Incident:
    again = f":{run.attempts}" if run.attempts > 1 else ""  # retried by hand
    return _about_run(rules.CRASHED, run, f"run:{run.id}:crashed{again}", "crashed", page)


def _failed(run: Run, page: Page) -> Incident:
    if run.state == _TIMED_OUT:
        return _about_run(rules.HANGING, run, f"run:{run.id}:hanging", "hung and was ended", page)
    return _about_run(rules.FAILED, run, f"run:{run.id}:failed", "failed", page)


def _about_run(rule: AlertRule, run: Run, key: str, verb: str, page: Page) -> Incident:
    says = printable(run.message, keep="\n")[:_MOST_TEXT] or "nothing"
    return Incident(
        key=key,
        rule=rule.name,
        subject=run.deployment,
        urgency=rule.urgency,
        title=f"{run.deployment} {verb}",
        text=f"{_named(run)} {verb} at {clock(run.since)}.\nIts state says: {says}",
        next_step=rule.next_step,
        at=run.since,
        url=page(run.id),
    )


def _recovered(run: Run, raised: Raised, page: Page) -> Incident:
    failures = counted(raised.count, "run")
    return resolved(
        raised.key,
        rule=raised.level or rules.FAILED.name,
        subject=run.deployment,
        title=f"{run.deployment} succeeds again",
        text=f"{_named(run)} ended {run.state} at {clock(run.since)}, after {failures} that did not, the "
        f"first at {clock(raised.at)}.",
        at=run.since,
        url=page(run.id),
    )


def late_incidents(runs: Sequence[Run], memory: Memory, now: datetime, page: Page) -> Noticed:
    """What is to be told of runs that are late, one a deployment, and of those that no longer are.

    Args:
        runs: all that are late, oldest first.
        memory: what is remembered.
        now: the time.
        page: where a run's page is.
    """
    incidents: list[Incident] = []
    by_deployment: dict[str, list[Run]] = {}
    for run in runs:
        by_deployment.setdefault(f"late:{run.deployment}", []).append(run)
    for subject, late in by_deployment.items():
        if subject not in memory.levels:
            incident = _late(late, now, page)
            incidents.append(incident)
            memory = memory.with_level(subject, Raised(key=incident.key, at=incident.at))
    for subject, raised in memory.levels.items():
        if subject.startswith("late:") and subject not in by_deployment:
            incidents.append(_late_no_more(subject.removeprefix("late:"), raised, now))
            memory = memory.without_level(subject)
    return incidents, memory


def _late(runs: Sequence[Run], now: datetime, page: Page) -> Incident:
    run = runs[0]
    due = run.expected_at or run.since
    waiting = f" {counted(len(runs), 'run')} of it are waiting." if len(runs) > 1 else ""
    return Incident(
        key=f"run:{run.id}:late",
        rule=rules.LATE.name,
        subject=run.deployment,
        urgency=rules.LATE.urgency,
        title=f"{run.deployment} is late",
        text=f"{_named(run)} was due at {clock(due)} and has not started at {clock(now)}.{waiting}",
        next_step=rules.LATE.next_step,
        at=due,
        url=page(run.id),
    )


def _late_no_more(deployment: str, raised: Raised, now: datetime) -> Incident:
    return resolved(
        raised.key,
        rule=rules.LATE.name,
        subject=deployment,
        title=f"{deployment} is late no more",
        text=f"No run of it that was due is waiting any more, at {clock(now)}.",
        at=now,
    )


def away_incidents(api_url: str, memory: Memory, now: datetime, away_for: timedelta) -> Noticed:
    """What is to be told of a server that does not answer, or does again.

    Args:
        api_url: of the server.
        memory: what is remembered.
        now: the time.
        away_for: for how long it has not answered, by a clock that nobody sets; zero if it does.
    """
    raised = memory.levels.get(_AWAY)
    if not away_for:
        told = [] if raised is None else [_back(api_url, raised, now)]
        return told, memory.without_level(_AWAY).model_copy(update={"away_since": None})
    if memory.away_since is None:
        memory = memory.model_copy(update={"away_since": now - away_for})
    if raised is not None or away_for < rules.SERVER_AWAY_AFTER or memory.away_since is None:
        return [], memory
    incident = _gone(api_url, memory.away_since, now)
    return [incident], memory.with_level(_AWAY, Raised(key=incident.key, at=memory.away_since))


def _gone(api_url: str, since: datetime, now: datetime) -> Incident:
    return Incident(
        key=f"server-away:{since.isoformat()}",
        rule=rules.SERVER_AWAY.name,
        subject=api_url,
        urgency=rules.SERVER_AWAY.urgency,
        title="the Prefect server does not answer",
        text=f"{api_url} has not answered since {clock(since)}; it is {clock(now)} now.",
        next_step=rules.SERVER_AWAY.next_step,
        at=since,
    )


def _back(api_url: str, raised: Raised, now: datetime) -> Incident:
    return resolved(
        raised.key,
        rule=rules.SERVER_AWAY.name,
        subject=api_url,
        title="the Prefect server answers again",
        text=f"{api_url} answers again at {clock(now)}; it had not since {clock(raised.at)}.",
        next_step="Nothing need be done: runs that were missed meanwhile are made up for.",
        at=now,
    )


def _named(run: Run) -> str:
    return f"The run {printable(run.name)} of {run.deployment}"


def clock(at: datetime) -> str:
    """A time as alerts have it."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
