"""Fills are facts: they are added to and never changed, and an order may be known from them only."""

import dataclasses
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import ReadOptions
from fluxhero.ledger.formats.json_lines import JSON_LINES
from fluxhero.ledger.ingest import IngestResult, TableCount, ingest_file
from fluxhero.ledger.schema import FILLS, ORDERS, Table

KEEPING = dataclasses.replace(JSON_LINES, keeps_raw=True)
Ingest = Callable[..., IngestResult]


def fill(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "fill_id": name,
        "mode": "live",
        "broker": "b",
        "account": "U1",
        "symbol": "AAPL",
        "currency": "USD",
        "side": "buy",
        "quantity": "10",
        "price": "100.5",
        "executed_at": "2026-03-02T14:31:00Z",
        "kind": "trade",
        "order_id": "b:o1",
        "source": "b",
        **changes,
    }


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    return store


@pytest.fixture
def ingest(tmp_path: Path, store: DuckDBStore) -> Ingest:
    def ingest_rows(
        *rows: dict[str, Any], table: Table = FILLS, name: str = "fills.jsonl", tail: str = ""
    ) -> IngestResult:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail, encoding="utf-8")
        return ingest_file(
            path,
            store,
            KEEPING,
            ReadOptions(table=table),
            progress=lambda _done, _total: None,
            temp_dir=tmp_path,
            imports=tmp_path / "imports",
        )

    return ingest_rows


def query(store: DuckDBStore, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store.path}' AS file (READ_ONLY)")
        connection.execute("USE file")
        return connection.execute(sql).fetchall()


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "imports").glob("*"))


# ------------------------------------------------------------------------------------ facts


def test_a_known_fill_is_not_changed(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(fill("f1"))
    count = ingest(fill("f1", price="101.5")).counts[FILLS.name]
    assert count == TableCount(quarantined=1)
    ((reason, rule),) = query(store, "SELECT reason, rule FROM quarantine")
    assert rule == "conflict"
    assert "price 100.50000000 → 101.50000000" in reason
    assert query(store, "SELECT price FROM fills") == [(Decimal("100.5"),)]


def test_a_fill_of_which_less_is_said_takes_nothing_away(
    ingest: Ingest, store: DuckDBStore
) -> None:
    ingest(fill("f1", fees="1.5", account=None))
    assert ingest(fill("f1", account=None)).counts[FILLS.name] == TableCount(unchanged=1)
    richer = fill("f1", fees="1.5")
    assert ingest(richer).counts[FILLS.name] == TableCount(updated=1)
    assert query(store, "SELECT fees, account FROM fills") == [(Decimal("1.5"), "U1")]
    mixed = fill("f1", realized_pnl="3", account=None)  # one thing more, another less
    assert ingest(mixed).counts[FILLS.name] == TableCount(unchanged=1)


# ------------------------------------------------------------------------------------ orders


def orders(store: DuckDBStore) -> list[tuple[Any, ...]]:
    names = "order_id, side, quantity, filled_quantity, average_fill_price, status"
    return query(store, f"SELECT {names} FROM orders ORDER BY order_id")


def test_an_order_is_what_its_fills_sum_to(ingest: Ingest, store: DuckDBStore) -> None:
    told = json.dumps({"order_type": "LMT", "submitted_at": "2026-03-02T14:30:00Z"})
    first = ingest(fill("f1", extra=told), fill("f2", order_id=None))
    assert first.counts[ORDERS.name] == TableCount(inserted=1)
    second = fill("f3", quantity="30", price="102.5", executed_at="2026-03-02T15:00:00Z")
    later = ingest(second, name="later.jsonl")
    assert later.counts[ORDERS.name] == TableCount(updated=1)
    assert orders(store) == [
        ("b:o1", "buy", Decimal(40), Decimal(40), Decimal(102), "filled"),
    ]
    times = "SELECT order_type, filled_at - submitted_at, extra ->> 'account' FROM orders"
    ((kind, lasted, account),) = query(store, times)
    assert (kind, lasted.total_seconds(), account) == ("LMT", 1800.0, "U1")
    assert ORDERS.name not in ingest(second, name="later.jsonl").counts, "nothing new, nothing made"


def test_what_the_source_says_of_an_order_is_left_as_it_is(
    ingest: Ingest, store: DuckDBStore
) -> None:
    order = {
        "order_id": "b:o1", "mode": "live", "symbol": "AAPL", "side": "buy", "quantity": "25",
        "status": "cancelled", "filled_quantity": "10", "source": "b",
    }  # fmt: skip
    ingest(order, table=ORDERS, name="orders.jsonl")
    assert ingest(fill("f1")).counts[ORDERS.name] == TableCount()
    assert orders(store) == [("b:o1", "buy", Decimal(25), Decimal(10), None, "cancelled")]


def test_a_derived_order_gives_way_to_a_better_word(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(fill("f1"))
    order = {
        "order_id": "b:o1", "mode": "live", "broker": "b", "symbol": "AAPL", "side": "buy",
        "quantity": "25", "status": "cancelled", "filled_quantity": "10", "source": "b",
        "average_fill_price": "100.5", "filled_at": "2026-03-02T14:31:00Z",
        "cancelled_at": "2026-03-02T20:00:00Z",
    }  # fmt: skip
    assert ingest(order, table=ORDERS, name="o.jsonl").counts[ORDERS.name].updated == 1
    ingest(fill("f2", quantity="5"))
    assert orders(store)[0][2:4] == (Decimal(25), Decimal(10)), "no more made of its fills"


@pytest.mark.parametrize(
    ("original", "cancels"), [({}, "f1"), ({"extra": '{"cancelled_as":"t:7"}'}, "t:7")]
)
def test_a_fill_that_was_taken_back_is_no_part_of_its_order(
    ingest: Ingest, store: DuckDBStore, original: dict[str, str], cancels: str
) -> None:
    back = fill(
        "f3", side="sell", executed_at="2026-03-02T16:00:00Z",
        extra=json.dumps({"cancels": cancels}),
    )  # fmt: skip
    ingest(fill("f1", **original), back)
    assert orders(store) == [("b:o1", "buy", Decimal(10), Decimal(0), None, "cancelled")]
    ingest(fill("f4", quantity="9", price="100"), name="corrected.jsonl")
    assert orders(store) == [("b:o1", "buy", Decimal(9), Decimal(9), Decimal(100), "filled")]


def test_an_order_for_several_instruments_is_no_row(ingest: Ingest, store: DuckDBStore) -> None:
    count = ingest(fill("f1"), fill("f2", symbol="MSFT", side="sell")).counts
    assert (count[FILLS.name].inserted, count[ORDERS.name]) == (2, TableCount())
    assert orders(store) == []


# ------------------------------------------------------------------------------------ versions


def test_an_older_version_of_an_order_is_left_out(ingest: Ingest, store: DuckDBStore) -> None:
    def order(status: str, at: str) -> dict[str, Any]:
        return {
            "order_id": "b:1", "mode": "live", "symbol": "AAPL", "side": "buy", "quantity": "1",
            "status": status, "source": "b", "extra": {"updated_at": at},
        }  # fmt: skip

    ingest(order("filled", "2026-03-02T15:00:00.000000002Z"), table=ORDERS)
    older = ingest(order("new", "2026-03-02T14:00:00Z"), table=ORDERS).counts[ORDERS.name]
    assert older == TableCount(stale=1)
    newer = ingest(order("new", "2026-03-03T14:00:00Z"), table=ORDERS).counts[ORDERS.name]
    assert newer == TableCount(updated=1), "the source knew that it was filled"
    assert query(store, "SELECT rule FROM quarantine") == []


# ------------------------------------------------------------------------------------ raw files


def test_the_raw_file_is_kept_once_and_every_row_names_it(
    ingest: Ingest, store: DuckDBStore, tmp_path: Path
) -> None:
    ingest(fill("f1"), fill("f2"))
    (name,) = kept(tmp_path)
    assert (tmp_path / "imports" / name).read_bytes() == (tmp_path / "fills.jsonl").read_bytes()
    places = query(store, "SELECT source_id FROM fills ORDER BY fill_id")
    assert places == [(f"sha256:{name[:16]}:1",), (f"sha256:{name[:16]}:2",)]
    ingest(fill("f1"), fill("f2"), name="copy.jsonl")
    ingest(fill("f2"), name="overlapping.jsonl")
    assert kept(tmp_path) == [name], "of what brought nothing new, nothing is kept"
    ingest(fill("f2"), fill("f3"), name="overlapping.jsonl")
    assert len(kept(tmp_path)) == 2
    assert query(store, "SELECT source_id FROM fills ORDER BY fill_id")[:2] == places


def test_a_file_that_is_only_quarantined_is_kept_too(
    ingest: Ingest, store: DuckDBStore, tmp_path: Path
) -> None:
    ingest(fill("f1"))
    ingest(fill("f1", quantity="11"), name="other.jsonl")
    assert len(kept(tmp_path)) == 2
    ((source,),) = query(store, "SELECT source FROM quarantine")
    assert source.startswith("jsonl:other.jsonl row 1")


def test_of_a_file_that_is_refused_nothing_is_kept(ingest: Ingest, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"fills\.jsonl ends in the middle of line 2") as caught:
        ingest(fill("f1"), tail='{"fill_id": "f2", ')
    assert "imports" not in str(caught.value), "the user named another file"
    assert kept(tmp_path) == []
