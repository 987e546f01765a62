"""What the reference simulator makes of every strategy on every symbol."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import EngineUsed, Row
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.material import CHEATS, Signalled
from fluxhero.backtest.results import Result
from fluxhero.backtest.rows import reference_row
from fluxhero.backtest.runs import EngineJob, Mode
from fluxhero.backtest.shipped import MovingAverageCross
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.used import reference_used
from fluxhero.backtest.validating import without_compounding
from fluxhero.errors import BadInputError
from fluxhero.release import release

logger = logging.getLogger(__name__)

_TIMES: Final = 5  # of which the middle one counts


@dataclass(frozen=True, eq=False)
class Referenced:
    """A strategy's result by the reference; `contract` are the rules it was held to."""

    signalled: Signalled
    contract: Contract
    result: Result
    row: Row

    def jobs(self) -> list[EngineJob]:
        """The same for an engine: with signals given, and in its own idiom."""
        named, bars = self.signalled.chosen.named, self.signalled.bars
        targets = self.signalled.targets
        return [
            EngineJob(
                f"{mode} {named.label} {bars.symbol}", mode, named, bars, targets, self.contract
            )
            for mode in Mode
        ]


@dataclass(frozen=True)
class AllReferenced:
    """Every result, and why others are missing."""

    usable: tuple[Referenced, ...]
    failures: tuple[str, ...]


def rules_for(asked: Asked, one: Signalled) -> Contract:
    """The rules, with a fixed size for who knows the future: all in, its gains outgrow all numbers."""
    cheats = one.chosen.named.reference == CHEATS
    return without_compounding(asked.contract) if cheats else asked.contract


def referenced(asked: Asked, material: Sequence[Signalled]) -> AllReferenced:
    """Run everything; what cannot be run does not stop the others."""
    usable, failures = [], []
    for one in material:
        named, bars = one.chosen.named, one.bars
        contract = rules_for(asked, one)
        began = time.perf_counter()
        try:
            result = simulate(bars, one.targets, contract)
        except BadInputError as error:
            logger.warning("%s on %s: %s", named.label, bars.symbol, error)
            failures.append(f"{named.label} on {bars.symbol}: {error}")
            continue
        seconds = time.perf_counter() - began
        zone = asked.calendar(bars).zone
        row = reference_row(named, result, bars, contract, asked.risk_free, zone, seconds)
        usable.append(Referenced(one, contract, result, row))
    return AllReferenced(tuple(usable), tuple(failures))


def used(asked: Asked) -> EngineUsed:
    """The reference as an engine beside the others, with its own run for speed."""
    versions = {REFERENCE: release(), "numba": numba.__version__, "numpy": np.__version__}
    if not asked.speed_bars:
        return reference_used(versions)
    bars = random_walk(asked.speed_bars)
    targets = MovingAverageCross().targets(bars.frame())
    seconds = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        simulate(bars, targets, asked.contract)
        seconds.append(time.perf_counter() - began)
    return reference_used(versions, len(bars), sorted(seconds)[_TIMES // 2])
