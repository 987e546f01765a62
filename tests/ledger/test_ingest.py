"""Ingest into a real store: once is enough, nothing is half done, nothing is picked silently."""

import json
import random
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
from fluxhero.ledger.ingest_report import IngestReport, ingest_lines
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
    assert ingest(trade("A"), trade("B"), trade("C", side="up")) == TableCount(
        unchanged=2, refused_before=1
    )
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
    assert ingest(trade("C"), *reversed(doubled), stranger) == TableCount(
        inserted=1, refused_before=3
    )
    assert query(store, "SELECT rule, count(*) FROM hot.quarantine GROUP BY 1 ORDER BY 1") == [
        ("duplicate_key", 2),
        ("foreign_key_owner", 1),
    ]


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_every_refusal_says_the_file_and_the_row_alike(
    tmp_path: Path, store: DuckDBStore, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    def listed(*rows: dict[str, Any]) -> list[str]:
        path = tmp_path / f"t{write.__name__.replace('write_', '.')}"
        write(path, [{**row, "quantity": str(row["quantity"])} for row in rows])
        name = run(path, store).format
        found = query(store, "SELECT source FROM hot.quarantine ORDER BY source")
        return [source.removeprefix(f"{name}:{path.name} ") for (source,) in found]

    closed = trade("B", **{**CLOSED, "exit_price": "425"})
    opened = {**closed, "status": "open"}
    assert listed(trade("A"), trade("C")) == []
    assert listed(closed) == []
    found = listed(
        {**opened, "side": "up"},
        opened,
        {**closed, "trade_id": "A", "source": "broker"},
        {**opened, "trade_id": "D"},
        {**closed, "trade_id": "D"},
    )
    assert found == [f"row {number}" for number in range(1, 6)]
    assert listed({**trade("A", source="broker"), "source_id": "x:7"})[-1] == "source_id x:7"


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
    assert ingest(*twice) == TableCount(unchanged=2, refused_before=2)


def test_another_source_never_overwrites(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A"))
    other = trade("A", source="broker", quantity=99)
    assert ingest(other) == TableCount(quarantined=1)
    assert ingest(other) == TableCount(refused_before=1)
    assert query(store, "SELECT quantity::INT, source FROM hot.trades") == [(10, "bot")]
    assert query(store, "SELECT rule FROM hot.quarantine") == [("foreign_key_owner",)]


def test_an_older_version_is_left_out(ingest: Ingest, store: DuckDBStore) -> None:
    ingest(trade("A", updated_at="2026-01-05T00:00:00Z", **CLOSED))
    assert ingest(trade("A", updated_at="2026-01-02T00:00:00Z")) == TableCount(stale=1)
    assert statuses(store) == [("A", "closed")]


# ------------------------------------------------------------- rows that take something back

KNOWN = {**CLOSED, "realized_pnl": "45", "fees": "0.1"}
LATER, EARLIER = "2026-01-05T00:00:00Z", "2026-01-02T20:00:00Z"


@pytest.mark.parametrize(
    ("known", "given", "taken"),
    [
        (
            KNOWN,
            {},
            "status closed → open, exit_price 425.00000000 → nothing, exit_time 2026-01-03",
        ),
        (KNOWN, {**KNOWN, "status": "open"}, "status closed → open"),
        ({**KNOWN, "status": "cancelled"}, {**KNOWN, "status": "open"}, "status cancelled → open"),
        (KNOWN, {**KNOWN, "realized_pnl": None}, "realized_pnl 45.00000000 → nothing"),
        (
            KNOWN,
            {**KNOWN, "exit_price": None, "symbol": "QQQ"},
            "exit_price 425.00000000 → nothing",
        ),
        (KNOWN, {**KNOWN, "exit_time": None, "updated_at": LATER}, None),
        (KNOWN, {**KNOWN, "fees": None}, "fees 0.10000000 → nothing"),
        ({"realized_pnl": 3}, {}, "realized_pnl 3.00000000 → nothing"),
        # The ledger's version says when it was updated.
        (
            {**KNOWN, "updated_at": LATER},
            {},
            "was updated 2026-01-05 00:00:00+00, this row at no known",
        ),
        ({**KNOWN, "updated_at": LATER}, {"updated_at": LATER}, "status closed → open"),
        ({**KNOWN, "updated_at": EARLIER}, {"updated_at": LATER}, None),
        # It does not: then it is no older than the exit it tells of.
        (KNOWN, {"updated_at": EARLIER}, "status closed → open"),
        (KNOWN, {"updated_at": LATER}, None),
        # What a source may well say later.
        ({}, KNOWN, None),
        ({"updated_at": LATER}, KNOWN, None),
        (KNOWN, {**KNOWN, "realized_pnl": "-45", "exit_price": 1, "symbol": "QQQ"}, None),
        (KNOWN, {**KNOWN, "status": "cancelled"}, None),
        ({"fees": 1, "stop_loss": 400, "regime": "x"}, {"take_profit": 500}, None),
        ({**KNOWN, "regime": "x"}, KNOWN, None),
    ],
)
def test_a_row_that_takes_something_back_is_refused(
    ingest: Ingest,
    store: DuckDBStore,
    known: dict[str, Any],
    given: dict[str, Any],
    taken: str | None,
) -> None:
    ingest(trade("A", **known))
    before = query(store, "FROM hot.trades")
    if taken is None:
        assert ingest(trade("A", **given), trade("B")) == TableCount(inserted=1, updated=1)
        return
    assert ingest(trade("A", **given), trade("B")) == TableCount(inserted=1, quarantined=1)
    assert query(store, "FROM hot.trades WHERE trade_id = 'A'") == before
    ((rule, reason, row),) = query(store, 'SELECT rule, reason, "row" FROM hot.quarantine')
    assert rule == "takes_back"
    assert taken in reason
    assert json.loads(row)["trade_id"] == "A"
    assert not {name for name in json.loads(row) if name.startswith("_")}
    # Once is enough, wherever the row stands; and nothing but a newer date makes it go in.
    assert ingest(trade("B"), trade("A", **given)) == TableCount(unchanged=1, refused_before=1)
    assert ingest(trade("A", **{**given, "updated_at": "2026-02-01"})) == TableCount(updated=1)


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "O",
        "mode": "live",
        "symbol": "A",
        "side": "buy",
        "quantity": 1,
        "source": "bot",
        **changes,
    }


@pytest.mark.parametrize(
    ("known", "given", "refused"),
    [
        ({"status": "filled"}, {"status": "new"}, True),
        ({"status": "new", "filled_quantity": 1}, {"status": "new"}, True),
        ({"status": "filled", "filled_at": EARLIER}, {"status": "filled"}, True),
        ({"status": "done_for_day", "submitted_at": EARLIER}, {"status": "new"}, False),
        ({"status": "new"}, {"status": "filled", "filled_at": EARLIER}, False),
    ],
)
def test_nor_does_an_order_go_back(
    ingest: Ingest, known: dict[str, Any], given: dict[str, Any], *, refused: bool
) -> None:
    ingest(order(**known), table=ORDERS)
    expected = TableCount(quarantined=1) if refused else TableCount(updated=1)
    assert ingest(order(**given), table=ORDERS) == expected
    again = TableCount(refused_before=1) if refused else TableCount(unchanged=1)
    assert ingest(order(**given), table=ORDERS) == again


@pytest.mark.parametrize("seed", range(4))
def test_the_same_rows_again_say_nothing_new(ingest: Ingest, store: DuckDBStore, seed: int) -> None:
    """Whatever came before, and whatever of it was refused."""
    rng = random.Random(seed)

    def version(trade_id: str) -> dict[str, Any]:
        return trade(
            trade_id,
            status=rng.choice(("open", "closed", "cancelled")),
            **{
                name: rng.choice((None, value))
                for name, value in {**KNOWN, "regime": "x", "side": "up"}.items()
                if name not in {"status", "side"}
            },
            updated_at=rng.choice((EARLIER, LATER)),
        ) | rng.choice(({}, {"updated_at": None, "exit_time": LATER}, {"source": "broker"}))

    for _ in range(4):
        rows = [version(f"T{number}") for number in range(12)]
        ingest(*rows)
        ledger = query(store, "FROM hot.trades ORDER BY trade_id")
        listed = query(store, "FROM hot.quarantine ORDER BY ALL")
        rng.shuffle(rows)
        again = ingest(*rows)
        assert (again.inserted, again.updated, again.quarantined) == (0, 0, 0)
        assert query(store, "FROM hot.trades ORDER BY trade_id") == ledger
        assert query(store, "FROM hot.quarantine ORDER BY ALL") == listed


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
    assert ingest(trade("A"), archived=archived) == TableCount(quarantined=1), "it takes A back"
    assert statuses(store) == [("B", "closed")]


def test_tables_with_keys_of_several_columns(ingest: Ingest, store: DuckDBStore) -> None:
    points = [{"mode": "live", "at": f"2026-01-0{day}", "equity": 100 + day} for day in (1, 2)]
    assert ingest(*points, table=EQUITY) == TableCount(inserted=2)
    assert ingest(*points, {**points[0], "mode": "paper"}, table=EQUITY) == TableCount(
        inserted=1, unchanged=2
    )
    assert ingest(order(status="filled"), table=ORDERS) == TableCount(inserted=1)


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


def report(*results: IngestResult) -> IngestReport:
    return IngestReport(store="s", lines=ingest_lines(results))


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: (folder / "t.csv").write_text(",".join(trade("A")) + "\n"),
        lambda folder: pq.write_table(
            pa.table({name: pa.array([], pa.string()) for name in trade("A")}), folder / "t.parquet"
        ),
    ],
    ids=["csv", "parquet"],
)
def test_a_file_without_rows_is_not_said_to_have_gone_in(
    tmp_path: Path, store: DuckDBStore, write: Callable[[Path], object]
) -> None:
    write(tmp_path)
    path = next(tmp_path.glob("t.*"))
    nothing = run(path, store)
    assert nothing.counts == {"trades": TableCount()}
    assert report(nothing).verdict == f"Nothing came in. {path} holds no rows."
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(trade("A")))
    assert report(run(other, store), nothing).verdict == (
        f"Ingested 1 new and 0 changed rows from 1 file. {path} holds no rows."
    )


def test_rows_known_to_be_refused_are_still_said_not_to_be_in(
    tmp_path: Path, store: DuckDBStore
) -> None:
    path = tmp_path / "t.jsonl"
    rows = [trade("A"), trade("B", side="up"), trade("C", side="down")]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, again = report(run(path, store)), report(run(path, store))
    assert first.verdict == (
        "Ingested 1 new and 0 changed rows from 1 file. 2 rows went to quarantine."
    )
    assert again.verdict == (
        "Nothing new: the ledger has 1 row of 1 file already. "
        "Not in, for they are in quarantine from before: 2 rows."
    )
    assert again.ok
    assert any("FROM quarantine" in line for line in again.details())


def test_an_unknown_time_zone_is_refused(tmp_path: Path, store: DuckDBStore) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(trade("A")))
    with pytest.raises(BadInputError, match="no time zone 'Mars/Base'"):
        run(path, store, ReadOptions(timezone="Mars/Base"))


def test_a_folder_that_cannot_be_worked_in_is_named(tmp_path: Path, store: DuckDBStore) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(trade("A")))
    gone = tmp_path / "gone"
    with pytest.raises(StorageIOError, match=f"{path} into {gone}"):
        ingest_file(
            path,
            store,
            select(path, None),
            ReadOptions(),
            progress=lambda _done, _total: None,
            temp_dir=gone,
        )


@pytest.mark.parametrize("stage", ["RowFile.add", "RowFile.close", "Staging.outgoing"])
@pytest.mark.parametrize("kind", [OSError, duckdb.OutOfMemoryException])
def test_a_disk_that_fails_at_any_stage_changes_nothing(
    ingest: Ingest,
    store: DuckDBStore,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    kind: type[Exception],
) -> None:
    def full(*_arguments: Any) -> None:
        raise kind("No space left on device")

    monkeypatch.setattr(f"fluxhero.ledger.staging.{stage}", full)
    with pytest.raises(StorageIOError, match="No space left"):
        ingest(trade("A"))
    assert statuses(store) == []


def test_a_full_disk_while_staging_changes_nothing(
    ingest: Ingest, store: DuckDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fluxhero.ledger.staging.RowFile.add", full)
    with pytest.raises(StorageIOError, match="No space left"):
        ingest(trade("A"))
    assert statuses(store) == []
