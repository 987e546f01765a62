"""`fluxhero reconcile` over a real store: what it compares, what it keeps, and how it ends."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fluxhero.archive.batches import utc_now
from fluxhero.errors import BadInputError, DamagedFileError
from fluxhero.ledger.query import run_query
from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.kept import (
    difference_files,
    read_differences,
    read_round_trips,
    round_trip_files,
)
from fluxhero.reconcile.report import ReconcileReport
from fluxhero.reconcile.trades import Trade
from tests.archive.conftest import make_house
from tests.command import Run
from tests.house import House, plain_tasks
from tests.reconcile import ledgers
from tests.reconcile.ledgers import Deal, Maker
from tests.samples import create_duckdb_store, insert_duckdb

D = Decimal


@pytest.fixture
def installed(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty ledger."""
    house = make_house("duckdb", clean_environment, monkeypatch)
    create_duckdb_store(house.store)
    return house


def deals(count: int = 6) -> list[Deal]:
    return Maker(random.Random(3)).deals(count, mode="live", account="U1", every=timedelta(hours=1))


def fill_row(fill: Fill) -> dict[str, Any]:
    told_aside = {"cancels", "cancelled_as", "conversion", "closes"}
    columns = [name for name in Fill.__slots__ if name not in told_aside]
    extra = {name: getattr(fill, name) for name in ("cancels", "cancelled_as")}
    if fill.conversion:
        extra["assetCategory"] = "CASH"
    if fill.closes:
        extra["openCloseIndicator"] = "C"
    told = {name: value for name, value in extra.items() if value is not None}
    row = {name: getattr(fill, name) for name in columns}
    return row | {"extra": json.dumps(told) if told else None}


def trade_row(trade: Trade) -> dict[str, Any]:
    outside = {"account": "account", "currency": "currency", "order_id": "broker_order_id"}
    row = {name: getattr(trade, name) for name in Trade.__slots__ if name not in outside}
    told = {
        column: getattr(trade, name)
        for name, column in outside.items()
        if getattr(trade, name) is not None
    }
    return row | {"extra": json.dumps(told) if told else None}


def put(house: House, fills: Sequence[Fill], trades: Sequence[Trade]) -> None:
    insert_duckdb(house.store, "fills", *map(fill_row, fills))
    insert_duckdb(house.store, "trades", *map(trade_row, trades))


def flow(**asked: Any) -> ReconcileReport:
    from flows import reconcile_ledger as module

    with plain_tasks(module, {}):
        return module.reconcile_ledger.fn(**asked)


@pytest.mark.server
def test_the_command_finds_what_differs_and_keeps_it(
    installed: House, run: Run, prefect_harness: str
) -> None:
    lost, wrong, *rest = deals()[1:]
    first = deals()[0]
    put(
        installed,
        [fill for deal in (first, lost, wrong, *rest) for fill in deal.fills],
        [deal.trade for deal in (first, ledgers.entry_price(wrong), *rest)],
    )
    ended = run("reconcile")
    assert ended.status == 1
    assert "2 differences: 1 missing in the bot's ledger, 1 of price" in ended.out
    again = run("reconcile", "--account", "U1", "--json")
    assert again.status == 1
    document = again.document
    assert document["kinds"] == {"missing": 1, "price": 1}
    assert [line["trade_id"] for line in document["differences"]] == [None, wrong.trade.trade_id]

    rows = run(
        "query",
        "SELECT kind, count(DISTINCT run) AS runs, any_value(bot) AS bot FROM differences "
        "GROUP BY kind ORDER BY kind",
        "--json",
    ).document["rows"]
    assert [(row["kind"], row["runs"]) for row in rows] == [("missing", 2), ("price", 2)]
    (trips,) = run(
        "query",
        "SELECT count(*) AS trips, count(DISTINCT run) AS runs, min(status) AS status FROM round_trips",
        "--json",
    ).document["rows"]
    assert trips == {"trips": 6, "runs": 1, "status": "closed"}


@pytest.mark.server
def test_the_command_says_what_it_cannot_do(
    installed: House, run: Run, prefect_harness: str
) -> None:
    nothing = run("reconcile")
    assert nothing.status == 1
    assert nothing.out.startswith("Nothing to compare: the ledger has neither")
    unknown = run("reconcile", "--account", "U9")
    assert unknown.status == 2
    assert "no fill of account 'U9'" in unknown.err


def test_agreement_is_said_with_what_was_compared(installed: House) -> None:
    made = deals()
    put(installed, [fill for deal in made for fill in deal.fills], [d.trade for d in made])
    report = flow()
    assert report.ok
    assert report.verdict.startswith("Bot and broker agree: ")
    assert "6 trades" in report.verdict
    (sums,) = report.sums
    assert (sums.account, sums.currency, sums.trades) == ("U1", "USD", 6)
    assert any("the bot keeps no fees" in line for line in report.details())
    text = report.markdown()
    assert text.startswith(f"**{report.verdict}**")
    assert "### Closed trades that both have" in text
    assert "### Differences" not in text


def test_what_is_outside_of_what_both_have_is_counted(installed: House) -> None:
    first, *rest = deals()
    opening = replace(first.entry[0], closes=True)
    last = rest[-1].trade
    after = ledgers.START + timedelta(days=9)
    later = replace(last, trade_id="later", entry_time=after, exit_time=after + timedelta(hours=1))
    fills = [opening, *first.fills[1:], *(f for deal in rest for f in deal.fills)]
    put(installed, fills, [first.trade, *(deal.trade for deal in rest), later])
    report = flow()
    assert report.ok
    (line,) = map(str, report.compared)
    assert "; 1 trade outside it; 1 round trip began before the broker's first fill" in line


def test_one_side_alone_is_nothing_to_compare(installed: House) -> None:
    made = deals()
    insert_duckdb(installed.store, "fills", *[fill_row(f) for deal in made for f in deal.fills])
    report = flow()
    assert not report.ok
    assert "fills of U1 and no trade of a bot" in report.verdict
    assert report.details()[0].startswith("Bring in the side that is not there")
    assert "with `fluxhero ingest`" in report.markdown()
    paper = [replace(deal.trade, mode="paper") for deal in made]
    insert_duckdb(installed.store, "trades", *map(trade_row, paper))
    assert "paper: 6 trades of a bot and no fill of a broker" in flow().verdict
    assert flow(mode="legacy").verdict.startswith("Nothing to compare: the ledger has neither")


def test_one_side_is_left_out_of_what_was_compared(installed: House) -> None:
    made = deals()
    paper = replace(made[0].trade, trade_id="p1", mode="paper")
    put(installed, [f for d in made for f in d.fills], [*(d.trade for d in made), paper])
    report = flow()
    assert report.ok
    assert report.verdict.endswith("Not compared: paper: 1 trade of a bot and no fill of a broker.")


def test_a_bots_own_fills_are_no_broker_and_its_trades_are_not_the_brokers(
    installed: House,
) -> None:
    """freqtrade's fills name their trade: they make round trips and are compared with nothing."""
    (deal,) = deals(1)
    own = [replace(fill, trade_id="freqtrade:1", source="freqtrade") for fill in deal.fills]
    put(installed, own, [replace(deal.trade, source="freqtrade")])
    report = flow()
    assert "1 trade of a bot and no fill of a broker" in report.verdict
    assert report.round_trips == 1
    rows = run_query(installed.workspace, "SELECT trade_id, gross FROM round_trips").rows
    assert rows == (("freqtrade:1", deal.trade.realized_pnl),)


def test_what_is_in_extra_is_read(installed: House) -> None:
    (deal,) = deals(1)
    first = deal.entry[0]
    taken_back = replace(first, fill_id="x1", side="sell", cancels="trade:9")
    original = replace(first, fill_id="x0", side="buy", cancelled_as="trade:9")
    euro = replace(first, fill_id="fx", symbol="EUR.USD", order_id="fx", conversion=True)
    put(
        installed,
        [*deal.fills, taken_back, original, euro],
        [replace(deal.trade, order_id=(first.order_id or "").rpartition(":")[2], account="U1")],
    )
    report = flow()
    assert report.ok, report.differences
    assert report.compared[0].conversions == 1
    assert "currency conversions left out" in str(report.compared[0])


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"mode": "dream"}, "there is no mode 'dream'"),
        ({"start": ledgers.START, "end": ledgers.START}, "has nothing in it"),
        ({"time_tolerance": -1.0}, "a time tolerance of -1.0 seconds"),
        ({"account": "U9"}, "it has no fills"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    installed: House, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInputError, match=says):
        flow(**asked)


def test_a_wider_time_tolerance_lets_more_pass(installed: House) -> None:
    made = deals()
    late = ledgers.entry_time(made[2])
    put(
        installed,
        [f for d in made for f in d.fills],
        [(late if d is made[2] else d).trade for d in made],
    )
    assert set(flow().kinds) == {"time"}
    assert flow(time_tolerance=120.0).ok


def test_money_of_different_currencies_is_never_added(installed: House) -> None:
    made = deals(8)
    fills: list[Fill] = []
    trades: list[Trade] = []
    for place, deal in enumerate(made):
        currency = "EUR" if place % 2 else "USD"
        fills += [replace(fill, currency=currency) for fill in deal.fills]
        wrong = ledgers.pnl(deal) if place in {2, 3} else deal
        trades.append(replace(wrong.trade, currency=currency if place != 4 else None))
    put(installed, fills, trades)
    report = flow()
    assert {line.currency: line.trades for line in report.sums} == {"USD": 4, "EUR": 4}
    assert report.effects == {"EUR": D("-12345.67"), "USD": D("-12345.67")}
    assert "-12,345.67 EUR, -12,345.67 USD" in report.verdict


def test_more_differences_than_a_page_shows(installed: House) -> None:
    made = deals(230)
    put(
        installed,
        [fill for deal in made for fill in deal.fills],
        [ledgers.pnl(deal).trade for deal in made],
    )
    report = flow()
    assert report.kinds == {"pnl": 230}
    assert (len(report.differences), len(report.table())) == (230, 200)
    assert "… and 30 more" in report.markdown()


def test_the_storage_check_reads_what_was_kept(installed: House) -> None:
    made = deals()
    put(installed, [f for d in made for f in d.fills], [d.trade for d in made])
    flow()

    def broken() -> set[str]:
        found = installed.check(now=utc_now()).findings
        return {line.rule for line in found if line.rule.startswith("recorded.")}

    assert not broken()
    (path,) = difference_files(installed.data)
    path.write_bytes(path.read_bytes() + b"x")
    assert "recorded.sha256" in broken()


def test_a_damaged_file_is_named_in_a_query(installed: House) -> None:
    made = deals()
    put(installed, [f for d in made for f in d.fills], [d.trade for d in made])
    flow()
    data = installed.data
    (differences,), (trips,) = difference_files(data), round_trip_files(data)
    for path, table in ((differences, "differences"), (trips, "round_trips")):
        whole = path.read_bytes()
        path.write_bytes(b"PAR1 nothing")
        with pytest.raises(DamagedFileError, match=str(path)):
            run_query(installed.workspace, f"SELECT * FROM {table}")
        path.write_bytes(whole)
    assert read_differences(differences).num_rows == 0
    assert read_round_trips(trips).num_rows == len(made)
    duckdb.sql(f"COPY (SELECT 1 AS one) TO '{differences}' (FORMAT parquet)")
    with pytest.raises(DamagedFileError, match="run is missing"):
        run_query(installed.workspace, "SELECT kind FROM differences")
