"""Bars that cannot be traded on are refused by row and time; what is changed or left out is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from fluxhero.backtest.checked import checked_bars
from fluxhero.errors import BadInputError, ConfigurationError
from fluxhero.market.cache import BARS
from fluxhero.market.timeframe import DAILY, Timeframe

FIVE_MINUTES = Timeframe.read("5m")
NAN, INF = float("nan"), float("inf")

# Of 2024: Friday the 5th of July follows a day with an early close and a holiday.
OPENING = datetime(2024, 7, 3, 13, 30, tzinfo=UTC)


def bar(minutes: int, *, start: datetime = OPENING, **changes: Any) -> dict[str, Any]:
    """A sound bar so long after the first one."""
    values = {"open": 10.0, "high": 10.5, "low": 9.5, "close": 10.2, "volume": 1_000.0}
    return {"timestamp": start + timedelta(minutes=minutes)} | values | changes


def day(month: int, number: int, hour: int = 4, **changes: Any) -> dict[str, Any]:
    """A sound daily bar of 2024, as Alpaca dates it: at New York's midnight, in UTC."""
    return bar(0, start=datetime(2024, month, number, hour, tzinfo=UTC), **changes)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), BARS)


def ends(*times: tuple[int, int, int, int]) -> list[int]:
    """Month, day, hour and minute of 2024 in nanoseconds."""
    return [int(datetime(2024, *one, tzinfo=UTC).timestamp()) * 10**9 for one in times]


def test_sound_bars_are_labelled_by_when_they_are_over() -> None:
    checked = checked_bars(table(bar(0), bar(5, close=10.0001)), "AAPL", FIVE_MINUTES, "XNYS")
    bars = checked.bars
    assert (bars.symbol, bars.timeframe, checked.notes) == ("AAPL", "5m", ())
    assert bars.ends.tolist() == ends((7, 3, 13, 35), (7, 3, 13, 40))
    assert bars.close.tolist() == [102_000, 100_001]
    assert (bars.open[0], bars.high[0], bars.low[0], bars.volume[0]) == (
        100_000,
        105_000,
        95_000,
        1_000,
    )


def test_a_daily_bar_is_over_when_the_exchange_closes_early_or_late() -> None:
    rows = (day(7, 2), day(7, 3), day(7, 5, hour=0), day(11, 4, hour=5))
    checked = checked_bars(table(*rows), "AAPL", DAILY, "XNYS")
    assert checked.bars.ends.tolist() == ends(
        (7, 2, 20, 0), (7, 3, 17, 0), (7, 5, 20, 0), (11, 4, 21, 0)
    )
    (missing,) = checked.notes
    assert missing.startswith("84 sessions of XNYS without bars, the first of 2024-07-08")


def test_a_day_without_a_session_is_over_at_midnight_and_noted() -> None:
    checked = checked_bars(table(day(7, 3), day(7, 4), day(7, 5)), "AAPL", DAILY, "XNYS")
    assert checked.bars.ends.tolist() == ends((7, 3, 17, 0), (7, 5, 4, 0), (7, 5, 20, 0))
    assert checked.notes == ("1 bar of days on which XNYS has no session, the first of 2024-07-04",)
    pair = checked_bars(table(day(7, 4, hour=0), day(7, 6, hour=0)), "BTC/USD", DAILY, "XNYS")
    assert pair.bars.ends.tolist() == ends((7, 5, 0, 0), (7, 7, 0, 0))
    assert pair.notes[0].startswith("1 session of 24/7 without bars, the first of 2024-07-05")


def test_what_is_changed_or_left_out_is_noted() -> None:
    rows = (
        bar(0, volume=0.0),
        bar(5, open=10.00004, close=10.00006),
        bar(10, volume=0.4),
        bar(15, volume=2.6),
        bar(3 * 24 * 60, volume=0.0),
    )
    checked = checked_bars(table(*rows), "AAPL", FIVE_MINUTES, "XNYS")
    assert checked.bars.volume.tolist() == [1_000, 1, 3]
    assert (checked.bars.open[0], checked.bars.close[0]) == (100_000, 100_001)
    dropped, rounded, whole, missing = checked.notes
    assert dropped.startswith(
        "2 bars without volume left out, the first of 2024-07-03 13:30 UTC: nobody"
    )
    assert rounded == "prices of 1 bar rounded to 0.0001 USD"
    assert whole == "volumes of 2 bars rounded to whole shares"
    assert missing.startswith("1 session of XNYS without bars, the first of 2024-07-05")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"open": NAN}, "has no open that is a number"),
        ({"close": None}, "has no close that is a number"),
        ({"volume": INF}, "has no volume that is a number"),
        ({"low": 0.0}, "has a price of low that is not above zero"),
        ({"low": 0.00004}, "has a price of low that is not above zero"),
        ({"open": -1.0}, "has a price of open that is not above zero"),
        ({"high": 2e9}, "has a price of high above 1,000,000,000 USD"),
        ({"high": 9.0}, "has a high below its low"),
        ({"high": 10.1}, "has a high below its open or close"),
        ({"low": 10.1}, "has a low above its open or close"),
        ({"volume": -1.0}, "has a volume below zero"),
        ({"volume": 2e12}, "has a volume above 1,000,000,000,000 shares"),
        (
            {"timestamp": OPENING},
            r"is of the same time as the row before it \(2024-07-03 13:30 UTC\)",
        ),
        ({"timestamp": datetime(2024, 7, 2, tzinfo=UTC)}, "is earlier than the row before it"),
    ],
)
def test_bars_that_cannot_be_traded_on(changes: dict[str, Any], message: str) -> None:
    rows = (bar(0), bar(5, **changes), bar(10))
    with pytest.raises(BadInputError, match=message) as raised:
        checked_bars(table(*rows), "AAPL", FIVE_MINUTES, "XNYS")
    assert "the 5m bars of AAPL cannot be used: row 2 (2024-07-0" in raised.value.what


def test_a_day_that_is_there_twice_under_two_times() -> None:
    with pytest.raises(BadInputError, match=r"row 2 .* is of the same day as the row before it"):
        checked_bars(table(day(7, 3), day(7, 3, hour=0)), "AAPL", DAILY, "XNYS")


def test_too_few_and_impossible_bars() -> None:
    for rows, count in (
        ((), "are none"),
        ((bar(0),), "is 1"),
        ((bar(0), bar(5, volume=0.0)), "is 1"),
    ):
        with pytest.raises(BadInputError, match=f"needs 2 5m bars of AAPL .* there {count}"):
            checked_bars(table(*rows), "AAPL", FIVE_MINUTES, "XNYS")
    late = bar(0, start=datetime(2300, 1, 1, tzinfo=UTC))
    with pytest.raises(BadInputError, match="row 2 of the 5m bars of AAPL has no time between"):
        checked_bars(table(bar(0), late), "AAPL", FIVE_MINUTES, "XNYS")
    with pytest.raises(ConfigurationError, match="FLUXHERO_EXCHANGE"):
        checked_bars(table(bar(0), bar(5)), "AAPL", FIVE_MINUTES, "NOWHERE")
