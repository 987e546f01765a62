"""When a flow's next run is due, by this checkout's own schedules."""

from datetime import UTC, datetime
from pathlib import Path

from fluxhero.alerts import rules
from fluxhero.alerts.dues import dues_of

CHECKOUT = Path(__file__).parents[2]
THANKSGIVING_EVE = datetime(2026, 11, 25, 23, 0, tzinfo=UTC)  # 18:00 in New York, a Wednesday
NONE_PAUSED: frozenset[str] = frozenset()


def test_a_nightly_run_is_not_due_on_a_holiday() -> None:
    due = dues_of(CHECKOUT, "XNYS")
    wednesday = due(rules.NIGHTLY_FLOW, THANKSGIVING_EVE, NONE_PAUSED)
    assert wednesday == datetime(2026, 11, 26, 1, 30, tzinfo=UTC)
    assert wednesday is not None
    assert due(rules.NIGHTLY_FLOW, wednesday, NONE_PAUSED) == datetime(
        2026, 11, 28, 1, 30, tzinfo=UTC
    )


def test_snapshots_are_due_hourly_when_the_exchange_is_closed() -> None:
    due = dues_of(CHECKOUT, "XNYS")(rules.SNAPSHOT_FLOW, THANKSGIVING_EVE, NONE_PAUSED)
    assert due is not None
    assert 0 < (due - THANKSGIVING_EVE).total_seconds() <= 3600


def test_what_is_paused_or_has_no_schedule_is_never_due() -> None:
    due = dues_of(CHECKOUT, "XNYS")
    paused = frozenset({"nightly/nightly"})
    assert due(rules.NIGHTLY_FLOW, THANKSGIVING_EVE, paused) is None
    assert due("restore-trades", THANKSGIVING_EVE, NONE_PAUSED) is None


def test_a_folder_without_schedules_expects_nothing(tmp_path: Path) -> None:
    assert dues_of(tmp_path, "XNYS")(rules.NIGHTLY_FLOW, THANKSGIVING_EVE, NONE_PAUSED) is None
