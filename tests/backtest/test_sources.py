"""Bars from the cache, from the data package, and made up."""

import sys
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config.settings import Settings
from fluxhero.backtest.checked import checked_bars
from fluxhero.backtest.sources import SAMPLES, cached_bars, random_walk, sample_bars
from fluxhero.errors import BadInputError, ConfigurationError
from fluxhero.market.cache import BARS, PRICES, Origin, path_of, write
from fluxhero.market.timeframe import DAILY, Timeframe

FIVE_MINUTES = Timeframe.read("5m")
WRITTEN = datetime(2024, 8, 1, tzinfo=UTC)


def put(
    settings: Settings, timeframe: Timeframe, *starts: datetime, adjustment: str = "split"
) -> None:
    """Store a bar of AAPL at each of these times, and a column that a bot has added."""
    flat = [[10.0 + number for number in range(len(starts))]] * 4
    bars = pa.table([list(starts), *flat, [100.0] * len(starts)], schema=BARS)
    bars = bars.append_column("ema", pa.array([1.0] * len(starts)))
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    origin = Origin(
        symbol="AAPL", timeframe=str(timeframe), provider="a test", adjustment=adjustment
    )
    write(settings.cache_dir, bars, origin, WRITTEN)


@pytest.mark.parametrize("hour", [4, 0], ids=["midnight in New York", "midnight UTC"])
def test_days_are_those_of_the_exchange(settings: Settings, hour: int) -> None:
    days = (1, 2, 3, 5, 8)
    put(settings, DAILY, *(datetime(2024, 7, number, hour, tzinfo=UTC) for number in days))
    bars = cached_bars(settings, "AAPL", DAILY, date(2024, 7, 2), date(2024, 7, 5)).bars
    assert bars.close.tolist() == [110_000, 120_000, 130_000]
    assert cached_bars(settings, "AAPL", DAILY, None, date(2024, 7, 2)).bars.close.tolist() == [
        100_000,
        110_000,
    ]
    whole = cached_bars(settings, "AAPL", DAILY)
    assert len(whole.bars) == len(days)
    assert whole.notes == ()


def test_minutes_belong_to_the_day_of_the_exchange(settings: Settings) -> None:
    evening = datetime(2024, 7, 2, 19, 50, tzinfo=UTC)
    put(
        settings,
        FIVE_MINUTES,
        *(evening + timedelta(minutes=5 * n) for n in range(2)),
        *(datetime(2024, 7, 3, 13, 30, tzinfo=UTC) + timedelta(minutes=5 * n) for n in range(3)),
        adjustment="raw",
    )
    third = cached_bars(settings, "AAPL", FIVE_MINUTES, date(2024, 7, 3), date(2024, 7, 3))
    assert third.bars.close.tolist() == [120_000, 130_000, 140_000]
    assert third.notes[0].startswith("prices are not adjusted")
    until = cached_bars(settings, "AAPL", FIVE_MINUTES, last=date(2024, 7, 2)).bars
    assert until.close.tolist() == [100_000, 110_000]
    with pytest.raises(BadInputError, match="there are none"):
        cached_bars(settings, "AAPL", FIVE_MINUTES, date(2025, 1, 1), date(2025, 2, 1))


def test_bars_that_are_not_there_are_asked_for(settings: Settings) -> None:
    with pytest.raises(
        BadInputError, match=r"no 5m bars of BTC/USD.*fluxhero refresh BTC/USD --timeframe 5m"
    ):
        cached_bars(settings, "BTC/USD", FIVE_MINUTES)


def test_the_samples_are_real_days_without_the_steps_of_splits() -> None:
    for symbol in SAMPLES:
        checked = sample_bars(symbol)
        bars = checked.bars
        assert len(bars) == (2_148 if symbol == "GOOG" else 3_270)
        assert checked.notes[0].startswith("prices are adjusted for splits and dividends")
        assert datetime.fromtimestamp(bars.ends[-1] / 1e9, UTC) == datetime(
            2013, 3, 1, 21, tzinfo=UTC
        )
        falls = bars.close[1:] / bars.close[:-1] - 1
        assert falls.min() > (
            -0.53 if symbol == "AAPL" else -0.20
        )  # AAPL did halve on one day of 2000
    with pytest.raises(
        BadInputError, match="no sample bars of FB → give one of AAPL, GOOG, IBM, MSFT"
    ):
        sample_bars("FB")


def test_samples_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh_sampledata.stocks", None)
    with pytest.raises(ConfigurationError, match="bokeh_sampledata is not installed"):
        sample_bars("AAPL")


def test_a_random_walk_is_sound_the_same_again_and_without_drift() -> None:
    bars = random_walk(50_000)
    assert bars.digest == random_walk(50_000).digest != random_walk(50_000, seed=2).digest
    starts = pa.array((bars.ends - 60 * 10**9) // 1_000).cast(pa.timestamp("us"))
    prices = [getattr(bars, name) / 10_000 for name in PRICES]
    table = pa.table([starts, *prices, bars.volume.astype(float)], schema=BARS)
    again = checked_bars(table, bars.symbol, Timeframe.read("1m"), "XNYS")
    assert (again.bars.digest, again.notes) == (bars.digest, ())
    assert not any((getattr(bars, name) % 100).any() for name in PRICES)  # whole cents
    steps = np.diff(bars.close)
    assert abs(steps.mean()) < 4 * steps.std() / len(steps) ** 0.5
    fallen = random_walk(1_000_000, seed=3).low.min()
    assert 49_000 < fallen < 51_000  # a walk that falls to 5 USD turns back


@pytest.mark.parametrize("count", [1, 0, -5, 10**8])
def test_random_walks_that_cannot_be_made(count: int) -> None:
    with pytest.raises(
        BadInputError, match=r"a random walk of -?[\d,]+ bars? cannot be made → ask for 2 to"
    ):
        random_walk(count)


def test_bars_beyond_every_calendar_are_refused_whatever_days_are_asked_for(
    settings: Settings,
) -> None:
    times = pa.array([-(2**62), 2**62], pa.timestamp("us"))
    values = {name: [1.0, 1.0] for name in ("open", "high", "low", "close", "volume")}
    path = path_of(settings.cache_dir, "FAR", DAILY)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"timestamp": times, **values}), path)
    for first, last in ((None, None), (date(2020, 1, 1), None), (None, date(2020, 1, 1))):
        with pytest.raises(BadInputError, match="time"):
            cached_bars(settings, "FAR", DAILY, first, last)
