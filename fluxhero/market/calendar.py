"""When an exchange trades: its sessions with their opens and closes, early ones too.

A thin layer over `exchange_calendars`, which takes a second to import and is loaded when first asked.
"""

import functools
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fluxhero.errors import ConfigurationError

ALWAYS_OPEN = "24/7"
_MIDNIGHT = time(0)
_EARLIEST = 1900  # no calendar is asked about what was before


@dataclass(frozen=True, slots=True)
class Session:
    """One day's trading."""

    day: date
    opens: datetime
    closes: datetime


@dataclass(frozen=True)
class Calendar:
    """The sessions of one exchange, in order, as far as the calendar knows them."""

    code: str
    zone: ZoneInfo
    sessions: Sequence[Session]
    _days: Sequence[date]
    _opens: Sequence[datetime]
    _closes: Sequence[datetime]

    def day_of(self, at: datetime) -> date:
        """The day that a daily bar with this time stands for.

        Some write the exchange's midnight (Alpaca), some the day at midnight UTC (pandas).
        """
        moment = at.astimezone(UTC)
        return moment.date() if moment.time() == _MIDNIGHT else at.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """When a day begins at the exchange."""
        return datetime.combine(day, _MIDNIGHT, self.zone).astimezone(UTC)

    def session(self, day: date) -> Session | None:
        """The session of a day; None on a day without one."""
        place = bisect_left(self._days, day)
        there = place < len(self._days) and self._days[place] == day
        return self.sessions[place] if there else None

    def next_after(self, day: date) -> Session | None:
        """The first session after a day; None beyond the calendar's end."""
        place = bisect_right(self._days, day)
        return self.sessions[place] if place < len(self.sessions) else None

    def last_before(self, day: date) -> Session | None:
        """The last session before a day; None before the calendar's beginning."""
        place = bisect_left(self._days, day)
        return self.sessions[place - 1] if place else None

    def last_closed(self, now: datetime) -> Session | None:
        """The last session that is over; None before the calendar's beginning."""
        place = bisect_right(self._closes, now)
        return self.sessions[place - 1] if place else None

    def last_open(self, now: datetime) -> Session | None:
        """The last session that has begun; None before the calendar's beginning."""
        place = bisect_right(self._opens, now)
        return self.sessions[place - 1] if place else None

    def between(self, first: date, last: date) -> Sequence[Session]:
        """The sessions of a range of days, both ends included."""
        return self.sessions[bisect_left(self._days, first) : bisect_right(self._days, last)]

    def knows(self, day: date) -> bool:
        """Whether the calendar reaches to this day."""
        return bool(self._days) and self._days[0] <= day <= self._days[-1]


def day_sql(timestamp: str, zone: str) -> str:
    """`Calendar.day_of` as DuckDB SQL, of a UTC time without a zone; both are SQL themselves."""
    return (
        f"CASE WHEN {timestamp}::TIME = TIME '00:00:00' THEN {timestamp}::DATE "
        f"ELSE timezone({zone}, timezone('UTC', {timestamp}))::DATE END"
    )


def calendar_of(symbol: str, exchange: str, since: date) -> Calendar:
    """The calendar a symbol trades by; a pair such as BTC/USD trades at all times.

    Args:
        symbol: as the broker writes it.
        exchange: ISO 10383 code, or 24/7.
        since: first day that will be asked for.

    Raises:
        ConfigurationError: no such exchange is known.
    """
    return _load(ALWAYS_OPEN if "/" in symbol else exchange, max(since.year, _EARLIEST))


@functools.cache
def _load(code: str, year: int) -> Calendar:
    with warnings.catch_warnings():  # of pandas 4, about the calendars' own code
        warnings.simplefilter("ignore")
        schedule = _schedule(code, year)
    zone, rows = schedule
    sessions = [Session(day, opens, closes) for day, opens, closes in rows]
    return Calendar(
        code,
        zone,
        sessions,
        [one.day for one in sessions],
        [one.opens for one in sessions],
        [one.closes for one in sessions],
    )


def _schedule(code: str, year: int) -> tuple[ZoneInfo, list[tuple[date, datetime, datetime]]]:
    import exchange_calendars as xc

    start = date(year, 1, 1) - timedelta(days=1)
    try:
        try:
            calendar = xc.get_calendar(code, start=start.isoformat())
        except ValueError:  # it knows no times so long ago: as far as it does, then
            calendar = xc.get_calendar(code)
    except xc.errors.InvalidCalendarName as error:
        raise ConfigurationError(
            f"there is no calendar of an exchange {code}",
            next_step="set FLUXHERO_EXCHANGE to a market identifier code such as XNYS, XNAS or XLON",
        ) from error
    schedule = calendar.schedule
    days = [stamp.date() for stamp in schedule.index]
    opens = [stamp.to_pydatetime() for stamp in schedule["open"]]
    closes = [stamp.to_pydatetime() for stamp in schedule["close"]]
    return ZoneInfo(str(calendar.tz)), list(zip(days, opens, closes, strict=True))
