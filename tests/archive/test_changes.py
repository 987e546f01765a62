"""Trades that change while they are being archived, or afterwards."""

import pytest

from fluxhero.errors import DamagedFileError
from tests import evidence, samples
from tests.house import House

REOPENED = {"duckdb": "status = 'open', exit_time = NULL", "sqlite": "status = 0, exit_time = NULL"}


def versions(house: House, number: int) -> int:
    key = house.key(number) if house.kind == "sqlite" else f"trades/{house.key(number)}"
    return len(house.look().archived.get(key, []))


def test_edited_between_verification_and_purge(house: House) -> None:
    house.add(1, 2, 3)
    report = house.archive(
        after={"verify_batches": lambda: house.edit(2, "signal_reason = 'edited'")}
    )
    assert report.purged == 2
    assert report.late_corrections == (house.key(2),)
    assert (house.hot, versions(house, 2)) == ({2}, 1)
    now = house.look().view
    again = house.archive()
    assert (house.hot, versions(house, 2)) == (set(), 2)
    assert [line.correction for line in again.batches] == [True]
    assert house.look().view == now


def test_edited_between_staging_and_verification(house: House) -> None:
    house.add(1, 2, 3)
    report = house.archive(
        after={"stage_batches": lambda: house.edit(2, "signal_reason = 'edited'")}
    )
    (refused,) = report.refused
    assert house.key(2) in refused.reason
    assert "next run" in refused.reason
    assert (report.purged, report.batches, house.hot) == (0, (), {1, 2, 3})
    assert report.news
    now = house.look().view
    assert house.archive().purged == 3
    assert house.look().view == now


def test_edited_between_planning_and_staging(house: House) -> None:
    house.add(1, 2, 3)
    house.archive(after={"plan_batches": lambda: house.edit(2, "signal_reason = 'edited'")})
    now = house.look().view
    house.archive()
    assert house.hot == set()
    assert house.look().view == now


def test_reopened_between_verification_and_purge(house: House) -> None:
    house.add(1, 2)
    house.archive(after={"verify_batches": lambda: house.edit(2, REOPENED[house.kind])})
    assert house.hot == {2}
    now = house.look().view
    house.archive()
    assert house.hot == {2}, "an open trade never moves"
    assert house.look().view == now


def test_reopened_between_planning_and_staging(house: House) -> None:
    house.add(1, 2)
    house.archive(after={"plan_batches": lambda: house.edit(2, REOPENED[house.kind])})
    now = house.look().view
    house.archive()
    assert (house.hot, house.archived) == ({2}, {1})
    assert house.look().view == now


def test_deleted_between_staging_and_verification(house: House) -> None:
    house.add(1, 2)
    delete = f"DELETE FROM {house.table} WHERE {house.where(2)}"
    report = house.archive(after={"stage_batches": lambda: house.execute(delete)})
    assert report.purged == 0
    assert house.key(2) in report.refused[0].reason
    assert house.archived == set(), "what its owner deleted is not brought back by the archive"


def test_a_correction_after_the_archive_is_a_new_version(house: House) -> None:
    """The row comes back by an import or the bot's own hand, with another value."""
    house.add(1)
    house.archive()
    house.add(1, signal_reason="corrected")
    now = house.look().view
    report = house.archive()
    assert [line.correction for line in report.batches] == [True]
    assert (house.hot, versions(house, 1)) == (set(), 2)
    assert house.look().view == now


def test_a_correction_of_a_correction(house: House) -> None:
    for reason in ("first", "second", "first"):
        house.add(1, signal_reason=reason)
        house.archive()
    assert versions(house, 1) == 3, "going back to an older version is a version too"
    house.add(1, signal_reason="first")
    report = house.archive()
    assert (report.batches, report.purged) == ((), 1), "equal to the latest: only purged"


def test_a_row_changed_back_to_an_older_version_is_archived_anew(house: House) -> None:
    """Two copies without a purge, then the first value again: only the latest version may be purged."""
    house.add(1, 2, signal_reason="first")
    house.archive(purge=False)
    house.edit(1, "signal_reason = 'second'")
    house.archive(purge=False)
    house.edit(1, "signal_reason = 'first'")
    now = house.look().view
    report = house.archive()
    assert [line.correction for line in report.batches] == [True]
    assert (house.hot, versions(house, 1)) == (set(), 3)
    assert house.look().view == now
    assert not house.chain.unpurged()


@pytest.mark.parametrize("limit", [1, None])
def test_old_rows_put_back_are_not_purged_by_their_outdated_version(
    house: House, limit: int | None
) -> None:
    house.add(1, 2, 3)
    house.archive(purge=False)
    for number in (1, 2):
        house.edit(number, "signal_reason = 'corrected'")
    house.archive()
    house.add(1, 2, 3)
    now = house.look().view
    house.archive(limit=limit)
    assert house.look().view == now
    house.archive()
    assert (house.hot, house.look().view) == (set(), now)
    assert versions(house, 1) == versions(house, 2) == 3
    assert versions(house, 3) == 1


def test_an_outdated_row_is_no_late_correction(house: House) -> None:
    house.add(1, 2)
    house.archive(purge=False)
    house.edit(1, "signal_reason = 'corrected'")
    house.archive(purge=False)
    report = house.archive()
    assert (report.late_corrections, report.recovered_purges) == ((), 2)
    assert all(not event["kept_hot"] for event in evidence.events(house.archive_dir, "purged"))


def test_a_damaged_correction_stops_the_purge_of_what_it_corrects(house: House) -> None:
    house.add(1, 2)
    house.archive(purge=False)
    house.edit(1, "signal_reason = 'corrected'")
    house.archive(purge=False)
    path = house.archive_dir / house.chain.manifests[1].file.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=path.name):
        house.archive()
    assert house.numbers_hot == {1, 2}


def test_an_old_backup_of_the_store_put_back_doubles_nothing(house: House) -> None:
    house.add(1, 2, 3)
    before, backup = house.look().view, house.store.read_bytes()
    house.archive()
    house.add(4)
    now = house.look().view
    house.store.write_bytes(backup)
    assert house.look().view == before
    report = house.archive()
    assert (report.batches, report.purged, report.purge_only) == ((), 3, 3)
    assert house.hot == set()
    assert house.look().view == before
    assert len(now) == 4


def test_ids_that_start_again_are_other_trades(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(1, 2)
    house.archive()
    house.store.unlink()
    samples.create_fluxhero_store(house.store)
    fresh = [samples.fluxhero_trade(n, created_at=f"2025-02-01T00:00:0{n}") for n in (1, 2)]
    samples.insert_sqlite(house.store, "live_trades", *fresh)
    now = house.look().view
    assert len(now) == 4
    report = house.archive()
    assert [line.correction for line in report.batches] == [False]
    assert house.look().view == now
    assert len(house.look().archived) == 4


def test_an_id_that_was_taken_again_is_not_restored_over(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(1, 2)
    house.archive()
    house.add(1, created_at="2025-02-01T00:00:00")
    now = house.look().view
    report = house.restore(trade_ids=[house.key(1), house.key(2)])
    assert (report.restored, report.refused) == ((house.key(2),), (house.key(1),))
    assert house.look().view == now


def test_equal_trades_in_two_tables_are_told_apart(sqlite_house: House) -> None:
    """A bot that split its old table copied the rows: ids and values are the same in both."""
    house = sqlite_house
    row = samples.fluxhero_trade(1)
    for table in ("trades", "live_trades"):
        samples.insert_sqlite(house.store, table, row)
    edit = "UPDATE {} SET signal_reason = 'edited' WHERE id = 1"
    store_read = _EditOnSecondRead(house, edit)
    with store_read:
        house.archive()
    hot = house.look().hot
    archived = house.look().archived
    assert len(house.look().view) == 2
    edited = [row for rows in hot.values() for row in rows]
    kept = [versions[-1] for key, versions in archived.items() if key not in hot]
    assert any("edited" in str(row) for row in (*edited, *kept)), "the edit was lost"


class _EditOnSecondRead:
    """Edits, before the second batch is read, the row of the first."""

    def __init__(self, house: House, sql: str) -> None:
        from fluxhero.ledger.sqlite_store import SqliteStore

        self._store, self._house, self._sql = SqliteStore, house, sql
        self._read = SqliteStore.read
        self._tables: list[str] = []

    def __enter__(self) -> None:
        from fluxhero.ledger.sqlite_schema import MODES

        tables = {mode: table for table, mode in MODES.items()}

        def read(store: object, spec: object, archived_at: object) -> object:
            if self._tables:
                self._house.execute(self._sql.format(self._tables[0]))
            self._tables.append(tables[spec.partition.mode])  # type: ignore[attr-defined]
            return self._read(store, spec, archived_at)  # type: ignore[arg-type]

        self._store.read = read  # type: ignore[assignment, method-assign]

    def __exit__(self, *_: object) -> None:
        self._store.read = self._read  # type: ignore[method-assign]
