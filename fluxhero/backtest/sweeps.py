"""Sweeps: every combination of a strategy's parameters on the same bars, cut into a few parts of work.

What belongs here: which combinations there are, how they are cut, and what came of all of them. A part is
done by `sweep_parts`; its file in `evaluations/sweeps/{id}` is the proof that it was. The id is that of
everything the results depend on, so that the same sweep finds what it has already done.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.grid import check_size, combinations
from fluxhero.backtest.loading import search_path
from fluxhero.backtest.overfitting import BlockSums
from fluxhero.backtest.parameters import Grid, Parameter
from fluxhero.backtest.strategy import Description, Named
from fluxhero.backtest.sweep_files import bars_table, read_bars, read_part
from fluxhero.backtest.sweep_measures import MEASURES, SUMS
from fluxhero.backtest.trials import EVALUATIONS, OK, REFERENCE, Trial, contract_json
from fluxhero.durable import remove
from fluxhero.errors import AlreadyRunningError, BadInputError, DamagedFileError
from fluxhero.locks import locked
from fluxhero.recorded import record_path, write_recorded
from fluxhero.release import release

FOLDER: Final = Path(EVALUATIONS) / "sweeps"
MOST_PARTS: Final = 32
_FORMAT: Final = 1  # of the files; another one makes another id
_A_PART: Final = 125  # combinations; starting a process costs what a few hundred quick ones do
_LOCK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, made to be handed to whatever does a part of it.

    Attributes:
        id: of everything the results depend on.
        data_dir: the data folder.
        strategies: the combinations.
        symbol, timeframe, data: which bars; the last is their digest.
        contract: the rules.
        engine: what runs them.
        risk_free: yearly rate of the Sharpe ratios.
        zone: of the exchange, whose days are meant.
        search: where the user's modules are looked for.
    """

    id: str
    data_dir: Path
    strategies: tuple[Named, ...]
    symbol: str
    timeframe: str
    data: str
    contract: Contract
    engine: str
    risk_free: float
    zone: ZoneInfo
    search: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.data_dir / FOLDER / self.id

    @property
    def bars_path(self) -> Path:
        """Where its bars are."""
        return self.folder / "bars.parquet"

    @property
    def parts(self) -> int:
        """Into how many parts the work is cut."""
        count = len(self.strategies)
        return min(MOST_PARTS, math.ceil(count / _A_PART))

    def part(self, number: int) -> range:
        """The places of a part's combinations; the first part is 0."""
        count = len(self.strategies)
        return range(number * count // self.parts, (number + 1) * count // self.parts)

    def part_path(self, number: int) -> Path:
        """Where the results of a part are."""
        return self.folder / f"part-{number + 1:02d}-of-{self.parts:02d}.parquet"


def plan_sweep(
    description: Description,
    grid: Grid,
    bars: Bars,
    contract: Contract,
    *,
    data_dir: Path,
    risk_free: float,
    zone: ZoneInfo,
    given: Mapping[str, Parameter] | None = None,
    engine: str = REFERENCE,
) -> SweepPlan:
    """Plan a sweep, and put its bars where the parts find them.

    Args:
        description: the strategy.
        grid: values to try, by parameter; where there are none, those that the strategy proposes.
        bars: checked ones.
        contract: the rules.
        data_dir: the data folder.
        risk_free: yearly rate of the Sharpe ratios.
        zone: of the exchange.
        given: values of other parameters.
        engine: `REFERENCE`, or an engine that runs sweeps.

    Raises:
        BadInputError: there is nothing to try, too much, something twice, or a value does not fit.
        StorageIOError: the disk is full or refuses.
    """
    strategies = _strategies(description, grid or description.grid, given or {})
    about = {
        "format": _FORMAT,
        "release": release(),
        "reference": description.reference,
        "code": description.code,
        "parameters": [one.json for one in strategies],
        "data": bars.digest,
        "contract": contract_json(contract),
        "engine": engine,
        "risk_free": risk_free,
        "zone": zone.key,
    }
    plan = SweepPlan(
        id=hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16],
        data_dir=data_dir,
        strategies=strategies,
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        data=bars.digest,
        contract=contract,
        engine=engine,
        risk_free=risk_free,
        zone=zone,
        search=tuple(search_path()),
    )
    _keep(plan, bars)
    return plan


def _strategies(
    description: Description, grid: Grid, given: Mapping[str, Parameter]
) -> tuple[Named, ...]:
    if not grid:
        raise BadInputError(
            f"{description.name} proposes no values to try",
            next_step="give the values of a parameter, like fast=5..50:5",
        )
    for name, _ in grid:
        if name in given:
            raise BadInputError(
                f"{name} is given once as {given[name]} and once as a part of the grid",
                next_step="leave one of them out",
            )
    check_size(grid)
    strategies = tuple(description.named({**given, **values}) for values in combinations(grid))
    if len(set(strategies)) < len(strategies):
        raise BadInputError(
            "two combinations of the grid are the same, as two of its texts mean the same value",
            next_step="give each value once",
        )
    return strategies


def _keep(plan: SweepPlan, bars: Bars) -> None:
    busy = AlreadyRunningError(
        f"another process is writing to {plan.folder}",
        next_step="wait for it to end, then run again",
    )
    with locked(plan.folder / ".lock", lambda: busy, wait_seconds=_LOCK_SECONDS):
        try:
            read_bars(plan.bars_path, plan.data)
        except DamagedFileError:  # or not there yet
            write_anew(plan.bars_path, bars_table(bars))


def write_anew(path: Path, table: pa.Table) -> None:
    """Write a file of a sweep in the place of whatever was there."""
    for old in (path, record_path(path)):
        remove(old)
    write_recorded(path, table, datetime.now(UTC))


@dataclass(frozen=True, eq=False)
class SweepOutcome:
    """What came of a whole sweep.

    Attributes:
        plan: the sweep.
        table: one row a combination, in the order of `plan.strategies`.
        sums: what cross-validation needs, of the combinations that have daily returns; None if none has.
    """

    plan: SweepPlan
    table: pa.Table
    sums: BlockSums | None

    @cached_property
    def best(self) -> Named | None:
        """The combination with the highest Sharpe ratio, the first of several; None if none has one."""
        known = [
            (sharpe, -place) for place, sharpe in enumerate(self._sharpes) if sharpe is not None
        ]
        return self.plan.strategies[-max(known)[1]] if known else None

    @property
    def surface(self) -> list[tuple[dict[str, Parameter], float | None]]:
        """Each combination with its yearly Sharpe ratio."""
        pairs = zip(self.plan.strategies, self._sharpes, strict=True)
        return [(dict(one.parameters), sharpe) for one, sharpe in pairs]

    @property
    def failed(self) -> int:
        """How many combinations have no result."""
        return int(pc.sum(pc.not_equal(self.table["outcome"], OK)).as_py() or 0)

    @cached_property
    def _sharpes(self) -> list[float | None]:
        sharpes: list[float | None] = self.table["sharpe"].to_pylist()
        return sharpes

    def trials(self) -> list[Trial]:
        """Each combination as a trial, for the register."""
        plan, contract = self.plan, contract_json(self.plan.contract)
        names = [*(name for name in MEASURES.names if name in Trial.__slots__), "outcome", "error"]
        return [
            Trial(
                strategy=one.name,
                reference=one.reference,
                code=one.code,
                parameters=one.json,
                symbol=plan.symbol,
                timeframe=plan.timeframe,
                data=plan.data,
                contract=contract,
                engine=plan.engine,
                **row,
            )
            for one, row in zip(plan.strategies, self.table.select(names).to_pylist(), strict=True)
        ]


def sweep_outcome(plan: SweepPlan) -> SweepOutcome:
    """Gather what the parts found, once all are done.

    Raises:
        DamagedFileError: a part is missing or damaged.
    """
    tables = [read_part(plan.part_path(one), plan.part(one)) for one in range(plan.parts)]
    table = pa.concat_tables(tables)
    return SweepOutcome(plan, table.drop_columns(SUMS.names), _sums(table))


def _sums(table: pa.Table) -> BlockSums | None:
    known = table.filter(pc.is_valid(table["total"]))
    if not known.num_rows:
        return None
    count, total, squares = (
        np.stack([row.values.to_numpy() for row in known[name]]) for name in SUMS.names
    )
    return BlockSums(count[0], np.ascontiguousarray(total.T), np.ascontiguousarray(squares.T))
