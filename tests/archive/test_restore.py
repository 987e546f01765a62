"""Restores: what comes back, what is on hold afterwards, what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from fluxhero.archive.holds import release_holds
from fluxhero.errors import BadInputError, StorageIOError, VerificationError
from fluxhero.ledger.store import HotStore
from tests import evidence, samples
from tests.house import House


@pytest.fixture
def archived(house: House) -> House:
    """Five trades in the archive, none hot."""
    house.add(*range(1, 6))
    house.archive()
    return house


def test_some_trades_come_back_and_stay(archived: House) -> None:
    house = archived
    before = house.look().view
    report = house.restore(trade_ids=[house.key(2), house.key(4)], reason="tax audit")
    assert (house.hot, len(report.restored)) == ({2, 4}, 2)
    assert house.look().view == before
    (event,) = evidence.events(house.archive_dir, "restored")
    assert event["reason"] == "tax audit"
    assert sorted(event["keys"]) == sorted([house.key(2), house.key(4)])
    assert (house.archive().held, house.hot) == (2, {2, 4})


def test_restoring_twice_changes_nothing(archived: House) -> None:
    house = archived
    for _ in range(2):
        report = house.restore(trade_ids=[house.key(2)])
    assert (report.restored, report.already_hot) == ((), (house.key(2),))
    assert len(evidence.events(house.archive_dir, "restored")) == 1


def test_when_the_hold_ends_the_row_only_leaves_the_store(archived: House) -> None:
    house = archived
    house.restore(trade_ids=[house.key(2)], hold_days=0)
    before = house.look().view
    report = house.archive()
    assert (report.batches, report.purged, house.hot) == ((), 1, set())
    assert house.look().view == before


def test_a_released_hold_lets_the_row_go(archived: House) -> None:
    house = archived
    house.restore(trade_ids=[house.key(2)])
    release_holds(house.workspace.layout.holds, "trades", [house.key(2)], at=datetime.now(UTC))
    assert house.archive().purged == 1
    (hold,) = house.holds
    assert hold.released_at is not None, "a hold that ended is history, not gone"


def test_a_restored_row_that_was_corrected_becomes_a_new_version(archived: House) -> None:
    house = archived
    house.restore(trade_ids=[house.key(2)], hold_days=0)
    house.edit(2, "signal_reason = 'corrected'")
    now = house.look().view
    assert [line.correction for line in house.archive().batches] == [True]
    assert house.look().view == now
    house.restore(trade_ids=[house.key(2)])
    assert house.look().view == now, "the latest version comes back"


def redated(house: House) -> House:
    """Trade 1 was archived as closed in January, then corrected to February; trade 2 was not."""
    house.add(1, 2)
    house.archive(purge=False)
    house.edit(1, "exit_time = '2025-02-10T10:00:00Z', signal_reason = 'corrected'")
    house.archive()
    assert house.hot == set()
    return house


@pytest.mark.parametrize(("month", "number"), [(1, 2), (2, 1)])
def test_a_time_range_means_the_close_time_of_the_latest_version(
    house: House, month: int, number: int
) -> None:
    redated(house)
    before = house.look().view
    report = house.restore(
        closed_from=datetime(2025, month, 1, tzinfo=UTC),
        closed_to=datetime(2025, month + 1, 1, tzinfo=UTC),
    )
    assert (report.restored, house.hot) == ((house.key(number),), {number})
    assert house.look().view == before


def test_a_batch_brings_back_only_rows_whose_latest_version_is_in_it(house: House) -> None:
    redated(house)
    before = house.look().view
    first, second = house.chain.manifests
    assert house.restore(batch_id=first.batch_id).restored == (house.key(2),)
    assert house.restore(batch_id=second.batch_id).restored == (house.key(1),)
    assert house.look().view == before


def test_a_hot_row_that_differs_is_neither_overwritten_nor_put_on_hold(archived: House) -> None:
    house = archived
    house.add(2, signal_reason="another")
    before = house.look().view
    report = house.restore(trade_ids=[house.key(2)])
    assert (report.restored, report.refused) == ((), (house.key(2),))
    assert (house.look().view, house.holds) == (before, [])
    report = house.restore(trade_ids=[house.key(2), house.key(3)])
    assert (report.restored, report.refused) == ((house.key(3),), (house.key(2),))
    assert house.look().view == before
    assert [hold.trade_id for hold in house.holds] == [house.key(3)]


def test_a_row_whose_place_is_taken_is_not_put_on_hold(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(2, 3)
    house.archive()
    house.add(2, created_at="2025-02-02T09:30:01")
    report = house.restore(trade_ids=[house.key(2)])
    assert (report.ok, report.refused, house.holds) == (False, (house.key(2),), [])
    report = house.restore(trade_ids=[house.key(2), house.key(3)])
    assert (report.restored, report.refused) == ((house.key(3),), (house.key(2),))
    assert [hold.trade_id for hold in house.holds] == [house.key(3)]


@pytest.mark.parametrize("days", [None, 1, 90])
def test_an_earlier_hold_of_a_refused_row_stays(archived: House, days: int | None) -> None:
    house = archived
    until = None if days is None else datetime.now(UTC) + timedelta(days=days)
    house.hold(house.key(2), until=until)
    before = house.holds
    house.add(2, signal_reason="another")
    assert house.restore(trade_ids=[house.key(2)]).refused == (house.key(2),)
    assert house.holds == before


def test_restoring_again_shortens_no_hold(archived: House) -> None:
    house = archived
    house.restore(trade_ids=[house.key(2)], hold_days=60)
    before = house.holds
    house.restore(trade_ids=[house.key(2)], hold_days=5)
    assert house.holds == before
    house.restore(trade_ids=[house.key(2)], hold_days=90)
    first, second = house.holds
    assert first.released_at == second.since, "the longer hold replaced it"
    assert before == [first.model_copy(update={"released_at": None})]
    assert first.until
    assert second.until
    assert first.until + timedelta(days=29) < second.until


def test_a_batch_and_a_range_of_time(archived: House) -> None:
    house = archived
    (manifest,) = house.chain.manifests
    at = manifest.file.first_closed_at
    report = house.restore(
        closed_from=at + timedelta(microseconds=1), closed_to=at + timedelta(microseconds=3)
    )
    assert (house.hot, len(report.restored)) == ({2, 3}, 2)
    report = house.restore(batch_id=manifest.batch_id)
    assert house.hot == {1, 2, 3, 4, 5}
    assert (len(report.restored), len(report.already_hot)) == (3, 2)


def test_the_verdict_says_only_what_is_so(archived: House) -> None:
    house = archived
    for dry_run in (True, False):
        report = house.restore(closed_from=datetime(2099, 1, 1, tzinfo=UTC), dry_run=dry_run)
        assert "othing in the archive matches" in report.verdict
        assert "on hold" not in report.verdict
    assert "; not on hold." in house.restore(trade_ids=[house.key(1)], hold_days=0).verdict
    assert "; on hold until 20" in house.restore(trade_ids=[house.key(1)], hold_days=1).verdict
    house.add(2, signal_reason="another")
    refused = house.restore(trade_ids=[house.key(2)])
    assert refused.refused
    assert "on hold" not in refused.verdict


def test_trades_of_a_batch_and_a_range_narrow_each_other(archived: House) -> None:
    house = archived
    (manifest,) = house.chain.manifests
    later = manifest.file.first_closed_at + timedelta(microseconds=1)
    with pytest.raises(BadInputError, match="no trade"):
        house.restore(trade_ids=[house.key(1)], batch_id=manifest.batch_id, closed_from=later)
    house.restore(trade_ids=[house.key(3)], batch_id=manifest.batch_id, closed_from=later)
    assert house.hot == {3}


def test_a_dry_run_restores_nothing(archived: House) -> None:
    report = archived.restore(trade_ids=[archived.key(1)], dry_run=True)
    assert sum(map(len, report.found.values())) == 1
    assert archived.hot == set()
    assert not archived.holds


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "nothing to restore"),
        ({"batch_id": "00000009-trades-live-202501-00000000"}, "no batch 00000009"),
        ({"trade_ids": ["nobody"]}, "no trade 'nobody'"),
        ({"trade_ids": [""]}, "no trade ''"),
        (
            {"closed_from": datetime(2025, 2, 1, tzinfo=UTC), "closed_to": datetime(2025, 2, 1)},  # noqa: DTZ001
            "nothing was closed from",
        ),
    ],
)
def test_what_is_not_there_is_named(archived: House, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=words) as caught:
        archived.restore(**wanted)
    assert caught.value.exit_status == 2
    assert caught.value.next_step


@pytest.mark.parametrize("days", [-1, 10**9])
def test_a_hold_that_nobody_can_count_is_refused(archived: House, days: int) -> None:
    with pytest.raises(BadInputError, match=f"a hold of {days} days"):
        archived.restore(trade_ids=[archived.key(1)], hold_days=days)


def test_the_beginning_of_an_id_is_enough(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(1, 17, *range(170, 180))
    house.archive()
    report = house.restore(trade_ids=["live_trades:17"])
    assert (report.restored, house.hot) == ((house.key(17),), {17})
    report = house.restore(trade_ids=["live_trades:1", house.key(171)[:-3], "live_trades:17"])
    assert sorted(report.restored) == sorted([house.key(1), house.key(171)])
    assert (report.already_hot, house.hot) == ((house.key(17),), {1, 17, 171})


def test_of_ids_that_begin_with_one_another_only_the_one_named_comes_back(
    duckdb_house: House,
) -> None:
    house = duckdb_house
    rows = [samples.ledger_trade(n, trade_id=name) for n, name in enumerate(["T-1", "T-10", "X"])]
    samples.insert_duckdb(house.store, "trades", *rows)
    house.archive()
    report = house.restore(trade_ids=["T-1"])
    assert report.restored == ("T-1",)
    assert house.look().hot.keys() == {"trades/T-1"}
    assert house.restore(trade_ids=["T-10"]).restored == ("T-10",)


def test_a_hot_trade_never_brings_back_another_that_begins_so(duckdb_house: House) -> None:
    house = duckdb_house
    hot = samples.ledger_trade(1, trade_id="A-1", status="open", exit_time=None)
    samples.insert_duckdb(house.store, "trades", samples.ledger_trade(2, trade_id="A-10"), hot)
    house.archive()
    with pytest.raises(BadInputError, match="no trade A-1; with that begin A-10"):
        house.restore(trade_ids=["A-1"])
    assert (set(house.look().hot), house.holds) == ({"trades/A-1"}, [])


def test_a_dry_run_tells_what_the_run_will_do(archived: House) -> None:
    house = archived
    house.add(2, signal_reason="another")
    house.restore(trade_ids=[house.key(3)])
    before, wanted = house.holds, [house.key(number) for number in (1, 2, 3)]
    dry = house.restore(trade_ids=wanted, dry_run=True)
    assert (house.hot, house.holds, dry.ok) == ({2, 3}, before, True)
    assert dry.verdict == (
        "Dry run: 1 of 3 rows would be restored. Hot already: 1. "
        "Refused: 1, for the hot row differs or its id is taken. Nothing was changed."
    )
    real = house.restore(trade_ids=wanted)
    assert (dry.restored, dry.already_hot, dry.refused) == (
        real.restored,
        real.already_hot,
        real.refused,
    )


def test_a_beginning_that_could_mean_several_is_refused(archived: House) -> None:
    house = archived
    with pytest.raises(BadInputError, match="with that begin") as caught:
        house.restore(trade_ids=[house.key(3)[:4]])
    assert all(house.key(number) in caught.value.what for number in (1, 2, 3))
    assert house.hot == set()
    assert not house.holds


def test_an_id_that_was_used_twice_is_told_apart_by_its_time(sqlite_house: House) -> None:
    """A bot's file was deleted, and its ids started again."""
    house = sqlite_house
    house.add(17)
    house.archive()
    house.add(17, created_at="2025-02-02T09:30:01", exit_time="2025-02-03T10:00:00")
    house.archive()
    with pytest.raises(BadInputError, match="live_trades:17 is the beginning of 2 trades"):
        house.restore(trade_ids=["live_trades:17"])
    assert house.restore(trade_ids=["live_trades:17:2025-01"]).restored == (house.key(17),)


def test_a_table_that_lost_a_column_gets_nothing_half(sqlite_house: House) -> None:
    """What cannot be put back exactly is not put back, and not held."""
    house = sqlite_house
    house.execute("ALTER TABLE live_trades ADD COLUMN note TEXT")
    house.add(1, 2, note="must not be lost")
    before = house.look().view
    house.archive()
    house.hold(house.key(2), until=datetime.now(UTC) + timedelta(days=1))
    held = house.holds
    house.execute("ALTER TABLE live_trades DROP COLUMN note")
    with pytest.raises(VerificationError, match="cannot hold 2 of the archived rows"):
        house.restore(trade_ids=[house.key(1), house.key(2)])
    assert house.hot == set()
    assert house.look().view == before
    assert house.holds == held


def test_of_an_insert_that_fails_midway_what_is_hot_is_on_hold(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = sqlite_house
    house.execute("ALTER TABLE live_trades ADD COLUMN note TEXT")
    house.add(1, 2)
    house.add(3, 4, note="must not be lost")
    house.archive()
    house.execute("ALTER TABLE live_trades DROP COLUMN note")
    monkeypatch.setattr("fluxhero.ledger.sqlite_store.CHUNK_ROWS", 2)
    with pytest.raises(VerificationError, match="cannot hold 2 of the archived rows"):
        house.restore(trade_ids=[house.key(number) for number in (1, 2, 3, 4)])
    assert house.hot == {1, 2}
    assert sorted(hold.trade_id for hold in house.holds) == [house.key(1), house.key(2)]
    assert (house.archive().held, house.hot) == (2, {1, 2})


@pytest.mark.parametrize("readable", [True, False])
def test_an_insert_that_fails_leaves_a_hold_only_where_nobody_can_tell_what_it_did(
    archived: House, monkeypatch: pytest.MonkeyPatch, *, readable: bool
) -> None:
    house = archived

    def insert(store: HotStore, _table: str, _rows: pa.Table) -> None:
        assert [hold.trade_id for hold in house.holds] == [house.key(2)], "the hold comes first"
        if not readable:
            monkeypatch.setattr(type(store), "fetch", unreadable)
        raise StorageIOError("the disk failed", next_step="a test")

    def unreadable(*_: object) -> None:
        raise StorageIOError("the store cannot be read", next_step="a test")

    monkeypatch.setattr(type(house.workspace.store), "insert", insert)
    with pytest.raises(StorageIOError, match="the disk failed"):
        house.restore(trade_ids=[house.key(2)])
    assert [hold.trade_id for hold in house.holds] == ([] if readable else [house.key(2)])
    assert not evidence.events(house.archive_dir, "restored")


def test_a_held_trade_is_not_archived_until_its_hold_ends(house: House) -> None:
    house.add(1, 2, 3)
    house.hold(house.key(1))
    house.hold(house.key(2), until=datetime.now(UTC) - timedelta(days=1))
    report = house.archive()
    assert (report.held, report.purged, house.hot) == (1, 2, {1})


def test_a_hold_put_on_between_verification_and_purge_is_kept(house: House) -> None:
    house.add(1, 2)
    before = house.look().view
    house.archive(after={"verify_batches": lambda: house.hold(house.key(1))})
    assert (house.hot, house.look().view) == ({1}, before)
    house.archive()
    assert house.hot == {1}


def test_orders_are_restored_like_trades(duckdb_house: House) -> None:
    house = duckdb_house
    rows = [samples.ledger_order(n, extra='{"a": 1.50}') for n in (1, 2)]
    samples.insert_duckdb(house.store, "orders", *rows)
    before = house.look().view
    house.archive()
    house.restore(trade_ids=["o-00001"], table="orders")
    assert house.look().hot.keys() == {"orders/o-00001"}
    assert house.look().view == before


def test_a_hold_is_of_a_trade_or_of_the_order_with_the_same_id(duckdb_house: House) -> None:
    house = duckdb_house
    samples.insert_duckdb(house.store, "orders", samples.ledger_order(1, order_id="X"))
    house.archive()
    house.restore(trade_ids=["X"], table="orders")
    samples.insert_duckdb(house.store, "trades", samples.ledger_trade(1, trade_id="X"))
    report = house.archive()
    assert (report.held, set(house.look().hot)) == (1, {"orders/X"})
    house.restore(trade_ids=["X"])
    release_holds(house.workspace.layout.holds, "trades", ["X"], at=datetime.now(UTC))
    assert (house.archive().held, set(house.look().hot)) == (1, {"orders/X"})
