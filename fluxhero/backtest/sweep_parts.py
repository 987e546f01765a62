"""Doing one part of a sweep, in a process that a combination may take down without harm to the others.

A part may be done by several at once or again and again: one works, the others wait and find it done. What
was found of a combination is kept unless it took its process with it; then another run tries it again.
"""

import json
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fluxhero import progress
from fluxhero.backtest.environments import Environment
from fluxhero.backtest.isolation import Bounds, Outcome, run_isolated
from fluxhero.backtest.loading import worker_environment
from fluxhero.backtest.signals import death_of
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.sweep_files import COLUMNS, DIED, read_bars, read_part
from fluxhero.backtest.sweep_worker import (
    REQUEST_NAME,
    STARTED_NAME,
    lines_of,
    request_for,
)
from fluxhero.backtest.sweeps import SweepPlan, write_anew
from fluxhero.backtest.trials import OK, REFERENCE
from fluxhero.durable import write_atomically
from fluxhero.errors import AlreadyRunningError, ConfigurationError, DamagedFileError
from fluxhero.locks import locked
from fluxhero.recorded import record_path
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

_MOST_DEATHS: Final = 5  # of combinations in a run of a part; the rest is not tried then
_START_SECONDS: Final = 60.0
_SECONDS_BETWEEN_LOOKS: Final = 0.5
_COLUMNS_AT_ONCE: Final = (
    25  # combinations that another engine is asked about at once, for the memory
)


@dataclass(frozen=True)
class PartDone:
    """What came of a part.

    Attributes:
        number: which one; the first is 0.
        combinations: how many it has.
        tried: how many of them were tried now; the others were known.
        failed: how many have no result.
    """

    number: int
    combinations: int
    tried: int
    failed: int


def run_part(
    plan: SweepPlan, number: int, bounds: Bounds, environment: Environment | None = None
) -> PartDone:
    """Do a part of a sweep, as far as it is not done.

    Args:
        plan: the sweep.
        number: which part.
        bounds: what one combination may take.
        environment: of the plan's engine, where that is not the reference.

    Raises:
        AlreadyRunningError: another process has been at it for longer than it can take.
        ConfigurationError: no process can be started for it.
        DamagedFileError: the bars of the sweep are gone or damaged; planning it again mends them.
        EngineError: the engine fails.
        StorageIOError: the disk is full or refuses.
    """
    places = plan.part(number)
    busy = AlreadyRunningError(
        f"another process is at part {number + 1} of the sweep {plan.id}",
        next_step="wait for it to end, then run again",
    )
    patience = _START_SECONDS + bounds.seconds * len(places)
    lock = plan.folder / f".part-{number + 1:02d}.lock"
    with locked(lock, lambda: busy, wait_seconds=patience), _scratch(plan, number) as folder:
        known = _known(plan, number)
        left = [place for place in places if place not in known]
        if left:
            part = _Part(plan, folder, bounds, environment)
            known |= part.tried(left)
            rows = [{"parameters": plan.strategies[one].json, **known[one]} for one in places]
            write_anew(plan.part_path(number), pa.Table.from_pylist(rows, schema=COLUMNS))
    failed = sum(row["outcome"] != OK for row in known.values())
    return PartDone(number, len(places), len(left), failed)


def _known(plan: SweepPlan, number: int) -> dict[int, dict[str, Any]]:
    """Results of earlier runs that need not be found again."""
    path = plan.part_path(number)
    if not path.exists() and not record_path(path).exists():
        return {}
    try:
        rows = read_part(path, plan.part(number)).to_pylist()
    except DamagedFileError as error:
        logger.warning("%s; it is run again", error.what)
        return {}
    return {row["combination"]: row for row in rows if row["outcome"] != DIED}


def _scratch_root(plan: SweepPlan) -> Path:
    return plan.data_dir / "tmp" / "sweeps" / plan.id


@contextmanager
def _scratch(plan: SweepPlan, number: int) -> Iterator[Path]:
    """An empty folder; one that a killed run left is emptied."""
    folder = _scratch_root(plan) / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Part:
    """Combinations that are tried one after the other by a process, and by another one behind what ended it."""

    def __init__(
        self, plan: SweepPlan, folder: Path, bounds: Bounds, environment: Environment | None
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._bounds = bounds
        self._environment = environment
        self._report = progress.begun(f"sweep {plan.id[:8]}", "tried", "combinations")
        self._looked = 0.0

    def tried(self, places: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What came of each combination."""
        left = {place: self._plan.strategies[place] for place in places}
        dead: dict[int, dict[str, Any]] = {}
        while left:
            outcome = self._run(left)
            for row in lines_of(self._folder):
                left.pop(row["combination"], None)
            if left:
                place = next(iter(left))
                error = death_of(left.pop(place), outcome, self._bounds)
                dead[place] = _without_result(place, DIED, error.what)
            if len(dead) == _MOST_DEATHS and left:
                why = f"not tried, as {counted(len(dead), 'combination')} before it ended their process"
                dead |= {place: _without_result(place, DIED, why) for place in left}
                break
        rows = {row["combination"]: row for row in lines_of(self._folder)}
        if self._plan.engine != REFERENCE:
            good = [place for place, row in rows.items() if row["outcome"] == OK]
            for place, found in self._traded(good):
                rows[place] |= found
        self._tell()
        return dead | rows

    def _traded(self, places: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """What the engine makes of the targets that the process has kept."""
        if self._environment is None:
            raise ConfigurationError(
                f"the sweep {self._plan.id} needs the environment of {self._plan.engine}",
                next_step="hand it over, or sweep with the reference",
            )
        from fluxhero.backtest.sweep_engine import engine_measures

        yield from engine_measures(
            self._plan, self._environment, places, self._bounds, self._folder
        )

    def _run(self, left: dict[int, Named]) -> Outcome:
        plan, folder = self._plan, self._folder
        request = request_for(plan, left, self._bounds.seconds)
        write_atomically(folder / REQUEST_NAME, json.dumps(request).encode())
        (folder / STARTED_NAME).unlink(missing_ok=True)
        seconds = _START_SECONDS + self._bounds.seconds * len(left)
        read_bars(plan.bars_path, plan.data)
        outcome = run_isolated(
            [sys.executable, "-m", "fluxhero.backtest.sweep_worker", str(folder / REQUEST_NAME)],
            folder=folder,
            bounds=Bounds(seconds, self._bounds.memory_mb),
            # Where compiled code is kept if not beside its source, from one process to the next.
            environment={
                **worker_environment(),
                "XDG_CACHE_HOME": str(_scratch_root(plan).parent / "compiled"),
            },
            advance=self._advance,
        )
        if not (folder / STARTED_NAME).exists():
            raise ConfigurationError(
                f"the process for combinations did not come up: it {outcome.cause}; {outcome.output}",
                next_step="raise FLUXHERO_ENGINE_MEMORY_MB if it is low; `fluxhero doctor` says what else is wrong",
            )
        return outcome

    def _advance(self) -> None:
        """Tell how far the whole sweep is, now and then."""
        if time.monotonic() - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        plan = self._plan
        done = sum(
            len(plan.part(number))
            if plan.part_path(number).exists()
            else sum(1 for _ in lines_of(_scratch_root(plan) / str(number)))
            for number in range(plan.parts)
        )
        self._report(done, len(plan.strategies))


def _without_result(place: int, outcome: str, error: str) -> dict[str, Any]:
    return {"combination": place, "outcome": outcome, "error": error}
