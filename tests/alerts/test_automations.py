"""The automations as Prefect's own schema takes them, and the rules they belong to."""

import re
from pathlib import Path
from typing import Any

import pytest

from fluxhero.alerts import rules
from fluxhero.alerts.automations import automations, is_silenced
from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.cli import main
from tests.alerts.made import START

CHECKOUT = Path(__file__).parents[2]
BODIES = automations()
_COMMAND = re.compile(r"`fluxhero ([a-z]+)")


def an_incident(rule: str, subject: str = "something") -> Incident:
    return Incident(
        key="k",
        rule=rule,
        subject=subject,
        urgency=Urgency.WARNING,
        title="t",
        text="x",
        next_step="n",
        at=START,
    )


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body["name"]))
def test_prefect_takes_it(body: dict[str, Any]) -> None:
    from prefect.server.events.schemas.automations import AutomationCreate

    made = AutomationCreate.model_validate(body)
    assert made.name.startswith(rules.PREFIX)
    assert len(made.description) > 40
    assert made.triggers()[0].type == "event"


def test_two_of_them_act_and_the_others_only_show() -> None:
    acting = {
        body["name"] for body in BODIES if body["actions"][0]["type"] == "change-flow-run-state"
    }
    assert acting == {rules.HEARTBEAT_LOST, rules.STUCK_PENDING}
    assert {body["actions"][0]["type"] for body in BODIES} == {
        "change-flow-run-state",
        "do-nothing",
    }


def test_names_are_not_used_twice() -> None:
    names = [body["name"] for body in BODIES]
    assert len(names) == len(set(names))
    assert {name for rule in rules.RULES for name in rule.automations} < set(names)
    assert len({rule.name for rule in rules.RULES}) == len(rules.RULES)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_to_do_with_a_command_that_exists(
    rule: rules.AlertRule, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = _COMMAND.findall(rule.next_step)
    assert commands
    assert rules.rule(rule.name) is rule
    assert rule.anchor == rule.name
    for command in set(commands) - {"up"}:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def test_every_flow_is_watched() -> None:
    named = re.compile(r'@flow\(\s*name="([a-z-]+)"')
    found = {
        name
        for path in (CHECKOUT / "flows").glob("*.py")
        for name in named.findall(path.read_text())
    }
    assert found
    assert found <= set(rules.FLOWS)


def test_a_rule_is_silent_when_its_automation_is_switched_off() -> None:
    assert is_silenced(an_incident("run-failed"), [rules.RUN_FAILED])
    assert not is_silenced(an_incident("run-failed"), [rules.RUN_CRASHED])
    assert not is_silenced(an_incident("server-away"), [rules.RUN_FAILED])


def test_a_rule_with_several_automations_is_silent_when_all_are_off() -> None:
    both = [rules.INTEGRITY_CRITICAL, rules.INTEGRITY_WARNING]
    assert not is_silenced(an_incident("integrity"), both[:1])
    assert is_silenced(an_incident("integrity"), both)


def test_missing_runs_are_switched_off_a_flow() -> None:
    off = [rules.SNAPSHOT_MISSING]
    assert is_silenced(an_incident("run-missing", "snapshot-metrics"), off)
    assert not is_silenced(an_incident("run-missing", "nightly"), off)
