"""The catalogue has every rule that a check tells of, and each says what a trader can do."""

import re
import shlex
from pathlib import Path

import click
import pytest

from fluxhero.cli import cli
from fluxhero.errors import BadInputError
from fluxhero.integrity import checks_page
from fluxhero.integrity.catalogue import RULES, rule_named, rules_by_name
from fluxhero.integrity.rules import QueryRule, RowRule, Rule

REPOSITORY = Path(__file__).parents[2]
CASES = [pytest.param(rule, id=rule.name) for rule in RULES]


def test_every_name_is_given_once_and_has_an_area() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z0-9-]+", name) for name in names)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_is_told_in_sentences(rule: Rule) -> None:
    for text in (rule.says, rule.means, rule.remedy):
        assert re.match(r"[A-Z`]", text), f"begin a sentence with a capital letter: {text}"
        assert text.endswith((".", ")")), f"end it with a full stop: {text}"
        assert "  " not in text


@pytest.mark.parametrize("rule", CASES)
def test_a_command_that_a_rule_advises_exists(rule: Rule) -> None:
    for line in re.findall(r"`fluxhero ([^`]+)`", f"{rule.means} {rule.remedy}"):
        command: click.Command = cli
        for word in shlex.split(line):
            if isinstance(command, click.Group):
                assert word in command.commands, f"{rule.name} advises `fluxhero {line}`"
                command = command.commands[word]
            elif word.startswith("--"):
                options = [name for param in command.params for name in param.opts]
                assert word in options, f"{rule.name} advises `fluxhero {line}`"


def test_rules_on_rows_and_queries_say_how_they_are_checked() -> None:
    page = checks_page.render()
    for rule in RULES:
        section = page.split(f"### `{rule.name}` ", 1)[1].split("\n### ", 1)[0]
        assert rule.remedy in section
        assert ("breaks it where" in section) == isinstance(rule, RowRule)
        assert ("several rows at once" in section) == isinstance(rule, QueryRule)


def test_checks_md_is_the_generated_one() -> None:
    written = (REPOSITORY / "docs" / "checks.md").read_text("utf-8")
    assert written == checks_page.render(), (
        "run `python -m fluxhero.integrity.checks_page` and commit docs/checks.md"
    )


def test_a_rule_is_found_by_its_name_or_the_nearest_is_suggested() -> None:
    assert rule_named("trades.pnl") is rules_by_name()["trades.pnl"]
    with pytest.raises(BadInputError, match=r"did you mean 'trades\.pnl'"):
        rule_named("trade.pnl")
