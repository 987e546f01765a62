"""ibkr-flex: executions as fills, and that what IBKR takes back is taken back in the sums."""

import itertools
import json
import random
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from fluxhero.engine import connect
from fluxhero.errors import BadInputError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import FORMATS, ReadOptions, detect
from fluxhero.ledger.ingest import IngestResult, ingest_file
from fluxhero.ledger.rejected import Rejected
from tests import flex
from tests.flex import trade

NEW_YORK = ReadOptions(timezone="America/New_York", timezone_given=True)
IMPORTS = Path(__file__).parent / "imports"

# What IBKR writes of a trade that it cancels, and of one that it books anew: the opposite quantity, no
# execution and no trade of its own; then the same trade again, as a new revision of the execution.
BOUGHT = trade(quantity="2", tradePrice="0.73", ibCommission="-1.3666", proceeds="-1.46")
CANCEL = {
    "tradeID": "",
    "ibExecID": "",
    "transactionType": "TradeCancel",
    "exchange": "--",
    "quantity": "-2",
    "tradePrice": "0.73",
    "proceeds": "1.46",
    "ibCommission": "0",
    "openCloseIndicator": "",
    "notes": "Ca",
    "buySell": "BUY (Ca.)",
    "orderTime": "",
    "orderType": "",
    "origTradeID": "700000001",
    "origTransactionID": "9000000001",
    "transactionID": "9000000019",
}
AGAIN = {
    "quantity": "1",
    "tradePrice": "0.73",
    "ibCommission": "0.3333",
    "proceeds": "-0.73",
    "transactionID": "9000000021",
    "ibExecID": "0000e0d5.6a5a0001.01.02",
}


def read(
    path: Path, options: ReadOptions = NEW_YORK
) -> tuple[dict[str, list[dict[str, Any]]], list[Rejected]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    rejected: list[Rejected] = []
    for page in FORMATS["ibkr-flex"].pages(path, options):
        assert page.rows.schema.equals(page.table.arrow)
        rows.setdefault(page.table.name, []).extend(page.rows.to_pylist())
        rejected += page.rejected
    return rows, rejected


def fills(path: Path, options: ReadOptions = NEW_YORK) -> list[dict[str, Any]]:
    rows, rejected = read(path, options)
    assert not rejected, rejected
    for row in rows["fills"]:
        row["extra"] = json.loads(row["extra"])
    return rows["fills"]


def one(tmp_path: Path, options: ReadOptions = NEW_YORK, **changes: str | None) -> dict[str, Any]:
    [row] = fills(flex.write(tmp_path / "t.xml", trade(**changes)), options)
    return row


def several(changes: Iterable[dict[str, str]]) -> Iterator[str]:
    """Executions with ids of their own, each changed in its way."""
    for at, change in enumerate(changes):
        own = {"ibExecID": f"e{at}.01", "tradeID": f"{at + 1}", "transactionID": f"{at + 1}"}
        yield trade(**own | change)


def refusal(tmp_path: Path, *others: str, **changes: str | None) -> Rejected:
    good = trade(tradeID="1", transactionID="1", ibExecID="good.01")
    path = flex.write(tmp_path / "t.xml", good, *others, trade(**changes))
    rows, [rejected] = read(path)
    assert "ibkr:U1234567:good.01" in [row["fill_id"] for row in rows["fills"]], "the rest goes in"
    return rejected


def position(rows: Iterable[dict[str, Any]]) -> Decimal:
    return sum((row["quantity"] * (1 if row["side"] == "buy" else -1) for row in rows), Decimal(0))


def cash(rows: Iterable[dict[str, Any]]) -> Decimal:
    total = Decimal(0)
    for row in rows:
        amount = row["quantity"] * row["price"] * (row["multiplier"] or 1)
        total += (-amount if row["side"] == "buy" else amount) - (row["fees"] or 0)
    return total


def test_an_execution_becomes_a_fill(tmp_path: Path) -> None:
    path = flex.write(tmp_path / "t.xml", trade())
    assert detect(path).name == "ibkr-flex"
    [row] = fills(path)
    assert {name: value for name, value in row.items() if name != "extra"} == {
        "fill_id": "ibkr:U1234567:0000e0d5.6a5a0001.01.01",
        "mode": "live",
        "broker": "ibkr",
        "account": "U1234567",
        "symbol": "ACME",
        "currency": "USD",
        "side": "buy",
        "quantity": Decimal(100),
        "price": Decimal("50.25"),
        "executed_at": datetime(2026, 1, 5, 14, 31, 5, tzinfo=UTC),
        "fees": Decimal("1.0035"),
        "realized_pnl": Decimal(0),
        "multiplier": Decimal(1),
        "kind": "trade",
        "order_id": "ibkr:U1234567:500000001",
        "trade_id": None,
        "source": "ibkr",
        "source_id": "t.xml:5",
    }
    assert row["extra"] == {
        "assetCategory": "STK",
        "conid": "265598",
        "exchange": "ARCA",
        "openCloseIndicator": "O",
        "notes": "P",
        "transactionType": "ExchTrade",
        "tradeID": "700000001",
        "transactionID": "9000000001",
        "ibExecID": "0000e0d5.6a5a0001.01.01",
        "ibOrderID": "500000001",
        "fxRateToBase": "1",
        "netCash": "-5026.0035",
        "order_type": "limit",
        "submitted_at": "2026-01-05T14:30:01+00:00",
        "cancelled_as": "ibkr:U1234567:trade:700000001",
    }


def fixture_fills() -> list[dict[str, Any]]:
    rows, _ = read(IMPORTS / "ibkr_activity.xml")
    for row in rows["fills"]:
        row["extra"] = json.loads(row["extra"])
    return rows["fills"]


def test_what_we_read_is_what_ibflex_reads() -> None:
    from ibflex import parser

    tree = ElementTree.parse(IMPORTS / "ibkr_activity.xml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fixture has a field that ibflex does not know
        theirs: list[Any] = [parser.parse_data_element(found) for found in tree.iter("Trade")]
    ours = {row["extra"]["transactionID"]: row for row in fixture_fills()}
    assert len(theirs) == 16
    for found in theirs:
        row = ours[found.transactionID]
        assert row["quantity"] == abs(found.quantity)
        assert row["price"] == found.tradePrice
        assert (row["account"], row["symbol"]) == (found.accountId, found.symbol)
        local = row["executed_at"].astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None)
        assert local == found.dateTime
        if row["fees"] is not None:
            assert row["fees"] == -found.ibCommission - found.taxes
        if row["realized_pnl"] is not None:
            assert row["realized_pnl"] == found.fifoPnlRealized


def test_the_cash_of_the_fills_is_the_cash_that_ibkr_reckons() -> None:
    """`netCash` of a future is its commission only, of a conversion nothing: two that differ by nature."""
    for row in fixture_fills():
        told = row["extra"].get("netCash")
        if told and row["fees"] is not None and row["symbol"] != "ESH6":
            assert cash([row]) == Decimal(told), row


def test_two_accounts_in_one_file() -> None:
    rows = fixture_fills()
    assert {(row["account"], row["mode"]) for row in rows} == {
        ("U1234567", "live"),
        ("DU7654321", "paper"),
    }


def test_the_mode_is_told_by_the_account_or_by_the_user(tmp_path: Path) -> None:
    accounts = ["U1234567", "F1234567", "DU1234567", "DF1234567"]
    path = flex.write(tmp_path / "t.xml", *(trade(accountId=account) for account in accounts))
    assert [row["mode"] for row in fills(path)] == ["live", "live", "paper", "paper"]
    live = fills(path, replace(NEW_YORK, mode="live"))
    assert [row["mode"] for row in live] == ["live"] * 4


def test_an_account_that_is_no_number_does_not_tell_paper_from_live(tmp_path: Path) -> None:
    path = flex.write(tmp_path / "t.xml", trade(accountId="my alias"), account="my alias")
    with pytest.raises(BadInputError, match=r"'my alias'.*--mode live or --mode paper"):
        read(path)
    assert fills(path, replace(NEW_YORK, mode="paper"))[0]["mode"] == "paper"


def test_an_execution_is_of_its_statement_s_account_where_it_names_none(tmp_path: Path) -> None:
    assert one(tmp_path, accountId=None)["account"] == "U1234567"
    path = tmp_path / "none.xml"
    path.write_text(flex.response(flex.statement(trade(accountId=None), account=None)))
    [row] = fills(path, replace(NEW_YORK, account="U7"))
    assert row["fill_id"] == "ibkr:U7:0000e0d5.6a5a0001.01.01"
    _, [rejected] = read(path)
    assert rejected.rule == "account"


def test_an_account_that_is_not_the_file_s_is_refused(tmp_path: Path) -> None:
    path = flex.write(tmp_path / "t.xml", trade())
    with pytest.raises(BadInputError, match="is of U1234567, not of U7"):
        read(path, replace(NEW_YORK, account="U7"))
    assert fills(path, replace(NEW_YORK, account="U1234567"))


FEES: list[tuple[dict[str, str], str | None]] = [
    ({}, "1.0035"),
    ({"taxes": "-2.5"}, "3.5035"),
    ({"ibCommission": "0.25"}, "-0.25"),  # a rebate
    ({"ibCommission": "0"}, "0"),
    ({"ibCommission": "-1,234.5"}, "1234.5"),
    ({"ibCommission": "-0.00000001", "taxes": "-0.00000001"}, "0.00000002"),
    ({"ibCommissionCurrency": ""}, "1.0035"),
    ({"ibCommissionCurrency": "EUR"}, None),
    ({"ibCommissionCurrency": "EUR", "ibCommission": "0", "taxes": "-1"}, "1"),
    ({"ibCommission": ""}, None),
]


def test_fees(tmp_path: Path) -> None:
    rows = fills(flex.write(tmp_path / "t.xml", *several(changes for changes, _ in FEES)))
    expected = [None if text is None else Decimal(text) for _, text in FEES]
    assert [row["fees"] for row in rows] == expected


def test_a_commission_in_another_currency_is_kept_and_never_summed(tmp_path: Path) -> None:
    row = one(tmp_path, ibCommissionCurrency="EUR", taxes="-0.5")
    assert row["fees"] is None
    assert row["extra"]["ibCommission"] == "-1.0035"
    assert row["extra"]["ibCommissionCurrency"] == "EUR"
    assert row["extra"]["taxes"] == "-0.5"


def test_an_unknown_currency_is_carried(tmp_path: Path) -> None:
    assert one(tmp_path, currency="QQQ", ibCommissionCurrency="QQQ")["currency"] == "QQQ"


def test_a_sell_of_many_digits(tmp_path: Path) -> None:
    row = one(
        tmp_path,
        buySell="SELL",
        quantity="-1,234,567.123456789",
        tradePrice="0.000123456",
        proceeds="152.4",
        fifoPnlRealized="-12.5",
    )
    assert (row["side"], row["quantity"]) == ("sell", Decimal("1234567.12345679"))
    assert row["price"] == Decimal("0.00012346")
    assert row["realized_pnl"] == Decimal("-12.5")
    assert row["extra"]["exact"] == {"quantity": "1234567.123456789", "price": "0.000123456"}


SIGNS: list[tuple[str, str, str, str | None]] = [
    ("SELL", "100", "5025", "sell"),
    ("SELL", "100", "", "sell"),
    ("BUY", "-100", "-5025", "buy"),
    ("SELL", "100", "-5025", None),
    ("BUY", "-100", "5025", None),
    ("BUY", "-100", "", None),
]


def test_a_sign_that_contradicts_the_side(tmp_path: Path) -> None:
    changes = ({"buySell": word, "quantity": q, "proceeds": p} for word, q, p, _ in SIGNS)
    rows, rejected = read(flex.write(tmp_path / "t.xml", *several(changes)))
    assert [row["side"] for row in rows["fills"]] == [side for *_, side in SIGNS if side]
    assert {row["quantity"] for row in rows["fills"]} == {Decimal(100)}
    assert [refused.rule for refused in rejected] == ["direction"] * 3


NO_FILLS: list[tuple[dict[str, str], str]] = [
    ({"quantity": "0"}, "zero_quantity"),
    ({"quantity": "many"}, "type"),
    ({"quantity": ""}, "required"),
    ({"quantity": "1,5"}, "type"),
    ({"tradePrice": ""}, "required"),
    ({"tradePrice": "NaN"}, "finite"),
    ({"tradePrice": "12345678901"}, "range"),
    ({"ibCommission": "free"}, "type"),
    ({"symbol": "--"}, "required"),
    ({"currency": ""}, "required"),
    ({"buySell": "HOLD"}, "side"),
    ({"dateTime": "", "tradeDate": ""}, "required"),
    ({"dateTime": "20260231;093000"}, "time"),
    ({"dateTime": "today"}, "time"),
    ({"dateTime": "MULTI", "tradeDate": ""}, "required"),
    ({"ibExecID": "", "tradeID": "", "transactionID": ""}, "id"),
    ({"accountId": "my alias"}, "mode"),
]


def test_rows_that_are_no_fills_are_quarantined_and_the_rest_goes_in(tmp_path: Path) -> None:
    bad = several(changes for changes, _ in NO_FILLS)
    rows, rejected = read(flex.write(tmp_path / "t.xml", *bad, trade()))
    assert [row["fill_id"] for row in rows["fills"]] == ["ibkr:U1234567:0000e0d5.6a5a0001.01.01"]
    found = {refused.position: refused.rule for refused in rejected}
    assert found == {f"row {5 + at}": rule for at, (_, rule) in enumerate(NO_FILLS)}


def test_a_refused_row_is_kept_as_ibkr_wrote_it(tmp_path: Path) -> None:
    rejected = refusal(tmp_path, quantity="0", orderReference='"<Ünsal & co>"')
    assert rejected.row["ibExecID"] == "0000e0d5.6a5a0001.01.01"
    assert rejected.row["orderReference"] == '"<Ünsal & co>"'
    assert "closePrice" in rejected.row


def test_sums_of_executions_are_left_out(tmp_path: Path) -> None:
    sums = [
        trade(levelOfDetail="ORDER"),
        flex.element("Order"),
        flex.element("SymbolSummary", symbol="ACME", quantity="100"),
    ]
    rows, rejected = read(flex.write(tmp_path / "t.xml", trade(), *sums))
    assert list(rows) == ["fills", "orders"] or list(rows) == ["fills"]
    assert (len(rows["fills"]), rows.get("orders", []), rejected) == (1, [], [])


def test_what_ibkr_books_by_itself() -> None:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in fixture_fills():
        by_kind.setdefault(row["kind"], []).append(row)
    [expiry] = by_kind["expiry"]
    assert expiry["fill_id"] == "ibkr:U1234567:trade:700000010"
    assert (expiry["side"], expiry["quantity"], expiry["price"]) == ("sell", 4, 0)
    assert expiry["realized_pnl"] == Decimal("-12.63")
    assert expiry["multiplier"] == 100
    assert expiry["order_id"] is None, "IBKR gives it a number, but nobody ordered it"
    assert expiry["extra"]["expiry"] == "2026-01-16"
    assert [(row["symbol"][:4], row["side"], row["price"]) for row in by_kind["assignment"]] == [
        ("CLF ", "buy", 0),
        ("CLF", "buy", 12),
    ]
    assert [row["side"] for row in by_kind["exercise"]] == ["sell"]


def test_a_bond_is_priced_in_percent_of_its_face_value() -> None:
    [bond] = [row for row in fixture_fills() if row["symbol"].startswith("T 4")]
    assert bond["multiplier"] == Decimal("0.01")
    assert cash([bond]) == Decimal(-9855)


def test_a_conversion_of_currency_is_a_fill_of_the_pair() -> None:
    [row] = [row for row in fixture_fills() if row["symbol"] == "EUR.USD"]
    assert (row["side"], row["quantity"], row["currency"]) == ("buy", 250_000, "USD")
    assert row["realized_pnl"] is None, "what a conversion earned IBKR does not reckon by trade"
    assert row["fees"] is None, "paid in euro"
    assert row["extra"]["ibCommission"] == "-1.85"


def test_a_field_that_nobody_knows_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [row] = fills(flex.write(tmp_path / "t.xml", trade(newField="7", newEmpty="")))
    assert row["extra"]["newField"] == "7"
    assert "newEmpty" not in row["extra"]
    assert "Trade has fields unknown to ibflex, kept in extra: newEmpty, newField" in caplog.text


def test_no_field_of_a_file_passes_for_what_we_say(tmp_path: Path) -> None:
    row = one(tmp_path, exact="1", cancels="ibkr:U1:trade:1", derived="true", orderTime="")
    assert not {"exact", "cancels", "derived", "submitted_at"} & row["extra"].keys()


# Cancels and corrections ---------------------------------------------------------------------------


def test_a_cancel_takes_back_what_it_cancels(tmp_path: Path) -> None:
    bought, cancelled = fills(flex.write(tmp_path / "t.xml", BOUGHT, trade(**CANCEL)))
    assert cancelled["fill_id"] == "ibkr:U1234567:transaction:9000000019"
    assert (cancelled["side"], cancelled["quantity"]) == ("sell", 2)
    assert cancelled["kind"] == "trade"
    assert cancelled["extra"]["cancels"] == bought["extra"]["cancelled_as"]
    assert cancelled["order_id"] == bought["order_id"]
    assert position([bought, cancelled]) == 0
    assert cash([bought, cancelled]) == Decimal("-1.3666"), "this commission was not given back"


def test_a_cancelled_sell_is_bought_back_with_its_commission(tmp_path: Path) -> None:
    sold = trade(
        buySell="SELL", quantity="-100", tradePrice="16.2", proceeds="1620", ibCommission="-0.287"
    )
    cancel = CANCEL | {
        "buySell": "SELL (Ca.)",
        "quantity": "100",
        "tradePrice": "16.2",
        "proceeds": "-1620",
        "ibCommission": "0.287",
    }
    rows = fills(flex.write(tmp_path / "t.xml", sold, trade(**cancel)))
    assert rows[1]["fees"] == Decimal("-0.287")
    assert (position(rows), cash(rows)) == (Decimal(0), Decimal(0))


MARKS: list[dict[str, str]] = [
    {"buySell": "BUY", "notes": "", "transactionType": "TradeCancel"},
    {"buySell": "BUY", "notes": "", "transactionType": "FracShareCancel"},
    {"notes": "", "transactionType": "ExchTrade"},
    {"buySell": "BUY", "notes": "P;Ca", "transactionType": "ExchTrade"},
    {"quantity": "2"},  # unsigned, but the proceeds tell
    {"ibExecID": "0000e0d5.6a5a0001.01.01", "tradeID": "700000001"},
]


def test_a_cancel_is_known_by_each_of_its_marks(tmp_path: Path) -> None:
    own = ({"transactionID": f"90000000{50 + at}", "origTradeID": f"{at}"} for at in range(1, 9))
    cancels = (trade(**CANCEL | changes | ids) for changes, ids in zip(MARKS, own, strict=False))
    rows = fills(flex.write(tmp_path / "t.xml", *cancels))
    assert len({row["fill_id"] for row in rows}) == len(MARKS)
    for at, row in enumerate(rows, start=1):
        assert (row["side"], row["quantity"]) == ("sell", 2)
        assert row["extra"]["cancels"] == f"ibkr:U1234567:trade:{at}"


def test_an_original_that_only_bears_the_code_is_what_it_says(tmp_path: Path) -> None:
    assert one(tmp_path, notes="Ca")["side"] == "buy"


def test_a_cancel_by_transaction_where_the_trade_is_not_named(tmp_path: Path) -> None:
    only = CANCEL | {"origTradeID": ""}
    _, cancelled = fills(flex.write(tmp_path / "t.xml", BOUGHT, trade(**only)))
    assert cancelled["extra"]["cancels"] == "ibkr:U1234567:transaction:9000000001"
    nothing = only | {"origTransactionID": "0"}
    _, cancelled = fills(flex.write(tmp_path / "t.xml", BOUGHT, trade(**nothing)))
    assert "cancels" not in cancelled["extra"]


REVISED = AGAIN
SAME_EXECUTION = AGAIN | {"ibExecID": "0000e0d5.6a5a0001.01.01"}
BOOKED = AGAIN | {"ibExecID": ""}


@pytest.mark.parametrize(
    ("again", "key"),
    [
        (REVISED, "0000e0d5.6a5a0001.01.02"),
        (SAME_EXECUTION, "0000e0d5.6a5a0001.01.01:9000000021"),
        (BOOKED, "transaction:9000000021"),
    ],
)
def test_what_is_booked_anew_is_a_fill_of_its_own(
    tmp_path: Path, again: dict[str, str], key: str
) -> None:
    path = flex.write(tmp_path / "t.xml", BOUGHT, trade(**CANCEL), trade(**again))
    rows = fills(path)
    assert rows[2]["fill_id"] == f"ibkr:U1234567:{key}"
    assert rows[2]["extra"]["cancelled_as"] == "ibkr:U1234567:trade:700000001#1"
    assert position(rows) == 1
    assert cash(rows) == Decimal("-0.73") - Decimal("1.3666") + Decimal("0.3333")
    later = flex.write(tmp_path / "later.xml", trade(**again), trade(**CANCEL))
    assert {row["fill_id"] for row in fills(later)} == {row["fill_id"] for row in rows[1:]}


def test_a_correction_counts_once(tmp_path: Path) -> None:
    correct = AGAIN | {
        "transactionType": "TradeCorrect",
        "notes": "Co",
        "tradeID": "700000555",
        "ibExecID": "0000e0d5.6a5a0777.01.01",
        "origTradeID": "700000001",
    }
    rows = fills(flex.write(tmp_path / "t.xml", BOUGHT, trade(**CANCEL), trade(**correct)))
    assert position(rows) == 1
    assert rows[2]["extra"]["corrects"] == rows[0]["extra"]["cancelled_as"]
    for mark in ({"notes": "P"}, {"transactionType": "ExchTrade"}):
        rejected = refusal(tmp_path, BOUGHT, **correct | mark)
        assert rejected.rule == "correction", "without its cancel both would count"
        assert "Include Canceled Trades" in rejected.reason


def test_what_is_cancelled_twice(tmp_path: Path) -> None:
    again = trade(**CANCEL | {"quantity": "-1", "proceeds": "0.73", "transactionID": "9000000031"})
    last = trade(**AGAIN | {"ibExecID": "0000e0d5.6a5a0001.01.03", "transactionID": "9000000033"})
    found = [BOUGHT, trade(**CANCEL), trade(**AGAIN), again, last]
    rows = fills(flex.write(tmp_path / "t.xml", *found))
    assert len({row["fill_id"] for row in rows}) == 5
    assert position(rows) == 1
    called = [row["extra"]["cancelled_as"] for row in (rows[0], rows[2])]
    assert [row["extra"]["cancels"] for row in (rows[1], rows[3])] == called
    assert rows[4]["extra"]["cancelled_as"] not in called


def test_a_revision_without_its_cancel_does_not_count_beside_the_original(
    tmp_path: Path, store: DuckDBStore
) -> None:
    """So it is where the query leaves out what was cancelled: the original may be in the ledger."""
    revised = flex.write(tmp_path / "revised.xml", trade(**AGAIN))
    assert fills(revised)[0]["fill_id"] == "ibkr:U1234567:0000e0d5.6a5a0001.01.01"
    ingest(flex.write(tmp_path / "first.xml", BOUGHT), store)
    assert ingest(revised, store).counts["fills"].quarantined == 1
    assert stored(store, "SELECT quantity FROM hot.fills") == [(2,)]
    assert stored(store, "SELECT rule FROM hot.quarantine") == [("conflict",)]


def test_cancels_need_the_transaction(tmp_path: Path) -> None:
    path = flex.write(
        tmp_path / "t.xml", trade(transactionID=None), trade(**CANCEL | {"transactionID": None})
    )
    with pytest.raises(BadInputError, match="lacks the field Trade/transactionID"):
        read(path)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_cancelled_and_booked_anew_the_sums_are_right(
    tmp_path: Path, seed: int
) -> None:
    """Bookings of some days, in files that overlap, against sums that know of no cancels."""
    chance = random.Random(seed)
    days: list[list[str]] = [[] for _ in range(4)]
    shares, money = Decimal(0), Decimal(0)
    number = itertools.count(9_000_000_000)
    for at in range(30):
        first = chance.randrange(3)
        names = {"tradeID": str(700_000_000 + at), "ibExecID": f"0000e0d5.{at:08x}.01.01"}
        quantity = Decimal(chance.choice([-7, -2, 3, 10]))
        price = Decimal(chance.randrange(1, 9999)) / 100
        fee = Decimal(chance.randrange(-20, 300)) / 100

        def booking(quantity: Decimal, price: Decimal, fee: Decimal, **names: str) -> str:
            return trade(
                buySell="BUY" if quantity > 0 else "SELL",
                quantity=str(quantity),
                tradePrice=str(price),
                proceeds=str(-quantity * price),
                ibCommission=str(-fee),
                transactionID=str(next(number)),
                **names,
            )

        days[first].append(booking(quantity, price, fee, **names))
        if chance.random() < 0.5:
            back = CANCEL | {
                "buySell": "BUY (Ca.)" if quantity > 0 else "SELL (Ca.)",
                "quantity": str(-quantity),
                "tradePrice": str(price),
                "proceeds": str(quantity * price),
                "ibCommission": str(fee),
                "origTradeID": names["tradeID"],
                "transactionID": str(next(number)),
            }
            later = days[chance.randrange(first, 4)]
            later.append(trade(**back))
            quantity = fee = Decimal(0)
            if chance.random() < 0.6:
                quantity, fee = Decimal(chance.choice([-1, 5])), Decimal(1)
                if chance.random() < 0.5:
                    names["ibExecID"] = names["ibExecID"][:-2] + "02"
                later.append(booking(quantity, price, fee, **names))
        shares += quantity
        money += -quantity * price - fee
    ledger: dict[str, dict[str, Any]] = {}
    for begin, end in [(0, 1), (2, 4), (1, 3), (0, 4)]:
        found = list(itertools.chain(*days[begin:end]))
        chance.shuffle(found)
        for row in fills(flex.write(tmp_path / "t.xml", *found)):
            row.pop("source_id")
            assert ledger.setdefault(row["fill_id"], row) == row
    assert position(ledger.values()) == shares
    assert cash(ledger.values()) == money


# In a store ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    return store


def ingest(path: Path, store: DuckDBStore) -> IngestResult:
    return ingest_file(
        path, store, FORMATS["ibkr-flex"], NEW_YORK, progress=lambda _done, _total: None
    )


def stored(store: DuckDBStore, sql: str) -> list[tuple[Any, ...]]:
    with connect() as connection:
        connection.execute(f"ATTACH '{store.path}' AS hot (READ_ONLY)")
        return connection.execute(sql).fetchall()


ROWS = "SELECT * EXCLUDE source_id FROM hot.fills ORDER BY fill_id"


def test_files_in_any_order_make_the_same_ledger(tmp_path: Path) -> None:
    other = {"tradeID": "700000009", "ibExecID": "0000e0d5.6a5a0009.01.01", "ibOrderID": "5"}
    originals = [BOUGHT, trade(quantity="2", transactionID="9000000002", **other)]
    fixed = [
        trade(**CANCEL),
        trade(**REVISED),
        trade(**CANCEL | {"origTradeID": "700000009", "transactionID": "9000000022"}),
        trade(**AGAIN | other | {"transactionID": "9000000023"}),
    ]
    first = flex.write(tmp_path / "first.xml", *originals)
    second = flex.write(tmp_path / "second.xml", *fixed)
    both = flex.write(tmp_path / "both.xml", *reversed(fixed), *originals)
    ledgers = []
    for number, order in enumerate([(first, second), (second, first), (both, second, first)]):
        store = DuckDBStore(tmp_path / f"{number}.duckdb", lock_timeout=5)
        store.ensure()
        for path in order:
            ingest(path, store)
        ledgers.append(stored(store, ROWS))
        assert not stored(store, "SELECT * FROM hot.quarantine")
    assert ledgers[1:] == ledgers[:1] * 2
    assert len(ledgers[0]) == 6


def test_an_order_is_what_stands_of_its_fills(tmp_path: Path, store: DuckDBStore) -> None:
    ingest(flex.write(tmp_path / "first.xml", BOUGHT), store)
    order = "SELECT filled_quantity, average_fill_price, status FROM hot.orders"
    assert stored(store, order) == [(2, Decimal("0.73"), "filled")]
    ingest(flex.write(tmp_path / "second.xml", trade(**CANCEL), trade(**AGAIN)), store)
    assert stored(store, order) == [(1, Decimal("0.73"), "filled")]


def test_a_real_shaped_file_goes_in_once(tmp_path: Path, store: DuckDBStore) -> None:
    path = IMPORTS / "ibkr_activity.xml"
    counts = ingest(path, store).counts
    assert (counts["fills"].inserted, counts["fills"].quarantined) == (20, 2)
    assert (counts["cash_flows"].inserted, counts["cash_flows"].quarantined) == (11, 1)
    again = ingest(path, store)
    assert again.changed is False
    assert again.counts["fills"].unchanged == 20
    assert again.counts["fills"].refused_before == 2
    [filled] = stored(
        store,
        "SELECT quantity, filled_quantity, average_fill_price, order_type FROM hot.orders "
        "WHERE order_id = 'ibkr:U1234567:500000001'",
    )
    assert filled == (100, 100, Decimal("50.25"), "limit")


def test_an_execution_that_is_two_things_is_neither(tmp_path: Path, store: DuckDBStore) -> None:
    """The same execution id with different content: nobody can tell which is right."""
    other = trade(tradePrice="51", tradeID="700000002", transactionID="9000000002")
    path = flex.write(tmp_path / "t.xml", trade(), other, trade(ibExecID="third"))
    count = ingest(path, store).counts["fills"]
    assert (count.inserted, count.quarantined) == (1, 2)
    assert {rule for (rule,) in stored(store, "SELECT rule FROM hot.quarantine")} == {
        "duplicate_key"
    }


def test_the_same_execution_twice_counts_once(tmp_path: Path, store: DuckDBStore) -> None:
    path = flex.write(tmp_path / "t.xml", trade(), trade())
    count = ingest(path, store).counts["fills"]
    assert (count.inserted, count.quarantined) == (1, 0)
