"""freqtrade: what its trades and orders become, and that its database is only read."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fluxhero.errors import BadInputError, DamagedStoreError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import FORMATS, ReadOptions, detect
from fluxhero.ledger.ingest import TableCount, ingest_file
from fluxhero.ledger.rejected import Rejected
from tests.samples import create_fluxhero_store

SCRIPT = (Path(__file__).parent / "imports" / "freqtrade.sql").read_text(encoding="utf-8")
OPTIONS = ReadOptions(mode="live", account="main", timezone="Asia/Tokyo")
KEYS = {
    1: "freqtrade:1:20260302143000",
    2: "freqtrade:2:20260304000000",
    3: "freqtrade:3:20260306100000",
    4: "freqtrade:4:20260309100000",
    5: "freqtrade:5:20260310100000",
}

Rows = dict[str, list[dict[str, Any]]]


def make(path: Path, *statements: str, journal: str = "delete") -> Path:
    """A bot's database, changed by statements."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.executescript(SCRIPT)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def read(path: Path, options: ReadOptions = OPTIONS) -> tuple[Rows, list[Rejected]]:
    rows: Rows = {}
    rejected: list[Rejected] = []
    for page in FORMATS["freqtrade"].pages(path, options):
        assert page.rows.schema.equals(page.table.arrow)
        rows.setdefault(page.table.name, []).extend(page.rows.to_pylist())
        rejected += page.rejected
    return rows, rejected


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    found, rejected = read(make(tmp_path / "tradesv3.sqlite"))
    assert not rejected
    return found


def test_a_trade_becomes_a_trade(rows: Rows) -> None:
    trade = rows["trades"][0]
    extra = json.loads(trade.pop("extra"))
    assert trade == {
        "trade_id": KEYS[1],
        "mode": "live",
        "symbol": "ETH/USDT",
        "side": "long",
        "quantity": Decimal("0.1"),
        "entry_price": Decimal("2000.5"),
        "entry_time": datetime(2026, 3, 2, 14, 30, 0, 123456, tzinfo=UTC),
        "exit_price": Decimal("2100.25"),
        "exit_time": datetime(2026, 3, 3, 9, 0, 1, 500000, tzinfo=UTC),
        "stop_loss": Decimal(1900),
        "take_profit": None,
        "fees": Decimal("0.41007500"),
        "realized_pnl": Decimal("9.564925"),
        "status": "closed",
        "strategy": "Trend",
        "regime": None,
        "signal_reason": "breakout",
        "signal_explanation": None,
        "source": "freqtrade",
        "source_id": "tradesv3.sqlite:trades.1",
        "created_at": datetime(2026, 3, 2, 14, 30, 0, 123456, tzinfo=UTC),
        "updated_at": datetime(2026, 3, 3, 9, 0, 2, tzinfo=UTC),
    }
    assert (extra["currency"], extra["account"], extra["exchange"]) == ("USDT", "main", "binance")
    assert (extra["exit_reason"], extra["fee_open"], extra["is_short"]) == ("roi", 0.001, 0)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_result_follows_from_prices_and_fees_as_the_ledger_has_it(
    rows: Rows, number: int
) -> None:
    trade = rows["trades"][number - 1]
    sign = -1 if trade["side"] == "short" else 1
    moved = sign * (trade["exit_price"] - trade["entry_price"]) * trade["quantity"]
    assert abs(moved - trade["fees"] - trade["realized_pnl"]) < Decimal("0.005")


def test_a_trade_in_steps_is_what_its_orders_sum_to(rows: Rows) -> None:
    trade = rows["trades"][2]
    assert (trade["quantity"], trade["entry_price"]) == (4, 110)
    assert trade["exit_price"] == 127
    extra = json.loads(trade["extra"])
    assert (extra["amount"], extra["open_rate"], extra["close_rate"]) == (1.0, 110.0, 130.0)


def test_what_is_open_and_what_was_never_filled(rows: Rows) -> None:
    going, never = rows["trades"][3:]
    assert (going["status"], going["exit_price"], going["fees"]) == ("open", None, None)
    assert (never["status"], never["realized_pnl"]) == ("cancelled", None)
    assert never["stop_loss"] is None, "freqtrade's zero is no price"


def test_orders_have_their_states_sides_and_times(rows: Rows) -> None:
    told = [
        (row["side"], row["order_type"], row["status"], row["quantity"], row["filled_quantity"])
        for row in rows["orders"]
    ]
    assert told == [
        ("buy", "limit", "filled", Decimal("0.1"), Decimal("0.1")),
        ("sell", "stop_loss_limit", "cancelled", Decimal("0.1"), 0),
        ("sell", "market", "filled", Decimal("0.1"), Decimal("0.1")),
        ("sell", "limit", "filled", Decimal("0.01"), Decimal("0.01")),
        ("buy", "stop_market", "filled", Decimal("0.01"), Decimal("0.01")),
        ("buy", "limit", "filled", 2, 2),
        ("buy", "limit", "cancelled", 5, 2),
        ("sell", "limit", "filled", 3, 3),
        ("sell", "limit", "filled", 1, 1),
        ("buy", "limit", "filled", 100, 100),
        ("sell", "limit", "partially_filled", 100, 40),
        ("buy", "limit", "expired", 100, 0),
        ("buy", "limit", "new", 100, None),
        ("buy", "limit", "rejected", 100, 0),
    ]
    first, stop, market = rows["orders"][:3]
    assert first["order_id"] == f"{KEYS[1]}:b1"
    assert first["trade_id"] == KEYS[1]
    assert first["broker"] == "binance"
    assert (first["limit_price"], first["average_fill_price"]) == (2001, Decimal("2000.5"))
    assert first["submitted_at"] == datetime(2026, 3, 2, 14, 30, 0, 123456, tzinfo=UTC)
    assert first["filled_at"] == datetime(2026, 3, 2, 14, 30, 5, tzinfo=UTC)
    assert json.loads(first["extra"])["updated_at"] == "2026-03-02T14:30:06.000001Z"
    assert (stop["limit_price"], stop["stop_price"], stop["filled_at"]) == (1890, 1900, None)
    in_coins = json.loads(rows["orders"][5]["extra"])
    assert (in_coins["filled"], in_coins["amount"], in_coins["ft_fee_base"]) == (
        2.002,
        2.002,
        0.002,
    )
    assert (market["limit_price"], json.loads(market["extra"])["price"]) == (None, 2100.0)


def test_what_was_bought_is_what_can_be_sold(rows: Rows) -> None:
    fills = {row["fill_id"]: row for row in rows["fills"]}
    assert list(fills) == [
        f"{KEYS[trade]}:{name}"
        for trade, names in ((1, "b1 x1"), (2, "b2 x2"), (3, "b3 b4 x3 x4"), (4, "b5"))
        for name in names.split()
    ], "of orders that are over and filled something"
    held = [
        row["quantity"] if row["side"] == "buy" else -row["quantity"]
        for row in fills.values()
        if row["trade_id"] == KEYS[3]
    ]
    assert sum(held) == 0, "the fee that was taken in coins is in nobody's hands"
    short = fills[f"{KEYS[2]}:x2"]
    assert (short["side"], short["price"], short["currency"]) == ("buy", 59000, "USDT")
    assert short["fees"] == Decimal("0.295")
    assert (short["account"], short["kind"], short["order_id"]) == (
        "main",
        "trade",
        f"{KEYS[2]}:x2",
    )
    for number in (1, 3):
        of_trade = [row for row in fills.values() if row["trade_id"] == KEYS[number]]
        cash = sum(
            (-1 if row["side"] == "buy" else 1) * row["quantity"] * row["price"] - row["fees"]
            for row in of_trade
        )
        assert abs(cash - rows["trades"][number - 1]["realized_pnl"]) < Decimal("0.000001")


@pytest.mark.parametrize(
    ("statement", "rule", "words"),
    [
        ("UPDATE orders SET status = 'lost' WHERE id = 1", "allowed", "status 'lost'"),
        ("UPDATE orders SET status = NULL WHERE id = 1", "allowed", "status 'None'"),
        (
            "UPDATE orders SET ft_order_side = 'up', side = 'up' WHERE id = 2",
            "allowed",
            "side 'up'",
        ),
        ("UPDATE orders SET ft_trade_id = 99 WHERE id = 2", "trade", "its trade 99 is not"),
        ("UPDATE trades SET open_date = 'then' WHERE id = 4", "time", "entry_time 'then'"),
        ("UPDATE trades SET amount = -1 WHERE id = 4", "sign", "quantity '-1.0'"),
        ("UPDATE trades SET amount = 9e999 WHERE id = 4", "finite", "quantity 'inf'"),
        ("UPDATE orders SET filled = 'some' WHERE id = 1", "type", "filled_quantity 'some'"),
        ("UPDATE orders SET average = 9e999 WHERE id = 1", "finite", "average_fill_price 'inf'"),
        (
            "UPDATE trades SET fee_open = 'low', stop_loss = 'x' WHERE id = 1",
            "type",
            "stop_loss 'x'",
        ),
        (
            "UPDATE trades SET strategy = CAST(x'ff41' AS TEXT) WHERE id = 4",
            "type",
            "strategy is not UTF-8 text",
        ),
    ],
)
def test_a_bad_row_is_refused_and_the_rest_goes_in(
    tmp_path: Path, statement: str, rule: str, words: str
) -> None:
    found, rejected = read(make(tmp_path / "t.sqlite", statement))
    assert rule in {refused.rule for refused in rejected}
    assert any(words in refused.reason for refused in rejected), rejected
    assert len(found["trades"]) >= 4
    assert len(found["orders"]) >= 12
    for refused in rejected:
        json.dumps(refused.row)


def test_an_older_database_has_other_names_and_fewer_columns(tmp_path: Path) -> None:
    path = make(
        tmp_path / "old.sqlite",
        "DELETE FROM orders WHERE ft_trade_id = 2",
        "DELETE FROM trades WHERE is_short",
        "ALTER TABLE trades RENAME COLUMN exit_reason TO sell_reason",
        "ALTER TABLE trades RENAME COLUMN enter_tag TO buy_tag",
        *(
            f"ALTER TABLE trades DROP COLUMN {name}"
            for name in ("is_short", "stake_currency", "fee_open", "funding_fees", "leverage")
        ),
        *(f"ALTER TABLE orders DROP COLUMN {name}" for name in ("average", "ft_fee_base")),
    )
    found, rejected = read(path)
    assert not rejected
    trade = found["trades"][0]
    extra = json.loads(trade["extra"])
    assert (trade["side"], trade["signal_reason"], trade["fees"]) == ("long", "breakout", None)
    assert (extra["exit_reason"], extra["currency"]) == ("roi", "USDT")
    assert found["fills"][0]["price"] == 2001, "the price asked for, where no average is"
    assert (found["fills"][0]["fees"], found["fills"][1]["fees"]) == (None, Decimal("0.21"))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE orders DROP COLUMN status", "no column status in its table orders"),
        ("ALTER TABLE trades DROP COLUMN amount", "no column amount in its table trades"),
        ("DROP TABLE orders", "it has no table orders"),
    ],
)
def test_what_cannot_be_read_without_is_named(tmp_path: Path, statement: str, words: str) -> None:
    path = make(tmp_path / "t.sqlite", statement)
    with pytest.raises(BadInputError, match=words):
        read(path)


def test_the_mode_must_be_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--mode"):
        read(make(tmp_path / "t.sqlite"), ReadOptions())


def test_each_bots_database_is_told_from_the_others(tmp_path: Path) -> None:
    assert detect(make(tmp_path / "t.sqlite")).name == "freqtrade"
    other = tmp_path / "system.db"
    create_fluxhero_store(other)
    assert detect(other).name == "fluxhero"
    with pytest.raises(
        BadInputError, match="no database of freqtrade: it has no table trades with"
    ):
        read(other)


# --- into a store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDBStore]:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    yield store
    store.close()


def ingest(path: Path, store: DuckDBStore) -> dict[str, TableCount]:
    return ingest_file(
        path,
        store,
        FORMATS["freqtrade"],
        OPTIONS,
        progress=lambda _done, _total: None,
        temp_dir=path.parent,
        imports=path.parent / "imports",
    ).counts


def test_a_running_bots_database_is_copied_whole_and_left_alone(
    tmp_path: Path, store: DuckDBStore
) -> None:
    path = make(tmp_path / "tradesv3.sqlite", journal="wal")
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("UPDATE trades SET strategy = 'Newest' WHERE id = 1")
        bot.commit()  # in the write-ahead log, where the file's own bytes do not show it
        before = path.read_bytes()
        first = ingest(path, store)
        assert first["trades"].inserted == 5
        assert ingest(path, store) == {
            "trades": TableCount(unchanged=5),
            "orders": TableCount(unchanged=14),
            "fills": TableCount(unchanged=9),
        }
        assert path.read_bytes() == before
        kept = list((tmp_path / "imports").iterdir())
        assert len(kept) == 1, "the same state is kept once, and nothing is made beside it"
        found, _ = read(kept[0])
        assert found["trades"][0]["strategy"] == "Newest"
        bot.execute(
            "UPDATE orders SET ft_is_open = 0, status = 'closed', filled = 100, "
            "order_filled_date = '2026-03-09 12:00:00', order_update_date = '2026-03-09 12:00:01' "
            "WHERE id = 11"
        )
        bot.execute(
            "UPDATE trades SET is_open = 0, close_rate = 0.5, close_date = '2026-03-09 12:00:00', "
            "close_profit_abs = 4.905 WHERE id = 4"
        )
        bot.commit()
    later = ingest(path, store)
    assert later["trades"] == TableCount(updated=1, unchanged=4)
    assert (later["orders"].updated, later["fills"].inserted) == (1, 1)


def test_a_damaged_file_and_one_of_another_kind_say_so(tmp_path: Path, store: DuckDBStore) -> None:
    path = make(tmp_path / "t.sqlite")
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=r"t\.sqlite.*damaged"):
        ingest(path, store)
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    assert detect(path).name == "fluxhero", "which reads any such file, and says what is wrong"
    other = tmp_path / "system.db"
    create_fluxhero_store(other)
    with pytest.raises(BadInputError, match="no database of freqtrade"):
        ingest(other, store)
    assert not any((tmp_path / "imports").iterdir())
