"""How long a bar is, and how that is written: FluxHero's way in file names, Alpaca's in requests."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from fluxhero.errors import BadInputError


class Unit(StrEnum):
    """What a timeframe counts; the value is FluxHero's letter."""

    MINUTE = "m"
    HOUR = "h"
    DAY = "d"


_ALPACA = {Unit.MINUTE: "Min", Unit.HOUR: "Hour", Unit.DAY: "Day"}
_LENGTH = {
    Unit.MINUTE: timedelta(minutes=1),
    Unit.HOUR: timedelta(hours=1),
    Unit.DAY: timedelta(days=1),
}
_MOST = {Unit.MINUTE: 59, Unit.HOUR: 23, Unit.DAY: 1}  # what Alpaca aggregates
# A capital M alone is a month elsewhere, so that it is not taken for minutes here.
_FORMS = {
    Unit.MINUTE: r"m|min|minutes?|T",
    Unit.HOUR: r"h|H|hours?",
    Unit.DAY: r"d|D|days?",
}
_SHAPES = {
    unit: re.compile(rf"([1-9]\d?)(?:{form}|{form.title()})") for unit, form in _FORMS.items()
}
_MONTH = re.compile(r"\d+M")


@dataclass(frozen=True, slots=True)
class Timeframe:
    """So many minutes, hours or days."""

    count: int
    unit: Unit

    @classmethod
    def read(cls, text: str) -> "Timeframe":
        """Understand `1Day`, `1d`, `5Min`, `5m`, `1Hour`, `1h`.

        Raises:
            BadInputError: it is none of them.
        """
        for unit, shape in _SHAPES.items():
            match = shape.fullmatch(text)
            if match and not _MONTH.fullmatch(text) and int(match[1]) <= _MOST[unit]:
                return cls(int(match[1]), unit)
        raise BadInputError(
            f"'{text}' is no timeframe", next_step="give 1Day, or 1Min to 59Min, or 1Hour to 23Hour"
        )

    @property
    def daily(self) -> bool:
        """Whether a bar is a whole session."""
        return self.unit is Unit.DAY

    @property
    def length(self) -> timedelta:
        """How long a bar is; a daily one ends with its session, whatever this says."""
        return self.count * _LENGTH[self.unit]

    @property
    def alpaca(self) -> str:
        """As Alpaca writes it."""
        return f"{self.count}{_ALPACA[self.unit]}"

    def __str__(self) -> str:
        return f"{self.count}{self.unit.value}"


DAILY = Timeframe(1, Unit.DAY)
