"""ibkr-flex: what makes a file a bad one, how its dates are read, and that memory stays flat."""

import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import FORMATS, ReadOptions, detect, ibkr_flex
from fluxhero.ledger.formats.ibkr_stream import elements
from fluxhero.ledger.formats.ibkr_values import Clock, decimal, number, total
from fluxhero.ledger.ingest import ingest_file
from fluxhero.zones import zone_named
from tests import flex
from tests.flex import element, response, statement, trade
from tests.ledger.test_formats_ibkr import NEW_YORK, fills, read, stored

FLEX = FORMATS["ibkr-flex"]


def refused(path: Path, text: str | bytes, options: ReadOptions = NEW_YORK) -> str:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadInputError) as raised:
        list(FLEX.pages(path, options))
    return str(raised.value)


# Not whole, not Flex, not safe -----------------------------------------------------------------------


def test_a_file_cut_short_brings_nothing_in(tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    whole = flex.write_executions(tmp_path / "whole.xml", 400).read_bytes()
    path = tmp_path / "cut.xml"
    for length in (10, 500, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInputError, match=r"is not whole or no XML \(.*line \d+\)"):
            ingest_file(path, store, FLEX, NEW_YORK, progress=lambda _done, _total: None)
    assert stored(store, "SELECT count(*) FROM hot.fills") == [(0,)]


def test_fewer_statements_than_promised(tmp_path: Path) -> None:
    text = response(statement(trade()), count=2)
    assert "says it has 2 statements and has 1" in refused(tmp_path / "t.xml", text)


def test_no_flex_statement(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    assert "no Flex statement (it begins with <html>" in refused(path, "<html><p/></html>")
    assert "not whole or no XML" in refused(path, "Date,Symbol,Price")
    assert "not whole or no XML" in refused(path, response() + trade())
    for other in ("<html/>", "<?xml version='1.0'?><Flex/>"):
        path.write_text(other)
        with pytest.raises(BadInputError, match="in no format this product knows"):
            detect(path)


def test_a_file_that_only_speaks_of_flex_is_of_its_own_format(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"trade_id": "1", "signal_reason": "<FlexQueryResponse"}\n')
    assert detect(path).name == "jsonl"


def test_ibkr_says_that_there_is_no_statement(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    answer = (
        "<FlexStatementResponse timestamp='05 January, 2026 09:30 AM EST'>\n<Status>{}</Status>\n{}"
        "</FlexStatementResponse>"
    )
    error = (
        "<ErrorCode>1019</ErrorCode><ErrorMessage>Statement generation in progress.</ErrorMessage>"
    )
    for options in (NEW_YORK, ReadOptions()):
        message = refused(path, answer.format("Warn", error), options)
        assert (
            "IBKR's answer that there is none: Statement generation in progress. (1019)" in message
        )
    assert detect(path).name == "ibkr-flex"
    receipt = "<ReferenceCode>123</ReferenceCode><Url>https://example.com</Url>"
    assert "IBKR's receipt" in refused(path, answer.format("Success", receipt))


BOMB = """<!DOCTYPE FlexQueryResponse [
 <!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">
 <!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;">
]>
"""
QUADRATIC = f'<!DOCTYPE r [<!ENTITY long "{"x" * 50_000}">]>'
EXTERNAL = '<!DOCTYPE r [<!ENTITY secret SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>'
DOCTYPE = '<!DOCTYPE FlexQueryResponse SYSTEM "http://127.0.0.1:9/flex.dtd">'


@pytest.mark.parametrize("declared", [BOMB, QUADRATIC, EXTERNAL, PARAMETER, DOCTYPE])
def test_a_document_type_is_refused_before_it_declares_anything(
    tmp_path: Path, declared: str
) -> None:
    body = response(statement(trade(description="&e;" if declared is BOMB else "&long;&secret;")))
    body = body.replace("&amp;", "&")
    tracemalloc.start()
    message = refused(tmp_path / "t.xml", declared + body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "has a document type" in message
    assert peak < 5_000_000


def test_an_entity_nobody_declared(tmp_path: Path) -> None:
    text = response(statement(trade(description="&")).replace("&amp;", "&bomb;"))
    assert "undefined entity" in refused(tmp_path / "t.xml", text)


def test_what_would_fill_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    long = trade(description="x" * 6_000_000)
    assert "an element of several megabytes" in refused(path, response(statement(long)))
    deep = "<Trades>" * 40 + "</Trades>" * 40
    assert "nests deeper than 16" in refused(path, response(statement(deep)))


def test_memory_is_flat_in_the_length_of_the_file(tmp_path: Path) -> None:
    def peak(executions: int) -> int:
        path = flex.write_executions(tmp_path / f"{executions}.xml", executions)
        tracemalloc.start()
        count = sum(1 for found in elements(path) if found.tag == "Trade")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == executions
        return highest

    assert peak(4_000) < 1.2 * peak(500) + 200_000


def test_pages_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ibkr_flex, "_PAGE_ROWS", 3)
    path = flex.write_executions(tmp_path / "t.xml", 7)
    assert [page.rows.num_rows for page in FLEX.pages(path, NEW_YORK)] == [3, 3, 1]


def test_a_file_on_one_line_still_tells_where_its_rows_are(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    path.write_text(response(statement(trade(), trade(ibExecID="b"))).replace("\n", " "))
    assert [row["source_id"] for row in fills(path)] == ["t.xml:1.2", "t.xml:1.3"]
    labelled = replace(NEW_YORK, label="sha256:0123")
    assert fills(path, labelled)[0]["source_id"] == "sha256:0123:1.2"


def test_other_elements_around_the_statements_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    text = response(statement(trade(orderTime="N/A")))
    path.write_text(
        text.replace("<FlexStatements", '<Message kind="1">later</Message><FlexStatements')
    )
    assert "submitted_at" not in fills(path)[0]["extra"]


def test_sections_that_may_move_money_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = [trade(), element("SalesTax", salesTax="1"), element("OpenPosition", position="1")]
    assert fills(flex.write(tmp_path / "t.xml", *found))
    assert "not read, and may not all be among the cash transactions: SalesTax" in caplog.text


def test_unicode_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    text = response(statement(trade(symbol="MÜNCHEN–漢", orderReference="a & <b>")))
    path.write_bytes(b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode())
    [row] = fills(path)
    assert detect(path).name == "ibkr-flex"
    assert row["symbol"] == "MÜNCHEN–漢"
    assert row["extra"]["orderReference"] == "a & <b>"


# A query that lacks what is needed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        "ibExecID",
        "tradeID",
        "symbol",
        "currency",
        "buySell",
        "quantity",
        "tradePrice",
        "ibCommission",
    ],
)
def test_a_field_that_no_execution_has(tmp_path: Path, field: str) -> None:
    text = response(statement(trade(**{field: None}), trade(**{field: None})))
    message = refused(tmp_path / "t.xml", text)
    assert f"the Flex query lacks the field Trade/{field} → tick it" in message


def test_no_time_in_any_form(tmp_path: Path) -> None:
    none = trade(dateTime=None, tradeDate=None)
    assert "lacks the field Trade/dateTime" in refused(
        tmp_path / "t.xml", response(statement(none))
    )


@pytest.mark.parametrize(
    ("found", "lacks"),
    [
        (element("CashTransaction", type=None), "CashTransaction/type"),
        (element("CorporateAction", type=None), "CorporateAction/type"),
        (element("Transfer", direction=None), "Transfer/direction"),
        (element("Order", ibOrderID=None), "Order/ibOrderID"),
        (trade(ibExecID="", tradeID="0", transactionID=None), "Trade/transactionID"),
    ],
)
def test_fields_of_other_sections(tmp_path: Path, found: str, lacks: str) -> None:
    message = refused(tmp_path / "t.xml", response(statement(found)))
    assert f"lacks the field {lacks}" in message


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (element("TradeConfirm", execID="1"), "make an Activity Flex Query"),
        (trade(levelOfDetail="ORDER"), "tick Executions"),
        (element("SymbolSummary", symbol="ACME"), "tick Executions"),
        (element("CashTransaction", levelOfDetail="SUMMARY"), "tick Detail"),
    ],
)
def test_sums_are_no_substitute(tmp_path: Path, found: str, advice: str) -> None:
    assert advice in refused(tmp_path / "t.xml", response(statement(found)))


def test_a_statement_without_anything_is_read_as_that(tmp_path: Path) -> None:
    path = tmp_path / "t.xml"
    path.write_text(response(statement(), statement(account="DU2")))
    assert read(path) == ({}, [])


# Times ---------------------------------------------------------------------------------------------------


def test_the_zone_must_be_named(tmp_path: Path) -> None:
    text = response(statement(trade()))
    message = refused(tmp_path / "t.xml", text, ReadOptions(timezone="America/New_York"))
    assert "does not say in which time zone its times are" in message
    assert "IBKR writes them in the zone that the account's statements are set to" in message
    assert "--timezone America/New_York" in message


def test_times_are_in_the_zone_named(tmp_path: Path) -> None:
    path = flex.write(tmp_path / "t.xml", trade())
    berlin = replace(NEW_YORK, timezone="Europe/Berlin")
    assert fills(path, berlin)[0]["executed_at"] == datetime(2026, 1, 5, 8, 31, 5, tzinfo=UTC)


DATES = [
    "20260205;093105",
    "20260205093105",
    "20260205,093105",
    "20260205, 093105",
    "20260205 093105",
    "20260205T093105",
    "20260205;09:31:05",
    "2026-02-05;093105",
    "2026-02-05 09:31:05",
    "2026-02-05T09:31:05",
    "02/05/2026;093105",
    "02/05/2026093105",
    "02/05/26;093105",
    "02/05/2609:31:05",
    "05-FEB-26;093105",
    "5-Feb-26 09:31:05",
    "20260205;093105 EST",
    "20260205;143105 UTC",
    "2026-02-05T09:31:05-0500",
    "2026-02-05T16:31:05+02:00",
]


def test_every_date_format_of_a_query(tmp_path: Path) -> None:
    evidence = trade(ibExecID="other", expiry="02/28/2026")
    found = (trade(dateTime=text, orderTime=text, ibExecID=text) for text in DATES)
    for row in fills(flex.write(tmp_path / "t.xml", *found, evidence))[:-1]:
        assert row["executed_at"] == datetime(2026, 2, 5, 14, 31, 5, tzinfo=UTC), row["fill_id"]
        assert row["extra"]["submitted_at"] == "2026-02-05T14:31:05+00:00", row["fill_id"]
        assert "date_only" not in row["extra"], row["fill_id"]


def test_date_and_time_in_fields_of_their_own(tmp_path: Path) -> None:
    path = flex.write(tmp_path / "t.xml", trade(dateTime=None, tradeTime="093105"))
    assert fills(path)[0]["executed_at"] == datetime(2026, 1, 5, 14, 31, 5, tzinfo=UTC)


@pytest.mark.parametrize("changes", [{"dateTime": "20260105"}, {"dateTime": "2026-01-05"}])
def test_a_date_alone_is_midnight_and_says_so(tmp_path: Path, changes: dict[str, str]) -> None:
    [row] = fills(flex.write(tmp_path / "t.xml", trade(**changes)))
    assert row["executed_at"] == datetime(2026, 1, 5, 5, tzinfo=UTC)
    assert row["extra"]["date_only"] is True


def dated(tmp_path: Path, *dates: str) -> Path:
    return flex.write(
        tmp_path / "t.xml", *(trade(ibExecID=date, dateTime=f"{date};100000") for date in dates)
    )


def test_day_and_month_are_told_apart_by_the_other_dates(tmp_path: Path) -> None:
    [first, _] = fills(dated(tmp_path, "02/01/2026", "28/01/2026"))
    assert first["executed_at"] == datetime(2026, 1, 2, 15, tzinfo=UTC)
    [first, _] = fills(dated(tmp_path, "02/01/26", "01/28/26"))
    assert first["executed_at"] == datetime(2026, 2, 1, 15, tzinfo=UTC)
    assert fills(dated(tmp_path, "03/03/2026"))[0]["executed_at"].day == 3


def test_day_and_month_that_nothing_tells_apart(tmp_path: Path) -> None:
    for path in (
        dated(tmp_path, "02/01/2026", "03/01/2026"),
        dated(tmp_path, "28/01/2026", "01/28/2026"),
    ):
        with pytest.raises(BadInputError, match="set the Flex query's date format to yyyy-MM-dd"):
            read(path)


@pytest.mark.parametrize(
    ("text", "when"), [("20251102;013000", "happened twice"), ("20260308;023000", "never was")]
)
def test_an_hour_that_clocks_repeat_or_skip_is_marked(tmp_path: Path, text: str, when: str) -> None:
    [row] = fills(flex.write(tmp_path / "t.xml", trade(dateTime=text, orderTime=text)))
    assert row["extra"]["exact"]["executed_at"].endswith(f"{text[9:11]}:30:00"), when
    assert "submitted_at" not in row["extra"], when


def test_a_date_of_the_last_century() -> None:
    clock = Clock(zone_named("UTC"))
    assert clock.iso("01/31/99") == "1999-01-31"
    assert clock.iso("31-Jan-68") == "2068-01-31"
    assert clock.iso("31-Xyz-68") == "31-Xyz-68", "which the rules refuse"
    assert clock.date("soon") == "soon"
    assert clock.utc("20260231;093000") is None
    assert clock.utc("20260228") is None
    assert clock.utc("") is None


def test_numbers() -> None:
    assert number("1,234,567.5") == "1234567.5"
    assert number("1,5") == "1,5", "which is a number in another country, and refused"
    assert number("--") is None
    assert decimal("1e3") == 1000
    assert decimal("NaN") is decimal("x") is decimal("") is None
    third = decimal("0." + "3" * 79)
    assert third is not None
    with pytest.raises(ValueError, match="80 digits"):
        total([third, third * 100])


def test_the_kept_file_is_what_rows_name(tmp_path: Path) -> None:
    assert FLEX.keeps_raw
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    path = flex.write(tmp_path / "t.xml", trade())
    progress: list[int] = []
    ingest_file(
        path,
        store,
        FLEX,
        NEW_YORK,
        progress=lambda done, _total: progress.append(done),
        imports=tmp_path / "imports",
    )
    [kept] = (tmp_path / "imports").iterdir()
    assert kept.read_bytes() == path.read_bytes()
    [(source_id,)] = stored(store, "SELECT source_id FROM hot.fills")
    assert source_id == f"sha256:{kept.name[:16]}:5"
    assert json.dumps(progress) == "[0, 1]"
