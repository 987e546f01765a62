"""csv, jsonl and parquet: what a canonical row must keep to, and what makes a file a bad one."""

# ruff: noqa: DTZ001 - naive times are what is tested

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import FORMATS, ReadOptions, detect, named, select
from fluxhero.ledger.ingest_paths import expand
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import CASH_FLOWS, EQUITY, ORDERS, POSITIONS

TRADE = {
    "trade_id": "T1",
    "mode": "live",
    "symbol": "SPY",
    "side": "long",
    "quantity": "10",
    "entry_price": "420.5",
    "entry_time": "2026-01-02T14:30:00Z",
    "status": "open",
}


def read(
    path: Path, options: ReadOptions | None = None
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    options = options or ReadOptions()
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for page in detect(path).pages(path, options):
        assert page.rows.schema.equals(options.table.arrow)
        rows += page.rows.to_pylist()
        rejected += page.rejected
    return rows, rejected


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def one(tmp_path: Path, options: ReadOptions | None = None, **changes: Any) -> dict[str, Any]:
    rows, rejected = read(jsonl(tmp_path / "t.jsonl", {**TRADE, **changes}), options)
    assert not rejected, rejected
    return rows[0]


def refusal(tmp_path: Path, options: ReadOptions | None = None, **changes: Any) -> Rejected:
    good = {**TRADE, "trade_id": "T0"}
    path = jsonl(tmp_path / "t.jsonl", good, {**TRADE, **changes})
    rows, rejected = read(path, options)
    assert [row["trade_id"] for row in rows] == ["T0"], "the rest of the file goes in"
    assert rejected[0].position == "row 2"
    return rejected[0]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"trade_id": None}, "required"),
        ({"trade_id": ""}, "required"),
        ({"side": "buy"}, "allowed"),
        ({"mode": "LIVE"}, "allowed"),
        ({"status": "done"}, "allowed"),
        ({"quantity": "nan"}, "finite"),
        ({"quantity": "-Infinity"}, "finite"),
        ({"quantity": "ten"}, "type"),
        ({"quantity": "1_000"}, "type"),
        ({"quantity": "1,5"}, "type"),
        ({"quantity": "0x10"}, "type"),
        ({"quantity": ""}, "required"),
        ({"quantity": True}, "type"),
        ({"quantity": [1]}, "type"),
        ({"quantity": "-10"}, "sign"),
        ({"quantity": "-1e-12"}, "sign"),
        ({"entry_price": 10**400}, "range"),
        ({"entry_price": "1e400"}, "range"),
        ({"entry_price": 10_000_000_000}, "range"),
        ({"entry_price": "9999999999.999999996"}, "range"),
        ({"entry_time": "infinity"}, "time"),
        ({"entry_time": "epoch"}, "time"),
        ({"entry_time": "01/02/2026"}, "time"),
        ({"entry_time": "2026-02-30"}, "time"),
        ({"entry_time": "2026-01-02 (BC)"}, "time"),
        ({"entry_time": "0000-01-02"}, "range"),
        ({"entry_time": 1767364200}, "time"),
        ({"signal_explanation": "{'a': 1}"}, "json"),
        ({"signal_explanation": '{"a": NaN}'}, "json"),
        ({"signal_explanation": '{"a": 1,}'}, "json"),
        ({"signal_explanation": "[" * 5000}, "json"),
        ({"extra": "[1]"}, "json"),
        ({"extra": {"note": 1}, "note": 2}, "extra"),
        ({"extra": {"exact": 1}, "fees": "0.123456789"}, "extra"),
        ({"extra": {"exact": {"fees": "seven"}}, "fees": "0.123456789"}, "extra"),
    ],
)
def test_a_bad_row_is_refused_by_its_rule(
    tmp_path: Path, change: dict[str, Any], rule: str
) -> None:
    refused = refusal(tmp_path, **change)
    assert refused.rule == rule
    name = "extra" if "extra" in change else next(iter(change))
    assert name in refused.reason
    json.dumps(refused.row)


@pytest.mark.parametrize("column", ["quantity", "filled_quantity"])
def test_an_order_has_no_direction_but_its_side(tmp_path: Path, column: str) -> None:
    order = {"order_id": "O", "mode": "live", "symbol": "SPY", "side": "sell", "status": "filled"}
    good, bad = order | {"quantity": "0"}, order | {"quantity": "5", column: "-5"}
    rows, rejected = read(jsonl(tmp_path / "t.jsonl", good, bad), ReadOptions(table=ORDERS))
    assert [row["quantity"] for row in rows] == [0]
    assert rejected[0].rule == "sign"
    assert rejected[0].reason == f"{column} '-5' is negative, and side tells the direction"


@pytest.mark.parametrize("price", ["-37.63", "0"])
def test_prices_may_be_negative(tmp_path: Path, price: str) -> None:
    assert one(tmp_path, entry_price=price)["entry_price"] == Decimal(price)


def test_a_refused_row_keeps_what_it_had(tmp_path: Path) -> None:
    refused = refusal(tmp_path, side="up", tag="mine")
    assert refused.row == {**TRADE, "side": "up", "tag": "mine"}
    assert refused.reason == "side 'up' is not one of long, short"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("+.5", "0.5"),
        ("5.", "5"),
        (" 7 ", "7"),
        ("1.5e3", "1500"),
        ("9999999999.99999999", "9999999999.99999999"),
        ("-0.00000001", "-0.00000001"),
        ("1.000000000000", "1"),
        (10, "10"),
        (0.1, "0.1"),
    ],
)
def test_a_number_that_fits_is_exact(tmp_path: Path, text: Any, value: str) -> None:
    row = one(tmp_path, fees=text)
    assert row["fees"] == Decimal(value)
    assert row["extra"] is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.123456785", "0.12345678"),
        ("0.123456775", "0.12345678"),
        ("-0.123456785", "-0.12345678"),
        ("0.1234567850000001", "0.12345679"),
        ("9999999999.123456785", "9999999999.12345678"),
        ("1e-9", "0"),
        ("1e-40", "0"),
        ("1.00000000000000000000000000000000001", "1"),
    ],
)
def test_more_than_8_decimals_are_rounded_half_even_and_kept(
    tmp_path: Path, text: str, value: str
) -> None:
    row = one(tmp_path, fees=text, extra={"mine": 1.10})
    assert row["fees"] == Decimal(value)
    assert json.loads(row["extra"]) == {"mine": 1.1, "exact": {"fees": text}}


def test_more_than_8_decimals_are_refused_where_nothing_can_keep_them(tmp_path: Path) -> None:
    point = {"mode": "live", "at": "2026-01-02", "equity": 1}
    path = jsonl(tmp_path / "e.jsonl", point, {**point, "equity": "1.123456789"})
    rows, rejected = read(path, ReadOptions(table=EQUITY))
    assert len(rows) == 1
    assert rejected[0].rule == "precision"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-02T14:30:00Z", datetime(2026, 1, 2, 14, 30)),
        ("2026-01-02 14:30:00.25+01:00", datetime(2026, 1, 2, 13, 30, 0, 250_000)),
        ("2026-01-02T14:30-0330", datetime(2026, 1, 2, 18, 0)),
        ("2026-01-02 14:30:00 UTC", datetime(2026, 1, 2, 14, 30)),
        ("2026-01-02T14:30", datetime(2026, 1, 2, 19, 30)),
        ("2026-07-02", datetime(2026, 7, 2, 4)),
    ],
)
def test_times_with_and_without_an_offset(tmp_path: Path, text: str, utc: datetime) -> None:
    row = one(tmp_path, ReadOptions(timezone="America/New_York"), entry_time=text)
    assert row["entry_time"] == utc.replace(tzinfo=UTC)
    assert row["extra"] is None


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-11-03 01:30:00", datetime(2024, 11, 3, 6, 30)),  # happened twice: the later one
        ("2024-03-10 02:30:00", datetime(2024, 3, 10, 7, 30)),  # never happened: an hour later
        ("2024-11-03 01:30:00.1234567-04:00", datetime(2024, 11, 3, 5, 30, 0, 123_456)),
    ],
)
def test_a_time_that_is_not_told_exactly_is_kept_as_written(
    tmp_path: Path, text: str, utc: datetime
) -> None:
    row = one(tmp_path, ReadOptions(timezone="America/New_York"), entry_time=text)
    assert row["entry_time"] == utc.replace(tzinfo=UTC)
    assert json.loads(row["extra"]) == {"exact": {"entry_time": text}}


def test_unknown_columns_are_carried(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    line = json.dumps({**TRADE, "tags": ["a", {"b": None}]})[:-1]
    path.write_text(line + ', "weight": 0.10000000000000000000001}\n')
    rows, _ = read(path)
    assert rows[0]["extra"] == '{"tags":["a",{"b":null}],"weight":0.10000000000000000000001}'


def test_source_and_source_id_default_to_format_and_place(tmp_path: Path) -> None:
    row = one(tmp_path)
    assert (row["source"], row["source_id"]) == ("jsonl", "t.jsonl:1")
    row = one(tmp_path, source="mine", source_id=17)
    assert (row["source"], row["source_id"]) == ("mine", "17")


@pytest.mark.parametrize("symbol", ["BTC/USD", "BRK B", "日経 225", "a'b\"c,d\n", "é" * 200])
def test_symbols_of_any_kind(tmp_path: Path, symbol: str) -> None:
    assert one(tmp_path, symbol=symbol)["symbol"] == symbol


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    header = ",".join([*TRADE, "signal_reason", "note"])
    values = ",".join(TRADE.values())
    path.write_bytes(
        f'\ufeff{header}\r\n{values},"two\r\nlines, ""quoted""",x\r\n\r\n'
        f"{values.replace('T1,', 'T2,')},,\r\n".encode()
    )
    rows, rejected = read(path)
    assert not rejected
    assert [row["trade_id"] for row in rows] == ["T1", "T2"]
    assert [row["signal_reason"] for row in rows] == ['two\r\nlines, "quoted"', None]
    assert [row["extra"] for row in rows] == ['{"note": "x"}', None]
    assert rows[1]["source_id"] == "t.csv:2"


def test_a_csv_row_of_the_wrong_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    values = ",".join(TRADE.values())
    path.write_text(f"{','.join(TRADE)}\nT0,live\n{values}\n{values},extra\n")
    rows, rejected = read(path)
    assert [row["source_id"] for row in rows] == ["t.csv:2"]
    assert [(r.rule, r.position) for r in rejected] == [("fields", "row 1"), ("fields", "row 3")]
    assert rejected[0].row == {"fields": ["T0", "live"]}


def test_jsonl_lines_that_are_no_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    doubled = json.dumps(TRADE)[:-1] + ', "side": "short"}'
    surrogate = json.dumps({**TRADE, "symbol": "\ud800"})
    path.write_text(f"{json.dumps(TRADE)}\n\n[1]\n{{nope}}\n{doubled}\n{surrogate}\n")
    rows, rejected = read(path)
    assert len(rows) == 1
    assert [r.position for r in rejected] == ["row 3", "row 4", "row 5", "row 6"]
    assert {r.rule for r in rejected} == {"json"}


def test_parquet_of_any_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    when = datetime(2026, 1, 2, 14, 30)
    table = pa.table(
        {
            "trade_id": pa.array([1, 2, 3]),
            "mode": pa.array(["live", "paper", "live"]).dictionary_encode(),
            "symbol": pa.array(["A", "B", "C"], pa.large_string()),
            "side": ["long", "short", "long"],
            "quantity": pa.array([0.1, 1e-7, float("nan")]),
            "entry_price": pa.array([Decimal("1.50")] * 3, pa.decimal128(20, 2)),
            "entry_time": pa.array([when] * 3, pa.timestamp("ns", "America/New_York")),
            "exit_time": pa.array([when] * 3, pa.timestamp("ms")),
            "status": ["closed"] * 3,
            "stop_loss": pa.nulls(3),
            "take_profit": pa.array([1.5] * 3, pa.float32()),
            "signal_explanation": [{"a": 1.5, "b": [True]}] * 3,
            "raw": pa.array([b"\x01", None, b""], pa.binary()),
            "on": pa.array([when.date(), None, None], pa.date32()),
        }
    )
    pq.write_table(table, path)
    rows, rejected = read(path, ReadOptions(timezone="America/New_York"))
    assert [r.rule for r in rejected] == ["finite"]
    assert [row["quantity"] for row in rows] == [Decimal("0.1"), Decimal("0.0000001")]
    assert rows[0]["entry_time"] == when.replace(tzinfo=UTC)
    assert rows[0]["exit_time"] == datetime(2026, 1, 2, 19, 30, tzinfo=UTC)
    assert rows[0]["signal_explanation"] == '{"a":1.5,"b":[true]}'
    assert json.loads(rows[0]["extra"]) == {"raw": "01", "on": "2026-01-02"}
    assert rows[1]["extra"] is None
    assert FORMATS["parquet"].row_count(path) == 3


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (
            ORDERS,
            {
                "order_id": "O1",
                "mode": "live",
                "symbol": "A",
                "side": "buy",
                "quantity": 1,
                "status": "filled",
            },
        ),
        (
            CASH_FLOWS,
            {"flow_id": "F", "mode": "live", "at": "2026-01-02", "kind": "fee", "amount": "-1.5"},
        ),
        (EQUITY, {"mode": "paper", "at": "2026-01-02", "equity": "100000"}),
        (POSITIONS, {"mode": "live", "symbol": "A", "side": "short", "quantity": 3}),
    ],
)
def test_every_ledger_table(tmp_path: Path, table: Any, row: dict[str, Any]) -> None:
    rows, rejected = read(jsonl(tmp_path / "t.jsonl", row), ReadOptions(table=table))
    assert not rejected
    assert rows[0]["mode"] == row["mode"]


def bad(path: Path, options: ReadOptions | None = None, name: str | None = None) -> str:
    with pytest.raises(BadInputError) as caught:
        list(select(path, name).pages(path, options or ReadOptions()))
    assert str(path) in caught.value.what
    assert caught.value.next_step
    return str(caught.value)


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert "no file" in bad(file)
    assert "folder" in bad(tmp_path)
    file.write_bytes(b"")
    assert "empty" in bad(file)
    file.write_bytes(b"\n \n")
    assert "empty" in bad(file, name="csv")
    file.write_bytes(b"\x89PNG....")
    assert "jsonl" in bad(file)
    file.write_bytes("trade_id,mode,symböl\n".encode("utf-16"))
    assert "UTF-8" in bad(file, name="csv")
    file.write_bytes(b"trade_id,symbol\nT,\xff\n")
    assert "UTF-8" in bad(file)


def test_bad_csv_headers(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    header = ",".join(TRADE)
    file.write_text(f"{header},status\n")
    assert "'status' twice" in bad(file)
    file.write_text(f"{header},\n")
    assert "without a name" in bad(file)
    file.write_text(header.replace("quantity", "quantty") + "\n")
    assert "did you mean 'quantty'" in bad(file)
    file.write_text(header.replace(",", ";") + "\n")
    assert "commas" in bad(file, name="csv")
    file.write_text("mode,at,equity,cashh\n")
    assert "did you mean 'cash'" in bad(file, ReadOptions(table=EQUITY))
    file.write_text(f'{header}\nT1,"live\n')
    assert "quotes" in bad(file)


def test_bad_jsonl(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(TRADE) + "\n" + json.dumps(TRADE)[:-20])
    assert "middle of line 2" in bad(file)
    file.write_text('{"trade_id": "T"}\n')
    assert "has no column mode" in bad(file)
    file.write_text("{not json}\n")
    assert "not JSON lines" in bad(file)
    file.write_bytes(b'{"a": "\xff"}\n')
    assert "UTF-8" in bad(file)
    file.write_text('{"mode":"live","at":"2026-01-02","equity":1,"csh":1}\n')
    assert "did you mean 'cash'" in bad(file, ReadOptions(table=EQUITY))


def test_bad_parquet(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: [value] for name, value in TRADE.items()}), file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    assert "Parquet" in bad(file)
    file.write_bytes(whole[:50] + b"\0" * 50 + whole[100:])
    assert "Parquet" in bad(file)
    pq.write_table(pa.table({"trade_id": ["T"]}), file)
    assert "has no column mode" in bad(file)
    pq.write_table(pa.Table.from_pylist([{**TRADE, "trade_id": b"\xff"}]), file)
    assert "UTF8" in bad(file)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "trade_id;mode;symbol\n", "is not separated by commas"),
        ("a.CSV", "ticket,opened,profit\n1,2,3\n", "has no column trade_id, mode"),
        ("a.jsonl", '[{"trade_id": "T"}]\n', "none of its first lines is a JSON object"),
        ("a.txt", "ticket,opened,profit\n1,2,3\n", "in no format this product knows"),
    ],
)
def test_a_named_file_is_read_as_what_it_is_called(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    file = text(tmp_path / name, content)
    assert said in bad(file)
    jsonl(tmp_path / "good.jsonl", TRADE)
    found = expand([str(tmp_path)], None)
    assert ([path.name for path in found.files], found.skipped) == (["good.jsonl"], (file,))


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_formats_are_found_by_content(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "misnamed.csv", TRADE)
    assert detect(path).name == "jsonl"
    assert select(path, "csv").name == "csv"
    with pytest.raises(BadInputError, match=r"in the ledger's columns \(docs/ingest\.md\)"):
        detect(text(tmp_path / "strange.csv", "id;when\n"))
    with pytest.raises(BadInputError, match="did you mean 'parquet'"):
        named("parqet")
