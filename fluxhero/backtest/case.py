"""What is known of one engine, for the criteria to measure, and how a value becomes a score."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import EngineUsed, Row, Validation

_MODES = {"given": "given signals", "native": "its own idiom"}


class NotMeasuredError(Exception):
    """A criterion has no value; the message says why."""


@dataclass(frozen=True)
class Found:
    """A value with its score."""

    value: float | None
    text: str
    score: float


@dataclass(frozen=True)
class Case:
    """What is known of one engine."""

    engine: EngineUsed
    rows: Sequence[Row]
    validations: Sequence[Validation]
    contract: Contract

    def of_mode(self, mode: str) -> list[Row]:
        """Its rows of one mode that could be run at all.

        Raises:
            NotMeasuredError: there is none.
        """
        self.has_run()
        found = [row for row in self.rows if row.mode == mode and row.ending != "not-native"]
        if not found:
            raise NotMeasuredError(f"nothing was run with {_MODES[mode]}")
        return found

    def has_run(self) -> None:
        """Make sure that it ran.

        Raises:
            NotMeasuredError: it did not.
        """
        if self.engine.status == "unavailable":
            raise NotMeasuredError(f"unavailable: {self.engine.reason}")


def falling(value: float, best: float, a_point: float) -> float:
    """10 up to the best value, and a point less each time it grows by a factor; 0 at the least."""
    if value <= best:
        return 10.0
    return max(0.0, 10 - math.log(value / best) / math.log(a_point))


def stepped(value: float, steps: Iterable[tuple[float, float]]) -> float:
    """The score of the first step that the value does not pass; 0 beyond the last."""
    return next((score for most, score in steps if value <= most), 0.0)
