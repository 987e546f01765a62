"""The exchange calendar: sessions, early closes, days, markets that never close."""

from datetime import UTC, date, datetime

import pytest

from fluxhero.errors import ConfigurationError
from fluxhero.market.calendar import calendar_of


def test_sessions_of_new_york() -> None:
    calendar = calendar_of("AAPL", "XNYS", date(2024, 1, 1))
    days = [one.day.isoformat() for one in calendar.between(date(2024, 7, 1), date(2024, 7, 8))]
    assert days == ["2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08"]
    early = calendar.session(date(2024, 7, 3))
    assert early is not None
    assert early.closes == datetime(2024, 7, 3, 17, tzinfo=UTC)
    assert calendar.session(date(2024, 7, 4)) is None
    after = calendar.next_after(date(2024, 7, 3))
    assert after is not None
    assert after.day == date(2024, 7, 5)
    assert calendar.next_after(date(2999, 1, 1)) is None
    assert calendar.midnight(date(2024, 7, 3)) == datetime(2024, 7, 3, 4, tzinfo=UTC)


def test_what_is_open_and_closed() -> None:
    calendar = calendar_of("AAPL", "XNYS", date(2024, 1, 1))
    noon = datetime(2024, 7, 5, 16, tzinfo=UTC)
    closed, begun = calendar.last_closed(noon), calendar.last_open(noon)
    assert closed is not None
    assert begun is not None
    assert (closed.day.day, begun.day.day) == (3, 5)
    long_ago = datetime(1980, 1, 1, tzinfo=UTC)
    assert calendar.last_closed(long_ago) is None
    assert calendar.last_open(long_ago) is None
    assert calendar.knows(noon.date())
    assert not calendar.knows(long_ago.date())


@pytest.mark.parametrize(
    ("exchange", "at", "day"),
    [
        ("XNYS", datetime.fromisoformat("2024-01-03 05:00"), 3),  # Alpaca: midnight in New York
        (
            "XNYS",
            datetime.fromisoformat("2024-01-03"),
            3,
        ),  # pandas and Yahoo: the day at midnight UTC
        ("XNYS", datetime.fromisoformat("2024-01-03 21:00"), 3),
        ("XTKS", datetime.fromisoformat("2024-01-02 15:00"), 3),  # midnight in Tokyo
        ("XTKS", datetime.fromisoformat("2024-01-03"), 3),
    ],
)
def test_the_day_of_a_daily_bar(exchange: str, at: datetime, day: int) -> None:
    calendar = calendar_of("A", exchange, date(2024, 1, 1))
    assert calendar.day_of(at.replace(tzinfo=UTC)) == date(2024, 1, day)


def test_pairs_trade_at_all_times() -> None:
    calendar = calendar_of("BTC/USD", "XNYS", date(2024, 1, 1))
    assert len(calendar.between(date(2024, 7, 1), date(2024, 7, 8))) == 8
    assert calendar.code == "24/7"


def test_a_calendar_goes_back_as_far_as_it_can() -> None:
    tokyo = calendar_of("7203", "XTKS", date(1950, 1, 1))
    assert not tokyo.knows(date(1950, 1, 4))
    assert tokyo.knows(date(2024, 1, 4))
    for year in (1, 1899, 1929):
        crash = calendar_of("IBM", "XNYS", date(year, 1, 1)).session(date(1929, 10, 29))
        assert crash is not None


def test_an_unknown_exchange_names_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="FLUXHERO_EXCHANGE"):
        calendar_of("AAPL", "QQQQ", date(2024, 1, 1))
