"""ibkr-flex: cash transactions, corporate actions, transfers, and files of orders only."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.rejected import Rejected
from tests import flex
from tests.flex import element, response, statement, trade
from tests.ledger.test_formats_ibkr import IMPORTS, ingest, position, read, stored


def flow(tmp_path: Path, **changes: str | None) -> dict[str, Any]:
    rows, rejected = read(flex.write(tmp_path / "t.xml", element("CashTransaction", **changes)))
    assert not rejected, rejected
    [row] = rows["cash_flows"]
    row["extra"] = json.loads(row["extra"])
    return row


def only_refusal(tmp_path: Path, *found: str) -> Rejected:
    rows, [rejected] = read(flex.write(tmp_path / "t.xml", *found))
    assert not any(rows.values())
    return rejected


def test_a_dividend_becomes_a_cash_flow(tmp_path: Path) -> None:
    row = flow(tmp_path)
    extra = row.pop("extra")
    assert row == {
        "flow_id": "ibkr:U1234567:9100000001",
        "mode": "live",
        "at": datetime(2026, 1, 11, 1, 20, tzinfo=UTC),
        "kind": "dividend",
        "amount": Decimal(24),
        "source": "ibkr",
        "source_id": "t.xml:5",
        "account": "U1234567",
        "currency": "USD",
    }
    assert (extra["type"], extra["symbol"], extra["conid"]) == ("Dividends", "ACME", "265598")


KINDS = [
    ("Deposits/Withdrawals", "1,000", "deposit"),
    ("Deposits & Withdrawals", "-1000", "withdrawal"),
    ("Dividends", "-5", "dividend"),
    ("Payment In Lieu Of Dividends", "-5", "dividend"),
    ("Withholding Tax", "-5", "tax"),
    ("Withholding Tax", "5", "tax"),
    ("871(m) Withholding", "-5", "tax"),
    ("Broker Interest Paid", "-5", "interest"),
    ("Broker Interest Received", "5", "interest"),
    ("Bond Interest Paid", "-5", "interest"),
    ("Bond Interest Received", "5", "interest"),
    ("Other Fees", "-5", "fee"),
    ("Other Fees", "5", "rebate"),
    ("Advisor Fees", "-5", "fee"),
    ("Broker Fees", "-5", "fee"),
    ("Commission Adjustments", "5", "rebate"),
    ("Price Adjustments", "-5", "fee"),
]


def test_kinds_of_cash_flows(tmp_path: Path) -> None:
    from ibflex.enums import CashAction

    found = [
        element("CashTransaction", type=words, amount=amount, transactionID=f"{at}1")
        for at, (words, amount, _) in enumerate(KINDS)
    ]
    rows, rejected = read(flex.write(tmp_path / "t.xml", *found))
    assert not rejected
    assert [(row["kind"], row["amount"]) for row in rows["cash_flows"]] == [
        (kind, Decimal(amount.replace(",", ""))) for _, amount, kind in KINDS
    ]
    assert {member.value for member in CashAction} <= {words for words, *_ in KINDS}


def test_a_kind_that_nobody_knows_is_quarantined(tmp_path: Path) -> None:
    rejected = only_refusal(tmp_path, element("CashTransaction", type="Carbon Credits"))
    assert rejected.rule == "cash_type"
    assert "'Carbon Credits'" in rejected.reason
    assert rejected.row["amount"] == "24.00"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"amount": "much"}, "type"),
        ({"amount": ""}, "required"),
        ({"dateTime": "", "reportDate": ""}, "required"),
        ({"dateTime": "20261301"}, "time"),
    ],
)
def test_a_row_that_is_no_cash_flow(tmp_path: Path, changes: dict[str, str], rule: str) -> None:
    assert only_refusal(tmp_path, element("CashTransaction", **changes)).rule == rule


def test_a_date_alone(tmp_path: Path) -> None:
    row = flow(tmp_path, dateTime="", reportDate="2026-01-10", currency="QQQ")
    assert row["at"] == datetime(2026, 1, 10, 5, tzinfo=UTC)
    assert row["extra"]["date_only"] is True
    assert row["currency"] == "QQQ"


def test_sums_are_not_added_to_what_they_sum_up(tmp_path: Path) -> None:
    path = flex.write(
        tmp_path / "t.xml",
        element("CashTransaction"),
        element("CashTransaction", levelOfDetail="SUMMARY", transactionID=""),
        element("CashTransaction", levelOfDetail=None, accountId="-", transactionID=""),
        element("CashTransaction", currency="BASE_SUMMARY", transactionID="5"),
    )
    rows, rejected = read(path)
    assert [row["flow_id"] for row in rows["cash_flows"]] == ["ibkr:U1234567:9100000001"]
    assert not rejected


def test_a_row_that_may_be_a_sum_is_not_taken_for_a_flow(tmp_path: Path) -> None:
    path = flex.write(
        tmp_path / "t.xml",
        element("CashTransaction", levelOfDetail=None),
        element("CashTransaction", levelOfDetail=None, transactionID=""),
    )
    _, [rejected] = read(path)
    assert rejected.rule == "id"
    assert "tick Level of Detail" in rejected.reason


def test_rows_without_numbers_are_known_by_what_they_say(tmp_path: Path) -> None:
    """Another query's formats change nothing, and two that are equal are two."""
    plain = {"transactionID": None, "reportDate": None}
    rows, _ = read(
        flex.write(
            tmp_path / "t.xml",
            element("CashTransaction", **plain),
            element("CashTransaction", **plain),
            element("CashTransaction", **plain | {"amount": "25"}),
        )
    )
    keys = [row["flow_id"] for row in rows["cash_flows"]]
    assert len(set(keys)) == 3
    assert keys[1] == f"{keys[0]}#2"
    other = plain | {"amount": "24", "dateTime": "2026-01-10 20:20:00", "levelOfDetail": None}
    assert flow(tmp_path, **other)["flow_id"] == keys[0]
    assert flow(tmp_path, **plain | {"amount": "24,000.5"})["amount"] == Decimal("24000.5")


def fills_of(path: Path) -> list[dict[str, Any]]:
    rows, rejected = read(path)
    assert not rejected, rejected
    return rows["fills"]


def test_a_split_adds_what_the_holding_grew_by(tmp_path: Path) -> None:
    [row] = fills_of(flex.write(tmp_path / "t.xml", element("CorporateAction")))
    assert row["fill_id"] == "ibkr:U1234567:action:9200000001"
    assert (row["kind"], row["side"], row["quantity"], row["price"]) == ("split", "buy", 100, 0)
    assert row["executed_at"] == datetime(2026, 1, 20, 1, 25, tzinfo=UTC)
    assert (row["order_id"], row["fees"], row["realized_pnl"]) == (None, None, None)
    extra = json.loads(row["extra"])
    assert (extra["type"], extra["actionID"]) == ("FS", "130000001")


def test_a_reverse_split_that_changes_the_security_is_of_one_symbol() -> None:
    rows, _ = read(IMPORTS / "ibkr_activity.xml")
    tiny = [row for row in rows["fills"] if row["symbol"] == "TINY"]
    assert position(tiny) == -900


def test_a_split_of_an_old_query_without_numbers(tmp_path: Path) -> None:
    [row] = fills_of(
        flex.write(
            tmp_path / "t.xml",
            element(
                "CorporateAction", transactionID=None, dateTime=None, quantity="-10", type="RS"
            ),
        )
    )
    assert (row["side"], row["quantity"]) == ("sell", 10)
    assert row["executed_at"] == datetime(2026, 1, 20, 5, tzinfo=UTC)
    assert row["fill_id"].startswith("ibkr:U1234567:action:")


@pytest.mark.parametrize(
    ("changes", "rule", "words"),
    [
        ({"type": "TC", "proceeds": "1530"}, "corporate_action", "TC (merger)"),
        ({"type": "SO"}, "corporate_action", "SO (spinoff)"),
        ({"type": "??"}, "corporate_action", "'??'"),
        ({"type": "RS", "proceeds": "4.5"}, "corporate_action", "brought cash"),
        ({"quantity": "0"}, "zero_quantity", "no holding changed"),
        ({"quantity": "?"}, "quantity", "'?' is no number"),
    ],
)
def test_other_corporate_actions_are_quarantined(
    tmp_path: Path, changes: dict[str, str], rule: str, words: str
) -> None:
    rejected = only_refusal(tmp_path, element("CorporateAction", **changes))
    assert rejected.rule == rule
    assert words in rejected.reason


@pytest.mark.parametrize(
    ("changes", "side", "quantity", "price"),
    [
        ({}, "buy", 40, Decimal(0)),
        ({"transferPrice": "50.25"}, "buy", 40, Decimal("50.25")),
        ({"quantity": "-40"}, "sell", 40, Decimal(0)),  # a short position came in
        ({"direction": "OUT", "quantity": "-40"}, "sell", 40, Decimal(0)),
    ],
)
def test_transfers_of_shares(
    tmp_path: Path, changes: dict[str, str], side: str, quantity: int, price: Decimal
) -> None:
    [row] = fills_of(flex.write(tmp_path / "t.xml", element("Transfer", **changes)))
    assert (row["kind"], row["side"], row["quantity"], row["price"]) == (
        "transfer",
        side,
        quantity,
        price,
    )
    assert json.loads(row["extra"])["date_only"] is True


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"direction": "OUT"}, "direction"),
        ({"direction": ""}, "direction"),
        ({"quantity": "0", "cashTransfer": "250"}, "cash_transfer"),
        ({"assetCategory": "CASH"}, "cash_transfer"),
        ({"quantity": ""}, "quantity"),
    ],
)
def test_transfers_that_have_no_place(tmp_path: Path, changes: dict[str, str], rule: str) -> None:
    assert only_refusal(tmp_path, element("Transfer", **changes)).rule == rule


def test_sums_of_actions_and_transfers_are_left_out(tmp_path: Path) -> None:
    path = flex.write(
        tmp_path / "t.xml",
        element("CorporateAction", levelOfDetail="SUMMARY"),
        element("Transfer", levelOfDetail="SUMMARY"),
    )
    assert read(path) == ({}, [])


def test_a_file_of_orders_only(tmp_path: Path) -> None:
    path = flex.write(
        tmp_path / "t.xml",
        element("Order", orderType="STP", dateTime="20260105;093107"),
        element(
            "Order",
            currency="",
            ibOrderID="7",
            buySell="SELL",
            quantity="-5",
            orderType="LMT;MKT",
            orderTime="",
        ),
    )
    rows, rejected = read(path)
    assert not rejected, rejected
    assert list(rows) == ["orders"]
    [first, second] = rows["orders"]
    extra = json.loads(first.pop("extra"))
    assert {name: value for name, value in first.items() if value is not None} == {
        "order_id": "ibkr:U1234567:500000001",
        "mode": "live",
        "broker": "ibkr",
        "symbol": "ACME",
        "side": "buy",
        "order_type": "stop",
        "quantity": Decimal(100),
        "filled_quantity": Decimal(100),
        "average_fill_price": Decimal("50.25"),
        "status": "filled",
        "submitted_at": datetime(2026, 1, 5, 14, 30, 1, tzinfo=UTC),
        "filled_at": datetime(2026, 1, 5, 14, 31, 7, tzinfo=UTC),
        "source": "ibkr-orders",
        "source_id": "t.xml:5",
    }
    assert (extra["account"], extra["currency"]) == ("U1234567", "USD")
    assert (second["side"], second["quantity"], second["order_type"]) == ("sell", 5, "multiple")
    assert second["submitted_at"] is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"buySell": "BUY (Ca.)", "quantity": "-100"}, "side"),
        ({"quantity": "0"}, "zero_quantity"),
        ({"ibOrderID": ""}, "id"),
    ],
)
def test_orders_that_do_not_stand(tmp_path: Path, changes: dict[str, str], rule: str) -> None:
    assert only_refusal(tmp_path, element("Order", **changes)).rule == rule


def test_orders_made_of_executions_stand_before_sums(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    ingest(flex.write(tmp_path / "executions.xml", trade()), store)
    sums = tmp_path / "sums.xml"
    sums.write_text(response(statement(element("Order", tradePrice="50.2"))))
    result = ingest(sums, store)
    assert not result.changed
    assert stored(store, "SELECT source, average_fill_price FROM hot.orders") == [
        ("ibkr", Decimal("50.25"))
    ]
    assert stored(store, "SELECT rule FROM hot.quarantine") == [("foreign_key_owner",)]
