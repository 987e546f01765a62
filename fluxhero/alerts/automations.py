"""Prefect's automations of the alert rules, as the bodies that its API takes.

Each shows in the UI what is watched, when it fired last, and can be switched off there, which silences
its rule. Two act: a run without heartbeats, and one that never starts, become Crashed. The others do
nothing themselves; the courier sends the alert.

Runs are recognised by their flow's name, since a subflow's heartbeat has neither deployment nor tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from fluxhero.alerts import rules
from fluxhero.alerts.incidents import Incident
from fluxhero.alerts.rules import AlertRule
from fluxhero.integrity.rules import CRITICAL_FINDINGS
from fluxhero.market.trading_days import NOTHING_TO_DO

RUN: Final = "prefect.flow-run"
_ID: Final = "prefect.resource.id"
_DONE: Final = ("Completed", "Completed with findings", *sorted(NOTHING_TO_DO))
# What follows a heartbeat of a run that has not died. A state that is not named here does no harm: the
# server lets no run that has ended become Crashed.
_AT_REST: Final = (
    *_DONE,
    "Cached",
    "RolledBack",
    "Failed",
    CRITICAL_FINDINGS,
    "TimedOut",
    "Crashed",
    "Cancelled",
    "Cancelling",
    "Paused",
    "Suspended",
    "Scheduled",
    "Late",
    "AwaitingRetry",
    "AwaitingConcurrencySlot",
)
_STARTED: Final = ("Running", "Retrying", *_AT_REST)
_NOTHING: Final[Mapping[str, Any]] = {"type": "do-nothing"}


def automations() -> list[dict[str, Any]]:
    """The bodies of all our automations, in a fixed order."""
    return [
        _alerting(rules.RUN_FAILED, rules.FAILED, _reactive(_runs(), _states("Failed"))),
        _alerting(rules.RUN_HANGING, rules.HANGING, _reactive(_runs(), _states("TimedOut"))),
        _alerting(rules.RUN_CRASHED, rules.CRASHED, _reactive(_runs(), _states("Crashed"))),
        _alerting(
            rules.RUN_LATE,
            rules.LATE,
            _proactive(
                _runs(),
                _states("Pending", *_STARTED, without="Late"),
                rules.LATE_AFTER,
                after=_states("Late"),
            ),
        ),
        _alerting(
            rules.SNAPSHOT_MISSING,
            rules.MISSING,
            _missing(rules.SNAPSHOT_FLOW, rules.SNAPSHOT_WINDOW),
        ),
        _alerting(
            rules.NIGHTLY_MISSING, rules.MISSING, _missing(rules.NIGHTLY_FLOW, rules.NIGHTLY_WINDOW)
        ),
        _alerting(rules.INTEGRITY_CRITICAL, rules.INTEGRITY, _ours("fluxhero.integrity.critical")),
        _alerting(rules.INTEGRITY_WARNING, rules.INTEGRITY, _ours("fluxhero.integrity.warning")),
        _alerting(rules.DRAWDOWN, rules.BREAKER, _ours("fluxhero.breaker.*")),
        _alerting(rules.LIMIT_BREACHED, rules.LIMIT, _ours("fluxhero.limit.breached")),
        _crashing(
            rules.HEARTBEAT_LOST,
            "A run that sends no heartbeat becomes Crashed",
            rules.HEARTBEAT_LOST_MESSAGE,
            _proactive(
                _runs(),
                [f"{RUN}.heartbeat", *_states(*_AT_REST)],
                rules.HEARTBEAT_WINDOW,
                after=[f"{RUN}.heartbeat"],
            ),
        ),
        _crashing(
            rules.STUCK_PENDING,
            "A run that was submitted and never starts becomes Crashed",
            rules.STUCK_PENDING_MESSAGE,
            _proactive(_runs(), _states(*_STARTED), rules.PENDING_WINDOW, after=_states("Pending")),
        ),
    ]


def is_silenced(incident: Incident, disabled: Iterable[str]) -> bool:
    """Whether the automations that switch an incident's rule are all disabled in the UI.

    Args:
        incident: one of ours.
        disabled: names of the automations that are there and disabled.
    """
    switches = _switches(incident)
    return bool(switches) and switches <= frozenset(disabled)


def _switches(incident: Incident) -> frozenset[str]:
    """The automations that are about this very incident; a rule may have one a flow."""
    if incident.rule == rules.MISSING.name:
        snapshot = incident.subject == rules.SNAPSHOT_FLOW
        return frozenset({rules.SNAPSHOT_MISSING if snapshot else rules.NIGHTLY_MISSING})
    return frozenset(rules.rule(incident.rule).automations)


def _alerting(name: str, rule: AlertRule, trigger: Mapping[str, Any]) -> dict[str, Any]:
    says = f"{rule.description} {rule.next_step} Switched off here, nothing is sent."
    return _body(name, says, trigger, _NOTHING)


def _crashing(name: str, what: str, message: str, trigger: Mapping[str, Any]) -> dict[str, Any]:
    says = (
        f"{what}, which frees its place in the queue and sends one alert. {rules.CRASHED.next_step}"
    )
    action = {"type": "change-flow-run-state", "state": "CRASHED", "message": message}
    return _body(name, says, trigger, action)


def _body(
    name: str, description: str, trigger: Mapping[str, Any], action: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "enabled": True,
        "tags": [rules.TAG],
        "trigger": dict(trigger),
        "actions": [dict(action)],
    }


def _runs(flows: Sequence[str] = rules.FLOWS) -> dict[str, Any]:
    """Matches runs of these flows, each by itself."""
    return {
        "match": {_ID: f"{RUN}.*"},
        "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": [*flows]},
        "for_each": [_ID],
    }


def _states(*names: str, without: str = "") -> list[str]:
    """The events of a run that comes into these states."""
    return [f"{RUN}.{name}" for name in names if name != without]


def _reactive(match: Mapping[str, Any], expect: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "event",
        "posture": "Reactive",
        **match,
        "expect": [*expect],
        "threshold": 1,
        "within": 0,
    }


def _proactive(
    match: Mapping[str, Any],
    expect: Sequence[str],
    within: timedelta,
    *,
    after: Sequence[str] = (),
) -> dict[str, Any]:
    return {
        "type": "event",
        "posture": "Proactive",
        **match,
        "after": [*after],
        "expect": [*expect],
        "threshold": 1,
        "within": within.total_seconds(),
    }


def _missing(flow: str, within: timedelta) -> dict[str, Any]:
    """No run of a flow has ended well for that long; one for all runs."""
    return _proactive(_runs([flow]) | {"for_each": []}, _states(*_DONE), within)


def _ours(event: str) -> dict[str, Any]:
    """An event that a task of ours emits."""
    return _reactive({"match": {_ID: "fluxhero.*"}, "for_each": [_ID]}, [event])
