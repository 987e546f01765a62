"""A bot's table whose `id` is no primary key: rows are found by id, and still archived and restored."""

import sqlite3

from tests import samples
from tests.house import House, execute_elsewhere


def _rebuild_without_key(house: House) -> None:
    execute_elsewhere(
        "sqlite",
        house.store,
        "ALTER TABLE live_trades RENAME TO keyed; "
        "CREATE TABLE live_trades AS SELECT * FROM keyed ORDER BY id DESC; DROP TABLE keyed;",
    )


def _count(house: House) -> int:
    connection = sqlite3.connect(house.store)
    try:
        return int(connection.execute("SELECT count(*) FROM live_trades").fetchone()[0])
    finally:
        connection.close()


def test_rows_without_a_primary_key_move_and_come_back(sqlite_house: House) -> None:
    trades = [samples.fluxhero_trade(number) for number in (11, 12, 13)]
    samples.insert_sqlite(sqlite_house.store, "live_trades", *trades)
    _rebuild_without_key(sqlite_house)

    report = sqlite_house.archive()

    assert (report.rows, report.purged, _count(sqlite_house)) == (3, 3, 0)
    restored = sqlite_house.restore(trade_ids=["live_trades:12:"])
    assert len(restored.restored) == 1
    assert _count(sqlite_house) == 1


def test_rows_copied_before_are_purged_and_a_changed_one_becomes_a_correction(
    sqlite_house: House,
) -> None:
    house = sqlite_house
    trades = [samples.fluxhero_trade(number) for number in (11, 12, 13)]
    samples.insert_sqlite(house.store, "live_trades", *trades)
    _rebuild_without_key(house)
    assert house.archive(purge=False).rows == 3
    house.edit(12, "exit_price = 77.5")

    report = house.archive()

    assert [(batch.rows, batch.correction) for batch in report.batches] == [(1, True)]
    assert (report.recovered_purges, report.purged, _count(house)) == (2, 1, 0)
    assert "Purged 2 rows that an earlier run had archived." in report.verdict
    assert any("Changed after" in line and "live_trades:12" in line for line in report.details())
    assert house.archived == {11, 12, 13}
