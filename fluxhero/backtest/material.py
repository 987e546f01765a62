"""What an evaluation works with: the bars of each symbol, and what every strategy wants on them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from fluxhero.backtest.asked import Asked, Chosen
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.checked import FEWEST, Checked
from fluxhero.backtest.evaluation import DataUsed
from fluxhero.backtest.honesty import Honesty
from fluxhero.backtest.signals import Signals, signals_of
from fluxhero.backtest.sources import SAMPLES, cached_bars, sample_bars
from fluxhero.errors import BadInputError, FluxHeroError, StrategyError
from fluxhero.market.timeframe import DAILY
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

CACHE: Final = "from the cache of bars"
SAMPLE: Final = "real daily bars, shipped"
SHIPPED: Final = "sample:"  # before a symbol: the shipped bars of it
CHEATS: Final = "fluxhero.backtest.shipped:PerfectPredictor"  # on purpose
_SECOND: Final = 1_000_000_000  # nanoseconds


@dataclass(frozen=True)
class Material:
    """Bars that can be used, and why others cannot."""

    usable: tuple[tuple[Bars, DataUsed], ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Signalled:
    """A strategy on one symbol's bars, with what it wants after each."""

    chosen: Chosen
    bars: Bars
    signals: Signals

    @property
    def targets(self) -> Int8s:
        """-1, 0 or 1 after each bar."""
        return self.signals.targets

    @property
    def peeks(self) -> int:
        """Bars on which it was found to look ahead."""
        return len(self.signals.peeks)

    @property
    def fault(self) -> str | None:
        """What keeps its result from being believed, unless it cheats on purpose."""
        found = self.signals.verdict
        if self.chosen.named.reference == CHEATS or found.honesty is Honesty.HONEST:
            return None
        about = f"{self.chosen.named.label} on {self.bars.symbol}"
        what = "looks ahead" if found.honesty is Honesty.PEEKS else "may look ahead"
        return f"{about} {what}: {found.reason}"


@dataclass(frozen=True)
class AllSignalled:
    """Every strategy on every symbol that gave usable targets, and why the others did not."""

    usable: tuple[Signalled, ...]
    failures: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What went wrong, looking ahead included."""
        return (*self.failures, *(one.fault for one in self.usable if one.fault))


def material_of(asked: Asked) -> Material:
    """The bars that were asked for; those that cannot be used do not stop the others.

    Raises:
        BadInputError: none can be used; the first cause.
    """
    usable: list[tuple[Bars, DataUsed]] = []
    causes: list[FluxHeroError] = []
    for symbol in asked.symbols or [f"{SHIPPED}{name}" for name in SAMPLES]:
        try:
            _require_once(symbol, usable)
            checked = _read(asked, symbol)
        except FluxHeroError as error:
            logger.warning("%s", error)
            causes.append(error)
            continue
        source = SAMPLE if symbol.startswith(SHIPPED) else CACHE
        usable.append((checked.bars, _used(checked, source)))
    if not usable:
        raise causes[0]
    return Material(tuple(usable), tuple(str(cause) for cause in causes))


def _require_once(symbol: str, usable: Sequence[tuple[Bars, DataUsed]]) -> None:
    """Refuse other bars of a symbol that there are bars of: rows and trials go by its name."""
    name = symbol.removeprefix(SHIPPED)
    if name in {bars.symbol for bars, _ in usable}:
        raise BadInputError(
            f"{symbol} is left out: there are bars of {name} already",
            next_step=f"evaluate {name} from the cache and {SHIPPED}{name} one after the other",
        )


def _read(asked: Asked, symbol: str) -> Checked:
    if not symbol.startswith(SHIPPED):
        return cached_bars(asked.settings, symbol, asked.timeframe, asked.first, asked.last)
    symbol = symbol.removeprefix(SHIPPED)
    if asked.timeframe != DAILY:
        raise BadInputError(
            f"the shipped bars are daily, not {asked.timeframe}",
            next_step=f"name a symbol with --symbol whose {asked.timeframe} bars are in the cache",
        )
    checked = sample_bars(symbol)
    first = _nanoseconds(asked.first or date.min)
    last = _nanoseconds((asked.last or date(2200, 1, 1)) + timedelta(days=1))
    bars = checked.bars.between(first, last)
    if len(bars) < FEWEST:
        raise BadInputError(
            f"there are {counted(len(bars), 'shipped bar')} of {symbol} in this time",
            next_step="widen --from and --to; they are of 2000 to 2013",
        )
    return Checked(bars, checked.notes)


def _nanoseconds(day: date) -> int:
    """Its midnight; every session of the shipped bars ends on its own day in UTC."""
    if day == date.min:
        return 0
    return int(datetime.combine(day, time(), UTC).timestamp()) * _SECOND


def _used(checked: Checked, source: str) -> DataUsed:
    bars = checked.bars
    return DataUsed(
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        source=source,
        bars=len(bars),
        first=bars.over(0),
        last=bars.over(-1),
        digest=bars.digest,
        notes=checked.notes,
    )


def signalled(asked: Asked, bars: Bars) -> AllSignalled:
    """Ask every strategy what it wants on one symbol's bars, each where it can harm nobody."""
    named = [chosen.named for chosen in asked.strategies]
    answers = signals_of(named, bars, asked.contract, asked.bounds, asked.folder)
    usable, failures = [], []
    for chosen, answer in zip(asked.strategies, answers, strict=True):
        if isinstance(answer, StrategyError):
            logger.warning("%s", answer)
            failures.append(f"{bars.symbol}: {answer}")
        else:
            usable.append(Signalled(chosen, bars, answer))
    return AllSignalled(tuple(usable), tuple(failures))
