"""Reconciling a house's ledger in tests: a scope at a fixed moment, and what was found."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reconcile import reconcile
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope
from tests import samples
from tests.house import House


def scope_of(house: House, now: datetime = samples.AS_OF, **changes: Any) -> Scope:
    """The house's scope at a moment, with other settings if given."""
    scope = Scope.of(house.settings, now=now, deep=False)
    return replace(scope, **{"retention_days": samples.RETENTION_DAYS, **changes})


def check(house: House, memory: Passed | None = None, **changes: Any) -> list[Result]:
    """All results, with a memory of its own unless one is given."""
    scope = scope_of(house, **changes)
    return reconcile(scope, memory or Passed(scope.home / "passed.json"))


def found(house: House, memory: Passed | None = None, **changes: Any) -> dict[str, Result]:
    """What is not sound, by the rule's name; each rule finds something in one place at most."""
    bad = [r for r in check(house, memory, **changes) if r.outcome is not Outcome.PASSED]
    by_rule = {result.rule.name: result for result in bad}
    assert len(by_rule) == len(bad), bad
    return by_rule
