"""The steps of a refresh of the bars, a task each."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar

from config.settings import Settings
from fluxhero.archive.batches import as_utc, utc_now
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError, ConfigurationError, FluxHeroError
from fluxhero.ledger.formats.contract import nearest
from fluxhero.market.alpaca import FEEDS, Alpaca
from fluxhero.market.cache import ADJUSTMENTS, cache_lock, name_parts, path_of
from fluxhero.market.calendar import calendar_of
from fluxhero.market.held import traded_since
from fluxhero.market.local import read_local
from fluxhero.market.refresh import LocalBars, Refreshed, Wanted, refresh
from fluxhero.market.report import FailedSymbol, RefreshedLine, RefreshReport
from fluxhero.market.timeframe import Timeframe
from tasks.grouping import in_groups
from tasks.parameters import form
from tasks.policy import compute_task, io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

T = TypeVar("T")

_HISTORY = {True: timedelta(days=730), False: timedelta(days=30)}  # daily bars, shorter ones
_BEFORE_A_TRADE = timedelta(days=30)  # so that an indicator has something to start from
_LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)

Adjustment = Annotated[str, form(enum=list(ADJUSTMENTS))]
Feed = Annotated[str, form(enum=list(FEEDS))]


@dataclass(frozen=True)
class MarketRun:
    """What every step of one run needs to know; `files` are local files with their symbols."""

    settings: Settings
    started: datetime
    timeframe: Timeframe
    start: datetime | None
    adjustment: str | None
    feed: str | None
    timezone: str
    symbols: tuple[str, ...]
    files: tuple[tuple[str, Path], ...]

    @property
    def alone(self) -> bool:
        """Whether it is about one symbol or file only."""
        return len(self.files or self.symbols) == 1

    @property
    def quarantine(self) -> Path:
        """Where damaged files go."""
        return self.settings.data_dir / "quarantine" / "files"


@dataclass(frozen=True)
class Brought:
    """What became of a group of symbols."""

    done: tuple[Refreshed, ...] = ()
    failed: tuple[FailedSymbol, ...] = ()


@io_task
def open_market_run(
    symbols: Sequence[str],
    timeframe: str,
    paths: Sequence[str],
    start: datetime | None,
    adjustment: str | None,
    feed: str | None,
    timezone: str | None,
) -> MarketRun:
    """Read the settings and check the parameters.

    Raises:
        BadInputError: a parameter makes no sense.
        SettingsError: naming every variable that is unknown or wrong.
    """
    settings = settings_of_run()
    length = Timeframe.read(timeframe)
    now = utc_now()
    begin = None if start is None else as_utc(start)
    if begin is not None and begin > now:
        raise BadInputError(
            f"--start {begin.isoformat()} lies in the future",
            next_step="give a day that has passed",
        )
    if adjustment is not None:
        _known(adjustment, ADJUSTMENTS, "adjustment")
    if feed is not None:
        _known(feed, FEEDS, "feed")
    wanted = tuple(dict.fromkeys(symbol.strip().upper() for symbol in symbols))
    for symbol in wanted:
        path_of(settings.cache_dir, symbol, length)
    return MarketRun(
        settings=settings,
        started=now,
        timeframe=length,
        start=begin,
        adjustment=adjustment,
        feed=feed,
        timezone=timezone or settings.source_timezone,
        symbols=wanted,
        files=_files([Path(path) for path in paths], wanted, length),
    )


def _known(name: str, names: Collection[str], what: str) -> None:
    if name not in names:
        raise BadInputError(
            f"there is no {what} '{name}'{nearest(name, names)}",
            next_step=f"give one of {', '.join(names)}",
        )


def _files(
    paths: Sequence[Path], symbols: Sequence[str], timeframe: Timeframe
) -> tuple[tuple[str, Path], ...]:
    """Which symbol's bars a file holds: the one that was given, or the one it is named after."""
    if len(paths) == 1 and len(symbols) == 1:
        return ((symbols[0], paths[0]),)
    if paths and symbols:
        raise BadInputError(
            f"{len(symbols)} symbols and {len(paths)} files: whose bars are where is not clear",
            next_step="give one symbol with one file, or files named like AAPL_1d.csv alone",
        )
    found = []
    for path in paths:
        symbol, length = name_parts(path) or (path.stem, timeframe)
        if length != timeframe:
            raise BadInputError(
                f"{path} is named after {length} bars",
                next_step=f"give --timeframe {length.alpaca}",
            )
        found.append((symbol.upper(), path))
    return tuple(found)


@contextmanager
def writing_bars(run: MarketRun) -> Iterator[None]:
    """Hold the cache for the whole run.

    Raises:
        AlreadyRunningError: another run holds it.
    """
    with cache_lock(run.settings.cache_dir):
        yield


@io_task
def choose_symbols(run: MarketRun) -> list[Sequence[Wanted]]:
    """What to fetch, in groups so that tasks stay few: the symbols given, or those of open trades."""
    if run.files:
        return []
    traded = _first_trades(run)
    usual = run.started - _HISTORY[run.timeframe.daily]
    wanted = [
        Wanted(
            symbol=symbol,
            timeframe=run.timeframe,
            since=min(usual, traded[symbol] - _BEFORE_A_TRADE)
            if symbol in traded and run.timeframe.daily
            else usual,
            start=run.start,
            adjustment=run.adjustment,
        )
        for symbol in run.symbols or sorted(traded)
    ]
    logger.info("%s bars of %d symbols", run.timeframe, len(wanted))
    return [list(group) for group in in_groups(wanted)]


def _first_trades(run: MarketRun) -> Mapping[str, datetime]:
    """Symbols and when they were first traded; of symbols that were given it is not needed to go on."""
    workspace = Workspace.of(run.settings)
    try:
        if not run.symbols:
            workspace.store.check_there()
            return traded_since(workspace)
        return traded_since(workspace, run.symbols) if workspace.store.path.exists() else {}
    except FluxHeroError as error:
        if not run.symbols:
            raise
        logger.warning("when these symbols were first traded is not known: %s", error)
        return {}
    finally:
        workspace.store.close()


@io_task
def fetch_bars(run: MarketRun, group: Sequence[Wanted]) -> Brought:
    """Bring a group of symbols up to date from the provider; one that fails does not stop the others.

    Raises:
        ConfigurationError: the keys or the address are refused, which is the same for every symbol.
        BadInputError: the only symbol there is cannot be had.
    """
    provider = Alpaca(run.settings, run.feed)

    def bring(wanted: Wanted) -> Refreshed:
        calendar = calendar_of(
            wanted.symbol, run.settings.exchange, (wanted.start or wanted.since).date()
        )
        return refresh(
            wanted,
            provider,
            calendar,
            cache_dir=run.settings.cache_dir,
            quarantine=run.quarantine,
            now=run.started,
        )

    return _each([(wanted.symbol, wanted) for wanted in group], bring, run.alone)


@io_task
def take_files(run: MarketRun) -> Brought:
    """Bring local files in; one that cannot be used does not stop the others.

    Raises:
        BadInputError: the only file there is cannot be used.
    """

    def bring(file: tuple[str, Path]) -> Refreshed:
        symbol, path = file
        bars = read_local(path, run.timezone)
        if not bars.num_rows:
            raise BadInputError(f"{path} has no bars in it", next_step="export it again")
        begin = run.start or _LONG_AGO
        first = min(bars["timestamp"].to_pylist()).date()
        return refresh(
            Wanted(symbol, run.timeframe, begin, begin, run.adjustment),
            LocalBars(bars),
            calendar_of(symbol, run.settings.exchange, first),
            cache_dir=run.settings.cache_dir,
            quarantine=run.quarantine,
            now=run.started,
        )

    return _each([(str(path), (symbol, path)) for symbol, path in run.files], bring, run.alone)


def _each(things: Sequence[tuple[str, T]], bring: Callable[[T], Refreshed], alone: bool) -> Brought:
    done: list[Refreshed] = []
    failed: list[FailedSymbol] = []
    for name, thing in things:
        try:
            one = bring(thing)
        except FluxHeroError as error:
            if isinstance(error, ConfigurationError) or (
                alone and isinstance(error, BadInputError)
            ):
                raise
            logger.warning("%s failed: %s", name, error)
            failed.append(FailedSymbol(symbol=name, reason=str(error)))
        else:
            logger.info(
                "%s: %d new, %d corrected, %d bars", one.path, one.added, len(one.changed), one.bars
            )
            done.append(one)
    return Brought(tuple(done), tuple(failed))


@compute_task
def summarise_market_run(run: MarketRun, brought: Sequence[Brought]) -> RefreshReport:
    """Put the run's outcome together."""
    return RefreshReport(
        cache=str(run.settings.cache_dir),
        timeframe=run.timeframe.alpaca,
        lines=tuple(RefreshedLine.of(one) for part in brought for one in part.done),
        failed=tuple(one for part in brought for one in part.failed),
    )
