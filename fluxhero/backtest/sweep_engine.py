"""Letting another engine trade the combinations of a sweep: their targets in, its equity out, our measures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from fluxhero.backtest.environments import Environment
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.runs import run_sweep
from fluxhero.backtest.sweep_files import read_bars
from fluxhero.backtest.sweep_measures import Yardstick
from fluxhero.backtest.sweep_worker import targets_name
from fluxhero.backtest.sweeps import SweepPlan
from fluxhero.backtest.tables import UNITS_A_DOLLAR

_CELLS_AT_ONCE: Final = (
    12_500_000  # bars times combinations, so that memory does not grow with these
)


def engine_measures(
    plan: SweepPlan,
    environment: Environment,
    places: Sequence[int],
    bounds: Bounds,
    folder: Path,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The measures of combinations whose targets are in the folder; how often each traded is not known.

    Raises:
        EngineError: the engine fails, or gives nonsense.
    """
    bars = read_bars(plan.bars_path, plan.data)
    yardstick = Yardstick(bars, plan.contract, plan.risk_free, plan.zone)
    step = max(1, _CELLS_AT_ONCE // len(bars))
    for first in range(0, len(places), step):
        some = places[first : first + step]
        targets = np.stack(
            [np.load(folder / targets_name(place), allow_pickle=False) for place in some], axis=1
        )
        patience = Bounds(bounds.seconds * len(some), bounds.memory_mb)
        swept = run_sweep(
            environment.engine, environment, bars, targets, plan.contract, patience, folder
        )
        for column, place in enumerate(some):
            equity = (swept.equity[:, column] * UNITS_A_DOLLAR).round().astype(np.int64)
            yield place, yardstick.measured(equity, None)
