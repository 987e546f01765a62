"""Ingest into a real store: once is enough, nothing is half done, nothing is picked silently."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.engine import connect
from fluxhero.errors import BadInputError, StorageIOError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import ReadOptions, contract, json_lines, select
from fluxhero.ledger.ingest import ArchivedRows, IngestResult, TableCount, ingest_file
from fluxhero.ledger.schema import EQUITY, ORDERS, TRADES, Table

Ingest = Callable[..., TableCount]


def trade(trade_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "trade_id": trade_id,
        "mode": "live",
        "symbol": "SPY",
        "side": "long",
        "quantity": 10,
        "entry_price": "420.5",
        "entry_time": "2026-01-02T14:30:00Z",
        "status": "open",
        "source": "bot",
        **changes,
    }


CLOSED = {"status": "closed", "exit_price": 425, "exit_time": "2026-01-03T15:00:00Z"}


@pytest.fixture
def store(tmp_path: Path) -> DuckDBStore:
    store = DuckDBStore(tmp_path / "fluxhero.duckdb", lock_timeout=5)
    store.ensure()
    return store


def run(
    path: Path,
    store: DuckDBStore,
    options: ReadOptions | None = None,
    archived: ArchivedRows | None = None,
) -> IngestResult:
    return ingest_file(
        path,
        store,
        select(path, None),
        options or ReadOptions(),
        progress=lambda _done, _total: None,
        archived=archived,
        temp_dir=path.parent,
    )


@pytest.fixture
def ingest(tmp_path: Path, store: DuckDBStore) -> Ingest:
    def ingest_rows(
        *rows: dict[str, Any], table: Table = TRADES, archived: ArchivedRows | None = None
    ) -> TableCount:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return run(path, store, ReadOptions(table=table), archived).counts[table.name]

    return ingest_rows


def query(store: DuckDBStore, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store.path}' AS hot (READ_ONLY)")
        return connection.execute(sql).fetchall()


def statuses(store: DuckDBStore) -> list[tuple[Any, ...]]:
    return query(store, "SELECT trade_id, status FROM hot.trades ORDER BY 1")


def test_twice_adds_nothing_and_changes_are_taken(ingest: Ingest, store: DuckDBStore) -> None:
    assert ingest(trade("A"), trade("B"), trade("C", side="up")) == TableCount(
        inserted=2, quarantined=1
    )
    assert ingest(trade("A"), trade("B"), trade("C", side="up")) == TableCount(unchanged=2)
    # B is now closed, D is new, A is no longer in the source, C was mended.
    assert ingest(trade("B", **CLOSED), trade("D"), trade("C")) == TableCount(inserted=2, updated=1)
    assert statuses(store) == [("A", "open"), ("B", "closed"), ("C", "open"), ("D", "open")]


def test_where_a_row_stood_in_its_file_makes_no_difference(ingest: Ingest) -> None:
    ingest(trade("A"), trade("B"))
    assert ingest(trade("B"), trade("A")) == TableCount(unchanged=2)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_bad_row_that_moves_in_its_file_is_listed_once(
    tmp_path: Path, store: DuckDBStore, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    def ingest_rows(*rows: dict[str, Any], name: str = "rows") -> int:
        path = tmp_path / f"{name}{write.__name__.replace('write_', '.')}"
        write(path, [{**row, "quantity": "10"} for row in rows])
        return run(path, store).counts["trades"].quarantined

    bad, good = trade("B", side="up"), [trade(f"T{number}") for number in range(12)]
    assert ingest_rows(bad, *good) == 1
    assert ingest_rows(*good, bad) == 0
    listed = query(store, "SELECT source, row->>'trade_id' FROM hot.quarantine")
    assert [(source.endswith(" row 1"), trade_id) for source, trade_id in listed] == [(True, "B")]
    assert ingest_rows(*good, bad, bad) == 0, "equal rows of a file count once, as good ones do"
    assert ingest_rows(bad, trade("B", side="down"), trade("C", side="up")) == 2
    assert ingest_rows(trade("C", side="up"), bad, name="another") == 2
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{store.path}' AS hot")
        connection.execute("UPDATE hot.quarantine SET resolved_at = now()")
    assert ingest_rows(*good, bad) == 1, "it was settled, and is there again"


def test_equal_bad_rows_of_a_file_are_listed_once(ingest: Ingest, store: DuckDBStore) -> None:
    bad = trade("B", side="up")
    assert ingest(bad, trade("A"), bad) == TableCount(inserted=1, quarantined=1)
    assert query(store, "SELECT source FROM hot.quarantine") == [("jsonl:rows.jsonl row 1",)]


def test_a_row_that_contradicts_the_ledger_is_listed_once_wherever_it_stands(
    ingest: Ingest, store: DuckDBStore
) -> None:
    ingest(trade("A"))
    stranger = trade("A", source="broker")
    doubled = [trade("B"), trade("B", quantity=11)]
    assert ingest(stranger, *doubled) == TableCount(quarantined=3)
    assert ingest(trade("C"), *reversed(doubled), stranger) == TableCount(inserted=1)
    assert query(store, "SELECT rule, count(*) FROM hot.quarantine GROUP BY 1 ORDER BY 1") == [
        ("duplicate_key", 2),
        ("foreign_key_owner", 1),
    ]


def test_every_column_is_compared(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A", extra={"a": 1}, fees="0.1"))
    assert ingest(trade("A", extra={"a": 1}, fees="0.10000000")) == TableCount(unchanged=1)
    assert ingest(trade("A", extra={"a": 2}, fees="0.1")) == TableCount(updated=1)
    assert ingest(trade("A", extra={"a": 2})) == TableCount(updated=1)
    assert query(store, "SELECT fees, extra->>'a' FROM hot.trades") == [(None, "2")]


def test_the_same_key_twice_in_a_file(ingest: Ingest, store: DuckDBStore) -> None:
    twice = [trade("A"), trade("B"), trade("A"), trade("B", quantity=11), trade("C")]
    assert ingest(*twice) == TableCount(inserted=2, quarantined=2)
    assert statuses(store) == [("A", "open"), ("C", "open")]
    refused = query(store, "SELECT rule, row->>'quantity', reason FROM hot.quarantine ORDER BY 2")
    assert [row[:2] for row in refused] == [
        ("duplicate_key", "10.00000000"),
        ("duplicate_key", "11.00000000"),
    ]
    assert "trade_id B more than once" in refused[0][2]
    assert ingest(*twice) == TableCount(unchanged=2)


def test_another_source_never_overwrites(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A"))
    other = trade("A", source="broker", quantity=99)
    assert ingest(other) == TableCount(quarantined=1)
    assert ingest(other) == TableCount()
    assert query(store, "SELECT quantity::INT, source FROM hot.trades") == [(10, "bot")]
    assert query(store, "SELECT rule FROM hot.quarantine") == [("foreign_key_owner",)]


def test_an_older_version_is_left_out(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A", updated_at="2026-01-05T00:00:00Z", **CLOSED))
    assert ingest(trade("A", updated_at="2026-01-02T00:00:00Z")) == TableCount(stale=1)
    assert statuses(store) == [("A", "closed")]


def test_archived_rows_stay_archived_unless_corrected(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A", **CLOSED), trade("B", **CLOSED))
    with store.transaction() as transaction:
        keys = pa.table({"trade_id": ["A", "B"]})
        archive = transaction.existing(TRADES, keys)
    with duckdb.connect() as connection:  # what a purge does
        connection.execute(f"ATTACH '{store.path}' AS hot")
        connection.execute("DELETE FROM hot.trades")

    def archived(table: Table, keys: pa.Table) -> pa.Table:
        with connect() as connection:
            connection.register("archive", archive)
            connection.register("wanted", keys)
            sql = "FROM archive SEMI JOIN wanted USING (trade_id)"
            return connection.sql(sql).to_arrow_table().cast(table.arrow)

    assert ingest(trade("A", **CLOSED), trade("B", **CLOSED), archived=archived) == TableCount(
        unchanged=2
    )
    assert statuses(store) == []
    corrected = trade("B", **{**CLOSED, "exit_price": 426})
    assert ingest(trade("A", **CLOSED), corrected, archived=archived) == TableCount(
        updated=1, unchanged=1
    )
    assert statuses(store) == [("B", "closed")]
    assert ingest(corrected, archived=archived) == TableCount(unchanged=1)
    assert ingest(trade("A", source="x"), archived=archived) == TableCount(quarantined=1)


def test_tables_with_keys_of_several_columns(ingest: Ingest, store: DuckDBStore) -> None:
    points = [{"mode": "live", "at": f"2026-01-0{day}", "equity": 100 + day} for day in (1, 2)]
    assert ingest(*points, table=EQUITY) == TableCount(inserted=2)
    assert ingest(*points, {**points[0], "mode": "paper"}, table=EQUITY) == TableCount(
        inserted=1, unchanged=2
    )
    order = {"order_id": "O", "mode": "live", "symbol": "A", "side": "buy", "quantity": 1}
    assert ingest({**order, "status": "filled"}, table=ORDERS) == TableCount(inserted=1)


@pytest.mark.parametrize("tail", ['{"trade_id": "half', '{"a":"\xff"}'])
def test_a_bad_tail_changes_nothing(
    tmp_path: Path, store: DuckDBStore, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "PAGE_ROWS", 2)
    before = store.path.read_bytes()
    path = tmp_path / "t.jsonl"
    lines = [json.dumps(trade(f"T{n}", side="up" if n == 1 else "long")) for n in range(7)]
    path.write_bytes("\n".join([*lines, tail]).encode("latin-1"))
    with pytest.raises(BadInputError):
        run(path, store)
    assert store.path.read_bytes() == before
    assert list(tmp_path.glob("fluxhero-ingest-*")) == []


def test_a_failure_while_writing_changes_nothing(
    ingest: Ingest, store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(trade("A"))

    def fail(*_arguments: Any) -> int:
        raise RuntimeError("power cut")

    monkeypatch.setattr("fluxhero.ledger.duckdb_transaction.Transaction.quarantine", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        ingest(trade("A", **CLOSED), trade("B"))
    assert statuses(store) == [("A", "open")]


def test_many_pages_and_progress(
    tmp_path: Path, store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lines, "PAGE_ROWS", 10)
    monkeypatch.setattr("fluxhero.ledger.staging.PAGE_ROWS", 10)
    path = tmp_path / "t.jsonl"
    rows = [trade(f"T{n % 40}", side="up" if n == 3 else "long") for n in range(45)]
    path.write_text("\n".join(map(json.dumps, rows)))
    seen: list[tuple[int, int | None]] = []
    result = ingest_file(
        path,
        store,
        contract.Format("jsonl", "", lambda *_: True, json_lines.JSON_LINES.pages, lambda _: 45),
        ReadOptions(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result.counts["trades"] == TableCount(inserted=40, quarantined=1)
    assert result.changed
    assert seen == [(0, 45), (10, 45), (20, 45), (30, 45), (40, 45), (45, 45)]


def test_an_unknown_time_zone_is_refused(tmp_path: Path, store: DuckDBStore) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(trade("A")))
    with pytest.raises(BadInputError, match="no time zone 'Mars/Base'"):
        run(path, store, ReadOptions(timezone="Mars/Base"))


def test_a_full_disk_while_staging_changes_nothing(
    ingest: Ingest, store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fluxhero.ledger.staging.RowFile.add", full)
    with pytest.raises(StorageIOError, match="No space left"):
        ingest(trade("A"))
    assert statuses(store) == []
