"""fluxhero and fluxhero-archive: a bot's own files, and that one trade is one trade in both."""

# ruff: noqa: DTZ001 - naive times are what is tested

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import BadInputError, ForeignStoreError
from fluxhero.ledger.formats import ReadOptions, detect, named
from fluxhero.ledger.rejected import Rejected

ROW: dict[str, Any] = {
    "symbol": "BRK/B ü",
    "side": 1,
    "entry_price": 420.5,
    "entry_time": "2026-01-02T14:30:00.250000",
    "exit_price": 425.0,
    "exit_time": "2026-01-02 20:59:00",
    "shares": 10,
    "stop_loss": 400.0,
    "take_profit": None,
    "realized_pnl": 45.123456789012,
    "status": 1,
    "strategy": "TREND",
    "regime": None,
    "signal_reason": None,
    "signal_explanation": '{"a": 1}',
    "created_at": "2026-01-02T14:30:00",
    "updated_at": "2026-01-02T20:59:00.500000",
}


def make_store(path: Path, rows: list[dict[str, Any]], table: str = "trades") -> Path:
    names = list(rows[0])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {', '.join(names)})")
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [tuple(row[name] for name in names) for row in rows],
        )
        connection.commit()
    return path


def archive_of(store: Path, path: Path, table: str = "trades") -> Path:
    """The way FluxHero does it: all rows, through a data frame."""
    with closing(sqlite3.connect(store)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
    pd.DataFrame(rows).to_parquet(path, engine="pyarrow", compression="snappy", index=False)
    return path


def read(
    path: Path, options: ReadOptions | None = None
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    pages = list(detect(path).pages(path, options or ReadOptions()))
    return [r for page in pages for r in page.rows.to_pylist()], [
        r for p in pages for r in p.rejected
    ]


@pytest.mark.parametrize("timezone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    ("table", "mode", "own"),
    [
        ("trades", "legacy", {}),
        ("live_trades", "live", {"broker_order_id": "abc"}),
        ("paper_trades", "paper", {"slippage_applied": 0.25, "note": "it's", "n": 3, "x": 0.1}),
    ],
)
def test_a_trade_is_the_same_in_store_and_archive(
    tmp_path: Path, table: str, mode: str, own: dict[str, Any], timezone: str
) -> None:
    open_trade = {"exit_price": None, "exit_time": None, "realized_pnl": None, "status": 0}
    # A data frame makes floats of whole numbers beside a NULL, so `n` has no NULL beside it.
    bare = {name: value if name == "n" else None for name, value in own.items()}
    rows = [{**ROW, **own}, {**ROW, **bare, **open_trade, "side": -1}]
    store = make_store(tmp_path / "system.db", rows, table)
    archive = archive_of(store, tmp_path / "trades_archive_1.parquet", table)
    assert [detect(store).name, detect(archive).name] == ["fluxhero", "fluxhero-archive"]

    from_store, refused = read(store, ReadOptions(timezone=timezone))
    from_archive, also_refused = read(archive, ReadOptions(mode=mode, timezone=timezone))
    assert refused == also_refused == []
    assert [r["extra"] for r in from_archive] == [r["extra"] for r in from_store]
    assert from_archive == from_store
    assert from_store[0]["trade_id"] == f"{table}:1:2026-01-02T14:30:00"
    assert from_store[0]["mode"] == mode
    assert from_store[0]["realized_pnl"] == Decimal("45.12345679")
    assert from_store[1]["side"] == "short"


def test_an_archive_without_mode_is_legacy(tmp_path: Path) -> None:
    archive = archive_of(make_store(tmp_path / "a.db", [ROW]), tmp_path / "a.parquet")
    assert read(archive)[0][0]["mode"] == "legacy"
    with pytest.raises(BadInputError, match="did you mean 'paper'"):
        read(archive, ReadOptions(mode="papr"))


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_types_a_data_frame_may_have_left(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "a.parquet"
    when = datetime(2026, 1, 2, 14, 30)
    columns = {
        "id": [7.0, 8.0],
        "symbol": ["A", "B"],
        "side": [1.0, -1.0],
        "entry_price": ["1.5", "2"],
        "entry_time": pa.array([when, when], pa.timestamp("ns")),
        "shares": [1.0, 2.0],
        "status": pa.array([2, 1], pa.int8()),
        "take_profit": pa.nulls(2),
        "strategy": pa.nulls(2),
        "created_at": pa.array([when, when.replace(microsecond=5)], pa.timestamp(unit)),
    }
    pq.write_table(pa.table(columns), path)
    rows, rejected = read(path, ReadOptions(timezone="America/New_York"))
    assert not rejected
    assert [row["trade_id"] for row in rows] == [
        "trades:7:2026-01-02T14:30:00",
        "trades:8:2026-01-02T14:30:00.000005",
    ]
    assert rows[0]["entry_time"] == datetime(2026, 1, 2, 19, 30, tzinfo=UTC)
    assert [row["status"] for row in rows] == ["cancelled", "closed"]
    assert rows[0]["source_id"] == "trades:7"


def test_milliseconds_are_the_text_python_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    when = datetime(2026, 1, 2, 14, 30, 0, 120_000)
    rows = [{**ROW, "id": 1, "created_at": when}]
    for unit in ("ms", "us", "ns"):
        table = pa.Table.from_pylist(rows)
        index = table.schema.get_field_index("created_at")
        times = pa.array([when], pa.timestamp(unit))
        pq.write_table(table.set_column(index, "created_at", times), path)
        assert read(path)[0][0]["trade_id"] == f"trades:1:{when.isoformat()}"


def test_a_zone_in_an_id_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for name in ("created_at", "entry_time"):
        row = {"id": 1, **{key: value for key, value in ROW.items() if key != "created_at"}}
        row[name] = datetime(2026, 1, 2, tzinfo=UTC)
        pq.write_table(pa.Table.from_pylist([row]), path)
        with pytest.raises(BadInputError, match=f"{name} is part of a trade's id .* text"):
            read(path)


def test_an_id_without_created_at(tmp_path: Path) -> None:
    row = {name: value for name, value in ROW.items() if name != "created_at"}
    archive = archive_of(make_store(tmp_path / "a.db", [row]), tmp_path / "a.parquet")
    assert read(archive)[0][0]["trade_id"] == f"trades:1:{ROW['entry_time']}"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"status": 7}, "allowed"),
    ({"entry_time": "yesterday"}, "time"),
    ({"entry_price": float("inf")}, "finite"),
    ({"shares": 1e12}, "range"),
]


@pytest.mark.parametrize(("change", "rule"), BAD)
def test_bad_rows_of_an_archive(tmp_path: Path, change: dict[str, Any], rule: str) -> None:
    archive = archive_of(
        make_store(tmp_path / "a.db", [ROW, {**ROW, **change}]), tmp_path / "a.parquet"
    )
    rows, rejected = read(archive)
    assert len(rows) == 1
    assert [r.rule for r in rejected] == [rule]


def test_values_no_sqlite_row_had(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame([{"id": n, **ROW} for n in range(4)]).astype(
        {"id": "float", "side": "float"}
    )
    frame.loc[0, "id"] = 1.5
    frame.loc[1, "id"] = None
    frame.loc[2, "side"] = 3
    frame.to_parquet(path, engine="pyarrow")
    rows, rejected = read(path)
    assert len(rows) == 1
    assert sorted(r.rule for r in rejected) == ["required", "side", "type"]


def test_a_status_the_ledger_does_not_know(tmp_path: Path) -> None:
    rows, rejected = read(make_store(tmp_path / "a.db", [ROW, {**ROW, "status": 7}]))
    assert len(rows) == 1
    assert [(r.rule, r.position) for r in rejected] == [("allowed", "trades:2")]


def test_files_that_are_something_else(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(BadInputError, match="no column id"):
        list(named("fluxhero-archive").pages(other, ReadOptions()))
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    with pytest.raises(ForeignStoreError, match="notes"):
        read(foreign)
