"""What an evaluation is asked for, read from the words of a command or of a flow's parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from config.settings import Settings
from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.engines import ENGINES
from fluxhero.backtest.grid import read_grid
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.parameters import Grid
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.strategy import Description, Named, described
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.working import PREFIX
from fluxhero.errors import BadInputError, StrategyError
from fluxhero.market.calendar import Calendar, calendar_of
from fluxhero.market.timeframe import Timeframe

NO_ENGINE: Final = "none"
SWEEPERS: Final = (REFERENCE, "vectorbt")  # that can run the combinations of a sweep
_FOLDER: Final = "tmp"


@dataclass(frozen=True)
class Chosen:
    """A strategy with its parameters, and the grid around them."""

    description: Description
    named: Named
    grid: Grid


@dataclass(frozen=True)
class Asked:
    """What every step of one evaluation needs to know.

    Attributes:
        run: its name.
        at: when it began.
        settings: as read then.
        strategies: those that could be looked up.
        unusable: those that could not, each with the cause.
        symbols: whose bars, from the cache; none: the shipped samples.
        timeframe: of the bars.
        first, last: only bars of days between the two, at the exchange.
        engines: names of those to compare.
        contract: the rules.
        speed_bars: minute bars that speed is measured on; 0: not at all.
        build: whether to make environments that are missing.
        sweep_engine: what runs the combinations of the grids.
        pdf: whether to write the tearsheets as PDF too.
    """

    run: str
    at: datetime
    settings: Settings
    strategies: tuple[Chosen, ...]
    unusable: tuple[str, ...]
    symbols: tuple[str, ...]
    timeframe: Timeframe
    first: date | None
    last: date | None
    engines: tuple[str, ...]
    contract: Contract
    speed_bars: int
    build: bool
    sweep_engine: str
    pdf: bool

    @property
    def folder(self) -> Path:
        """For files while it runs."""
        return self.settings.data_dir / _FOLDER / f"{PREFIX}{self.run}"

    @property
    def bounds(self) -> Bounds:
        """What one backtest or one strategy may take."""
        return Bounds(
            seconds=self.settings.engine_timeout_seconds, memory_mb=self.settings.engine_memory_mb
        )

    @property
    def risk_free(self) -> float:
        """Yearly rate."""
        return float(self.settings.risk_free_rate)

    def calendar(self, bars: Bars) -> Calendar:
        """Of the exchange that the bars are of, from the first of them on."""
        return calendar_of(bars.symbol, self.settings.exchange, bars.over(0).date())


def chosen_strategies(
    names: Sequence[str], parameters: Sequence[str], grid: Sequence[str]
) -> tuple[tuple[Chosen, ...], tuple[str, ...]]:
    """Look strategies up: those that can be used, and why the others cannot.

    Args:
        names: of shipped ones, or module:Class; all shipped ones where there are none.
        parameters: name=value, of the only strategy.
        grid: name=values, of the only strategy.

    Raises:
        BadInputError: a name, parameter or grid makes no sense, or no strategy can be used.
    """
    wanted = list(dict.fromkeys(names)) or list(SHIPPED)
    given = _pairs(parameters)
    if (given or grid) and len(wanted) > 1:
        raise BadInputError(
            f"parameters are given for {len(wanted)} strategies at once",
            next_step="name one strategy with --set and --grid",
        )
    usable, unusable = [], []
    for name in wanted:
        try:
            description = described(name)
        except StrategyError as error:
            if len(wanted) == 1:
                raise
            unusable.append(str(error))
            continue
        values = read_grid(grid) or description.grid
        usable.append(Chosen(description, description.named(given), values))
    return tuple(usable), tuple(unusable)


def chosen_engines(names: Sequence[str]) -> tuple[str, ...]:
    """Which engines are meant: all where none is named.

    Raises:
        BadInputError: there is no such engine.
    """
    known = [engine.name for engine in ENGINES]
    if list(names) == [NO_ENGINE]:
        return ()
    for name in names:
        if name not in known:
            raise BadInputError(
                f"there is no engine {name}", next_step=f"use {', '.join(known)}, or none alone"
            )
    return tuple(dict.fromkeys(names)) or tuple(known)


def chosen_sweeper(name: str) -> str:
    """What is to run the combinations of the grids.

    Raises:
        BadInputError: it cannot.
    """
    if name not in SWEEPERS:
        raise BadInputError(f"{name} runs no sweeps", next_step=f"use {' or '.join(SWEEPERS)}")
    return name


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in pairs:
            raise BadInputError(
                f"'{text[:60]}' is no parameter, or the second of its name",
                next_step="write name=value, once for each parameter",
            )
        pairs[name.strip()] = value.strip()
    return pairs
