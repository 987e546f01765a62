"""What is due, and how it is cut into batches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.query import run_query
from tests import evidence, samples
from tests.house import House
from tests.samples import CUTOFF


def batches(house: House, **parameters: Any) -> list[tuple[str, str, str, int]]:
    """(table, mode, month, rows) of what a dry run would make."""
    report = house.archive(dry_run=True, **parameters)
    return [(line.table, line.mode, line.month, line.rows) for line in report.batches]


def closing(house: House, at: str) -> dict[str, Any]:
    """Changes that make a trade close at this moment (naive UTC text)."""
    if house.kind == "duckdb":
        from datetime import UTC, datetime

        return {"exit_time": datetime.fromisoformat(at).replace(tzinfo=UTC)}
    return {"exit_time": at}


def test_nothing_due_is_a_run_that_does_nothing(house: House) -> None:
    report = house.archive()
    assert (report.batches, report.purged, report.refused) == ((), 0, ())
    assert not any(path.suffix == ".parquet" for path in house.archive_dir.rglob("*"))
    assert house.archive().purged == 0


def test_a_batch_holds_one_month_and_no_more_rows_than_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_BATCH_ROWS", "4")
    house.add(*range(1, 10))
    house.add(20, **closing(house, "2025-02-28T23:59:59.999999"))
    house.add(21, **closing(house, "2025-03-01T00:00:00"))
    assert batches(house) == [
        ("trades", "live", "2025-01", 4),
        ("trades", "live", "2025-01", 4),
        ("trades", "live", "2025-01", 1),
        ("trades", "live", "2025-02", 1),
        ("trades", "live", "2025-03", 1),
    ]
    report = house.archive()
    assert [line.rows for line in report.batches] == [4, 4, 1, 1, 1]
    assert house.hot == set()


def test_modes_and_tables_have_batches_of_their_own(house: House) -> None:
    if house.kind == "duckdb":
        for number, mode in enumerate(("live", "paper", "legacy"), start=1):
            house.add(number, mode=mode)
        samples.insert_duckdb(house.store, "orders", samples.ledger_order(1))
        expected = {
            ("trades", "live"),
            ("trades", "paper"),
            ("trades", "legacy"),
            ("orders", "live"),
        }
    else:
        for table in samples.SQLITE_DDL:
            samples.insert_sqlite(house.store, table, samples.fluxhero_trade(1))
        expected = {("trades", "live"), ("trades", "paper"), ("trades", "legacy")}
    found = batches(house)
    assert {(table, mode) for table, mode, *_ in found} == expected
    assert len(found) == len(expected)
    house.archive()
    assert house.look().hot == {}


def test_the_cut_off_is_exact(house: House) -> None:
    for number, offset in ((1, -1), (2, 0), (3, 1)):
        at = CUTOFF + timedelta(microseconds=offset)
        house.add(number, **closing(house, at.replace(tzinfo=None).isoformat()))
    house.archive()
    assert (house.archived, house.hot) == ({1}, {2, 3})


def test_open_trades_and_those_of_unknown_status_never_move(house: House) -> None:
    house.add(1)
    house.add(2, status="open" if house.kind == "duckdb" else 0)
    house.add(3, status="cancelled" if house.kind == "duckdb" else 2)
    house.add(4, status="disputed" if house.kind == "duckdb" else 9)
    house.archive()
    assert (house.archived, house.hot) == ({1, 3}, {2, 4})


def test_without_an_exit_time_the_last_update_dates_a_trade(house: House) -> None:
    house.add(1, exit_time=None)
    recent = CUTOFF + timedelta(days=1)
    house.add(
        2,
        exit_time=None,
        updated_at=recent if house.kind == "duckdb" else recent.replace(tzinfo=None).isoformat(),
    )
    report = house.archive()
    assert (house.archived, house.hot) == ({1}, {2})
    assert report.undated == 1
    assert any(line.startswith("Dated by their last update") for line in report.details())


def test_a_trade_that_cannot_be_dated_stays_and_is_reported(duckdb_house: House) -> None:
    duckdb_house.add(1, exit_time=None, updated_at=None)
    report = duckdb_house.archive()
    (refused,) = report.refused
    assert refused.rule == "close_time"
    assert "t-00001" in refused.what
    assert report.news
    assert duckdb_house.hot == {1}
    assert not duckdb_house.archive().news, "what is known is no news"


@pytest.mark.parametrize("mode", ["backtest2", "../../../etc", "", "Live"])
def test_a_mode_that_cannot_name_a_folder_stays_and_is_reported(
    duckdb_house: House, mode: str
) -> None:
    """Only SQL from outside can have written it; the rows beside it move all the same."""
    duckdb_house.add(1, 2, 3)
    duckdb_house.add(4, status="open", exit_time=None)
    recent = CUTOFF + timedelta(days=1)
    duckdb_house.add(5, exit_time=recent)
    duckdb_house.execute(f"UPDATE trades SET mode = '{mode}' WHERE trade_id <> 't-00003'")
    order = samples.ledger_order(1) | {"mode": mode}
    samples.insert_duckdb(duckdb_house.store, "orders", order, samples.ledger_order(2))
    report = duckdb_house.archive()
    assert {refused.rule for refused in report.refused} == {"mode"}
    assert [refused.what for refused in report.refused] == [
        "trades t-00001",
        "trades t-00002",
        "orders o-00001",
    ]
    assert f"mode '{mode}' is not one of live, paper, legacy" in report.refused[0].reason
    assert report.news
    assert duckdb_house.archived == {3}
    assert duckdb_house.hot == {1, 2, 4, 5}
    assert not duckdb_house.archive().news, "what is known is no news"
    duckdb_house.edit_all("mode = 'live'")
    assert duckdb_house.archive().purged == 2


def test_no_mode_at_all_is_reported_too(duckdb_house: House) -> None:
    duckdb_house.add(1)
    duckdb_house.execute(
        "ALTER TABLE trades ALTER mode DROP NOT NULL; UPDATE trades SET mode = NULL"
    )
    assert [refused.rule for refused in duckdb_house.archive().refused] == ["mode"]
    assert duckdb_house.hot == {1}


def test_a_limit_holds_for_corrections(duckdb_house: House) -> None:
    """And the oldest of them go first, then what was never archived."""
    duckdb_house.add(1, 2, 3, 4)
    duckdb_house.archive(purge=False)
    duckdb_house.edit_all("realized_pnl = 1")
    duckdb_house.add(5, 6)
    for rows, hot in (
        (1, {2, 3, 4, 5, 6}),
        (2, {4, 5, 6}),
        (2, {6}),
    ):
        report = duckdb_house.archive(limit=rows)
        assert sum(line.rows for line in report.batches) == rows
        assert report.purged == rows
        assert duckdb_house.hot == hot
    duckdb_house.archive()
    assert duckdb_house.hot == set()
    found = run_query(
        duckdb_house.workspace, "SELECT trade_id, realized_pnl FROM trades ORDER BY 1"
    )
    assert [(key[-1], int(value)) for key, value in found.rows] == [
        ("1", 1), ("2", 1), ("3", 1), ("4", 1), ("5", 12), ("6", 12),
    ]  # fmt: skip


# In the order of their UTF-8 bytes, which is not that of UTF-16.
_KEYS = (
    "",
    "A",
    "A\0",
    "A\0b",
    "A b",
    "a",
    "é",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
)


@pytest.mark.parametrize("key", ["", "A\0b", "\uffff", "\U00010000"], ids=ascii)
def test_an_archived_version_is_found_whatever_its_key(duckdb_house: House, key: str) -> None:
    """The files to look into are chosen by their first and last key."""
    assert list(_KEYS) == sorted(_KEYS, key=str.encode)
    samples.insert_duckdb(duckdb_house.store, "trades", samples.ledger_trade(1, trade_id=key))
    duckdb_house.archive(purge=False)
    others = [
        samples.ledger_trade(number, trade_id=other)
        for number, other in enumerate(_KEYS, start=2)
        if other != key
    ]
    samples.insert_duckdb(duckdb_house.store, "trades", *others)
    duckdb_house.edit_all("realized_pnl = 1")
    report = duckdb_house.archive()
    assert [(line.rows, line.correction) for line in report.batches] == [
        (1, True),
        (len(_KEYS) - 1, False),
    ]
    found = run_query(duckdb_house.workspace, "SELECT trade_id FROM trades ORDER BY 1")
    assert [row[0] for row in found.rows] == list(_KEYS)


def test_a_limit_takes_the_oldest(house: House) -> None:
    for number in range(1, 6):
        house.add(number, **closing(house, f"2025-0{number % 4 + 1}-05T00:00:00"))
    report = house.archive(limit=3)
    assert report.purged == 3
    assert house.hot == {2, 3}
    house.archive(limit=100)
    assert house.hot == set()


@pytest.mark.parametrize(
    "parameters",
    [
        {"retention_days": -1},
        {"retention_days": 99_999_999_999},
        {"limit": 0},
        {"limit": 10**30},
        {"as_of": datetime(1, 1, 2, tzinfo=UTC)},
        {"as_of": datetime(2999, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
def test_numbers_that_cannot_be_counted_with_are_refused(
    duckdb_house: House, parameters: dict[str, Any]
) -> None:
    with pytest.raises(BadInputError) as caught:
        duckdb_house.archive(**parameters)
    assert "give " in caught.value.next_step


def test_a_dry_run_changes_nothing(house: House) -> None:
    house.add(1, 2, 3)
    before = house.store.read_bytes()
    report = house.archive(dry_run=True)
    assert sum(line.rows for line in report.batches) == 3
    assert house.store.read_bytes() == before
    assert not list(house.data.rglob("*.parquet*"))
    assert len(house.chain) == 0


def test_copy_only_purges_nothing_until_a_run_that_may(house: House) -> None:
    house.add(1, 2)
    before = house.look().view
    report = house.archive(purge=False)
    assert (report.purged, house.hot, house.archived) == (0, {1, 2}, {1, 2})
    assert house.look().view == before
    assert house.archive(purge=False).batches == ()
    assert house.archive().recovered_purges == 2
    assert house.hot == set()
    assert house.look().view == before


@pytest.fixture
def copied(house: House) -> House:
    """A copy of everything: trades 1 and 2 are due, 3 is in a batch with them, 4 in one of its own."""
    house.add(1, 2)
    house.add(3, **closing(house, "2025-01-20T00:00:00"))
    house.add(4, **closing(house, "2025-05-31T00:00:00"))
    house.archive(purge=False, retention_days=0)
    assert len(house.chain) == 2
    return house


def test_a_copy_made_with_a_short_retention_does_not_shorten_a_later_one(copied: House) -> None:
    house = copied
    before = house.look().view
    days = 140  # the cut-off is 12 January
    assert house.archive(dry_run=True, retention_days=days).purge_only == 2
    report = house.archive(retention_days=days)
    assert (report.recovered_purges, report.purged, house.hot) == (2, 0, {3, 4})
    assert [m.month for m in house.chain.unpurged()] == ["2025-01", "2025-05"]
    assert not evidence.events(house.archive_dir, "purged")
    (event,) = evidence.events(house.archive_dir, "partly-purged")
    assert (event["rows"], event["kept_hot"]) == (2, [])
    assert house.archive(retention_days=days).recovered_purges == 0
    assert len(evidence.events(house.archive_dir, "partly-purged")) == 1, (
        "nothing, nothing to record"
    )
    assert house.look().view == before


def test_what_was_too_young_is_purged_when_it_is_due(copied: House) -> None:
    house = copied
    before = house.look().view
    house.archive(retention_days=140)
    assert house.archive().recovered_purges == 1
    assert (house.hot, [m.month for m in house.chain.unpurged()]) == ({4}, ["2025-05"])
    assert house.archive(retention_days=0).recovered_purges == 1
    assert (house.hot, house.chain.unpurged()) == (set(), [])
    assert [house.chain.purged_rows(m.batch_id) for m in house.chain.manifests] == [3, 1]
    assert house.look().view == before


@pytest.mark.parametrize("corrected", [1, 2])
def test_a_limit_that_is_reached_leaves_later_tables_only_what_is_purged(
    duckdb_house: House, corrected: int
) -> None:
    """What is purged without being copied is no part of the limit; corrections are."""
    house = duckdb_house
    samples.insert_duckdb(house.store, "orders", *(samples.ledger_order(n) for n in (1, 2)))
    house.add(1, 2)
    house.archive(purge=False)
    for number in range(1, corrected + 1):
        house.edit(number, "signal_reason = 'corrected'")
    house.execute("UPDATE orders SET broker = 'corrected' WHERE order_id = 'o-00002'")
    dry = house.archive(dry_run=True, limit=1)
    report = house.archive(limit=1)
    assert dry.rows == report.rows == 1
    assert dry.purge_only == report.recovered_purges == 3 - corrected
    left = {"trades/t-00002"} if corrected > 1 else set()
    assert house.look().hot.keys() == {"orders/o-00002"} | left


def test_the_store_is_copied_before_the_first_row_leaves_it(sqlite_house: House) -> None:
    """Also when that row was copied to the archive by an earlier run."""
    from tests.evidence import look

    sqlite_house.add(1, 2)
    before = sqlite_house.look().hot
    assert sqlite_house.archive(purge=False).store_copy is None
    copy = sqlite_house.archive().store_copy
    assert copy is not None
    from pathlib import Path

    assert look("sqlite", Path(copy), sqlite_house.archive_dir).hot == before
    sqlite_house.add(3)
    assert sqlite_house.archive().store_copy is None, "once is enough"


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"retention_days": -1}, "retention"),
        ({"limit": 0}, "limit"),
        ({"as_of": samples.AS_OF.replace(year=2999)}, "future"),
    ],
)
def test_senseless_parameters_are_refused(
    house: House, parameters: dict[str, Any], word: str
) -> None:
    from fluxhero.errors import BadInputError

    with pytest.raises(BadInputError, match=word) as caught:
        house.archive(**parameters)
    assert caught.value.exit_status == 2
