"""`docs/checks.md`: every rule, what a breach means and what to do, made from the rules themselves."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from fluxhero.integrity.catalogue import RULES
from fluxhero.integrity.rules import QueryRule, RowRule, Rule

DOCUMENT = Path("docs/checks.md")
_AREAS = {
    "archive": "Archive identity",
    "bars": "Bars: values",
    "cash_flows": "Cash flows: values",
    "chain": "Manifests",
    "drift": "Drift",
    "equity": "Equity: values",
    "files": "Archive files",
    "fills": "Fills: values",
    "holds": "Holds",
    "ledger": "Hot store, archive, orders and cash against each other",
    "limits": "Risk limits, held against by every snapshot",
    "mirror": "Mirror",
    "orders": "Orders: values",
    "positions": "Positions: values",
    "raw": "Kept exports",
    "recorded": "The pipeline's own files",
    "store": "Hot store",
    "trades": "Trades: values",
    "waivers": "Waivers",
}
_INTRODUCTION = """\
# What the storage check checks

*Generated from the rules by `python -m fluxhero.integrity.checks_page`.*

`fluxhero check` holds everything the ledger stands on against these rules. A rule passes, fails, or
could not be told, which is never a pass. **Critical**: the record of money is damaged or about to be;
the flow run ends as Critical findings. **Error**: a row or file is wrong and nobody should calculate with it.
**Warning**: unusual, and worth a look. Whatever counts makes the command end with 1. The risk limits are
not checked by it but by `fluxhero snapshot`, in the same way.

[integrity.md](integrity.md) tells how checks, repairs, waivers and the quarantine work together.
"""


def render(rules: Iterable[Rule] = RULES) -> str:
    """The text of the page."""
    ordered = sorted(rules, key=_area)
    parts = [_INTRODUCTION]
    for area, members in groupby(ordered, key=_area):
        parts.append(f"## {_AREAS[area]}\n")
        parts += [_section(rule) for rule in members]
    return "\n".join(parts)


def _area(rule: Rule) -> str:
    return rule.name.partition(".")[0]


def _section(rule: Rule) -> str:
    lines = [
        f"### `{rule.name}` ({rule.severity})\n",
        f"{rule.says}\n",
        f"- **A breach means:** {rule.means}",
        f"- **What to do:** {rule.remedy}",
    ]
    if isinstance(rule, RowRule):
        lines.append(f"- A row breaks it where `{' '.join(rule.bad.split())}`")
    if isinstance(rule, QueryRule):
        lines.append(
            "- It looks at several rows at once; the report shows the SQL that lists them."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
