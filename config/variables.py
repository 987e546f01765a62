"""The names that settings go by in the environment and in `.env`, and what a wrong one is told."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final

from dotenv.parser import parse_stream

PREFIX = "FLUXHERO_"
# Marks every process of a night shift, with a value of its own; no setting.
NIGHT_SHIFT: Final = f"{PREFIX}NIGHT_SHIFT"


class SettingsError(ValueError):
    """The settings cannot be used; the message lists every bad one and what to do about it."""

    exit_status: ClassVar[int] = 2

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} → {self.next_step}"


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def names_in(path: Path) -> Iterator[str]:
    """Names set in a `.env` file, refusing one that cannot be read as such."""
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The settings file {path} cannot be read ({error})",
            next_step="make it a UTF-8 text file of NAME=value lines, or remove it",
        ) from error
    for binding in bindings:
        if binding.error:
            raise SettingsError(
                f"Line {binding.original.line} of the settings file {path} is not NAME=value",
                next_step="correct the line, or put # in front of it",
            )
        if binding.key:
            yield binding.key


def unknown(names: Iterable[str], fields: Iterable[str]) -> Iterator[str]:
    """What is wrong with each name that has our prefix and belongs to no field."""
    known = [field.upper() for field in fields]
    ours = {name.upper() for name in names if name.upper().startswith(PREFIX)}
    for name in sorted(ours - {NIGHT_SHIFT}):
        rest = name.removeprefix(PREFIX)  # names are not near for their prefix alone
        if rest not in known:
            near = difflib.get_close_matches(rest, known, n=1)
            yield f"{name} is not a setting" + (
                f"; the nearest is {variable(near[0])}" if near else ""
            )
