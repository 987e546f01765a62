"""Which rows a check of values looks at, what it remembers, and what it does about what it finds."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pytest

from fluxhero.errors import StoreLockedError
from fluxhero.integrity import row_quarantine
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.row_quarantine import quarantine_folder
from fluxhero.integrity.values import check_values
from fluxhero.ledger.query import run_query
from fluxhero.recorded import read_record
from tests import samples
from tests.house import House
from tests.integrity import planted
from tests.integrity.planted import broken, check, scope_of

JANUARY, FEBRUARY, MARCH = (
    {"exit_time": planted.ENTRY.replace(month=month, day=3)} for month in (1, 2, 3)
)


@pytest.fixture
def house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return planted.house_of("duckdb", clean_environment, monkeypatch)


@pytest.fixture
def archived(house: House) -> House:
    """Two sound trades in January, two in February, one of them faulty in March."""
    house.add(1, 2, **JANUARY)
    house.add(3, 4, **FEBRUARY)
    house.add(5, 6, **MARCH)
    house.edit(6, "realized_pnl = 99")
    house.archive()
    assert not house.hot
    return house


class Memory:
    """A memory that is saved and read again between checks, as it is between runs."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.path = house.data / "integrity" / "passed.json"

    def check(self, *, deep: bool = False, **given: object) -> list[Result]:
        memory = Passed(self.path)
        results = check_values(scope_of(self.house, deep=deep), "trades", memory, **given)  # type: ignore[arg-type]
        memory.save()
        return results


def rows_read(results: Iterable[Result]) -> int:
    """How many archived rows were looked at."""
    (number,) = {
        r.checked
        for r in results
        if r.object == "trades (archive)" and r.rule.name != "trades.schema"
    }
    return number


def file_of(house: House, month: int) -> Path:
    (path,) = house.archive_dir.glob(f"trades/mode=live/year=2025/month=0{month}/*.parquet")
    return path


def outcomes(results: Iterable[Result], place: str) -> set[Outcome]:
    return {result.outcome for result in results if result.object == f"trades ({place})"}


# -------------------------------------------------------------------------------- what is read


def test_a_file_that_passed_is_not_read_until_it_changes(
    archived: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a faulty row is, so that what was found stays found."""
    memory = Memory(archived)
    faulty = {"t-00006": {"trades.pnl"}}
    for number in (6, 2):
        results = memory.check()
        assert rows_read(results) == number
        assert broken(results, "archive") == faulty
    later = time.time_ns() + 10**9
    os.utime(file_of(archived, 2), ns=(later, later))
    assert rows_read(memory.check()) == 4
    assert rows_read(memory.check(deep=True)) == 6
    monkeypatch.setenv("FLUXHERO_PNL_TOLERANCE", "0.004")
    assert rows_read(memory.check()) == 6, "by other rules"


def test_nothing_left_to_read_passes(house: House) -> None:
    house.add(1, 2)
    house.archive()
    memory = Memory(house)
    assert [rows_read(memory.check()) for _ in range(2)] == [2, 0]
    assert outcomes(memory.check(), "archive") == {Outcome.PASSED}
    assert outcomes(check(house), "archive") == {Outcome.PASSED}


def test_rows_of_a_store_that_is_gone_are_not_told(house: House) -> None:
    house.store.unlink()
    results = check(house)
    outcomes = {r.object: r.outcome for r in results}
    assert outcomes["trades (hot)"] is Outcome.ERRORED
    assert set(outcomes) == {"trades (hot)", "trades (archive)"}


def test_the_hot_row_wins_while_it_is_there(archived: House) -> None:
    memory = Memory(archived)
    memory.check()
    archived.restore(trade_ids=["t-00006"])
    archived.edit(6, "realized_pnl = 12.5")
    results = memory.check()
    assert not broken(results, "archive")
    assert not broken(results)
    assert rows_read(results) == 1, "the other row of its file"
    archived.execute("DELETE FROM trades")
    assert broken(memory.check(), "archive") == {"t-00006": {"trades.pnl"}}


def test_the_latest_version_counts(archived: House) -> None:
    """A correction is in a file of its own; the one before stays where it is."""
    memory = Memory(archived)
    memory.check()
    archived.add(6, **MARCH, updated_at=planted.ENTRY.replace(month=4))
    archived.archive()
    assert not archived.hot
    assert len(archived.chain) == 4
    results = memory.check()
    assert not broken(results, "archive")
    assert rows_read(results) == 2, "one row of March, and the correction"
    assert rows_read(memory.check()) == 0


# -------------------------------------------------------------------------- what cannot be read


def test_a_damaged_file_is_named_and_the_others_are_checked(archived: House) -> None:
    memory = Memory(archived)
    path = file_of(archived, 1)
    path.write_bytes(path.read_bytes()[:-200])
    for _ in range(2):
        results = memory.check()
        assert outcomes(results, "hot") == {Outcome.PASSED}
        assert outcomes(results, "archive") == {Outcome.ERRORED, Outcome.FAILED}
        failed = [r for r in results if r.outcome is Outcome.FAILED]
        assert [(r.rule.name, r.keys) for r in failed] == [("trades.pnl", ("t-00006",))]
        assert all(path.name in r.observed for r in results if r.outcome is Outcome.ERRORED)
        path.unlink(missing_ok=True)


def test_all_files_damaged(house: House) -> None:
    house.add(1)
    house.archive()
    file_of(house, 1).write_bytes(b"PAR1 and nothing else")
    results = check(house)
    assert outcomes(results, "archive") == {Outcome.ERRORED}
    assert outcomes(results, "hot") == {Outcome.PASSED}


def test_a_file_known_to_be_damaged_is_not_read(archived: House) -> None:
    """The scrub found it out; reading it could do anything."""
    faulty = file_of(archived, 3)
    results = check(archived, damaged={faulty: "a bit flipped"})
    assert outcomes(results, "archive") == {Outcome.ERRORED}
    assert {r.observed for r in results if r.outcome is Outcome.ERRORED} == {"a bit flipped"}


def test_damaged_manifests_leave_the_hot_rows(archived: House) -> None:
    archived.add(7)
    archived.edit(7, "quantity = 0, realized_pnl = 0")
    manifest = archived.workspace.layout.manifest(archived.chain.manifests[0].batch_id)
    manifest.write_text("{}")
    results = check(archived)
    assert outcomes(results, "archive") == {Outcome.ERRORED}
    assert any(manifest.name in r.observed for r in results)
    hot = [r for r in results if r.object == "trades (hot)" and r.outcome is Outcome.FAILED]
    assert [r.rule.name for r in hot] == ["trades.positive-quantity"]


def test_a_damaged_store_leaves_the_archive(archived: House) -> None:
    archived.store.write_bytes(b"not a database" * 1000)
    results = check(archived)
    assert outcomes(results, "hot") == {Outcome.ERRORED}
    assert outcomes(results, "archive") <= {Outcome.ERRORED, Outcome.FAILED}
    assert all(r.observed for r in results)


def test_an_altered_table_is_not_checked(house: House) -> None:
    house.execute("ALTER TABLE trades ALTER quantity TYPE DOUBLE")
    results = check(house)
    assert outcomes(results, "hot") == {Outcome.ERRORED}
    assert any("quantity is DOUBLE" in r.observed for r in results)


def test_another_archive_is_not_taken_for_ours(archived: House, clean_environment: Path) -> None:
    archived.store.unlink()
    samples.create_duckdb_store(archived.store)
    results = check(archived)
    assert outcomes(results, "hot") == {Outcome.PASSED}
    assert outcomes(results, "archive") == {Outcome.ERRORED}


def test_a_locked_store_is_for_the_task_to_try_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.1")
    holding = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holding, str(house.store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        with pytest.raises(StoreLockedError):
            check(house)
        holder.communicate(b"\n")


# ---------------------------------------------------------------------- what is done about it


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_the_sql_beside_a_finding_shows_its_rows(
    kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a reader would run it, whatever no view shows of what a bot wrote."""
    house = planted.house_of(kind, clean_environment, monkeypatch)
    if kind == "duckdb":
        faults = list(planted.TRADES.values())
        rows = [planted.ledger_trade(n, **each.changes) for n, each in enumerate(faults)]
        samples.insert_duckdb(house.store, "trades", *rows)
    else:
        faults = list(planted.FLUXHERO_TRADES.values())
        rows = [samples.fluxhero_trade(n, **each.changes) for n, each in enumerate(faults)]
        samples.insert_sqlite(house.store, "live_trades", *rows)
    house.archive()
    failed = [result for result in check(house) if result.outcome is Outcome.FAILED]
    assert {result.object for result in failed} == {"trades (hot)", "trades (archive)"}
    shown = {r.rule.name for r in failed}
    if kind == "duckdb":
        shown = {"trades.required", "trades.dst-doubled-hour", "trades.stop-present"}
    for result in failed:
        assert result.sample
        assert all(str(row["key"]) in result.keys for row in result.sample)
        own = {name for row in result.sample for name in row if name.startswith("_")}
        hot = result.object == "trades (hot)"
        assert own == (set() if hot else {"_archived_at", "_batch_id"})
        if result.rule.name not in shown:
            continue
        found = run_query(house.workspace, result.sql)
        assert tuple(sorted(str(row["key"]) for row in found.records())) == result.keys


def quarantined(house: House) -> list[tuple[object, ...]]:
    folder = quarantine_folder(house.data)
    with duckdb.connect() as db:
        return db.execute(
            "SELECT run, key, place, rules, reason, row->>'realized_pnl' "
            f"FROM '{folder}/*.parquet' ORDER BY run, key"
        ).fetchall()


def test_faulty_rows_are_copied_once(archived: House) -> None:
    memory, hot = Memory(archived), "recorded result"
    archived.add(7)
    archived.edit(7, "realized_pnl = -12.5")
    memory.check(run_id="one")
    march = archived.chain.manifests[-1].batch_id
    first = quarantined(archived)
    assert [row[:4] for row in first] == [
        ("one", "t-00006", march, ["trades.pnl"]),
        ("one", "t-00007", "hot", ["trades.pnl", "trades.pnl-sign"]),
    ]
    assert [row[5] for row in first] == ["99.00000000", "-12.50000000"]
    assert all(hot in str(row[4]) for row in first)
    (path,) = quarantine_folder(archived.data).glob("*.parquet")
    record = read_record(path)
    assert record
    assert record.contents.rows == 2
    memory.check(run_id="two")
    assert quarantined(archived) == first
    archived.edit(7, "realized_pnl = -12.6")
    memory.check(run_id="three")
    assert [row[:2] for row in quarantined(archived)[2:]] == [("three", "t-00007")]
    assert archived.hot == {7}, "nothing is taken away"


def test_what_a_run_copies_is_bounded_and_the_next_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(row_quarantine, "MOST_ROWS", 3)
    house.add(*range(1, 6))
    house.edit_all("realized_pnl = 99")
    check(house, run_id="one")
    assert "at most 3" in caplog.text
    check(house, run_id="two")
    assert [row[:2] for row in quarantined(house)] == [
        *(("one", f"t-0000{n}") for n in (1, 2, 3)),
        *(("two", f"t-0000{n}") for n in (4, 5)),
    ]


def test_a_damaged_list_of_copies_costs_a_second_copy(
    archived: House, caplog: pytest.LogCaptureFixture
) -> None:
    check(archived, run_id="one")
    (path,) = quarantine_folder(archived.data).glob("*.parquet")
    path.write_bytes(b"PAR1")
    with caplog.at_level(logging.WARNING):
        check(archived, run_id="two")
    assert "copied into quarantine again" in caplog.text
    path.unlink()
    assert len(quarantined(archived)) == 1


def test_a_query_rule_s_rows_are_copied_too(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = planted.house_of("duckdb", clean_environment, monkeypatch)
    house.add(1, 2)
    house.archive()
    path = file_of(house, 1)
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE rows AS FROM read_parquet('{path}', hive_partitioning = false)")
        db.execute(f"COPY (FROM rows UNION ALL FROM rows WHERE trade_id = 't-00002') TO '{path}'")
    memory = Memory(house)
    for _ in range(2):
        assert broken(memory.check(run_id="one"), "archive") == {"t-00002": {"trades.unique-key"}}
    assert {row[1] for row in quarantined(house)} == {"t-00002"}
