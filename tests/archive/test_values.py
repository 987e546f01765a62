"""What a bot's database may hold: odd but sound values move, unsound ones stay and are listed."""

import json
import logging
import math
import sqlite3
from typing import Any

import pytest

from fluxhero.engine import scratch
from fluxhero.errors import DamagedFileError
from tests import evidence, samples
from tests.house import House
from tests.samples import fluxhero_trade, insert_sqlite

LOOSE = (
    "CREATE TABLE live_trades (id INTEGER PRIMARY KEY, symbol, side, entry_price, entry_time, "
    "exit_price, exit_time, shares, stop_loss, take_profit, realized_pnl, status, strategy, regime, "
    "signal_reason, signal_explanation, broker_order_id, created_at, updated_at)"
)
NO_KEY = samples.SQLITE_DDL["live_trades"].replace("INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER")


def recreate(house: House, ddl: str) -> None:
    with sqlite3.connect(house.store) as db:
        db.execute("DROP TABLE live_trades")
        db.execute(ddl)
    db.close()


def put(house: House, number: int, **changes: Any) -> None:
    insert_sqlite(house.store, "live_trades", fluxhero_trade(number, **changes))


def quarantined(house: House) -> list[dict[str, Any]]:
    path = house.data / "quarantine" / f"{house.store.stem}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"exit_price": math.inf}, "range"),
        ({"entry_price": -math.inf}, "range"),
        ({"realized_pnl": 1e300}, "range"),
        ({"shares": 10_000_000_000.5}, "range"),
        ({"shares": 2**62}, "range"),
        ({"side": 3}, "side"),
        ({"exit_time": "yesterday"}, "time"),
        ({"exit_time": "2025-02-30T00:00:00"}, "time"),
        ({"exit_time": ""}, "time"),
        ({"exit_time": "2025-01-03T25:00:00"}, "time"),
        ({"exit_time": "1736000000"}, "time"),
        ({"exit_time": "0000-01-03T10:00:00"}, "time"),
        ({"exit_time": None, "updated_at": "soon"}, "time"),
        ({"entry_time": "not a time"}, "time"),
        ({"created_at": "2025-13-01"}, "time"),
        ({"entry_price": "n/a"}, "type"),
        ({"stop_loss": b"\x01"}, "type"),
        ({"signal_reason": b"\x00\x01"}, "type"),
        ({"id": 1, "side": 1.5}, "type"),
        ({"exit_time": b"2025-01-03"}, "type"),
    ],
)
def test_an_unsound_row_stays_and_is_listed(
    sqlite_house: House, changes: dict[str, Any], rule: str
) -> None:
    house = sqlite_house
    put(house, 1, **changes)
    put(house, 2)
    before = house.look().hot
    report = house.archive()
    (listed,) = quarantined(house)
    assert listed["rule"] == rule, listed
    assert "live_trades rowid 1" in listed["source"]
    assert (report.purged, report.news) == (1, True)
    assert "live_trades rowid 1" in report.refused[0].what
    after = house.look()
    assert after.hot.keys() == {key for key in before if key.startswith("live_trades:1:")}
    assert all(key.startswith("live_trades:2:") for key in after.archived)
    again = house.archive()
    assert (again.purged, again.news, len(quarantined(house))) == (0, False, 1)


def test_a_list_of_refused_rows_survives_any_text(sqlite_house: House) -> None:
    house = sqlite_house
    text = "one\u2028two\u2029three\x85four\nfive\x1csix"
    put(house, 1, exit_price="?", signal_reason=text)
    assert house.archive().news
    assert not house.archive().news, "it is known already"
    assert house.workspace.store.statistics().quarantined == 1
    with scratch() as engine:
        house.workspace.store.load(engine, "quarantine", "refused")
        (row,) = engine.sql('SELECT "row" FROM refused').fetchall()
    assert text in json.loads(row[0])["signal_reason"]


def test_a_damaged_list_of_refused_rows_stops_the_run(sqlite_house: House) -> None:
    house = sqlite_house
    put(house, 1, exit_price="?")
    house.archive()
    path = house.data / "quarantine" / f"{house.store.stem}.jsonl"
    path.write_bytes(path.read_bytes()[:-9] + b"\n")
    with pytest.raises(DamagedFileError, match=r"refused rows .* is damaged .* move it aside"):
        house.archive()
    path.unlink()
    assert house.archive().news, "it is listed again"


@pytest.mark.parametrize("column", ["signal_reason", "exit_time", "symbol", "updated_at"])
def test_text_that_is_not_utf_8_stays_and_is_listed(sqlite_house: House, column: str) -> None:
    house = sqlite_house
    put(house, 1)
    put(house, 2)
    with sqlite3.connect(house.store) as db:
        db.execute(f"UPDATE live_trades SET {column} = CAST(x'32303235ff' AS TEXT) WHERE id = 1")
    db.close()
    report = house.archive()
    assert (report.purged, house.hot, house.archived) == (1, {1}, {2})
    (listed,) = quarantined(house)
    assert listed["rule"] in {"type", "time"}
    assert "ff" in listed["row"].lower(), "the raw row is kept"


def test_the_report_tells_which_rows_are_refused_and_a_dry_run_counts_them_apart(
    sqlite_house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tasks.archive")
    house = sqlite_house
    for number in range(1, 13):
        put(house, number, side=7)
    put(house, 20)
    put(house, 21, exit_time="2025-03-03T10:00:00", side=7)  # all there is of its month
    dry = house.archive(dry_run=True)
    assert (dry.rows, len(dry.batches), len(dry.refused)) == (1, 1, 13)
    assert "due: 14 rows in 2 batches, closed before" in caplog.text
    assert "13 would be refused" in dry.verdict
    assert quarantined(house) == []
    report = house.archive()
    assert "13 refused" in report.verdict
    assert report.refused == dry.refused
    for told, advice in ((dry, "--json"), (report, "FROM quarantine")):
        *listed, more = (line for line in told.details() if line.startswith("Refused: "))
        assert listed == [f"Refused: {row.what}: {row.reason}" for row in report.refused[:10]]
        assert "3 more" in more
        assert advice in more
    assert report.markdown().count(report.refused[0].reason) == 13
    assert house.archive().rows == 0


def test_an_open_row_may_be_as_unsound_as_it_likes(sqlite_house: House) -> None:
    put(sqlite_house, 1, status=0, exit_time="never", entry_price="?", side=9)
    report = sqlite_house.archive()
    assert (report.refused, sqlite_house.hot) == ((), {1})


def test_nan_is_null_in_sqlite(sqlite_house: House) -> None:
    put(sqlite_house, 1, exit_price=math.nan)
    put(sqlite_house, 2)
    sqlite_house.archive()
    assert sqlite_house.archived == {1, 2}
    with pytest.raises(sqlite3.IntegrityError):
        put(sqlite_house, 3, entry_price=math.nan)  # declared NOT NULL


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "BRK/B"},
        {"symbol": "A B  C"},
        {"symbol": "東京 7203 😀"},
        {"symbol": "../../etc/passwd"},
        {"symbol": "it's; DROP TABLE trades; --"},
        {"symbol": "x" * 100_000},
        {"signal_reason": "nul\x00inside"},
        {"symbol": ""},
        {"exit_price": 5e-324, "stop_loss": 9_999_999_999.0},
        {"exit_price": -0.0, "realized_pnl": 0.1 + 0.2},
        {"shares": 2**33 + 1},
        {"exit_time": "2025-01-03"},
        {"exit_time": "2025-01-03 10:00:00+05:30"},
        {"exit_time": "2025-01-03T10:00:00.123456789Z"},
        {"created_at": "2025-01-02 09:30:00", "strategy": "a:b:c"},
        {"signal_reason": "\ufeffbyte order mark", "regime": "\u202eright to left"},
        {"id": 2**62},
    ],
    ids=str,
)
def test_an_odd_row_moves_and_comes_back_exactly(
    sqlite_house: House, changes: dict[str, Any]
) -> None:
    house = sqlite_house
    put(house, 1, **changes)
    exact = evidence.storage_classes(house.store, "live_trades")
    before = house.look().view
    assert house.archive().purged == 1
    assert house.look().view == before
    (manifest,) = house.chain.manifests
    house.restore(batch_id=manifest.batch_id)
    assert evidence.storage_classes(house.store, "live_trades") == exact


def test_hours_that_daylight_saving_repeats_or_skips(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated hour is read as its later one, so that nothing moves early."""
    monkeypatch.setenv("FLUXHERO_SOURCE_TIMEZONE", "America/New_York")
    house = sqlite_house
    put(house, 1, exit_time="2024-11-03T01:30:00")  # 05:30 or 06:30 UTC
    put(house, 2, exit_time="2024-03-10T02:30:00")  # there is no such time
    put(house, 3, exit_time="2024-11-03T01:30:00-04:00")
    before = house.look().view
    early = samples.AS_OF.replace(year=2024, month=11, day=3, hour=6, minute=0)
    house.archive(as_of=early, retention_days=0)
    assert house.hot == {1}
    house.archive(as_of=early.replace(minute=31), retention_days=0)
    assert house.hot == set()
    assert house.look().view == before
    closed = [m.file.first_closed_at.isoformat() for m in house.chain.manifests]
    assert "2024-11-03T06:30:00+00:00" in closed


def test_extra_columns_are_carried_and_restored(sqlite_house: House) -> None:
    house = sqlite_house
    odd: tuple[Any, ...] = (
        None, 5, -(2**63), 2.5, 0.1 + 0.2, math.inf, 5e-324, "text", "it's", "nul\x00in", "", b"\x00\xff", b"",
    )  # fmt: skip
    with sqlite3.connect(house.store) as db:
        db.execute('ALTER TABLE live_trades ADD COLUMN "odd ""one"""')
    db.close()
    for number, value in enumerate(odd, start=1):
        put(house, number, **{'odd "one"': value})
    exact = evidence.storage_classes(house.store, "live_trades")
    before = house.look().view
    assert house.archive().purged == len(odd)
    assert house.look().view == before
    (manifest,) = house.chain.manifests
    house.restore(batch_id=manifest.batch_id)
    assert evidence.storage_classes(house.store, "live_trades") == exact


def test_a_column_added_later_does_not_disturb_older_batches(sqlite_house: House) -> None:
    house = sqlite_house
    put(house, 1)
    house.archive()
    with sqlite3.connect(house.store) as db:
        db.execute("ALTER TABLE live_trades ADD COLUMN note TEXT")
    db.close()
    put(house, 2, note="new")
    before = house.look().view
    house.archive()
    assert house.look().view == before
    for manifest in house.chain.manifests:
        house.restore(batch_id=manifest.batch_id)
    assert house.look().hot.keys() == {key for key, _ in before}


def test_an_old_file_without_explanations(sqlite_house: House) -> None:
    house = sqlite_house
    old = samples.SQLITE_DDL["live_trades"].replace("signal_explanation TEXT, ", "")
    recreate(house, old)
    put(house, 1)
    exact = evidence.storage_classes(house.store, "live_trades")
    before = house.look().view
    house.archive()
    assert house.look().view == before
    house.restore(trade_ids=[house.key(1)])
    assert evidence.storage_classes(house.store, "live_trades") == exact


def test_columns_without_a_declared_type_keep_their_values(sqlite_house: House) -> None:
    """A whole price kept as an integer comes back as the same number, though as a real one."""
    house = sqlite_house
    recreate(house, LOOSE)
    put(house, 1, entry_price=100, shares=10, stop_loss=2.5)
    put(house, 2, symbol=17)
    put(house, 3, entry_price=100.0)
    before = house.look().view
    house.archive()
    assert house.look().view == before
    for manifest in house.chain.manifests:
        house.restore(batch_id=manifest.batch_id)
    assert house.look().view == before
    assert house.hot == {1, 2, 3}


@pytest.mark.parametrize("declared", ["STRING", "DATETIME", "JSON", "NUMERIC", "POINT", ""])
def test_a_number_in_a_column_of_text_stays_and_is_listed(
    sqlite_house: House, declared: str
) -> None:
    """Such columns turn text that looks like a number into one; read as text again, it would be another."""
    house = sqlite_house
    ddl = samples.SQLITE_DDL["live_trades"]
    recreate(house, ddl.replace("signal_reason TEXT", f"signal_reason {declared}"))
    put(house, 1, signal_reason="plain")
    put(house, 2, signal_reason=1.23456789)
    put(house, 3, signal_reason=17)
    before = house.look()
    assert house.archive().purged == 1
    assert sorted(row["reason"] for row in quarantined(house)) == [
        "signal_reason holds integer",
        "signal_reason holds real",
    ]
    assert len(house.look().hot) == 2
    house.restore(trade_ids=["live_trades:1"])
    assert house.look().hot == before.hot


def test_rows_that_share_a_key_stay_and_are_listed(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, NO_KEY)
    put(house, 1)
    put(house, 1, signal_reason="another")
    put(house, 2)
    put(house, 2, status=0)
    put(house, 3)
    put(house, 4, created_at="2025-01-01")
    put(house, 4, created_at="2025-01-02")
    before = house.look().view
    report = house.archive()
    assert report.purged == 3
    assert house.look().view == before
    assert [entry["rule"] for entry in quarantined(house)] == ["duplicate_key"] * 3
    hot = {key.split(":")[1]: len(rows) for key, rows in house.look().hot.items()}
    assert hot == {"1": 2, "2": 2}


def test_a_table_without_a_key_is_restored_exactly(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, NO_KEY)
    for number in (3, 1, 2):
        put(house, number)
    before = house.look().view
    house.archive()
    assert house.hot == set()
    house.restore(batch_id=house.chain.manifests[0].batch_id)
    assert house.hot == {1, 2, 3}
    assert house.look().view == before


@pytest.mark.parametrize(
    "identifier", ["nul\x00in", "it's", "a/b c", "é😀", "x" * 5000, " ", "-1", "t-00001'--"]
)
def test_odd_trade_ids_in_the_ledger(duckdb_house: House, identifier: str) -> None:
    house = duckdb_house
    samples.insert_duckdb(house.store, "trades", samples.ledger_trade(1, trade_id=identifier))
    before = house.look().view
    assert house.archive().purged == 1
    assert house.look().view == before
    house.restore(trade_ids=[identifier])
    assert house.look().view == before
    assert len(house.look().hot) == 1


@pytest.mark.parametrize("time", ["'-infinity'", "'infinity'", "'0044-03-15 (BC)'"])
def test_times_beyond_the_calendar_do_not_stop_the_ledger(duckdb_house: House, time: str) -> None:
    house = duckdb_house
    house.add(1, 2)
    house.edit(1, f"exit_time = {time}")
    report = house.archive()
    assert report.purged == 1
    (left,) = house.execute_and_fetch("SELECT count(*) FROM trades")
    assert left == 1


def shown(house: House) -> dict[str, int]:
    """How often the product's view shows each trade."""
    from fluxhero.ledger.view import open_view

    workspace = house.workspace
    with open_view(workspace, ["trades"]) as view:
        found = view.execute("SELECT trade_id, count(*) FROM trades GROUP BY 1").fetchall()
    workspace.store.close()
    return dict(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_price": "n/a"},
        {"entry_price": math.inf},
        {"entry_time": "not a time"},
        {"shares": 2**62},
        {"side": 7},
        {"status": 9},
        {"created_at": "never"},
        {"symbol": b"\x00"},
        {"exit_time": "0000-01-03T10:00:00"},
    ],
    ids=str,
)
def test_the_view_shows_unsound_rows_too(sqlite_house: House, changes: dict[str, Any]) -> None:
    house = sqlite_house
    put(house, 1, **changes)
    put(house, 2)
    keys = set(house.look().hot)
    assert shown(house) == dict.fromkeys(keys, 1)
    house.archive()
    assert shown(house) == dict.fromkeys(keys, 1)


def test_the_view_shows_rows_that_share_a_key(sqlite_house: House) -> None:
    house = sqlite_house
    recreate(house, NO_KEY)
    put(house, 1)
    put(house, 1, signal_reason="another")
    put(house, 2)
    house.archive()
    assert shown(house) == {house.key(1): 2, house.key(2): 1}


def test_the_view_shows_text_that_is_not_utf_8(sqlite_house: House) -> None:
    house = sqlite_house
    put(house, 1)
    put(house, 2)
    with sqlite3.connect(house.store) as db:
        db.execute("UPDATE live_trades SET signal_reason = CAST(x'61ff' AS TEXT) WHERE id = 1")
    db.close()
    assert shown(house) == {house.key(1): 1, house.key(2): 1}
