"""What a rule of the storage check is: its name, how grave a breach is, and what to do about one.

The rules themselves are stated where they are checked; `catalogue` gathers them all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# How a run ends, by name, that did its work and found that the record of money is damaged.
CRITICAL_FINDINGS: Final = "Critical findings"


class Severity(StrEnum):
    """How grave a broken rule is, gravest first.

    Critical: the record of money is damaged or about to be. Error: a row or file is wrong and nobody
    should calculate with it. Warning: unusual, and worth a look.
    """

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"


def gravest(severities: Iterable[Severity]) -> Severity | None:
    """The gravest of these; None of none."""
    present = set(severities)
    return next((severity for severity in Severity if severity in present), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: `area.what`, in lower case with dashes, as `files.sha256` or `trades.exit-after-entry`.
        severity: how grave a breach is.
        says: what holds while the rule is kept, as a sentence.
        means: what a breach may come from and what it does to the user, in plain language.
        remedy: what the user should do, with the command where there is one.
    """

    name: str
    severity: Severity
    says: str
    means: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RowRule(Rule):
    """A rule that every row keeps or breaks by itself.

    `bad` is a DuckDB condition over the table's columns, true for a row that breaks it; NULL is not
    true. All row rules of a table are counted in one pass.
    """

    bad: str


@dataclass(frozen=True, slots=True)
class QueryRule(Rule):
    """A rule over several rows, or several tables, at once.

    `rows` is a DuckDB SELECT of what breaks it, a row each, with a column `key`. `{table}` in it stands
    for the relation that is checked. It runs as a query of its own.
    """

    rows: str
