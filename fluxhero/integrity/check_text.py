"""Findings as lines for a terminal: each once, gravest first, and what to do said once."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluxhero.integrity.results import Outcome

if TYPE_CHECKING:
    from fluxhero.integrity.check_report import FindingLine

MOST_KEYS = 5
UNTOLD = "could not be told"
_FEWEST_KEYS = 3  # that a finding's own words name
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")


def told(faults: Sequence["FindingLine"]) -> list[str]:
    """What is wrong and what to do; what several faults of one severity need is below them all."""
    alike: dict[tuple[str, str], list[FindingLine]] = {}
    for fault in faults:
        alike.setdefault((fault.severity, fault.remedy), []).append(fault)
    lines: list[str] = []
    said: dict[str, str] = {}
    for (_, remedy), group in alike.items():
        for fault in group:
            lines += _found(fault)
        lines.append(f"  → {_unsaid(remedy, group[0].rule, said)}")
    return lines


def few(keys: Sequence[str]) -> str:
    """The first keys, and how many more there are."""
    shown = ", ".join(keys[:MOST_KEYS])
    more = len(keys) - MOST_KEYS
    return f"{shown} and {more:,} more" if more > 0 else shown


def _found(line: "FindingLine") -> list[str]:
    """What was found, and whatever of its rows and object that does not say itself."""
    errored = line.outcome is Outcome.ERRORED
    untold = f" {UNTOLD}" if errored and UNTOLD not in line.observed else ""
    state = f"{line.state}, {line.waived:,} of {line.count:,} waived" if line.waived else line.state
    what = line.observed if line.object in line.observed else f"{line.object}: {line.observed}"
    head = f"{line.severity.upper()} {line.rule}{untold} ({state}): {what}"
    if errored or all(key in line.observed for key in line.rows[:_FEWEST_KEYS]):
        return [head]
    return [head, f"  {few(line.rows)}"]


def _unsaid(remedy: str, rule: str, said: dict[str, str]) -> str:
    """A remedy without the last sentences that an earlier one had too; `said` has the rule of that."""
    sentences = _SENTENCES.split(remedy)
    fresh = list(sentences)
    while fresh and fresh[-1] in said:
        fresh.pop()
    same = sentences[len(fresh) :]
    for sentence in sentences:
        said.setdefault(sentence, rule)
    if not same:
        return remedy
    return " ".join([*fresh, f"{'The rest as' if fresh else 'As'} for {said[same[0]]} above."])
