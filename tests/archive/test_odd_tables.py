"""Tables of a bot that are not quite FluxHero's: keys, columns, triggers and rules of their own."""

import sqlite3
from typing import Any

import pytest

from fluxhero.errors import ConfigurationError, FluxHeroError, ForeignStoreError
from tests import samples
from tests.house import House
from tests.samples import fluxhero_trade

DDL = samples.SQLITE_DDL["live_trades"]
KEY = "INTEGER PRIMARY KEY AUTOINCREMENT"


def recreate(house: House, ddl: str) -> None:
    with sqlite3.connect(house.store) as db:
        db.execute("DROP TABLE live_trades")
        db.execute(ddl)
    db.close()


def put(house: House, *rows: dict[str, Any], table: str = "live_trades") -> None:
    with sqlite3.connect(house.store) as db:
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" for _ in row)
            db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
    db.close()


def fetch(house: House, sql: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(house.store)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


@pytest.mark.parametrize(
    "ddl",
    [
        DDL.replace(KEY, "INTEGER PRIMARY KEY DESC"),
        DDL.replace(KEY, "INT PRIMARY KEY"),
        DDL.replace(KEY, "INTEGER").replace("symbol TEXT", "rowid INTEGER, symbol TEXT", 1),
        DDL.replace("symbol TEXT", "rowid INTEGER, symbol TEXT", 1),
    ],
    ids=["descending key", "no integer key", "a column rowid", "a column rowid beside the key"],
)
def test_the_rows_that_go_are_those_that_were_archived(sqlite_house: House, ddl: str) -> None:
    """The open trades stand where the numbers of the closed ones point to."""
    house = sqlite_house
    assert ddl != DDL
    recreate(house, ddl)
    put(house, *(fluxhero_trade(100 + number, status=0, exit_time=None) for number in (1, 2, 3)))
    put(house, *(fluxhero_trade(number) for number in (1, 2, 3)))
    if " rowid " in ddl:
        house.execute(
            "UPDATE live_trades SET rowid = CASE WHEN id > 100 THEN id - 100 ELSE id + 50 END"
        )
    before = house.look()
    assert house.archive().purged == 3
    assert {row[0] for row in fetch(house, "SELECT id FROM live_trades")} == {101, 102, 103}
    assert house.restore(batch_id=house.chain.manifests[0].batch_id).restored
    assert house.look().hot == before.hot


@pytest.mark.parametrize(
    ("ddl", "said"),
    [
        (DDL.replace(KEY, "INTEGER PRIMARY KEY") + " WITHOUT ROWID", "WITHOUT ROWID"),
        (
            DDL.replace(KEY, "INTEGER").replace(
                "symbol TEXT", "rowid INTEGER, oid INTEGER, _rowid_ INTEGER, symbol TEXT", 1
            ),
            "cannot be told apart",
        ),
    ],
    ids=["without rowid", "every alias taken"],
)
def test_a_table_whose_rows_have_no_number_is_refused(
    sqlite_house: House, ddl: str, said: str
) -> None:
    recreate(sqlite_house, ddl)
    put(sqlite_house, fluxhero_trade(1))
    with pytest.raises(ForeignStoreError, match=said):
        sqlite_house.archive()
    assert fetch(sqlite_house, "SELECT count(*) FROM live_trades") == [(1,)]


@pytest.mark.parametrize("when", ["before the next run", "between publish and purge"])
@pytest.mark.parametrize(
    "value", ["X'7B7D'", "'n/a'", "CAST(X'FF41' AS TEXT)"], ids=["blob", "text", "broken text"]
)
def test_an_edit_that_cannot_be_read_is_an_edit(sqlite_house: House, when: str, value: str) -> None:
    house = sqlite_house
    column = "take_profit" if value == "'n/a'" else "regime"
    house.add(1, 2, take_profit=None, regime=None)

    def edit() -> None:
        house.edit(1, f"{column} = {value}")

    if when == "before the next run":
        house.archive(purge=False)
        edit()
        report = house.archive()
    else:
        report = house.archive(after={"publish_batches": edit})
    assert report.purged + report.recovered_purges == 1
    assert fetch(house, f"SELECT id, hex({column}) FROM live_trades") == [
        (1, fetch(house, f"SELECT hex({value})")[0][0])
    ]
    assert report.late_corrections or report.refused
    restored = house.restore(trade_ids=["live_trades:1"])
    assert (len(restored.restored), len(restored.refused)) == (0, 1)


def test_a_restore_replaces_no_other_trade(sqlite_house: House) -> None:
    house = sqlite_house
    assert "broker_order_id TEXT" in DDL
    recreate(
        house,
        DDL.replace("broker_order_id TEXT", "broker_order_id TEXT UNIQUE ON CONFLICT REPLACE"),
    )
    put(house, fluxhero_trade(1, broker_order_id="same"))
    house.archive()
    put(house, fluxhero_trade(9, broker_order_id="same", status=0, exit_time=None))
    with pytest.raises(FluxHeroError, match="UNIQUE"):
        house.restore(trade_ids=["live_trades:1"])
    assert fetch(house, "SELECT id, status FROM live_trades") == [(9, 0)]
    assert house.holds == []


def test_a_rebuilt_file_does_not_double_rows_without_a_key(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, DDL.replace(KEY, "INTEGER"))
    put(house, *(fluxhero_trade(number) for number in range(1, 7)))
    house.execute("UPDATE live_trades SET rowid = rowid + 10")
    before = house.look().view
    rebuilt: list[str] = []

    def rebuild() -> None:
        if not rebuilt:
            house.execute("VACUUM")
            rebuilt.append("once")

    report = house.archive(after={"plan_batches": rebuild})
    assert "was rebuilt" in report.refused[0].reason
    assert house.look().view == before
    assert house.archive().purged == 6
    assert house.look().view == before


@pytest.mark.parametrize("ddl", ["", "created_at"], ids=["no such column", "no value in it"])
def test_ids_that_start_again_are_told_apart_without_a_time_of_creation(
    sqlite_house: House, ddl: str
) -> None:
    house = sqlite_house
    for symbol, day in (("OLD", 2), ("NEW", 3)):
        if not ddl:
            recreate(house, DDL.replace("created_at TEXT NOT NULL,", ""))
        else:
            recreate(house, DDL.replace("created_at TEXT NOT NULL", "created_at TEXT"))
        trade = fluxhero_trade(1, symbol=symbol, entry_time=f"2025-01-0{day}T09:30:00")
        del trade["created_at"]
        put(house, trade)
        house.archive()
    assert len(house.look().archived) == 2


def test_names_are_found_in_any_case(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, DDL.replace("created_at", "Created_At").replace("exit_price", "EXIT_PRICE"))
    house.execute("ALTER TABLE live_trades RENAME TO x; ALTER TABLE x RENAME TO Live_Trades")
    put(house, fluxhero_trade(1))
    assert house.archive().purged == 1
    (key,) = house.look().archived
    assert key.endswith(str(fluxhero_trade(1)["created_at"]))
    assert house.restore(trade_ids=["live_trades:1"]).restored
    assert fetch(house, "SELECT exit_price FROM live_trades") == [
        (fluxhero_trade(1)["exit_price"],)
    ]


def test_a_column_of_the_name_that_carries_the_others(sqlite_house: House) -> None:
    house = sqlite_house
    house.execute("ALTER TABLE live_trades ADD COLUMN _extra TEXT")
    put(house, fluxhero_trade(1) | {"_extra": "mine"})
    assert house.archive().purged == 1
    assert house.restore(trade_ids=["live_trades:1"]).restored
    assert fetch(house, "SELECT _extra FROM live_trades") == [("mine",)]


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_a_computed_column_is_archived_and_computed_again(sqlite_house: House, kind: str) -> None:
    house = sqlite_house
    computed = f"realized_pnl REAL GENERATED ALWAYS AS ((exit_price - entry_price) * shares) {kind}"
    assert "realized_pnl REAL" in DDL
    recreate(house, DDL.replace("realized_pnl REAL", computed))
    trade = fluxhero_trade(1)
    del trade["realized_pnl"]
    put(house, trade)
    before = fetch(house, "SELECT realized_pnl FROM live_trades")
    assert house.archive().purged == 1
    assert house.restore(trade_ids=["live_trades:1"]).restored
    assert fetch(house, "SELECT realized_pnl FROM live_trades") == before


@pytest.mark.parametrize(
    "body",
    [
        "UPDATE live_trades SET regime = 'touched' WHERE id > OLD.id",
        "DELETE FROM live_trades WHERE id = OLD.id + 100",
    ],
)
def test_no_purge_sets_off_a_trigger(sqlite_house: House, body: str) -> None:
    house = sqlite_house
    house.add(1, 2)
    put(house, fluxhero_trade(101, status=0, exit_time=None))
    house.execute(f"CREATE TRIGGER cascade AFTER DELETE ON live_trades BEGIN {body}; END")
    before = house.look_hot
    with pytest.raises(ConfigurationError, match="the trigger cascade") as caught:
        house.archive()
    assert "--no-purge" in caught.value.next_step
    assert house.look_hot == before
    house.execute("DROP TRIGGER cascade")
    house.archive()
    assert len(house.look().hot) == 1
    house.execute("CREATE TRIGGER fine AFTER UPDATE ON live_trades BEGIN SELECT 1; END")
    house.add(3)
    assert house.archive().purged == 1


def test_a_row_is_filed_under_the_month_it_was_closed_in(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(1, 2)

    def correct() -> None:
        house.edit(1, "exit_time = '2025-03-05T10:00:00'")

    house.archive(after={"plan_batches": correct})
    house.archive()
    found = {m.month: m.file.rows for m in house.chain.manifests}
    assert found == {"2025-01": 1, "2025-03": 1}


def test_more_trades_on_hold_than_one_read_may_ask_for(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(*range(1, 6))
    house.edit(1, "take_profit = 'n/a'")
    absent = [f"live_trades:{number}:x" for number in range(100, 70_100)]
    house.hold(*absent, *(house.key(number) for number in (2, 3)))
    report = house.archive()
    assert (report.held, report.purged) == (2, 2)
    assert "On hold, stays hot: 2" in report.details()


def test_ids_that_are_no_numbers_stay_and_are_listed(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, DDL.replace(KEY, "TEXT"))
    put(house, fluxhero_trade(1), fluxhero_trade(2) | {"id": "two"})
    for _ in range(2):
        report = house.archive()
        assert report.purged == 0
    assert fetch(house, "SELECT count(*) FROM live_trades") == [(2,)]
