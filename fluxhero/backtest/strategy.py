"""What a strategy is, and how the user names one: `moving-average-cross`, or `my_module:MyStrategy`.

A user's module is imported only in a process of its own: it may hang, crash or exit.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy.typing as npt

from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import class_of, code_of, told
from fluxhero.backtest.parameters import (
    Declared,
    Grid,
    Parameter,
    chosen,
    declared_by,
    grid_of,
)
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.errors import BadInputError

if TYPE_CHECKING:
    import pandas as pd

# Enough for a module that imports much; one that needs more is likelier to hang.
LOOKING_UP: Final = Bounds(seconds=60, memory_mb=4_096)


class Strategy(Protocol):
    """Says after each bar which way it wants to be; docs/strategies.md shows how to write one."""

    def targets(self, bars: "pd.DataFrame") -> npt.ArrayLike:
        """One number a bar: 1 long, 0 out, -1 short, each from that bar and those before it.

        Args:
            bars: open, high, low, close in USD and volume, indexed by when each bar is over (UTC).
        """


@dataclass(frozen=True)
class Named:
    """A strategy with the values of its parameters.

    Attributes:
        name: what the user calls it.
        reference: where it is, as module:Class.
        parameters: name and value, in the constructor's order.
        code: the first digits of its file's SHA-256, for one that is the user's: changed code is another trial.
    """

    name: str
    reference: str
    parameters: tuple[tuple[str, Parameter], ...] = ()
    code: str = ""

    @property
    def label(self) -> str:
        """Like moving-average-cross(fast=10, slow=50)."""
        given = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.name}({given})" if given else self.name

    @property
    def json(self) -> str:
        """The parameters as JSON, always in the same order."""
        return json.dumps(dict(self.parameters), sort_keys=True)


@dataclass(frozen=True)
class Description:
    """A strategy without values: what its constructor takes, and what it proposes to try.

    Attributes:
        name, reference, code: as of `Named`.
        declared: the parameters.
        grid: values to try, by parameter; empty where it proposes none.
    """

    name: str
    reference: str
    declared: tuple[Declared, ...]
    grid: Grid
    code: str = ""

    def named(self, given: Mapping[str, Parameter]) -> Named:
        """With these values, which may be text, and the defaults of the others.

        Raises:
            BadInputError: there is no such parameter, one is missing, or a value does not fit.
        """
        values = chosen(self.declared, given, self.name)
        return Named(self.name, self.reference, values, self.code)


def named(text: str, given: Mapping[str, str]) -> Named:
    """The strategy that the user means.

    Args:
        text: name of a shipped one, or module:Class.
        given: values of its parameters as text; the others have their defaults.

    Raises:
        BadInputError: there is no such strategy or parameter, or a value does not fit.
        StrategyError: its module cannot be imported.
    """
    return described(text).named(given)


def described(text: str, bounds: Bounds = LOOKING_UP) -> Description:
    """What the strategy that the user means takes.

    Raises:
        BadInputError: there is no such strategy.
        StrategyError: its module cannot be imported.
    """
    if text in SHIPPED:
        return description(text, SHIPPED[text])
    module, colon, name = text.partition(":")
    if not (colon and all(one.isidentifier() for one in (*module.split("."), name))):
        raise BadInputError(
            f"there is no strategy {text}",
            next_step=f"use one of {', '.join(SHIPPED)}, or your own as module:Class",
        )
    from fluxhero.backtest.signals import description_in

    with tempfile.TemporaryDirectory(prefix="fluxhero-strategy-") as folder:
        return description_in(Path(folder), text, bounds)


def description(name: str, reference: str) -> Description:
    """Import a strategy's class into this process and look at it; for one's own, and for the worker.

    Raises:
        StrategyError: it cannot be imported, or cannot be given what it needs.
    """
    strategy = class_of(reference)
    with told(f"looking at {name}"):
        declared = declared_by(strategy, name)
        grid = grid_of(strategy, declared, name)
    code = "" if name in SHIPPED else code_of(strategy)
    return Description(name, reference, declared, grid, code)
