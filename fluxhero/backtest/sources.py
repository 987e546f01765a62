"""Where the bars of a backtest come from: the cache, a data package with real daily bars, or chance."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from config.settings import Settings
from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars, Ints
from fluxhero.backtest.checked import FEWEST, Checked, checked_bars, noted
from fluxhero.demo.packages import load
from fluxhero.errors import BadInputError
from fluxhero.market import cache
from fluxhero.market.calendar import Calendar, calendar_of
from fluxhero.market.timeframe import DAILY, Timeframe, Unit
from fluxhero.wording import counted

SAMPLES = ("AAPL", "GOOG", "IBM", "MSFT")
RANDOM_WALK = "RANDOM-WALK"

_NEW_YORK = "XNYS"
_MINUTE = Timeframe(1, Unit.MINUTE)
_WALK_BEGINS = date(2010, 1, 4)
_MINUTE_NS = 60 * 10**9
_TICKS_A_CENT = TICKS_A_DOLLAR // 100
_FIRST_CENTS, _FLOOR_CENTS = 10_000, 500


def cached_bars(
    settings: Settings,
    symbol: str,
    timeframe: Timeframe,
    first: date | None = None,
    last: date | None = None,
) -> Checked:
    """Bars of the cache.

    Args:
        settings: where the cache is, and whose calendar counts.
        symbol: as the broker writes it.
        timeframe: how long a bar is.
        first: first day, at the exchange; None: as far back as there are any.
        last: last day; None: up to now.

    Raises:
        BadInputError: there are none, or they cannot be used.
        DamagedFileError: their file is damaged.
    """
    path = cache.path_of(settings.cache_dir, symbol, timeframe)
    if not path.is_file():
        raise BadInputError(
            f"there are no {timeframe} bars of {symbol} in {settings.cache_dir}",
            next_step=f"fetch them with `fluxhero refresh {symbol} --timeframe {timeframe}`",
        )
    held = cache.read(path)
    bars = held.bars.select(cache.BARS.names)
    if bars.num_rows and (first or last):
        calendar = calendar_of(symbol, settings.exchange, first or _day(bars, 0))
        bars = bars.filter(_within(bars, calendar, timeframe, first or date.min, last or date.max))
    checked = checked_bars(bars, symbol, timeframe, settings.exchange)
    if held.origin is not None and held.origin.adjustment == "raw":
        return noted(
            checked, "prices are not adjusted: a split is a loss or a gain that nobody had"
        )
    return checked


def sample_bars(symbol: str) -> Checked:
    """Real daily bars, 2000 to 2013, adjusted for splits and dividends as `demo.replay` has them.

    Raises:
        BadInputError: none of that symbol.
        ConfigurationError: the data package is not installed.
    """
    if symbol not in SAMPLES:
        raise BadInputError(
            f"there are no sample bars of {symbol}", next_step=f"give one of {', '.join(SAMPLES)}"
        )
    given = getattr(load("bokeh_sampledata.stocks"), symbol)
    factor = np.array(given["adj_close"]) / np.array(given["close"])
    days = [datetime.combine(date.fromisoformat(day), datetime.min.time()) for day in given["date"]]
    columns = {"timestamp": days, "volume": [float(volume) for volume in given["volume"]]} | {
        name: np.array(given[name]) * factor for name in cache.PRICES
    }
    table = pa.table({name: columns[name] for name in cache.BARS.names}, schema=cache.BARS)
    checked = checked_bars(table, symbol, DAILY, _NEW_YORK)
    return noted(
        checked, "prices are adjusted for splits and dividends: not those quoted on the day"
    )


def random_walk(count: int, seed: int = 1) -> Bars:
    """Made-up minute bars in the real sessions of New York: a walk on the cent grid, without any drift.

    Args:
        count: how many.
        seed: the same seed gives the same bars.

    Raises:
        BadInputError: fewer than two, or more than there have been minutes of trading.
    """
    starts, first_of_day = _minutes(count)
    chance = np.random.default_rng(seed)
    gaps = chance.integers(-1, 2, count) + first_of_day * chance.integers(-80, 81, count)
    steps = chance.integers(-8, 9, count)
    gaps[0] = 0
    closes = _FIRST_CENTS + np.cumsum(gaps + steps)
    opened, closed = _reflected(closes - steps), _reflected(closes)
    high = np.maximum(opened, closed) + chance.integers(0, 4, count)
    low = np.minimum(opened, closed) - chance.integers(0, 4, count)
    volume = chance.integers(1, 301, count) * chance.integers(1, 131, count)
    return Bars(
        RANDOM_WALK,
        str(_MINUTE),
        starts + _MINUTE_NS,
        open=opened * _TICKS_A_CENT,
        high=high * _TICKS_A_CENT,
        low=low * _TICKS_A_CENT,
        close=closed * _TICKS_A_CENT,
        volume=volume,
    )


def _minutes(count: int) -> tuple[Ints, Ints]:
    """When each minute begins, and 1 for the first minute of a session after the first."""
    calendar = calendar_of(RANDOM_WALK, _NEW_YORK, _WALK_BEGINS)
    sessions = calendar.between(_WALK_BEGINS, date.max)
    opens = np.array([int(one.opens.timestamp()) for one in sessions], np.int64)
    lengths = (
        np.array([int(one.closes.timestamp()) for one in sessions], np.int64) // 60 - opens // 60
    )
    if not FEWEST <= count <= lengths.sum():
        raise BadInputError(
            f"a random walk of {counted(count, 'bar')} cannot be made",
            next_step=f"ask for {FEWEST} to {lengths.sum():,}",
        )
    days = int(np.searchsorted(np.cumsum(lengths), count)) + 1
    passed = np.concatenate([np.arange(length) for length in lengths[:days]])[:count]
    starts = np.repeat(opens[:days], lengths[:days])[:count] + 60 * passed
    first_of_day = (passed == 0).astype(np.int64)
    return starts * 10**9, first_of_day


def _reflected(cents: Ints) -> Ints:
    """Never below the floor: a walk that reaches it turns back."""
    return _FLOOR_CENTS + np.abs(cents - _FLOOR_CENTS)


def _within(
    bars: pa.Table, calendar: Calendar, timeframe: Timeframe, first: date, last: date
) -> pa.Array:
    """Which bars are of these days at the exchange, both included."""
    times = bars["timestamp"]
    if timeframe.daily:
        return pa.array([first <= calendar.day_of(at) <= last for at in _moments(times)])
    since = calendar.midnight(max(first, date(1900, 1, 1))).replace(tzinfo=None)
    until = calendar.midnight(min(last, date(2200, 1, 1)) + timedelta(days=1)).replace(tzinfo=None)
    return pc.and_(pc.greater_equal(times, since), pc.less(times, until))


def _day(bars: pa.Table, row: int) -> date:
    return _moments(bars["timestamp"][row : row + 1])[0].date()


def _moments(times: pa.ChunkedArray) -> list[datetime]:
    try:
        return [at.replace(tzinfo=UTC) for at in times.to_pylist()]
    except (OverflowError, ValueError) as error:
        raise BadInputError(
            f"a bar has a time that no calendar has: {error}",
            next_step="correct the source, or fetch them again with `fluxhero refresh`",
        ) from error
