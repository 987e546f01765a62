"""How far an account has been fetched, and from when the next fetch begins."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from fluxhero.archive.workspace import Workspace
from fluxhero.broker.beginnings import (
    ACTIVITIES_OVERLAP,
    LONGEST_ORDER,
    ORDERS_OVERLAP,
    Beginnings,
    beginnings,
)
from fluxhero.broker.fetched import Fetched
from fluxhero.broker.watermark import Watermark, path_of, read_watermark, write_watermark
from fluxhero.errors import IntegrityError
from tests import samples

NOW = datetime(2024, 6, 3, 20, tzinfo=UTC)
ACCOUNT = "PA3TEST0001"
DAY = timedelta(days=1)


@pytest.fixture
def ledger(broker: Settings) -> Workspace:
    """An empty ledger."""
    samples.create_duckdb_store(broker.store_path)
    return Workspace.of(broker)


def mark(workspace: Workspace | None = None, **changes: Any) -> Watermark:
    given = {
        "account": ACCOUNT,
        "mode": "paper",
        "store_id": workspace.store.identity() if workspace else "a store",
        "orders_since": NOW - DAY,
        "activities_since": NOW - 2 * DAY,
        "moved_at": NOW,
    }
    return Watermark(**{**given, **changes})


def put(workspace: Workspace, number: int, at: datetime, **changes: Any) -> None:
    """Give the ledger an order of the account."""
    row = samples.ledger_order(
        number,
        source="alpaca",
        broker="alpaca",
        submitted_at=at,
        extra=json.dumps({"account": ACCOUNT}),
    )
    samples.insert_duckdb(workspace.store.path, "orders", row | changes)


def test_a_mark_is_read_back_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    assert read_watermark(tmp_path, ACCOUNT) is None
    path = path_of(tmp_path, ACCOUNT)
    assert path == tmp_path / "imports" / "watermarks" / "alpaca-PA3TEST0001.json"
    path.parent.mkdir(parents=True)
    left = path.with_name(f".{path.name}.7.partial")
    left.write_text("{")
    write_watermark(tmp_path, mark())
    assert read_watermark(tmp_path, ACCOUNT) == mark()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"account": "PA3TEST0001"}',
        mark().model_dump_json().replace("2024-06-02", "2024-06-99"),
        mark().model_dump_json().replace("}", ', "more": 1}'),
        mark().model_dump_json().replace('"format_version":1', '"format_version":2'),
        mark(account="PA3OTHER").model_dump_json(),
    ],
)
def test_a_mark_that_is_damaged_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    path = path_of(tmp_path, ACCOUNT)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(IntegrityError, match="`fluxhero ingest-broker --since TIME`") as raised:
        read_watermark(tmp_path, ACCOUNT)
    assert str(path) in str(raised.value)


def test_a_mark_moves_to_what_is_newest_and_never_back() -> None:
    none = Fetched(Path("x"))
    known = mark()
    moved = known.moved_on(none, none, since=None, at=NOW + DAY)
    assert moved == known.model_copy(update={"moved_at": NOW + DAY})
    newer, older = Fetched(Path("x"), 3, NOW), Fetched(Path("x"), 3, NOW - 9 * DAY)
    moved = known.moved_on(newer, older, since=None, at=NOW + DAY)
    assert (moved.orders_since, moved.activities_since) == (NOW, NOW - 2 * DAY)
    to_come = Fetched(Path("x"), 1, NOW + 30 * DAY)
    assert known.moved_on(none, to_come, since=None, at=NOW).activities_since == NOW
    first = mark(orders_since=None, activities_since=None)
    moved = first.moved_on(newer, none, since=NOW - DAY, at=NOW)
    assert (moved.orders_since, moved.activities_since) == (NOW, None)


def test_a_mark_stays_where_a_fetch_left_something_out() -> None:
    newest = Fetched(Path("x"), 3, NOW)
    known = mark()
    late = known.moved_on(newest, newest, since=NOW - DAY + timedelta(seconds=1), at=NOW)
    assert (late.orders_since, late.activities_since) == (NOW - DAY, NOW - 2 * DAY)
    part = known.moved_on(newest, newest, since=NOW - 1.5 * DAY, at=NOW)
    assert (part.orders_since, part.activities_since) == (NOW, NOW - 2 * DAY)
    whole = known.moved_on(newest, newest, since=NOW - 2 * DAY, at=NOW)
    assert (whole.orders_since, whole.activities_since) == (NOW, NOW)


def test_a_fetch_begins_some_days_before_the_mark(ledger: Workspace) -> None:
    assert beginnings(ledger, None) == Beginnings()
    put(ledger, 1, NOW - DAY)
    known = Beginnings(
        orders=NOW - DAY - ORDERS_OVERLAP, activities=NOW - 2 * DAY - ACTIVITIES_OVERLAP
    )
    assert beginnings(ledger, mark(ledger)) == known
    nothing = mark(ledger, orders_since=None, activities_since=None)
    assert beginnings(ledger, nothing) == Beginnings()
    only = mark(ledger, orders_since=None)
    assert beginnings(ledger, only) == Beginnings(activities=known.activities)


def test_a_fetch_begins_with_the_oldest_order_that_may_change(ledger: Workspace) -> None:
    put(ledger, 1, NOW - DAY)
    put(ledger, 2, NOW - 200 * DAY, status="new")
    put(ledger, 3, NOW - 60 * DAY, status="partially_filled", extra='{"account": "PA3OTHER"}')
    put(ledger, 4, NOW - 50 * DAY, status="partially_filled", source="ibkr")
    for number, status in enumerate(("filled", "cancelled", "expired", "rejected", "replaced")):
        put(ledger, 10 + number, NOW - 40 * DAY, status=status)
    assert beginnings(ledger, mark(ledger)).orders == NOW - DAY - ORDERS_OVERLAP
    put(ledger, 20, NOW - 30 * DAY, status="done_for_day")
    put(ledger, 21, NOW - 35 * DAY, status="accepted")
    begun = beginnings(ledger, mark(ledger))
    assert begun.orders == NOW - 35 * DAY - timedelta(seconds=1), "what comes is after that"
    assert begun.activities == NOW - 2 * DAY - ACTIVITIES_OVERLAP
    put(ledger, 22, NOW - DAY - LONGEST_ORDER, status="held")
    assert beginnings(ledger, mark(ledger)).orders == NOW - DAY - LONGEST_ORDER - timedelta(
        seconds=1
    )


def test_a_ledger_with_less_than_its_mark_says_is_filled_again(ledger: Workspace) -> None:
    assert beginnings(ledger, mark(ledger)) == Beginnings(), "nothing of the account"
    put(ledger, 1, NOW - 20 * DAY)
    restored = Beginnings(
        orders=NOW - 20 * DAY - ORDERS_OVERLAP, activities=NOW - 20 * DAY - ACTIVITIES_OVERLAP
    )
    assert beginnings(ledger, mark(ledger)) == restored, "as after a backup was restored"
    assert beginnings(ledger, mark(ledger, activities_since=None)).activities is None
    put(ledger, 2, NOW - DAY)
    assert beginnings(ledger, mark(ledger, store_id="another")) == Beginnings()
    ledger.store.close()
