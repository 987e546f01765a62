"""What is bound to trading days and sessions, on holidays, at early closes, and where nobody can tell."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fluxhero.market.trading_days import (
    HOLIDAY,
    IN_SESSION,
    NOTHING_TO_DO,
    OUT_OF_SESSION,
    TRADING_DAYS,
    closed_at,
)

NEW_YORK = ZoneInfo("America/New_York")
SNAPSHOT = [TRADING_DAYS, IN_SESSION]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        ("2026-12-25 17:30", "XNYS is closed on 2026-12-25 (Friday)"),
        ("2026-11-26 17:30", "XNYS is closed on 2026-11-26 (Thursday)"),
        ("2027-07-05 17:30", "XNYS is closed on 2027-07-05 (Monday)"),  # the 4th is a Sunday
        ("2026-11-28 17:30", "XNYS is closed on 2026-11-28 (Saturday)"),
        ("2026-11-27 17:30", None),  # closes early, but trades
        ("2026-11-30 17:30", None),
        ("2026-11-25 23:59", None),  # already Thanksgiving in UTC
        ("2026-11-26 20:30", "XNYS is closed on 2026-11-26 (Thursday)"),  # already Friday in UTC
    ],
)
def test_a_day_without_a_session_is_a_holiday(moment: str, why: str | None) -> None:
    closed = closed_at("XNYS", [TRADING_DAYS], at(moment))
    assert (closed and (closed.name, closed.why)) == (why and (HOLIDAY, why))


@pytest.mark.parametrize(
    ("moment", "name"),
    [
        ("2026-11-25 09:29", OUT_OF_SESSION),
        ("2026-11-25 09:30", None),
        ("2026-11-25 15:55", None),
        ("2026-11-25 16:00", None),
        ("2026-11-25 16:05", OUT_OF_SESSION),
        ("2026-11-27 12:55", None),
        ("2026-11-27 13:05", OUT_OF_SESSION),
        ("2026-12-24 13:05", OUT_OF_SESSION),
        ("2027-07-02 13:05", None),  # a full day: 2027 has no early close before the 4th
        ("2026-11-26 12:00", HOLIDAY),
    ],
)
def test_a_session_has_hours_and_closes_early_at_times(moment: str, name: str | None) -> None:
    closed = closed_at("XNYS", SNAPSHOT, at(moment))
    assert (closed and closed.name) == name
    assert name is None or name in NOTHING_TO_DO


def test_why_says_the_hours_at_the_exchange() -> None:
    closed = closed_at("XNYS", SNAPSHOT, datetime(2026, 11, 27, 18, 5, tzinfo=UTC))
    assert closed is not None
    assert closed.why == "XNYS trades from 09:30 to 13:00 on 2026-11-27, and not at 13:05"


def test_what_is_bound_to_nothing_always_has_something_to_do() -> None:
    assert closed_at("XNYS", ["fluxhero"], at("2026-12-25 12:00")) is None


def test_other_exchanges_have_other_holidays() -> None:
    assert closed_at("XLON", [TRADING_DAYS], at("2026-11-26 12:00")) is None
    boxing_day = closed_at("XLON", [TRADING_DAYS], at("2026-12-28 12:00"))
    assert boxing_day is not None


def test_beyond_the_calendar_and_without_one_nobody_can_tell(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert closed_at("XNYS", [TRADING_DAYS], at("2035-12-25 12:00")) is None
    assert closed_at("NOWHERE", [TRADING_DAYS], at("2026-12-25 12:00")) is None
    assert "does not reach to 2035-12-25" in caplog.text
    assert "there is no calendar of an exchange NOWHERE" in caplog.text
