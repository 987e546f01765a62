"""The list of holds itself: whose end counts, what is history, what many holds cost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluxhero.archive.holds import (
    Hold,
    add_holds,
    held_keys,
    read_holds,
    release_holds,
    withdraw_holds,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "holds.json"


def test_the_later_end_counts(path: Path) -> None:
    add_holds(path, "trades", ["A"], reason="audit", at=NOW, until=NOW + 5 * DAY)
    assert add_holds(path, "trades", ["A"], reason="again", at=NOW, until=NOW + 4 * DAY) == []
    (longer,) = add_holds(path, "trades", ["A", "A"], reason="longer", at=NOW, until=NOW + 9 * DAY)
    (endless,) = add_holds(path, "trades", ["A"], reason="dispute", at=NOW, until=None)
    assert add_holds(path, "trades", ["A"], reason="again", at=NOW, until=NOW + 99 * DAY) == []
    history = read_holds(path)
    assert [hold.reason for hold in history] == ["audit", "longer", "dispute"]
    assert [hold.active(NOW) for hold in history] == [False, False, True], "one hold at a time"
    assert longer.active(NOW + 8 * DAY)
    assert not longer.active(NOW + 9 * DAY)
    assert endless.active(NOW + 999 * DAY)


def test_a_released_trade_can_be_held_again(path: Path) -> None:
    add_holds(path, "trades", ["A", "B"], reason="audit", at=NOW, until=None)
    assert [hold.trade_id for hold in release_holds(path, "trades", ["A", "C"], at=NOW + DAY)] == [
        "A"
    ]
    assert held_keys(path, NOW + DAY)["trades"] == {"B"}
    assert len(add_holds(path, "trades", ["A"], reason="dispute", at=NOW + DAY, until=None)) == 1
    assert held_keys(path, NOW + DAY)["trades"] == {"A", "B"}


def test_only_what_was_just_added_is_taken_back(path: Path) -> None:
    add_holds(path, "trades", ["A", "B"], reason="audit", at=NOW, until=NOW + DAY)
    before = read_holds(path)
    added = add_holds(path, "trades", ["A", "C"], reason="restored", at=NOW, until=NOW + 9 * DAY)
    assert len(added) == 2
    replaced = before[0].model_copy(update={"released_at": NOW})
    withdraw_holds(path, added[1:])
    assert read_holds(path) == [replaced, before[1], added[0]]
    withdraw_holds(path, added)
    assert read_holds(path) == before
    written = path.stat().st_mtime_ns
    withdraw_holds(path, [])
    assert (read_holds(path), path.stat().st_mtime_ns) == (before, written)


def test_each_hold_is_looked_at_a_few_times_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is more than a hundred thousand rows: time that grows with the square would be hours."""
    trades = [f"T-{number}" for number in range(100)]
    add_holds(path, "trades", trades, reason="audit", at=NOW, until=NOW + DAY)
    looks = 0

    def counted(hold: Hold, name: str) -> object:
        nonlocal looks
        looks += name == "trade_id"
        return object.__getattribute__(hold, name)

    monkeypatch.setattr(Hold, "__getattribute__", counted)
    assert (
        len(add_holds(path, "trades", trades, reason="longer", at=NOW, until=NOW + 2 * DAY)) == 100
    )
    assert len(release_holds(path, "trades", trades, at=NOW)) == 100
    assert 0 < looks < 10 * len(trades)
