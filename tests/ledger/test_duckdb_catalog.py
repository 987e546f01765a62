"""A ledger whose owner altered it: nothing of his is lost, and what cannot be moved is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from fluxhero.errors import AlteredStoreError, StorageIOError, VerificationError
from fluxhero.ledger import duckdb_purge
from fluxhero.ledger.duckdb_catalog import is_pristine
from fluxhero.ledger.duckdb_file import opened
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.migrations import META
from fluxhero.ledger.schema import LEDGER_TABLES, TRADES
from fluxhero.ledger.store import ArchivedFile, BatchSpec, PlanRequest
from tests import samples
from tests.ledger.test_stores import ARCHIVED, Place, nobody

REQUEST = PlanRequest(cutoff=samples.CUTOFF, held=frozenset(), batch_rows=2000)
NOTES = "CREATE TABLE notes (trade_id VARCHAR REFERENCES trades (trade_id))"
REMADE = "CREATE TABLE {0} AS FROM trades; DROP TABLE trades; ALTER TABLE {0} RENAME TO trades"


class Ledger:
    """Five closed trades and an open one, of which the closed ones are planned and in a file."""

    def __init__(self, folder: Path) -> None:
        self.place = Place("duckdb", folder)
        self.place.add(*range(1, 6))
        self.place.add(6, status="open", exit_time=None)
        self.spec: BatchSpec = self.place.spec()
        self.file: ArchivedFile = self.place.file()
        store = self.place.store
        assert isinstance(store, DuckDBStore)
        self.store = store

    def execute(self, sql: str) -> None:
        self.place.execute(sql)

    def ask(self, sql: str) -> list[Any]:
        self.store.close()
        with duckdb.connect(str(self.place.path), read_only=True) as db:
            return db.execute(sql).fetchall()

    def purge(self) -> int:
        (outcome,) = self.store.purge([self.file], {}, nobody)
        return outcome.purged


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


# ------------------------------------------------------------------------------------- columns

STEPS: dict[str, Callable[[Ledger], object]] = {
    "plan": lambda it: it.store.plan("trades", REQUEST, []),
    "read": lambda it: it.store.read(it.spec, ARCHIVED),
    "purge": lambda it: it.purge(),
    "fetch": lambda it: it.store.fetch("trades", ["t-00001"]),
    "insert": lambda it: it.store.insert("trades", TRADES.arrow.empty_table()),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "ALTER TABLE trades ADD COLUMN tax_note VARCHAR DEFAULT 'keep'",
            "trades .*lose: tax_note",
        ),
        ("ALTER TABLE trades DROP COLUMN extra", "trades .*altered: it has no column extra"),
        ("ALTER TABLE trades ALTER fees TYPE DOUBLE", r"fees is DOUBLE, not DECIMAL\(18,8\)"),
        (REMADE.format("mine"), "its primary key is gone"),
    ],
)
def test_a_step_that_moves_whole_rows_refuses_an_altered_table(
    ledger: Ledger, step: Callable[[Ledger], object], sql: str, words: str
) -> None:
    ledger.execute(sql)
    with pytest.raises(AlteredStoreError, match=words) as caught:
        step(ledger)
    assert caught.value.exit_status == 2
    assert str(ledger.place.path) in str(caught.value)
    assert ledger.ask("SELECT count(*) FROM trades") == [(6,)]


def test_the_advice_works(ledger: Ledger) -> None:
    ledger.execute("ALTER TABLE trades ADD COLUMN \"tax note\" VARCHAR DEFAULT 'keep'")
    with pytest.raises(AlteredStoreError) as caught:
        ledger.purge()
    advice = caught.value.next_step
    assert "`extra`" in advice
    ledger.execute(advice[advice.index("ALTER TABLE") :])
    assert ledger.purge() == 5


def test_reading_and_ingest_go_on_beside_a_column_of_the_users_own(ledger: Ledger) -> None:
    ledger.execute("ALTER TABLE trades ADD COLUMN note VARCHAR DEFAULT 'keep'")
    with duckdb.connect() as connection:
        ledger.store.load(connection, "trades", "loaded")
        assert connection.execute("SELECT count(*) FROM loaded").fetchone() == (6,)
    assert ledger.store.statistics().rows["trades"] == 6
    with ledger.store.transaction() as transaction:
        transaction.insert(TRADES, _new_trade())
    assert ledger.ask("SELECT note, count(*) FROM trades GROUP BY 1") == [("keep", 7)]


def _new_trade() -> pa.Table:
    return pa.Table.from_pylist([samples.ledger_trade(9)], schema=TRADES.arrow)


@pytest.mark.parametrize(
    "sql", ["ALTER TABLE trades ALTER fees TYPE DOUBLE", "ALTER TABLE trades DROP COLUMN extra"]
)
def test_nothing_is_ingested_into_or_shown_of_columns_that_are_not_ours(
    ledger: Ledger, sql: str
) -> None:
    ledger.execute(sql)
    with pytest.raises(AlteredStoreError), ledger.store.transaction() as transaction:
        transaction.insert(TRADES, _new_trade())
    with duckdb.connect() as connection, pytest.raises(AlteredStoreError):
        ledger.store.load(connection, "trades", "loaded")


def test_a_table_that_is_gone_is_named(ledger: Ledger) -> None:
    ledger.execute("DROP TABLE orders")
    with pytest.raises(AlteredStoreError, match="no table orders"):
        ledger.store.plan("orders", REQUEST, [])
    with pytest.raises(AlteredStoreError, match="orders"):
        ledger.store.statistics()


def test_a_store_without_a_name_is_named_by_its_path(ledger: Ledger) -> None:
    ledger.execute(f"DELETE FROM {META} WHERE key = 'store_id'")
    with pytest.raises(AlteredStoreError, match="lost its name"):
        ledger.store.identity()


# ------------------------------------------------------------------ what hangs on a table is kept

_COMMENT = "SELECT comment FROM duckdb_tables() WHERE table_name = 'trades'"
_COLUMNS = "SELECT column_name, comment, column_default, is_nullable FROM duckdb_columns() "


@pytest.mark.parametrize(
    ("sql", "evidence"),
    [
        ("COMMENT ON TABLE trades IS 'mine'", _COMMENT),
        (
            "COMMENT ON COLUMN trades.symbol IS 'ticker'",
            f"{_COLUMNS} WHERE table_name = 'trades' AND comment IS NOT NULL",
        ),
        (
            "CREATE SEQUENCE numbers; ALTER TABLE trades ALTER source_id SET DEFAULT nextval('numbers')",
            f"{_COLUMNS} WHERE table_name = 'trades' AND column_default IS NOT NULL",
        ),
        (
            "ALTER TABLE trades ALTER symbol DROP NOT NULL",
            f"{_COLUMNS} WHERE table_name = 'trades' AND is_nullable",
        ),
        ("CREATE INDEX by_symbol ON trades (symbol)", "SELECT index_name FROM duckdb_indexes()"),
        ("CREATE VIEW mine AS FROM trades WHERE status = 'open'", "SELECT trade_id FROM mine"),
        ("CREATE MACRO mine() AS TABLE FROM trades WHERE status = 'open'", "FROM mine()"),
        (
            f"{NOTES}; INSERT INTO notes VALUES ('t-00006')",
            "SELECT constraint_text FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY'",
        ),
        ("CREATE TABLE trades_survivors (mine INT)", "DESCRIBE trades_survivors"),
        ("CREATE VIEW trades_survivors AS SELECT 1 AS mine", "FROM trades_survivors"),
        ("CREATE SCHEMA mine; CREATE TABLE mine.trades (x INT)", "DESCRIBE mine.trades"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_a_purge_keeps_what_hangs_on_the_table(ledger: Ledger, sql: str, evidence: str) -> None:
    ledger.execute(sql)
    before = ledger.ask(evidence)
    assert before
    assert ledger.purge() == 5
    assert ledger.ask(evidence) == before
    assert ledger.ask("SELECT trade_id FROM trades") == [("t-00006",)]


def test_a_check_of_the_users_own_is_kept(ledger: Ledger) -> None:
    """Only who makes the table anew can add one."""
    checked = TRADES.create_sql("mine").removesuffix(")") + ", CHECK (quantity > 0))"
    ledger.execute(
        f"{checked}; INSERT INTO mine FROM trades; DROP TABLE trades; ALTER TABLE mine RENAME TO trades"
    )
    assert ledger.purge() == 5
    with (
        duckdb.connect(str(ledger.place.path)) as db,
        pytest.raises(duckdb.ConstraintException, match="CHECK"),
    ):
        db.execute("UPDATE trades SET quantity = -1")


def test_tables_as_we_make_them_are_known_for_such(ledger: Ledger) -> None:
    """Else every purge would take the slow way."""
    with opened(ledger.place.path, read_only=True, timeout=1) as connection:
        assert all(is_pristine(connection, table) for table in LEDGER_TABLES.values())


def test_a_table_that_was_replaced_is_as_we_make_it(ledger: Ledger) -> None:
    assert ledger.purge() == 5
    ledger.store.close()
    with opened(ledger.place.path, read_only=True, timeout=1) as connection:
        assert is_pristine(connection, TRADES)


@pytest.mark.parametrize("few_left", [True, False])
def test_a_purge_that_would_remove_other_rows_than_proven_removes_none(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, few_left: bool
) -> None:
    monkeypatch.setattr(duckdb_purge, "_can_be_replaced", lambda *_: few_left)
    mark = duckdb_purge._mark

    def mark_nobody_too(con: duckdb.DuckDBPyConnection, *arguments: Any) -> Any:
        outcome = mark(con, *arguments)
        con.execute("INSERT INTO purging VALUES (-1)")
        return outcome

    monkeypatch.setattr(duckdb_purge, "_mark", mark_nobody_too)
    with pytest.raises(VerificationError, match=r"5 rows would have gone .* 6 were proven"):
        ledger.purge()
    assert ledger.ask("SELECT count(*) FROM trades") == [(6,)]


@pytest.mark.parametrize("few_left", [True, False])
def test_a_row_that_equals_its_version_in_two_files_goes_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, few_left: bool
) -> None:
    monkeypatch.setattr(duckdb_purge, "_can_be_replaced", lambda *_: few_left)
    again = ledger.place.file("00000002-trades-live-202501-0000000b")
    ledger.store.purge([ledger.file, again], {}, nobody)
    assert ledger.ask("SELECT trade_id FROM trades") == [("t-00006",)]


# --------------------------------------------------------------------- constraints that stand in the way


def test_a_foreign_key_that_keeps_rows_is_named(ledger: Ledger) -> None:
    ledger.execute(f"{NOTES}; INSERT INTO notes VALUES ('t-00001')")
    with pytest.raises(AlteredStoreError, match="foreign key of your table notes keeps") as caught:
        ledger.purge()
    assert "disk" not in str(caught.value)
    assert "t-00001" in str(caught.value)
    assert ledger.ask("SELECT count(*) FROM trades") == [(6,)]
    ledger.execute("DROP TABLE notes")
    assert ledger.purge() == 5


def test_a_row_that_is_there_by_now_may_pass_by_itself(ledger: Ledger) -> None:
    rows = ledger.store.fetch("trades", ["t-00001"])
    with pytest.raises(StorageIOError, match="has a row with this key by now"):
        ledger.store.insert("trades", rows)


def test_a_constraint_of_the_users_own_is_no_matter_of_the_disk(ledger: Ledger) -> None:
    ledger.execute("UPDATE trades SET strategy = 'x'")
    ledger.execute("ALTER TABLE trades ALTER strategy SET NOT NULL")
    with pytest.raises(AlteredStoreError, match=r"constraint .*trades\.strategy"):
        ledger.store.insert("trades", _new_trade())
