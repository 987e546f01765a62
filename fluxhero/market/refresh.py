"""Bringing one symbol's bars up to date: what is missing is worked out, and only that is fetched.

A bar is stored when it is over, so that none has to be corrected later. Bars of a shorter timeframe
than a day are kept where they lie in the exchange's regular hours.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.errors import BadInputError, DamagedFileError
from fluxhero.market import cache
from fluxhero.market.cache import BARS, UNKNOWN, Cached, Origin
from fluxhero.market.calendar import Calendar
from fluxhero.market.merging import merge
from fluxhero.market.timeframe import Timeframe

logger = logging.getLogger(__name__)

# Late reports still change a bar, and Alpaca's free plan has nothing of the last 15 minutes.
SETTLING = timedelta(minutes=16)


class Provider(Protocol):
    """Where bars come from."""

    @property
    def name(self) -> str:
        """What the cache says about its bars' origin."""

    @property
    def adjusts(self) -> bool:
        """Whether it adjusts prices as asked; else they are as they were traded."""

    def bars(
        self, symbol: str, timeframe: Timeframe, first: datetime, last: datetime, adjustment: str
    ) -> pa.Table:
        """Every bar that begins in a range of time, as `BARS`."""


@dataclass(frozen=True, slots=True)
class LocalBars:
    """Bars that were read from a file: all of them, whatever the cache has."""

    table: pa.Table
    name: str = "local"
    adjusts: bool = False

    def bars(
        self,
        _symbol: str,
        _timeframe: Timeframe,
        first: datetime,
        _last: datetime,
        _adjustment: str,
    ) -> pa.Table:
        """The file's bars from a time on."""
        return _filtered(self.table, lambda at: first <= at)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the cache should have.

    Attributes:
        symbol: as the broker writes it.
        timeframe: length of the bars.
        since: where to begin when the cache has nothing yet.
        start: begin here again, whatever the cache has; None fetches what is missing at its end.
        adjustment: what prices are adjusted for; None: as the cache is; in a
            new one `split` from a provider, unknown from a file.
    """

    symbol: str
    timeframe: Timeframe
    since: datetime
    start: datetime | None = None
    adjustment: str | None = None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of one symbol.

    Attributes:
        added: bars that are new.
        changed: times whose bar is another one now.
        left_out: bars that are not over yet, or lie outside the regular hours.
        bars: how many the file has.
        first: time of the first.
        last: time of the last.
        adjustment: what the prices are adjusted for.
        readjusted: the provider had adjusted older bars anew, and all were fetched again.
        set_aside: where a damaged file went; None if there was none.
    """

    symbol: str
    path: Path
    added: int
    changed: tuple[datetime, ...]
    left_out: int
    bars: int
    first: datetime
    last: datetime
    adjustment: str
    readjusted: bool = False
    set_aside: Path | None = None


def refresh(
    wanted: Wanted,
    provider: Provider,
    calendar: Calendar,
    *,
    cache_dir: Path,
    quarantine: Path,
    now: datetime,
) -> Refreshed:
    """Bring a symbol's file up to date.

    Raises:
        BadInputError: the adjustment is not that of the file, or there are no bars of the symbol.
        FluxHeroError: the provider refuses or does not answer; the file is as it was then.
    """
    path = cache.path_of(cache_dir, wanted.symbol, wanted.timeframe)
    held, aside = _held(path, quarantine)
    adjustment = _adjustment(wanted, held, path, provider)
    asked = adjustment if adjustment != UNKNOWN else wanted.adjustment or "raw"
    until = _last_due(wanted.timeframe, calendar, now)
    first = wanted.start or _next_due(held, wanted, calendar)
    old = held.bars if held else BARS.empty_table()
    fetched, left_out, readjusted = BARS.empty_table(), 0, False
    if until is not None and first <= until:

        def fetch(begin: datetime) -> tuple[pa.Table, int]:
            found = provider.bars(wanted.symbol, wanted.timeframe, begin, until, asked)
            complete = _complete(found, wanted.timeframe, calendar, now)
            return complete, found.num_rows - complete.num_rows

        adjusted = wanted.start is None and asked != "raw" and old.num_rows > 0
        fetched, left_out = fetch(_last(old) if adjusted else first)
        if adjusted and merge(old, fetched).changed:
            readjusted = True
            fetched, left_out = fetch(_first(old))
    if not old.num_rows and not fetched.num_rows:
        raise BadInputError(
            f"{provider.name} has no complete bar of {wanted.symbol} ({wanted.timeframe}) since "
            f"{first:%Y-%m-%d}",
            next_step="check the symbol and --start",
        )
    merged = merge(old, fetched)
    if merged.changed:
        logger.warning(
            "%s: %d bars are other ones than the cache had, the first of %s",
            path.name,
            len(merged.changed),
            merged.changed[0],
        )
    as_it_was = merged.bars["timestamp"].equals(old["timestamp"])
    if merged.added or merged.changed or not as_it_was:
        origin = Origin(
            symbol=wanted.symbol,
            timeframe=str(wanted.timeframe),
            provider=provider.name,
            adjustment=adjustment,
        )
        cache.write(cache_dir, merged.bars, origin, now)
    return Refreshed(
        symbol=wanted.symbol,
        path=path,
        added=merged.added,
        changed=merged.changed,
        left_out=left_out,
        bars=merged.bars.num_rows,
        first=_first(merged.bars),
        last=_last(merged.bars),
        adjustment=adjustment,
        readjusted=readjusted,
        set_aside=aside,
    )


def _held(path: Path, quarantine: Path) -> tuple[Cached | None, Path | None]:
    """What the cache has; where it is damaged, the file is kept elsewhere, and there is nothing."""
    if not path.exists():
        return None, None
    try:
        return cache.read(path), None
    except DamagedFileError as error:
        aside = cache.set_aside(path, quarantine)
        logger.warning("%s; moved to %s, its bars are fetched again", error.what, aside)
        return None, aside


def _adjustment(wanted: Wanted, held: Cached | None, path: Path, provider: Provider) -> str:
    """What the file's prices are adjusted for, once the new ones are in it."""
    asked = wanted.adjustment
    if held is None:
        return asked or ("split" if provider.adjusts else UNKNOWN)
    there = held.origin.adjustment if held.origin else UNKNOWN
    if there == UNKNOWN:
        return asked or UNKNOWN
    if asked == there or (asked is None and provider.adjusts):
        return there
    raise BadInputError(
        f"the adjustment of the prices in {path} is {there}; {asked or UNKNOWN} ones cannot be mixed in",
        next_step=f"give --adjustment {there} if that is what they are, or move {path.name} and its"
        " record away to begin anew",
    )


def _last_due(timeframe: Timeframe, calendar: Calendar, now: datetime) -> datetime | None:
    """No bar that begins later than this is over."""
    settled = now - SETTLING
    if timeframe.daily:
        closed = calendar.last_closed(settled)
        return closed.closes if closed else None
    begun = calendar.last_open(settled)
    return min(begun.closes, settled) - timeframe.length if begun else None


def _next_due(held: Cached | None, wanted: Wanted, calendar: Calendar) -> datetime:
    """Where the cache ends: after its last bar, or at it where it was stored too early."""
    if held is None or not held.bars.num_rows:
        return wanted.since
    last, timeframe = _last(held.bars), wanted.timeframe
    if _ends(last, timeframe, calendar) > held.written_at:
        return last
    if not timeframe.daily:
        return last + timeframe.length
    following = calendar.next_after(calendar.day_of(last))
    return calendar.midnight(following.day) if following else last + timedelta(days=1)


def _ends(at: datetime, timeframe: Timeframe, calendar: Calendar) -> datetime:
    """When the bar that begins at this time is over."""
    if not timeframe.daily:
        return at + timeframe.length
    session = calendar.session(calendar.day_of(at))
    return session.closes if session else at + timeframe.length


def _complete(bars: pa.Table, timeframe: Timeframe, calendar: Calendar, now: datetime) -> pa.Table:
    """The bars that are over and, where shorter than a day, lie in regular hours."""

    def wanted(at: datetime) -> bool:
        over = _ends(at, timeframe, calendar) + SETTLING <= now
        return over and (timeframe.daily or _in_session(at, timeframe, calendar))

    return _filtered(bars, wanted)


def _in_session(at: datetime, timeframe: Timeframe, calendar: Calendar) -> bool:
    session = calendar.last_open(at + timeframe.length - timedelta(microseconds=1))
    return session is not None and at < session.closes


def _filtered(bars: pa.Table, wanted: Callable[[datetime], bool]) -> pa.Table:
    times = (at.replace(tzinfo=UTC) for at in bars["timestamp"].to_pylist())
    return bars.filter(pa.array([wanted(at) for at in times], pa.bool_()))


def _first(bars: pa.Table) -> datetime:
    return _utc(pc.min(bars["timestamp"]).as_py())


def _last(bars: pa.Table) -> datetime:
    return _utc(pc.max(bars["timestamp"]).as_py())


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)
