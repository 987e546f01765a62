"""The runs to come by `prefect.yaml` and the calendar: across both changes of daylight saving, and holidays."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from fluxhero.errors import ConfigurationError
from fluxhero.night.deployments import Deployment, checkout, read_deployments, with_paused
from fluxhero.night.upcoming import Upcoming, next_of_each, runs_of, upcoming_runs

REPOSITORY = Path(__file__).parents[2]
NEW_YORK = ZoneInfo("America/New_York")
# The Monday before each change.
AUTUMN, SPRING = datetime(2026, 10, 26, 4, tzinfo=UTC), datetime(2027, 3, 8, 5, tzinfo=UTC)
CHANGES = [pytest.param(AUTUMN, id="autumn"), pytest.param(SPRING, id="spring")]
FORTY = 40


def scheduled() -> list[Deployment]:
    return [one for one in read_deployments(REPOSITORY) if one.schedules]


def of(name: str) -> Deployment:
    return next(one for one in read_deployments(REPOSITORY) if one.name == name)


def local(runs: list[Upcoming]) -> list[datetime]:
    return [run.at.astimezone(NEW_YORK) for run in runs]


def forty(name: str, start: datetime) -> list[Upcoming]:
    return list(islice(runs_of(of(name), start, exchange="XNYS"), FORTY))


def weekdays(first: date, count: int) -> list[date]:
    days = (first + timedelta(days=n) for n in range(count * 2))
    return [day for day in days if day.isoweekday() < 6][:count]


@pytest.mark.parametrize("start", CHANGES)
@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("archive-trades/after-close", time(17, 30)),
        ("refresh-market-data/before-open", time(8, 30)),
        ("check-storage/daily", time(18, 30)),
        ("nightly/nightly", time(20, 30)),
    ],
)
def test_forty_weekday_runs_keep_their_time_in_new_york(
    name: str, clock: time, start: datetime
) -> None:
    runs = local(forty(name, start))
    first = start.astimezone(NEW_YORK).date()
    expected = [datetime.combine(day, clock) for day in weekdays(first, FORTY)]
    assert [run.replace(tzinfo=None) for run in runs] == expected
    assert len({run.utcoffset() for run in runs}) == 2, "the dates are to span a change"


@pytest.mark.parametrize("start", CHANGES)
@pytest.mark.parametrize(
    ("name", "day", "clock"),
    [("check-storage/deep", 6, time(6)), ("evaluate-backtests/weekly", 7, time(10))],
)
def test_forty_weekly_runs_keep_their_time_in_new_york(
    name: str, day: int, clock: time, start: datetime
) -> None:
    runs = local(forty(name, start))
    assert {run.isoweekday() for run in runs} == {day}
    assert {run.time() for run in runs} == {clock}
    days = [run.date() for run in runs]
    assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(days=7)] * (
        FORTY - 1
    )


@pytest.mark.parametrize(
    "change", [datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 3, 14, tzinfo=UTC)]
)
def test_hourly_means_every_hour_when_the_clocks_change(change: datetime) -> None:
    """In autumn 01:00 comes twice in New York, and is measured twice; in spring 02:00 does not come."""
    runs = forty("snapshot-metrics/hourly", change)
    assert [run.at for run in runs] == [change + timedelta(hours=n) for n in range(1, FORTY + 1)]
    assert {run.skipped for run in runs} == {None}


def test_the_hour_that_comes_twice_is_measured_twice() -> None:
    runs = local(forty("snapshot-metrics/hourly", datetime(2026, 11, 1, 3, 30, tzinfo=UTC)))
    assert [f"{run:%d %H:%M %Z}" for run in runs[:4]] == [
        "01 00:00 EDT",
        "01 01:00 EDT",
        "01 01:00 EST",
        "01 02:00 EST",
    ]


@pytest.mark.parametrize("start", CHANGES)
def test_forty_snapshots_are_five_minutes_apart_but_on_the_hour(start: datetime) -> None:
    change_to = start + timedelta(days=7, hours=3)  # the Monday after the change
    runs = local(forty("snapshot-metrics/in-session", change_to))
    first_day = [run for run in runs if run.date() == change_to.astimezone(NEW_YORK).date()]
    assert runs[0].time() == time(9, 30)
    assert all(run.minute % 5 == 0 for run in runs)
    assert all(run.minute != 0 for run in runs), "on the hour the other deployment measures"
    assert first_day == runs
    gaps = {later - earlier for earlier, later in pairwise(runs)}
    assert gaps == {timedelta(minutes=5), timedelta(minutes=10)}


def test_a_session_has_so_many_snapshots() -> None:
    start = datetime(2026, 11, 30, 5, tzinfo=UTC)
    runs = local(
        list(islice(runs_of(of("snapshot-metrics/in-session"), start, exchange="XNYS"), 73))
    )
    assert [run.date() for run in runs] == [date(2026, 11, 30)] * 72 + [date(2026, 12, 1)]
    assert (runs[0].time(), runs[71].time()) == (time(9, 30), time(15, 55))


def test_holidays_and_early_closes_are_said() -> None:
    thanksgiving = list(
        islice(
            runs_of(
                of("archive-trades/after-close"),
                datetime(2026, 11, 25, 5, tzinfo=UTC),
                exchange="XNYS",
            ),
            3,
        )
    )
    assert [run.skipped for run in thanksgiving] == [
        None,
        "XNYS is closed on 2026-11-26 (Thursday)",
        None,
    ]
    day_after = datetime(2026, 11, 27, 5, tzinfo=UTC)
    snapshots = list(
        islice(runs_of(of("snapshot-metrics/in-session"), day_after, exchange="XNYS"), 72)
    )
    worked = list(local([run for run in snapshots if run.skipped is None]))
    assert (worked[0].time(), worked[-1].time()) == (time(9, 30), time(12, 55))
    late = next(run for run in snapshots if run.skipped)
    assert late.skipped == "XNYS trades from 09:30 to 13:00 on 2026-11-27, and not at 13:05"


@pytest.mark.parametrize(
    "start",
    [
        *CHANGES,
        pytest.param(datetime(2026, 11, 1, 4, 30, tzinfo=UTC), id="that-night"),
        pytest.param(datetime(2027, 3, 14, 5, 30, tzinfo=UTC), id="that-night-in-spring"),
    ],
)
def test_a_server_computes_the_same_times(start: datetime) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    for deployment in scheduled():
        theirs: set[datetime] = set()
        for schedule in deployment.schedules:
            cron = CronSchedule(cron=schedule.cron, timezone=schedule.zone.key)
            dates = asyncio.run(cron.get_dates(FORTY, start=start))
            theirs |= {at.astimezone(UTC) for at in dates}
        ours = list(
            islice(runs_of(deployment, start - timedelta(seconds=1), exchange="XNYS"), FORTY)
        )
        assert [run.at for run in ours] == sorted(theirs)[:FORTY], deployment.name


def test_the_next_runs_of_all_deployments_come_in_order() -> None:
    evening = datetime(2026, 12, 24, 22, tzinfo=UTC)  # 17:00 in New York, closed since 13:00
    runs = upcoming_runs(REPOSITORY, evening, 6)
    assert [(run.deployment, f"{run.at.astimezone(NEW_YORK):%d %H:%M}") for run in runs] == [
        ("archive-trades/after-close", "24 17:30"),
        ("snapshot-metrics/hourly", "24 18:00"),
        ("check-storage/daily", "24 18:30"),
        ("snapshot-metrics/hourly", "24 19:00"),
        ("snapshot-metrics/hourly", "24 20:00"),
        ("nightly/nightly", "24 20:30"),
    ]


def test_the_next_run_of_each_is_one_that_works() -> None:
    evening = datetime(2026, 12, 25, 2, tzinfo=UTC)  # 21:00 on Christmas Eve in New York
    found = {run.deployment: run for run in next_of_each(REPOSITORY, evening)}
    assert set(found) == {one.name for one in scheduled()}
    days = {name: run.at.astimezone(NEW_YORK).date() for name, run in found.items()}
    assert days["archive-trades/after-close"] == date(2026, 12, 28)  # not on Christmas Day
    assert days["snapshot-metrics/hourly"] == date(2026, 12, 24)
    assert days["check-storage/deep"] == date(2026, 12, 26)


def test_what_is_no_file_of_deployments_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no .*prefect\.yaml"):
        upcoming_runs(tmp_path, SPRING, 1)
    for text in ("a: [", "deployments: 7", "deployments: [{entrypoint: x}]", "other: []"):
        (tmp_path / "prefect.yaml").write_text(text)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            upcoming_runs(tmp_path, SPRING, 1)


def test_only_what_is_named_is_paused() -> None:
    document = yaml.safe_load(with_paused(REPOSITORY, {"nightly/nightly"}))
    paused = [one["name"] for one in document["deployments"] if one.get("paused")]
    assert paused == ["nightly"]


def test_the_checkout_is_the_one_of_this_code() -> None:
    assert checkout() == REPOSITORY
