"""What checking a rule came to: passed, failed or could not be told. An error is never a pass."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fluxhero.integrity.rules import Rule

MOST_KEYS = 1_000  # of one fault that are remembered by key; its count tells of all
MOST_SAMPLED = 20  # rows of one fault that are shown


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERRORED = "errored"  # it could not be told


@dataclass(frozen=True, slots=True)
class Result:
    """One rule checked on one object.

    Attributes:
        rule: the rule.
        object: what was checked, the same text in every run: a path relative to the data folder or,
            where it lies elsewhere, absolute (see `object_of`); or a table and where it is, as
            `trades (hot)`.
        outcome: how it ended.
        checked: how many rows or files were looked at.
        observed: what was found, as a sentence; of an error, why it could not be told.
        count: rows or files that break the rule; 0 where it passed.
        keys: of rows or parts that break it, sorted, at most `MOST_KEYS`; empty for a whole file.
        sample: rows that break it, ready for JSON, at most `MOST_SAMPLED`.
        sql: DuckDB SQL that lists what breaks it, for a reader who wants to see for themselves.
        file: the file at fault, where it is one.
    """

    rule: Rule
    object: str
    outcome: Outcome
    checked: int = 0
    observed: str = ""
    count: int = 0
    keys: tuple[str, ...] = ()
    sample: tuple[dict[str, Any], ...] = ()
    sql: str = ""
    file: Path | None = None


def passed(rule: Rule, about: str, checked: int = 1) -> Result:
    """The rule is kept."""
    return Result(rule, about, Outcome.PASSED, checked)


def failed(
    rule: Rule,
    about: str,
    observed: str,
    *,
    count: int = 1,
    checked: int = 1,
    keys: tuple[str, ...] = (),
    sample: tuple[dict[str, Any], ...] = (),
    sql: str = "",
    file: Path | None = None,
) -> Result:
    """The rule is broken."""
    return Result(
        rule,
        about,
        Outcome.FAILED,
        checked,
        observed,
        count,
        tuple(sorted(keys))[:MOST_KEYS],
        sample[:MOST_SAMPLED],
        sql,
        file,
    )


def errored(rule: Rule, about: str, why: str) -> Result:
    """Whether the rule is kept could not be told."""
    return Result(rule, about, Outcome.ERRORED, observed=why, count=1)


def condensed(results: Sequence[Result]) -> list[Result]:
    """The same with one result for all that passed of a rule, unless some of it could not be told.

    What could not be told leaves earlier faults open, and then each object that passed counts.
    """
    untold = {result.rule.name for result in results if result.outcome is Outcome.ERRORED}
    kept: list[Result] = []
    sound: dict[str, list[Result]] = {}
    for result in results:
        if result.outcome is Outcome.PASSED and result.rule.name not in untold:
            sound.setdefault(result.rule.name, []).append(result)
        else:
            kept.append(result)
    for same in sound.values():
        about = same[0].object if len(same) == 1 else f"{len(same):,} objects"
        kept.append(passed(same[0].rule, about, sum(result.checked for result in same)))
    return kept


def object_of(path: Path, data_dir: Path) -> str:
    """A file's name in results: relative to the data folder where it lies in it."""
    return os.fspath(path.relative_to(data_dir) if path.is_relative_to(data_dir) else path)
