"""A bot's own database is copied before anything is removed from it, whatever came before."""

import sqlite3
from pathlib import Path

from tests import samples
from tests.house import House


def _rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        tables = ("trades", "live_trades", "paper_trades")
        return sum(connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables)
    finally:
        connection.close()


def test_copy_comes_before_the_purge_that_an_earlier_copy_only_run_left(
    sqlite_house: House,
) -> None:
    samples.insert_sqlite(
        sqlite_house.store, "live_trades", *map(samples.fluxhero_trade, (1, 2, 3))
    )
    before = _rows(sqlite_house.store)
    assert sqlite_house.archive(purge=False).store_copy is None

    report = sqlite_house.archive()

    assert report.recovered_purges > 0
    assert report.store_copy is not None
    assert _rows(Path(report.store_copy)) == before > _rows(sqlite_house.store)
    assert Path(report.store_copy).stat().st_mode & 0o077 == 0


def test_only_the_first_purging_run_makes_a_copy(sqlite_house: House) -> None:
    assert sqlite_house.archive().store_copy is not None
    assert sqlite_house.archive().store_copy is None


def test_the_pipelines_own_store_needs_no_copy(duckdb_house: House) -> None:
    assert duckdb_house.archive().store_copy is None
