"""One suite for every hot store, through the interface alone; then what only one of them has."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.archive.files import read_back, write_file
from fluxhero.engine import connect
from fluxhero.errors import (
    DamagedStoreError,
    ForeignStoreError,
    SchemaVersionError,
    SourceChangedError,
    StorageIOError,
)
from fluxhero.ledger import duckdb_purge
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.migrations import META, STEPS, migrate, stored_version
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import ARCHIVED_AT, CLOSED_AT, ROW_HASH, archive_schema
from fluxhero.ledger.schema import FILLS, TRADES
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_store import SqliteStore
from fluxhero.ledger.store import ArchivedFile, BatchSpec, HotStore, PlanRequest
from tests import samples
from tests.house import execute_elsewhere

ARCHIVED = datetime(2025, 6, 1, 12, tzinfo=UTC)
REQUEST = PlanRequest(cutoff=samples.CUTOFF, held=frozenset(), batch_rows=2000)
Opener = Callable[[], HotStore]


def nobody(_done: int, _all: int | None) -> None:
    """Nobody watches the progress."""


class Place:
    """A store of one kind, and the archive files made of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.path = folder / ("system.db" if kind == "sqlite" else "ledger.duckdb")
        create = samples.create_duckdb_store if kind == "duckdb" else samples.create_fluxhero_store
        create(self.path)
        self.store = self.open()

    def open(self) -> HotStore:
        if self.kind == "duckdb":
            return DuckDBStore(self.path, lock_timeout=5, temp_dir=self.folder / "tmp")
        return SqliteStore(
            self.path,
            timezone="UTC",
            lock_timeout=5,
            quarantine_dir=self.folder / "quarantine",
            temp_dir=self.folder / "tmp",
        )

    def add(self, *numbers: int, **changes: Any) -> None:
        if self.kind == "duckdb":
            rows = [samples.ledger_trade(number, **changes) for number in numbers]
            samples.insert_duckdb(self.path, "trades", *rows)
        else:
            rows = [samples.fluxhero_trade(number, **changes) for number in numbers]
            samples.insert_sqlite(self.path, "live_trades", *rows)

    def key(self, number: int) -> str:
        if self.kind == "duckdb":
            return f"t-{number:05d}"
        return f"live_trades:{number}:2025-01-02T09:30:01.{number:06d}"

    def execute(self, sql: str) -> None:
        table = "trades" if self.kind == "duckdb" else "live_trades"
        execute_elsewhere(self.kind, self.path, sql.replace("TRADES", table))

    def spec(self) -> BatchSpec:
        (spec,) = self.store.plan("trades", REQUEST, []).batches
        return spec

    def file(self, name: str = "00000001-trades-live-202501-0000000a") -> ArchivedFile:
        """Put what is due into a file."""
        rows = self.store.read(self.spec(), ARCHIVED).rows
        path = self.folder / f"{name}.parquet"
        write_file(path, rows, {"batch": name})
        facts = read_back(path, self.store.own_schema("trades"), self.store.key_range_sql("trades"))
        values: dict[str, Any] = {
            "batch_id": name,
            "path": path,
            "table": "trades",
            "mode": "live",
            "rows": facts.rows,
            "first_key": facts.first_key,
            "last_key": facts.last_key,
            "first_closed_at": facts.first_closed_at,
            "last_closed_at": facts.last_closed_at,
            "cutoff": samples.CUTOFF,
            "digest": int(facts.digest),
            "hash_is_current": True,
        }
        known = ArchivedFile.__dataclass_fields__
        return ArchivedFile(**{name: value for name, value in values.items() if name in known})

    def count(self) -> int:
        return self.store.statistics().rows["trades"]


@pytest.fixture(params=["duckdb", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = Place(request.param, tmp_path)
    yield made
    made.store.close()


# ------------------------------------------------------------------------------ the whole interface


def test_identity_is_lasting_and_its_own(place: Place, tmp_path: Path) -> None:
    assert place.store.identity() == place.open().identity()
    (tmp_path / "other").mkdir()
    assert Place(place.kind, tmp_path / "other").store.identity() != place.store.identity()


def test_identity_of_nothing_is_an_error(place: Place) -> None:
    place.store.close()
    place.path.unlink()
    with pytest.raises(ForeignStoreError, match=str(place.path)):
        place.store.identity()


def test_plan_finds_what_is_due(place: Place) -> None:
    place.add(1, 2, 3)
    plan = place.store.plan("trades", REQUEST, [])
    (spec,) = plan.batches
    assert (spec.rows, str(spec.partition), spec.correction) == (3, "trades live 2025-01", False)
    assert (plan.purge_only, plan.refused, plan.held, plan.undated) == ({}, (), 0, 0)


def test_plan_of_an_empty_store(place: Place) -> None:
    assert place.store.plan("trades", REQUEST, []).batches == ()


def test_plan_leaves_held_rows(place: Place) -> None:
    place.add(1, 2)
    request = PlanRequest(samples.CUTOFF, frozenset([place.key(1), "nobody"]), 1000)
    plan = place.store.plan("trades", request, [])
    assert (plan.held, [spec.rows for spec in plan.batches]) == (1, [1])


def test_read_gives_own_and_derived_columns_in_order(place: Place) -> None:
    place.add(3, 1, 2)
    rows = place.store.read(place.spec(), ARCHIVED).rows
    assert rows.schema.equals(archive_schema(place.store.own_schema("trades")))
    assert rows[CLOSED_AT].to_pylist() == sorted(rows[CLOSED_AT].to_pylist())
    assert set(rows[ARCHIVED_AT].to_pylist()) == {ARCHIVED}
    assert len(set(rows[ROW_HASH].to_pylist())) == 3


def test_read_after_a_row_went(place: Place) -> None:
    """Either kind refuses, or leaves out what is not there: never reads something else."""
    place.add(1, 2)
    spec = place.spec()
    place.execute("DELETE FROM TRADES WHERE symbol = 'AAPL' AND signal_reason = 'reason 2'"
                  if place.kind == "sqlite" else "DELETE FROM TRADES WHERE trade_id = 't-00002'")  # fmt: skip
    if place.kind == "duckdb":
        with pytest.raises(SourceChangedError, match="trades live 2025-01"):
            place.store.read(spec, ARCHIVED)
    else:
        assert place.store.read(spec, ARCHIVED).rows.num_rows == 1


def test_compare_tells_equal_changed_and_missing(place: Place) -> None:
    place.add(1, 2, 3)
    file = place.file()
    assert place.store.compare(file).equal == 3
    one, two = ("trade_id = 't-00001'", "trade_id = 't-00002'") if place.kind == "duckdb" else (
        "id = 1", "id = 2")  # fmt: skip
    place.execute(f"UPDATE TRADES SET regime = 'x' WHERE {one}")
    place.execute(f"DELETE FROM TRADES WHERE {two}")
    found = place.store.compare(file)
    assert (found.equal, found.changed, found.missing) == (1, (place.key(1),), (place.key(2),))


def test_every_column_counts_in_a_comparison(place: Place) -> None:
    place.add(1)
    file = place.file()
    key = "trade_id" if place.kind == "duckdb" else "id"
    texts = {"duckdb": {"JSON": "'{}'", "TIMESTAMPTZ": "now()", "DECIMAL(18,8)": "77"}}
    schema = place.store.own_schema("trades")
    if place.kind == "duckdb":
        values = {c.name: texts["duckdb"].get(c.kind.value, "'other'") for c in TRADES.columns}
        values |= {"side": "'short'", "status": "'cancelled'", "mode": "'paper'"}
    else:
        values = {f.name: "77" if f.type != pa.string() else "'2020-01-01'" for f in schema}
        values |= {"side": "-1", "status": "2"}
        for name in ("_extra", "slippage_applied"):
            del values[name]
    del values[key]
    for name, value in values.items():
        backup = place.path.read_bytes() if place.kind == "duckdb" else b""
        place.execute(f'UPDATE TRADES SET "{name}" = {value}')
        assert place.store.compare(file).equal == 0, name
        if place.kind == "duckdb":
            place.path.write_bytes(backup)
        else:
            row = samples.fluxhero_trade(1) | {"broker_order_id": None, "signal_explanation": None}
            old = row[name]
            shown = "NULL" if old is None else repr(old)
            place.execute(f'UPDATE TRADES SET "{name}" = {shown}')
    assert place.store.compare(file).equal == 1


def test_purge_removes_equal_rows_only(place: Place) -> None:
    place.add(1, 2, 3, 4)
    file = place.file()
    one = "trade_id = 't-00001'" if place.kind == "duckdb" else "id = 1"
    place.execute(f"UPDATE TRADES SET regime = 'x' WHERE {one}")
    seen: list[int] = []
    (outcome,) = place.store.purge(
        [file], {"trades": frozenset([place.key(2)])}, lambda done, _all: seen.append(done)
    )
    assert (outcome.purged, outcome.changed, outcome.held) == (2, (place.key(1),), (place.key(2),))
    assert (place.count(), seen) == (2, [1])
    (again,) = place.store.purge([file], {"trades": frozenset([place.key(2)])}, nobody)
    assert again.purged == 0


def test_purge_of_a_file_that_was_proven_this_run(place: Place) -> None:
    place.add(*range(1, 1201))
    file = place.file()
    assert place.store.compare(file).equal == 1200
    (outcome,) = place.store.purge([file], {}, nobody)
    assert (outcome.purged, outcome.changed, place.count()) == (1200, (), 0)


def test_fetch_and_insert_are_inverse(place: Place) -> None:
    place.add(1, 2, 3)
    file = place.file()
    keys = [place.key(1), place.key(3)]
    before = place.store.fetch("trades", [*keys, "nobody", "live_trades:x:y"])
    assert before.num_rows == 2
    place.store.purge([file], {}, nobody)
    assert place.store.fetch("trades", keys).num_rows == 0
    place.store.insert("trades", before)
    after = place.store.fetch("trades", keys)
    column = before.schema.names[0]
    assert after.sort_by(column).equals(before.sort_by(column))


def test_load_shows_every_row_in_the_ledgers_columns(place: Place) -> None:
    place.add(1, 2)
    with connect() as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS hot")
        for table in ("trades", "orders", "equity"):
            place.store.load(connection, table, f"hot.{table}")
        found = connection.execute(
            "SELECT trade_id, mode, side, status FROM hot.trades ORDER BY 1"
        ).fetchall()
        assert found == [(place.key(n), "live", "long", "closed") for n in (1, 2)]
        assert connection.execute("SELECT count(*) FROM hot.orders").fetchone() == (0,)


def test_quarantine_keeps_each_row_once(place: Place) -> None:
    rows = [Rejected({"id": n, "symbol": "é/😀"}, "reason", "rule", f"row {n}") for n in (1, 2)]
    assert place.store.quarantine("a test", rows) == 2
    assert place.store.quarantine("a test", rows) == 0
    assert place.store.quarantine("another", rows[:1]) == 1
    assert place.store.quarantine("a test", []) == 0
    assert place.store.statistics().quarantined == 3


def test_statistics_count_rows_and_bytes(place: Place) -> None:
    place.add(1, 2, 3)
    found = place.store.statistics()
    assert (found.rows["trades"], found.quarantined) == (3, 0)
    assert found.bytes > 0


def test_a_store_can_be_used_again_after_it_was_closed(place: Place) -> None:
    place.add(1)
    file = place.file()
    place.store.close()
    assert place.store.compare(file).equal == 1
    place.store.close()
    place.store.close()


# ------------------------------------------------------------------------------ DuckDB: migrations


def add_a_column(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE hot.trades ADD COLUMN venue VARCHAR")


def fail_halfway(connection: duckdb.DuckDBPyConnection) -> None:
    add_a_column(connection)
    raise RuntimeError("the machine stopped")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.duckdb"
    samples.create_duckdb_store(path)
    samples.insert_duckdb(path, "trades", samples.ledger_trade(1))
    return path


def columns(path: Path) -> list[str]:
    with duckdb.connect(str(path), read_only=True) as db:
        return [row[0] for row in db.execute("DESCRIBE trades").fetchall()]


def test_a_step_is_taken_after_a_copy(ledger: Path) -> None:
    before = ledger.read_bytes()
    (copy,) = migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    assert copy.name == f"ledger.duckdb.v{len(STEPS)}.backup"
    assert copy.read_bytes() == before
    assert stored_version(ledger, timeout=1) == len(STEPS) + 1
    assert columns(ledger)[-1] == "venue"
    assert migrate(ledger, timeout=1, steps=(*STEPS, add_a_column)) == []


def test_a_store_of_the_first_version_gains_what_imports_need(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    migrate(path, timeout=1, steps=STEPS[:1])
    with duckdb.connect(str(path)) as db:
        tables = {name for (name,) in db.execute("SHOW TABLES").fetchall()}
        assert "fills" not in tables
        names = [row[0] for row in db.execute("DESCRIBE cash_flows").fetchall()]
        assert names[-1] == "source_id"
        db.execute("INSERT INTO cash_flows VALUES ('f', 'live', now(), 'fee', -1, 's', 's:1')")
    store = DuckDBStore(path, lock_timeout=1)
    assert [copy.name for copy in store.ensure()] == ["old.duckdb.v1.backup"]
    with duckdb.connect(str(path), read_only=True) as db:
        row = db.execute("SELECT flow_id, account, currency, extra FROM cash_flows").fetchall()
        assert row == [("f", None, None, None)]
    with store.transaction() as transaction:  # where every table and column is looked at
        transaction.insert(FILLS, FILLS.arrow.empty_table())
    assert store.ensure() == []


def test_a_step_that_fails_changes_nothing(ledger: Path) -> None:
    before = columns(ledger)
    with pytest.raises(RuntimeError):
        migrate(ledger, timeout=1, steps=(*STEPS, fail_halfway))
    assert (stored_version(ledger, timeout=1), columns(ledger)) == (len(STEPS), before)
    migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    assert columns(ledger)[-1] == "venue"


def run_elsewhere(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


_VANISH_WHILE_CREATING = """
import os, signal, sys
from pathlib import Path
from fluxhero.ledger.migrations import migrate
migrate(Path(sys.argv[1]), timeout=1, steps=(lambda _: os.kill(os.getpid(), signal.SIGKILL),))
"""
_COMMIT_AND_VANISH = """
import duckdb, os, sys
db = duckdb.connect(sys.argv[1])
db.execute("UPDATE trades SET regime = 'last word'")
os._exit(0)
"""


def test_a_store_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    assert run_elsewhere(_VANISH_WHILE_CREATING, path).returncode == -signal.SIGKILL
    assert not path.exists()
    assert list(tmp_path.iterdir()) != []
    migrate(path, timeout=1)
    assert stored_version(path, timeout=1) == len(STEPS)
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_that_lost_its_content_is_not_made_anew(ledger: Path) -> None:
    ledger.write_bytes(b"")
    for attempt in (migrate, stored_version):
        with pytest.raises(DamagedStoreError, match="is an empty file"):
            attempt(ledger, timeout=1)
    assert ledger.read_bytes() == b""


def test_a_log_without_its_store_is_not_thrown_away(ledger: Path) -> None:
    assert run_elsewhere(_COMMIT_AND_VANISH, ledger).returncode == 0
    ledger.unlink()
    log = ledger.with_name("ledger.duckdb.wal")
    content = log.read_bytes()
    for attempt in (migrate, stored_version):
        with pytest.raises(DamagedStoreError, match=f"is still in {log}"):
            attempt(ledger, timeout=1)
    assert list(ledger.parent.iterdir()) == [log]
    assert log.read_bytes() == content


def test_the_copy_has_what_a_killed_process_committed_last(ledger: Path) -> None:
    assert run_elsewhere(_COMMIT_AND_VANISH, ledger).returncode == 0
    assert ledger.with_name("ledger.duckdb.wal").exists()
    (copy,) = migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    for path in (copy, ledger):
        with duckdb.connect(str(path), read_only=True) as db:
            assert db.execute("SELECT regime FROM trades").fetchall() == [("last word",)]
    assert copy.stat().st_mode == ledger.stat().st_mode


def test_a_copy_that_fails_stops_the_step_and_leaves_no_part(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(source: BinaryIO, target: BinaryIO, *_size: int) -> None:
        target.write(source.read(4096))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("fluxhero.durable.shutil.copyfileobj", fill_the_disk)
        with pytest.raises(StorageIOError, match="No space left"):
            migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    assert stored_version(ledger, timeout=1) == len(STEPS)
    assert list(ledger.parent.iterdir()) == [ledger]
    migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))


def test_nobody_can_write_between_the_copy_and_the_step(ledger: Path) -> None:
    found: list[str] = []

    def look(_connection: duckdb.DuckDBPyConnection) -> None:
        assert ledger.with_name(f"ledger.duckdb.v{len(STEPS)}.backup").exists()
        found.append(run_elsewhere(_COMMIT_AND_VANISH, ledger).stderr)

    migrate(ledger, timeout=1, steps=(*STEPS, look))
    assert "Could not set lock" in found[0]


def test_a_newer_store_is_refused(ledger: Path) -> None:
    migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    content = ledger.read_bytes()
    store = DuckDBStore(ledger, lock_timeout=1)
    for refused in (store.ensure, store.identity):
        with pytest.raises(
            SchemaVersionError,
            match=f"version {len(STEPS) + 1}; this release knows up to {len(STEPS)}",
        ) as c:
            refused()
        assert c.value.exit_status == 2
    assert ledger.read_bytes() == content


def test_somebody_elses_duckdb_file_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE customers (id INT)")
    content = path.read_bytes()
    with pytest.raises(ForeignStoreError, match="customers"):
        DuckDBStore(path, lock_timeout=1).ensure()
    assert path.read_bytes() == content


def test_a_store_keeps_its_identity_through_a_migration(ledger: Path) -> None:
    with duckdb.connect(str(ledger)) as db:
        (before,) = db.execute(f"SELECT value FROM {META} WHERE key = 'store_id'").fetchall()
    migrate(ledger, timeout=1, steps=(*STEPS, add_a_column))
    with duckdb.connect(str(ledger)) as db:
        assert db.execute(f"SELECT value FROM {META} WHERE key = 'store_id'").fetchall() == [before]


# ------------------------------------------------------------------- DuckDB: the two ways of purging


@pytest.mark.parametrize(
    ("left", "index", "swapped"), [(1, False, True), (1, True, False), (400, False, False)]
)
def test_few_survivors_are_copied_many_are_left_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, *, index: bool, swapped: bool
) -> None:
    place = Place("duckdb", tmp_path)
    place.add(*range(1, 21))
    place.add(*range(1001, 1001 + left), status="open", exit_time=None)
    if index:
        place.execute("CREATE INDEX by_symbol ON trades (symbol)")
    calls: list[str] = []
    swap = duckdb_purge._replace_by_survivors

    def swapping(*arguments: Any) -> None:
        calls.append("swap")
        swap(*arguments)

    monkeypatch.setattr(duckdb_purge, "_replace_by_survivors", swapping)
    file = place.file()
    (outcome,) = place.store.purge([file], {}, nobody)
    assert outcome.purged == 20
    assert bool(calls) == swapped
    place.store.close()
    with duckdb.connect(str(place.path)) as db:
        assert db.execute("SELECT count(*) FROM trades").fetchone() == (left,)
        indexes = db.execute("SELECT index_name FROM duckdb_indexes()").fetchall()
        assert indexes == ([("by_symbol",)] if index else [])
        with pytest.raises(duckdb.ConstraintException):  # the primary key is still there
            db.execute("INSERT INTO trades SELECT * FROM trades LIMIT 1")
        with pytest.raises(duckdb.ConstraintException):  # and so is NOT NULL
            db.execute("UPDATE trades SET symbol = NULL")


# ------------------------------------------------------------------------------ SQLite: connections


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    path = tmp_path / "a bot's 100% folder?" / "system.db"
    samples.create_fluxhero_store(path)
    samples.insert_sqlite(path, "live_trades", *(samples.fluxhero_trade(n) for n in (1, 2)))
    return path


def test_a_read_only_connection_refuses_to_write(bot: Path) -> None:
    with SqliteConnection(bot, read_only=True, busy_timeout=1) as connection:
        with pytest.raises(StorageIOError, match=r"readonly|read-only"):
            connection.execute("DELETE FROM live_trades")
        assert connection.value("SELECT count(*) FROM live_trades") == 2


def test_the_change_token_changes_by_others_only(bot: Path) -> None:
    with SqliteConnection(bot, read_only=False, busy_timeout=1) as connection:
        token = connection.change_token
        with connection.write_transaction():
            assert connection.execute("DELETE FROM live_trades WHERE id = 1") == 1
        assert connection.change_token == token
        execute_elsewhere("sqlite", bot, "UPDATE live_trades SET regime = 'x'")
        assert connection.change_token != token


def _delete_and_fail(connection: SqliteConnection) -> None:
    with connection.write_transaction():
        connection.execute("DELETE FROM live_trades")
        connection.execute("DELETE FROM no_such_table")


def test_a_transaction_that_fails_is_rolled_back(bot: Path) -> None:
    with SqliteConnection(bot, read_only=False, busy_timeout=1) as connection:
        with pytest.raises(StorageIOError, match="no such table"):
            _delete_and_fail(connection)
        assert connection.value("SELECT count(*) FROM live_trades") == 2


def test_a_connection_never_makes_a_file(tmp_path: Path) -> None:
    with pytest.raises(ForeignStoreError):
        SqliteConnection(tmp_path / "no.db", read_only=False, busy_timeout=1)
    assert not list(tmp_path.iterdir())


def test_the_bots_file_keeps_its_tables_and_its_journal_mode(bot: Path) -> None:
    def described() -> tuple[Any, ...]:
        with sqlite3.connect(bot) as db:
            schema = db.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()
            found = schema, db.execute("PRAGMA journal_mode").fetchone()
            settings = db.execute("SELECT * FROM settings").fetchall()
        db.close()
        return found, settings

    before = described()
    place = Place.__new__(Place)
    place.kind, place.folder, place.path = "sqlite", bot.parent, bot
    place.store = place.open()
    file = place.file()
    place.store.purge([file], {}, nobody)
    place.store.insert("trades", pq.read_table(file.path, partitioning=None))
    place.store.close()
    shutil.rmtree(bot.parent / "tmp", ignore_errors=True)
    assert described() == before


def test_a_copy_is_whole_private_and_named_when_done(bot: Path, tmp_path: Path) -> None:
    store = SqliteStore(bot, timezone="UTC", lock_timeout=1, quarantine_dir=tmp_path)
    copy = store.copy_before_first_purge(tmp_path / "backups")
    assert copy is not None
    assert copy.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "backups").iterdir()) == [copy]
    with sqlite3.connect(copy) as db:
        assert db.execute("SELECT count(*) FROM live_trades").fetchone() == (2,)
    db.close()


def test_a_copy_that_fails_leaves_nothing(bot: Path, tmp_path: Path) -> None:
    from fluxhero.ledger.sqlite_connection import backup

    bot.write_bytes(b"not a database, and long enough to be read as one " * 100)
    with pytest.raises(StorageIOError, match="could not copy"):
        backup(bot, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert not list(tmp_path.glob("*.partial"))
