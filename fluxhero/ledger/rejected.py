"""A row that was refused, with the reason: what readers hand to ingest and to the quarantine."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused row.

    Attributes:
        row: the raw row, JSON-safe, as the source had it.
        reason: what is wrong with it, in words, naming column and value.
        rule: the rule it breaks, in one word that can be counted.
        position: where in the source it was found, "row 17" for the formats whose rows are numbered.
    """

    row: dict[str, Any]
    reason: str
    rule: str
    position: str


@dataclass(frozen=True, slots=True)
class Listed:
    """How many refused rows the quarantine had not listed before, and how many it had."""

    new: int = 0
    known: int = 0
