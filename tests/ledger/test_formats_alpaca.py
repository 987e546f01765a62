"""alpaca-orders and alpaca-activities: what each field and type becomes, and what is refused."""

import json
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fluxhero.errors import BadInputError
from fluxhero.integrity.suites.orders import WORKING
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import FORMATS, ReadOptions, detect, json_rows, select
from fluxhero.ledger.formats.alpaca_meanings import MEANINGS
from fluxhero.ledger.formats.alpaca_orders import STATUSES
from fluxhero.ledger.ingest import TableCount, ingest_file
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import FINISHED_ORDERS, LEDGER_TABLES

with warnings.catch_warnings():
    # Its streams import what websockets has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from alpaca.trading.enums import ActivityType, OrderStatus
    from alpaca.trading.models import NonTradeActivity, Order, TradeActivity

FOLDER = Path(__file__).parent / "imports"
ORDERS_FILE, ACTIVITIES_FILE = FOLDER / "alpaca_orders.json", FOLDER / "alpaca_activities.json"
OPTIONS = ReadOptions(mode="paper", account="PA1")
ORDER: dict[str, Any] = json.loads(ORDERS_FILE.read_text())[0]
FILL: dict[str, Any] = json.loads(ACTIVITIES_FILE.read_text())[0]
PAID: dict[str, Any] = json.loads(ACTIVITIES_FILE.read_text())[5]

Rows = list[dict[str, Any]]


def read(
    path: Path, name: str | None = None, options: ReadOptions = OPTIONS
) -> tuple[dict[str, Rows], list[Rejected]]:
    rows: dict[str, Rows] = {}
    rejected: list[Rejected] = []
    for page in (FORMATS[name] if name else detect(path)).pages(path, options):
        assert page.rows.schema.equals(page.table.arrow)
        rows.setdefault(page.table.name, []).extend(page.rows.to_pylist())
        rejected += page.rejected
    return rows, rejected


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def orders_of(tmp_path: Path, *orders: dict[str, Any]) -> tuple[Rows, list[Rejected]]:
    path = write(tmp_path / "orders.json", json.dumps(orders))
    rows, rejected = read(path, "alpaca-orders")
    return rows["orders"], rejected


def one_order(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    rows, rejected = orders_of(tmp_path, {**ORDER, **changes})
    assert not rejected, rejected
    return rows[0]


def without_legs(orders: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Orders and their legs; of a multi-leg order, only those."""
    for order in orders:
        if order["symbol"]:
            yield order
        yield from order["legs"] or ()


def test_every_order_is_what_the_brokers_own_package_reads() -> None:
    found, rejected = read(ORDERS_FILE)
    rows = found["orders"]
    assert not rejected
    written = list(without_legs(json.loads(ORDERS_FILE.read_text())))
    assert len(rows) == len(written)
    for row, raw in zip(rows, written, strict=True):
        order = Order(**raw)
        assert row["order_id"] == f"alpaca:{order.id}"
        assert (row["symbol"], row["side"]) == (order.symbol, order.side and order.side.value)
        assert row["status"] == STATUSES[order.status.value]
        for column, value in (
            ("quantity", order.qty if order.qty is not None else order.filled_qty),
            ("filled_quantity", order.filled_qty),
            ("limit_price", order.limit_price),
            ("stop_price", order.stop_price),
            ("average_fill_price", order.filled_avg_price),
        ):
            assert row[column] == (value and round(Decimal(value), 8)), column
        assert row["submitted_at"] == order.submitted_at
        assert row["filled_at"] == order.filled_at
        assert row["cancelled_at"] == order.canceled_at
        assert row["acknowledged_at"] is None


def test_nothing_that_an_order_says_is_lost() -> None:
    rows = read(ORDERS_FILE)[0]["orders"]
    columns = {"id", "symbol", "side", "type", "order_type", "qty", "filled_qty", "limit_price"}
    columns |= {"stop_price", "filled_avg_price", "status", "submitted_at", "filled_at"}
    columns |= {"canceled_at", "legs"}
    for row, raw in zip(rows, without_legs(json.loads(ORDERS_FILE.read_text())), strict=True):
        extra = json.loads(row["extra"])
        rest = {n: v for n, v in raw.items() if v not in (None, "") and n not in columns}
        assert rest.items() <= extra.items()
        assert extra["account"] == "PA1"
        assert extra["updated_at"] == raw["updated_at"]
        assert extra["exact"]["submitted_at"] == raw["submitted_at"]


def test_every_status_is_known_by_its_own_name() -> None:
    assert STATUSES.keys() == {status.value for status in OrderStatus}
    assert len(set(STATUSES.values())) == 18
    assert set(STATUSES.values()) <= {*FINISHED_ORDERS, *WORKING}
    told = {row["status"] for row in read(ORDERS_FILE)[0]["orders"]}
    assert told == set(STATUSES.values()), "the fixture has one of each"


def test_legs_are_orders_with_a_parent() -> None:
    rows = {row["order_id"]: row for row in read(ORDERS_FILE)[0]["orders"]}
    raw = json.loads(ORDERS_FILE.read_text())
    bracket = next(order for order in raw if order["order_class"] == "bracket")
    for leg in bracket["legs"]:
        extra = json.loads(rows[f"alpaca:{leg['id']}"]["extra"])
        assert extra["parent_id"] == f"alpaca:{bracket['id']}"
    assert f"alpaca:{bracket['id']}" in rows
    spread = next(order for order in raw if order["order_class"] == "mleg")
    assert f"alpaca:{spread['id']}" not in rows, "it has no symbol"
    for leg in spread["legs"]:
        row = rows[f"alpaca:{leg['id']}"]
        assert row["order_type"] == "limit"
        assert json.loads(row["extra"])["parent"]["limit_price"] == "1.65"


def test_an_order_for_several_instruments_is_no_row_where_its_legs_stand_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spread = {**ORDER, "order_class": "mleg", "symbol": "", "side": "", "legs": None}
    leg = {**ORDER, "id": "B", "order_class": "mleg", "symbol": "AAPL260417C00190000"}
    with caplog.at_level("INFO"):
        rows, rejected = orders_of(tmp_path, spread, leg)
    assert [row["order_id"] for row in rows] == ["alpaca:B"]
    assert not rejected
    assert "1 orders for several instruments" in caplog.text


@pytest.mark.parametrize("legs", [{"id": "x"}, ["x"], "x"])
def test_legs_that_are_no_orders_refuse_their_order(tmp_path: Path, legs: Any) -> None:
    rows, rejected = orders_of(tmp_path, ORDER, {**ORDER, "id": "B", "legs": legs})
    assert len(rows) == 1
    assert (rejected[0].rule, rejected[0].position) == ("type", "row 2")


def test_an_order_by_its_amount_is_as_large_as_what_it_bought(tmp_path: Path) -> None:
    bought = one_order(tmp_path, qty=None, notional="100", filled_qty="0.194961")
    assert bought["quantity"] == bought["filled_quantity"] == Decimal("0.194961")
    assert json.loads(bought["extra"])["notional"] == "100"
    nothing = one_order(tmp_path, qty=None, notional="50", filled_qty=None)
    assert (nothing["quantity"], nothing["filled_quantity"]) == (0, None)


@pytest.mark.parametrize(
    ("change", "currency"),
    [
        ({}, "USD"),
        ({"symbol": "ETH/BTC"}, "BTC"),
        ({"symbol": "BTC/USD"}, "USD"),
        ({"currency": "EUR"}, "EUR"),
        ({"currency": "XAU?"}, "XAU?"),
    ],
)
def test_the_currency_is_what_prices_are_in(
    tmp_path: Path, change: dict[str, Any], currency: str
) -> None:
    assert json.loads(one_order(tmp_path, **change)["extra"])["currency"] == currency


def test_the_account_is_what_the_user_says_else_what_the_order_says(tmp_path: Path) -> None:
    path = write(tmp_path / "o.json", json.dumps([{**ORDER, "account_id": "own"}, ORDER]))
    for options, accounts in (
        (OPTIONS, ["PA1", "PA1"]),
        (ReadOptions(mode="paper"), ["own", None]),
    ):
        rows = read(path, options=options)[0]["orders"]
        assert [json.loads(row["extra"]).get("account") for row in rows] == accounts


@pytest.mark.parametrize(
    ("field", "text", "column", "value"),
    [
        ("qty", "10", "quantity", "10"),
        ("qty", "0.10", "quantity", "0.1"),
        ("qty", "1e1", "quantity", "10"),
        ("limit_price", "512.123456785", "limit_price", "512.12345678"),
        ("filled_qty", "0.1234567890000000000000001", "filled_quantity", "0.12345679"),
    ],
)
def test_a_number_that_is_no_string_keeps_its_digits(
    tmp_path: Path, field: str, text: str, column: str, value: str
) -> None:
    raw = json.dumps([{**ORDER, field: "@", "hwm": "@2"}])
    raw = raw.replace('"@"', text).replace('"@2"', "512.90")
    row = read(write(tmp_path / "o.json", raw))[0]["orders"][0]
    assert row[column] == Decimal(value)
    assert '"hwm":512.90,' in row["extra"]
    exact = json.loads(row["extra"])["exact"]
    assert exact.get(column) == (text if len(text) > 10 else None)


def test_equal_orders_look_equal_however_they_are_written(tmp_path: Path) -> None:
    turned = dict(reversed(ORDER.items())) | {"nested": {"b": [1, {"d": 1, "c": 2}], "a": 1}}
    quick = one_order(tmp_path, **turned)["extra"]
    spaced = json.dumps([turned]).replace('":', '" :')
    assert read(write(tmp_path / "o.json", spaced))[0]["orders"][0]["extra"] == quick
    assert '"nested":{"a":1,"b":[1,{"c":2,"d":1}]}' in quick


def test_an_older_name_of_the_type_is_kept_where_it_differs(tmp_path: Path) -> None:
    rows, _ = orders_of(tmp_path, {**ORDER, "order_type": "stop"}, {**ORDER, "type": None})
    assert [row["order_type"] for row in rows] == ["limit", "limit"]
    told = [json.loads(row["extra"]).get("order_type") for row in rows]
    assert told == ["stop", "limit"]


@pytest.mark.parametrize(
    ("shape", "positions"),
    [
        (json.dumps, ["1", "2"]),
        (lambda o: json.dumps(o, indent=2), ["1", "2"]),
        (lambda o: "\ufeff" + json.dumps(o) + "\n\n", ["1", "2"]),
        (lambda o: "\n\n" + "\n\n".join(map(json.dumps, o)) + "\n", ["3", "5"]),
        (lambda o: "\n".join(json.dumps([each]) for each in o), ["1.1", "2.1"]),
        (lambda o: json.dumps(o) + "\n[]\n", ["1.1", "1.2"]),
        (lambda o: json.dumps({"orders": o}), ["1.1", "1.2"]),
        (lambda o: json.dumps({"orders": o}, indent=1), ["1", "2"]),
        (lambda o: json.dumps({"orders": o[:1]}) + "\n" + json.dumps(o[1]), ["1.1", "2"]),
    ],
)
def test_each_shape_of_a_file_holds_the_same_orders(
    tmp_path: Path, shape: Callable[[Rows], str], positions: list[str]
) -> None:
    path = write(tmp_path / "o.json", shape([ORDER, {**ORDER, "id": "B"}]))
    found, rejected = read(path)
    assert not rejected
    assert [row["order_id"] for row in found["orders"]] == [f"alpaca:{ORDER['id']}", "alpaca:B"]
    assert [row["source_id"] for row in found["orders"]] == [f"o.json:{at}" for at in positions]


@pytest.mark.parametrize("name", ["alpaca-orders", "alpaca-activities"])
def test_an_array_of_nothing_is_a_file_without_rows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "none.json", "[]\n")
    assert read(path, name) == ({}, [])
    assert detect(path).name == "alpaca-orders"


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        ({"status": "pending"}, "allowed", "status 'pending' is none"),
        ({"status": None}, "required", "status is missing"),
        ({"id": None}, "required", "order_id is missing"),
        ({"symbol": ""}, "required", "symbol is missing"),
        ({"side": "sideways"}, "allowed", "side 'sideways'"),
        ({"qty": None}, "required", "quantity is missing"),
        ({"qty": "-10"}, "sign", "quantity '-10'"),
        ({"qty": {"shares": 1}}, "type", "qty is a JSON object"),
        ({"qty": True}, "type", "quantity 'true'"),
        ({"filled_avg_price": "n/a"}, "type", "average_fill_price 'n/a'"),
        ({"submitted_at": "yesterday"}, "time", "submitted_at 'yesterday'"),
        ({"symbol": ["SPY"]}, "type", "symbol is a JSON array"),
        ({"symbol": "\ud800"}, "json", "half of a surrogate pair"),
        ({"client_order_id": "\ud800"}, "json", "half of a surrogate pair"),
    ],
)
def test_a_bad_order_is_refused_and_the_rest_goes_in(
    tmp_path: Path, change: dict[str, Any], rule: str, words: str
) -> None:
    rows, rejected = orders_of(
        tmp_path, ORDER, {**ORDER, "id": "B", **change}, {**ORDER, "id": "C"}
    )
    assert [row["order_id"] for row in rows] == [f"alpaca:{ORDER['id']}", "alpaca:C"]
    assert len(rejected) == 1
    assert (rejected[0].rule, rejected[0].position) == (rule, "row 2")
    assert words in rejected[0].reason
    json.dumps(rejected[0].row)


def test_a_member_that_is_called_as_the_ledgers_own_is_kept(tmp_path: Path) -> None:
    row = one_order(tmp_path, exact={"mine": 1})
    assert json.loads(row["extra"])["exact"].keys() >= {"mine", "submitted_at"}


@pytest.mark.parametrize("cut", [40, 300, -2, -700])
@pytest.mark.parametrize(
    "shape",
    [
        json.dumps,
        lambda o: json.dumps(o, indent=1),
        lambda o: "\n".join(map(json.dumps, o)),
        lambda o: "\n".join(json.dumps([each]) for each in o),
    ],
)
def test_a_file_cut_short_is_no_file(
    tmp_path: Path, shape: Callable[[Rows], str], cut: int
) -> None:
    path = write(tmp_path / "o.json", shape([ORDER, {**ORDER, "id": "B"}])[:cut])
    with pytest.raises(BadInputError, match="ends in the middle"):
        read(path, "alpaca-orders")


def test_a_leg_cut_short_is_seen_though_the_line_ends_as_one_should(tmp_path: Path) -> None:
    text = json.dumps(ORDER) + "\n" + json.dumps({**ORDER, "legs": [ORDER]})[:-2]
    with pytest.raises(BadInputError, match=r"ends in the middle of its JSON .line 2."):
        read(write(tmp_path / "o.jsonl", text), "alpaca-orders")


def test_a_line_that_is_not_json_is_refused_and_an_array_that_is_not_makes_a_bad_file(
    tmp_path: Path,
) -> None:
    good = json.dumps(ORDER)
    lines = [good, good.replace('"id"', '"id": 1, "id"', 1), good[:-1] + ",}", '{"NaN": NaN}']
    path = write(tmp_path / "o.jsonl", "\n".join(lines) + "\n")
    found, rejected = read(path)
    assert len(found["orders"]) == 1
    assert [(r.rule, r.position) for r in rejected] == [("json", f"row {at}") for at in (2, 3, 4)]
    for text in (f"[{good},,{good}]", f"[{good},]", good + "\n[,]\n"):
        with pytest.raises(BadInputError, match="is not valid JSON"):
            read(write(tmp_path / "o.json", text), "alpaca-orders")
    found, rejected = read(write(tmp_path / "o.json", f"[{good},7]"))
    assert (len(found["orders"]), rejected[0].reason) == (1, "it is not an object")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"SQLite format 3\x00\xff\xfe", "is a SQLite database, not JSON"),
        (b"PAR1\x15\x04\n", "is a Parquet file, not JSON"),
        (b"<FlexQueryResponse>\n</FlexQueryResponse>", "is XML or HTML, not JSON"),
        (b"id,qty\n1,2\n", "is not JSON"),
        (b'[{"id": "\xff"}]', "is not UTF-8 text"),
        (b'{"id": "\xff"}\n{}', "is not UTF-8 text"),
        (b"\n \n", "is empty"),
        (b"7", "holds no rows"),
        (b'{"orders": 7}', "holds no rows"),
        (b'{"a": 1}', "holds no Alpaca orders: none of its first objects has a field id, status"),
        (b"[7]", "none of its first lines is a JSON object"),
    ],
)
def test_a_file_of_another_kind_says_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = write(tmp_path / "some.file", content)
    with pytest.raises(BadInputError, match=r"some\.file") as caught:
        read(path, "alpaca-orders")
    assert words in str(caught.value)


def test_the_other_of_the_two_formats_is_recognised_when_the_wrong_one_is_named() -> None:
    with pytest.raises(BadInputError, match=r"looks like account activities.*alpaca-activities"):
        read(ORDERS_FILE.with_name(ACTIVITIES_FILE.name), "alpaca-orders")
    with pytest.raises(BadInputError, match=r"looks like orders.*alpaca-orders"):
        read(ORDERS_FILE, "alpaca-activities")


@pytest.mark.parametrize("path", [ORDERS_FILE, ACTIVITIES_FILE])
def test_the_mode_must_be_told(path: Path) -> None:
    with pytest.raises(BadInputError, match="--mode"):
        read(path, options=ReadOptions())


def test_neither_takes_the_ledgers_own_lines_and_those_do_not_take_theirs(tmp_path: Path) -> None:
    row = {"order_id": "O", "mode": "live", "extra": {"client_order_id": "x", "activity_type": "F"}}
    assert detect(write(tmp_path / "own.jsonl", json.dumps(row) + "\n")).name == "jsonl"
    assert select(write(tmp_path / "o.jsonl", json.dumps(ORDER)), None).name == "alpaca-orders"
    assert select(write(tmp_path / "a.jsonl", json.dumps(FILL)), None).name == "alpaca-activities"
    for path, size in ((ORDERS_FILE, 400), (ACTIVITIES_FILE, 120)):
        name = path.stem.replace("_", "-")
        cut = write(tmp_path / "cut.json", path.read_bytes()[:size])
        assert detect(cut).name == name, "so that reading can say what is wrong"


# --- activities


def activities_of(tmp_path: Path, *rows: dict[str, Any]) -> tuple[dict[str, Rows], list[Rejected]]:
    return read(write(tmp_path / "activities.json", json.dumps(rows)), "alpaca-activities")


def nta(kind: str, **changes: Any) -> dict[str, Any]:
    return {**PAID, "activity_type": kind, "net_amount": "0", **changes}


def test_fills_are_what_the_brokers_own_package_reads() -> None:
    found, rejected = read(ACTIVITIES_FILE)
    assert not rejected
    raw = [row for row in json.loads(ACTIVITIES_FILE.read_text()) if row["activity_type"] == "FILL"]
    rows = [row for row in found["fills"] if row["order_id"]]
    for row, given in zip(rows, raw, strict=True):
        account = "c8f1ef5d-edc0-4f23-9ee4-378f19cb92a4"
        side = given["side"].removesuffix("_short")  # which the package does not know
        fill = TradeActivity(account_id=account, **{**given, "side": side})
        assert row["fill_id"] == f"alpaca:{fill.id}"
        assert row["order_id"] == f"alpaca:{fill.order_id}"
        assert (row["side"], row["symbol"]) == (fill.side.value, fill.symbol)
        assert float(row["quantity"]) == pytest.approx(fill.qty, abs=1e-8)
        assert float(row["price"]) == fill.price
        assert row["executed_at"] == fill.transaction_time
        assert (row["kind"], row["account"], row["fees"]) == ("trade", "PA1", None)
    assert [row["multiplier"] for row in rows] == [None, None, None, 100, None]
    assert rows[4]["currency"] == "BTC"
    assert json.loads(rows[2]["extra"])["side"] == "sell_short"


def test_cash_is_what_the_brokers_own_package_reads() -> None:
    found, _ = read(ACTIVITIES_FILE)
    raw = {f"alpaca:{r['id']}": r for r in json.loads(ACTIVITIES_FILE.read_text())}
    for row in found["cash_flows"]:
        given = raw[row["flow_id"]]
        if given["activity_type"] == "PTR":  # which the package does not know
            continue
        flow = NonTradeActivity(account_id="c8f1ef5d-edc0-4f23-9ee4-378f19cb92a4", **given)
        assert float(row["amount"]) == flow.net_amount
        assert row["at"].astimezone(UTC).date() == flow.date
        extra = json.loads(row["extra"])
        rest = {n: v for n, v in given.items() if n not in ("id", "net_amount")}
        assert rest.items() <= extra.items()


def test_every_type_the_brokers_package_knows_has_a_meaning() -> None:
    assert {each.value for each in ActivityType} <= {"FILL", *MEANINGS}


@pytest.mark.parametrize(
    ("kind", "amount", "meant"),
    [
        ("CSD", "100", "deposit"),
        ("CSD", "-100", "withdrawal"),
        ("CSW", "-100", "withdrawal"),
        ("CSW", "100", "deposit"),
        ("JNLC", "-1", "withdrawal"),
        ("JNL", "1", "deposit"),
        ("ACATC", "1", "deposit"),
        ("TRANS", "1", "deposit"),
        ("DIV", "1", "dividend"),
        ("DIVCGL", "1", "dividend"),
        ("DIVTXEX", "-1", "dividend"),
        ("CIL", "1", "dividend"),
        ("DIVNRA", "-1", "tax"),
        ("DIVFT", "1", "tax"),
        ("DIVTW", "-1", "tax"),
        ("INTNRA", "-1", "tax"),
        ("FEE", "-1", "fee"),
        ("FEE", "1", "rebate"),
        ("CFEE", "-1", "fee"),
        ("PTC", "-1", "fee"),
        ("PTR", "1", "rebate"),
        ("INT", "-1", "interest"),
    ],
)
def test_what_becomes_of_money(tmp_path: Path, kind: str, amount: str, meant: str) -> None:
    found, rejected = activities_of(tmp_path, nta(kind, net_amount=amount))
    assert not rejected
    row = found["cash_flows"][0]
    assert (row["kind"], row["amount"], row["currency"]) == (meant, Decimal(amount), "USD")
    assert row["at"] == datetime(2026, 3, 2, 5, tzinfo=UTC), "midnight in New York"


@pytest.mark.parametrize(
    ("kind", "quantity", "side", "meant", "closing"),
    [
        ("SPLIT", "90", "buy", "split", False),
        ("SSP", "-90", "sell", "split", False),
        ("OPEXP", "-1", "sell", "expiry", True),
        ("OPEXP", "1", "buy", "expiry", True),
        ("OPASN", "2", "buy", "assignment", True),
        ("OPEXC", "-2", "sell", "exercise", True),
        ("OPXRC", "-2", "sell", "exercise", True),
        ("ACATS", "12", "buy", "transfer", False),
        ("JNLS", "-2", "sell", "transfer", False),
        ("SPIN", "3", "buy", "transfer", False),
        ("JNL", "3", "buy", "transfer", False),
        ("CFEE", "-0.000195", "sell", "transfer", True),
    ],
)
def test_what_becomes_of_shares(
    tmp_path: Path, kind: str, quantity: str, side: str, meant: str, closing: bool
) -> None:
    found, rejected = activities_of(tmp_path, nta(kind, qty=quantity, symbol="SPY", price="4"))
    assert not rejected
    row = found["fills"][0]
    assert (row["kind"], row["side"]) == (meant, side)
    assert row["quantity"] == abs(Decimal(quantity))
    assert row["price"] == (4 if meant == "transfer" else 0)
    end = datetime(2026, 3, 3, 4, 59, 59, tzinfo=UTC)
    assert row["executed_at"] == (end if closing else datetime(2026, 3, 2, 5, tzinfo=UTC))
    assert row["order_id"] is None


@pytest.mark.parametrize(
    ("price", "money", "quantity", "paid"),
    [
        ("150", "-30000", "200", "150"),
        ("90", "-30000", "200", "150"),
        (None, "30000", "-200", "150"),
        ("150.00004", "-30000", "200", "150.00004"),
        ("1", "10", "-3", "3.33333333"),
        ("150", "0", "200", "150"),
        ("150", None, "200", "150"),
    ],
)
def test_shares_that_an_option_delivered_cost_what_was_paid(
    tmp_path: Path, price: str | None, money: str | None, quantity: str, paid: str
) -> None:
    delivered = nta("OPTRD", qty=quantity, symbol="AAPL", price=price, net_amount=money)
    found, rejected = activities_of(tmp_path, delivered)
    assert not rejected
    row = found["fills"][0]
    assert (row["kind"], row["price"]) == ("trade", Decimal(paid))
    extra = json.loads(row["extra"])
    assert extra.get("net_amount") == money
    assert ("price" in extra) == (price is not None and Decimal(price) != row["price"])


@pytest.mark.parametrize(
    ("row", "rule", "words"),
    [
        ({**FILL, "type": "trade_bust"}, "allowed", "type 'trade_bust' of a FILL"),
        ({**FILL, "side": "sideways"}, "allowed", "side 'sideways'"),
        ({**FILL, "qty": "0.0"}, "quantity", "a fill of nothing"),
        ({**FILL, "qty": "-1"}, "sign", "quantity '-1' is negative"),
        ({**FILL, "qty": None}, "required", "quantity is missing"),
        ({**FILL, "price": {"a": 1}}, "type", "price is a JSON object"),
        ({**FILL, "symbol": None}, "required", "symbol is missing"),
        ({**FILL, "transaction_time": None}, "required", "executed_at is missing"),
        ({**FILL, "id": ""}, "required", "fill_id is missing"),
        ({**FILL, "note": "\ud800"}, "json", "surrogate"),
        (nta("CSD"), "amount", "this CSD moves no money"),
        (nta("CSD", net_amount=None), "required", "amount is missing"),
        (nta("CSD", net_amount="many"), "type", "amount 'many'"),
        (nta("CSD", net_amount="1", date="someday"), "time", "at 'someday'"),
        (nta("CSD", net_amount="1", date=None), "required", "at is missing"),
        (nta("CSD", net_amount="1", status="canceled"), "cancelled", "if the ledger has it"),
        (nta("CSD", net_amount="1", status="perhaps"), "allowed", "status 'perhaps'"),
        (nta("CFEE"), "amount", "moves no money"),
        (nta("SPLIT", symbol="SPY"), "quantity", "says no quantity"),
        (nta("SPLIT", symbol="SPY", qty="x"), "type", "quantity 'x'"),
        (nta("MA", symbol="SPY", qty="-5", net_amount="99"), "both", "shares and money (99)"),
        (nta("OPTRD", symbol="SPY", qty="x", net_amount="1"), "type", "quantity 'x'"),
        (nta("SWP", net_amount="5"), "place", "SWP has no place in the ledger: a sweep"),
        (nta("BRANDNEW", net_amount="5"), "allowed", "activity_type 'BRANDNEW'"),
        (nta("", net_amount="5"), "allowed", "activity_type ''"),
    ],
)
def test_an_activity_without_a_place_is_refused_with_its_reason(
    tmp_path: Path, row: dict[str, Any], rule: str, words: str
) -> None:
    found, rejected = activities_of(tmp_path, nta("CSD", net_amount="1", id="good"), row)
    assert len(found["cash_flows"]) == 1
    assert not found.get("fills")
    assert [(r.rule, r.position) for r in rejected] == [(rule, "row 2")]
    assert words in rejected[0].reason


def test_numbers_of_activities_keep_their_digits_and_odd_members_their_place(
    tmp_path: Path,
) -> None:
    raw = json.dumps([{**FILL, "price": "@", "exact": {"mine": 1}}, nta("CSD", net_amount=5)])
    found, rejected = read(write(tmp_path / "a.json", raw.replace('"@"', "512.250000000000001")))
    assert not rejected
    assert found["fills"][0]["price"] == Decimal("512.25")
    exact = json.loads(found["fills"][0]["extra"])["exact"]
    assert exact == {"mine": 1, "price": "512.250000000000001"}
    assert found["cash_flows"][0]["amount"] == 5


# --- into a store


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    return store


def ingest(path: Path, store: DuckDBStore) -> dict[str, TableCount]:
    return ingest_file(
        path,
        store,
        select(path, None),
        OPTIONS,
        progress=lambda _done, _total: None,
        temp_dir=path.parent,
        imports=path.parent / "imports",
    ).counts


def test_once_is_enough_however_the_file_is_cut(tmp_path: Path, store: DuckDBStore) -> None:
    orders, activities = (json.loads(p.read_text()) for p in (ORDERS_FILE, ACTIVITIES_FILE))
    first = ingest(write(tmp_path / "o.json", json.dumps(orders)), store)["orders"]
    assert first.inserted == len(list(without_legs(orders)))
    lines = write(tmp_path / "o.jsonl", "".join(json.dumps(o) + "\n" for o in orders[::-1]))
    assert ingest(lines, store) == {"orders": TableCount(unchanged=first.inserted)}
    ingest(write(tmp_path / "a.json", json.dumps(activities[:20])), store)
    again = ingest(write(tmp_path / "b.json", json.dumps(activities[10:])), store)
    assert again["cash_flows"].unchanged == 7
    assert again["cash_flows"].quarantined == again["fills"].quarantined == 0
    assert len(list((tmp_path / "imports").iterdir())) == 3, "the lines said nothing new"


def test_nothing_of_a_cut_file_goes_in_and_two_versions_are_not_chosen_between(
    tmp_path: Path, store: DuckDBStore
) -> None:
    with pytest.raises(BadInputError, match=r"cut\.json ends in the middle"):
        ingest(write(tmp_path / "cut.json", ORDERS_FILE.read_bytes()[:-50]), store)
    assert not any((tmp_path / "imports").iterdir())
    path = write(tmp_path / "a.json", json.dumps([FILL, {**FILL, "price": "1"}, FILL]))
    counts = ingest(path, store)["fills"]
    assert (counts.inserted, counts.quarantined) == (0, 2)
    assert LEDGER_TABLES["fills"].arrow.field("price").type == pa.decimal128(18, 8)


def test_pages_hold_what_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_PAGE_ROWS", 2)
    good = [json.dumps({**ORDER, "id": str(at)}) for at in range(3)]
    path = write(tmp_path / "o.jsonl", "\n".join([*good[:2], "{7}"]) + "\n")
    pages = list(FORMATS["alpaca-orders"].pages(path, OPTIONS))
    assert [(page.rows.num_rows, len(page.rejected)) for page in pages] == [(2, 0), (0, 1)]
    path = write(tmp_path / "o.json", f"[{','.join(good)}]")
    pages = list(FORMATS["alpaca-orders"].pages(path, OPTIONS))
    assert [page.rows["source_id"].to_pylist() for page in pages] == [
        ["o.json:1", "o.json:2"],
        ["o.json:3"],
    ]


def test_orders_need_not_have_the_same_fields(tmp_path: Path) -> None:
    other = {("brand_new" if name == "subtag" else name): v for name, v in ORDER.items()}
    rows, rejected = orders_of(tmp_path, ORDER, {**other, "id": "B", "brand_new": 1})
    assert not rejected
    assert [json.loads(row["extra"]).get("brand_new") for row in rows] == [None, 1]


@pytest.mark.parametrize(
    "name", ['say "so"', "back\\slash", "line\nbreak", "naïve ✓", "\x7f", "nul\x00"]
)
def test_what_a_client_calls_its_order_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    row = one_order(tmp_path, client_order_id=name)
    assert json.loads(row["extra"])["client_order_id"] == name
    beside, _ = orders_of(tmp_path, {**ORDER, "client_order_id": name}, {**ORDER, "more": [1]})
    assert beside[0]["extra"] == row["extra"], "whatever it is read together with"
    odd = one_order(tmp_path, **{name: "x", "client_order_id": None})
    assert json.loads(odd["extra"])[name] == "x"
