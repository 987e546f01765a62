"""What a strategy's constructor takes, and values for it from text. Imports next to nothing.

Values are brought to the declared kind, so that 2 and 2.0 for a float are one and the same trial.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fluxhero.errors import BadInputError, StrategyError

Parameter = bool | int | float | str
Grid = tuple[tuple[str, tuple[Parameter, ...]], ...]

_KINDS: Final[Mapping[str, type]] = {"bool": bool, "int": int, "float": float, "str": str}
_SWITCHES: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True)
class Declared:
    """One parameter of a constructor.

    Attributes:
        name: as it is given.
        kind: bool, int, float or str; empty where it is none of these, so that no text can give it.
        default: None where there is none, or none of these kinds.
        required: whether it has to be given.
    """

    name: str
    kind: str
    default: Parameter | None = None
    required: bool = False

    def __str__(self) -> str:
        default = "" if self.default is None else f" = {self.default}"
        return f"{self.name} ({self.kind or 'cannot be given'}{default})"


def declared_by(strategy: type, owner: str) -> tuple[Declared, ...]:
    """What a class's constructor takes; `owner` is what messages call it.

    Raises:
        StrategyError: something that has to be given is no bool, int, float or str.
    """
    found = []
    for parameter in inspect.signature(strategy).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        required = parameter.default is parameter.empty
        kind = _kind(parameter.annotation, parameter.default)
        if required and not kind:
            raise StrategyError(
                f"{owner} has to be given {parameter.name}, of which no text says what it is",
                next_step="annotate it as bool, int, float or str, or give it a default",
            )
        default = parameter.default if isinstance(parameter.default, Parameter) else None
        if default is not None and kind:
            default = converted(default, kind, parameter.name)
        found.append(Declared(parameter.name, kind, default, required))
    return tuple(found)


def _kind(annotation: Any, default: object) -> str:
    """Annotations may be text, as `from __future__ import annotations` makes them."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    kinds = {one.strip() for one in text.split("|")} - {"None"}
    if len(kinds) == 1 and kinds <= _KINDS.keys():
        return kinds.pop()
    name = type(default).__name__
    return name if annotation is inspect.Parameter.empty and name in _KINDS else ""


def converted(value: Parameter, kind: str, name: str) -> Parameter:
    """A value, or text that says it, as the kind that is wanted.

    Raises:
        BadInputError: it is none of that kind.
    """
    made = _from_text(value, kind) if isinstance(value, str) else _from_value(value, kind)
    if made is None:
        raise BadInputError(f"{name}={value} is no {kind}", next_step=f"give {name} as {kind}")
    return made


def _from_text(text: str, kind: str) -> Parameter | None:
    if kind == "str":
        return text
    if kind == "bool":
        return _SWITCHES.get(text.strip().lower())
    try:
        return _finite(_KINDS[kind](text))
    except ValueError:
        return None


def _from_value(value: Parameter, kind: str) -> Parameter | None:
    wanted = _KINDS[kind]
    if type(value) is wanted:
        return _finite(value)
    return float(value) if kind == "float" and type(value) is int else None


def _finite(value: Parameter) -> Parameter | None:
    if not isinstance(value, float):
        return value
    return value + 0.0 if math.isfinite(value) else None  # + 0.0: there is one zero


def chosen(
    declared: Sequence[Declared], given: Mapping[str, Parameter], owner: str
) -> tuple[tuple[str, Parameter], ...]:
    """The value of every parameter: what is given, or else its default.

    Raises:
        BadInputError: there is no such parameter, one is missing, or a value does not fit; it lists what there is.
    """
    known = {one.name: one for one in declared}
    listed = ", ".join(str(one) for one in declared) or "no parameters"
    for name in given:
        if name not in known:
            raise BadInputError(f"{owner} has no parameter {name}", next_step=f"it has {listed}")
        if not known[name].kind:
            raise BadInputError(
                f"{name} of {owner} cannot be given as text",
                next_step="annotate it in the constructor as bool, int, float or str",
            )
    values: list[tuple[str, Parameter]] = []
    for one in declared:
        if one.name in given:
            values.append((one.name, converted(given[one.name], one.kind, one.name)))
        elif one.required:
            raise BadInputError(
                f"{owner} needs {one.name}",
                next_step=f"give it with --set {one.name}=…; it has {listed}",
            )
        elif one.default is not None:
            values.append((one.name, one.default))
    return tuple(values)


def grid_of(strategy: type, declared: Sequence[Declared], owner: str) -> Grid:
    """The values that a class proposes to try, from its attribute `GRID`; none where it has none.

    Raises:
        StrategyError: they are not those of its parameters.
    """
    proposed = getattr(strategy, "GRID", {})
    known = {one.name: one for one in declared if one.kind}
    right = isinstance(proposed, Mapping) and proposed.keys() <= known.keys()
    if not right or not all(_is_row(values) for values in proposed.values()):
        raise StrategyError(
            f"GRID of {owner} is not made of its parameters' names and a few values each",
            next_step='write it like GRID = {"window": (10, 20, 50)}',
        )
    return tuple(
        (name, tuple(converted(value, known[name].kind, name) for value in values))
        for name, values in proposed.items()
    )


def _is_row(values: object) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) > 0
        and all(isinstance(value, Parameter) for value in values)
    )
