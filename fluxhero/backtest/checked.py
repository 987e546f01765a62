"""From bars as a source gives them to bars that a backtest may trust: what is wrong is refused, the rest is noted."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars, Floats, Ints
from fluxhero.backtest.contract import TICK
from fluxhero.errors import BadInputError
from fluxhero.market.cache import PRICES, VALUES
from fluxhero.market.calendar import Calendar, calendar_of
from fluxhero.market.timeframe import Timeframe
from fluxhero.wording import counted

MOST_PRICE = 10**9  # USD
MOST_VOLUME = 10**12  # shares a bar
FEWEST = 2  # a signal and the open after it
_EXACT = 1e-6  # of a tick: nearer than that, a price is the tick itself, written in binary
_LATEST = 2**63 // 1_000  # microseconds that nanoseconds still count
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Checked:
    """Bars, and what somebody who trades on them should know of them."""

    bars: Bars
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Given:
    """Bars as they came; `starts` in microseconds since 1970 UTC."""

    symbol: str
    timeframe: Timeframe
    calendar: Calendar
    starts: Ints
    values: dict[str, Floats]

    def fault(self, row: int, what: str) -> BadInputError:
        """The error of one row."""
        return BadInputError(
            f"the {self.timeframe} bars of {self.symbol} cannot be used: row {row + 1:,}"
            f" ({_written(self.starts[row])}) {what}",
            next_step="correct the source, or fetch them again with `fluxhero refresh`",
        )


def checked_bars(table: pa.Table, symbol: str, timeframe: Timeframe, exchange: str) -> Checked:
    """Check bars and label each by when it is over.

    Args:
        table: `fluxhero.market.cache.BARS`, where a bar's time is its beginning.
        symbol: as the broker writes it.
        timeframe: how long a bar is.
        exchange: ISO 10383 code of the calendar; a daily bar is over when that exchange closes.

    Raises:
        BadInputError: they are fewer than two, out of order, twice there, or no bars; it names row and time.
        ConfigurationError: no such exchange is known.
    """
    if not table.num_rows:
        raise _too_few(symbol, timeframe, 0)
    given = _given(table, symbol, timeframe, exchange)
    for wrong, what in _faults(given.values):
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise given.fault(int(rows[0]), what)
    days = _days(given) if timeframe.daily else None
    ends = _daily_ends(given, days) if days else _intraday_ends(given)
    _require_order(given, ends)
    traded = given.values["volume"] > 0
    if (left := int(np.count_nonzero(traded))) < FEWEST:
        raise _too_few(symbol, timeframe, left)
    ticks = {name: np.rint(given.values[name] * TICKS_A_DOLLAR) for name in PRICES}
    shares = np.maximum(np.rint(given.values["volume"]), 1)
    whole = {name: values[traded].astype(np.int64) for name, values in ticks.items()}
    bars = Bars(
        symbol,
        str(timeframe),
        ends[traded],
        **whole,
        volume=shares[traded].astype(np.int64),
    )
    return Checked(bars, (*_notes(given, ticks, traded), *_calendar_notes(given, days)))


def noted(checked: Checked, *notes: str) -> Checked:
    """The same with more to know, which comes first."""
    return replace(checked, notes=(*notes, *checked.notes))


def _given(table: pa.Table, symbol: str, timeframe: Timeframe, exchange: str) -> _Given:
    starts = table["timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    values = {name: table[name].to_numpy().astype(np.float64) for name in VALUES}
    beyond = np.flatnonzero(np.abs(starts) >= _LATEST - 10**12)
    if len(beyond):
        raise BadInputError(
            f"row {beyond[0] + 1:,} of the {timeframe} bars of {symbol} has no time between 1677 and 2262",
            next_step="correct the source, or fetch them again with `fluxhero refresh`",
        )
    since = (_moment(starts.min()) - timedelta(days=1)).date()
    return _Given(symbol, timeframe, calendar_of(symbol, exchange, since), starts, values)


def _faults(values: dict[str, Floats]) -> Iterator[tuple[Flags, str]]:
    """What no bar may be, with the bars that are."""
    for name in VALUES:
        yield ~np.isfinite(values[name]), f"has no {name} that is a number"
    for name in PRICES:
        yield (
            np.rint(values[name] * TICKS_A_DOLLAR) <= 0,
            f"has a price of {name} that is not above zero",
        )
        yield values[name] > MOST_PRICE, f"has a price of {name} above {MOST_PRICE:,} USD"
    tops = np.maximum(values["open"], values["close"])
    bottoms = np.minimum(values["open"], values["close"])
    yield values["high"] < values["low"], "has a high below its low"
    yield values["high"] < tops, "has a high below its open or close"
    yield values["low"] > bottoms, "has a low above its open or close"
    yield values["volume"] < 0, "has a volume below zero"
    yield values["volume"] > MOST_VOLUME, f"has a volume above {MOST_VOLUME:,} shares"


def _days(given: _Given) -> list[date]:
    """The day that each daily bar stands for."""
    return [given.calendar.day_of(_moment(start)) for start in given.starts]


def _daily_ends(given: _Given, days: list[date]) -> Ints:
    """The close of each bar's session; where the exchange has none that day, the end of the day."""
    ends = np.empty(len(days), np.int64)
    for row, day in enumerate(days):
        session = given.calendar.session(day)
        end = session.closes if session else given.calendar.midnight(day + timedelta(days=1))
        ends[row] = _nanoseconds(end)
    return ends


def _intraday_ends(given: _Given) -> Ints:
    return given.starts * 1_000 + int(given.timeframe.length / timedelta(microseconds=1)) * 1_000


def _require_order(given: _Given, ends: Ints) -> None:
    """Refuse bars that are out of order or there twice."""
    steps = np.diff(ends)
    wrong = np.flatnonzero(steps <= 0)
    if len(wrong):
        row = int(wrong[0])
        before = f"the row before it ({_written(given.starts[row])})"
        same = f"is of the same {'day' if given.timeframe.daily else 'time'} as {before}"
        raise given.fault(row + 1, same if steps[row] == 0 else f"is earlier than {before}")


def _notes(given: _Given, ticks: dict[str, Floats], traded: Flags) -> Iterator[str]:
    """What was changed or left out."""
    dropped = np.flatnonzero(~traded)
    if len(dropped):
        yield (
            f"{counted(len(dropped), 'bar')} without volume left out, the first of"
            f" {_written(given.starts[dropped[0]])}: nobody traded, so nothing would have been filled"
        )
    off = [
        np.abs(ticks[name] - given.values[name] * TICKS_A_DOLLAR) > _slack(ticks[name])
        for name in PRICES
    ]
    rounded = int(np.count_nonzero(np.any(off, axis=0) & traded))
    if rounded:
        yield f"prices of {counted(rounded, 'bar')} rounded to {TICK} USD"
    volume = given.values["volume"]
    parts = int(np.count_nonzero((volume != np.rint(volume)) & traded))
    if parts:
        yield f"volumes of {counted(parts, 'bar')} rounded to whole shares"


def _slack(ticks: Floats) -> Floats:
    """How far from a tick a price may be and still be that tick, for what floats hold of it."""
    return _EXACT + 1e-15 * ticks


def _calendar_notes(given: _Given, days: list[date] | None) -> Iterator[str]:
    """Where the bars and the exchange's calendar differ."""
    calendar = given.calendar
    first, last = (calendar.day_of(_moment(given.starts[place])) for place in (0, -1))
    sessions = calendar.between(first, last)
    if days is None:
        opens = np.array([_nanoseconds(one.opens) // 1_000 for one in sessions], np.int64)
        closes = np.array([_nanoseconds(one.closes) // 1_000 for one in sessions], np.int64)
        bars = np.searchsorted(given.starts, closes) - np.searchsorted(given.starts, opens)
        missing = [one.day for one, held in zip(sessions, bars, strict=True) if not held]
    else:
        there = set(days)
        missing = [one.day for one in sessions if one.day not in there]
        strange = [day for day in days if calendar.session(day) is None]
        if strange:
            yield (
                f"{counted(len(strange), 'bar')} of days on which {calendar.code} has no session,"
                f" the first of {strange[0]}"
            )
    if missing:
        yield (
            f"{counted(len(missing), 'session')} of {calendar.code} without bars, the first of"
            f" {missing[0]}: an order waits for the next bar there is"
        )


def _too_few(symbol: str, timeframe: Timeframe, bars: int) -> BadInputError:
    return BadInputError(
        f"a backtest needs {FEWEST} {timeframe} bars of {symbol} with volume at the least, and there"
        f" {'is' if bars == 1 else 'are'} {bars or 'none'}",
        next_step="check the symbol and the range of days, or fetch more with `fluxhero refresh`",
    )


def _moment(micros: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))


def _written(micros: np.int64) -> str:
    return f"{_moment(micros):%Y-%m-%d %H:%M} UTC"


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000
