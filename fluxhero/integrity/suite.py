"""Suites: the rules of one table, versioned together, with the columns that they presuppose.

What a suite says is here and in `suites`; running one is `expectations`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fluxhero.integrity.rules import QueryRule, RowRule, Rule, Severity


@dataclass(frozen=True)
class Suite:
    """The rules that the rows of one table keep.

    Attributes:
        table: the table's name; its rules are called `{table}.…`.
        version: raised when the rules mean something else though their SQL is the same.
        key: DuckDB SQL of what names a row, over the table's columns.
        columns: name and DuckDB type of the columns there have to be; there may be others.
        rules: what is checked.
        context: name and query of values that rules take from the whole of what is checked, as
            `getvariable('name')`; `{table}` in a query stands for it.
    """

    table: str
    version: int
    key: str
    columns: Mapping[str, str]
    rules: tuple[RowRule | QueryRule, ...]
    context: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """What tells one version of the checks from another: equal fingerprints check the same."""
        parts = [
            str(self.version),
            self.key,
            *(f"{name} {kind}" for name, kind in self.columns.items()),
            *(f"{rule.name} {condition_of(rule)}" for rule in self.rules),
            *(f"{name} {query}" for name, query in self.context.items()),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def schema_rule(self) -> Rule:
        """The rule that the table has the columns that all other rules need."""
        return Rule(
            f"{self.table}.schema",
            Severity.CRITICAL,
            says=f"The table {self.table} has every column it is declared with, of the declared type.",
            means="Somebody or some program changed the table or wrote a file by other means. Nothing else "
            f"can be said of {self.table} while its columns are not what they should be: every other rule "
            "counts as not checked.",
            remedy="Bring the columns back to what `docs/ledger.md` lists, or restore the store or the file "
            "from a backup; `fluxhero status` says which store and archive are in use. Then run "
            "`fluxhero check` again.",
        )

    @property
    def every_rule(self) -> tuple[Rule, ...]:
        """All rules, that of the columns first."""
        return (self.schema_rule, *self.rules)


def condition_of(rule: RowRule | QueryRule) -> str:
    """The SQL that a rule consists of."""
    return rule.bad if isinstance(rule, RowRule) else rule.rows


def query_over(rule: QueryRule, relation: str) -> str:
    """The rule's query over this relation."""
    return rule.rows.replace("{table}", relation)
