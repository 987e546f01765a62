"""Hot store against archive: overlap, purges, keys and gaps, in stores of both kinds."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from fluxhero.archive.batches import next_archived_at, publish, stage, verify
from fluxhero.archive.files import read_back, read_rows, write_file
from fluxhero.archive.holds import release_holds
from fluxhero.archive.identity import record_head
from fluxhero.archive.manifest import EventKind, Manifest, write_manifest
from fluxhero.errors import StoreLockedError
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reconcile import RULES
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Severity
from fluxhero.ledger.store import PlanRequest
from fluxhero.ledger.view import open_view
from tests import samples
from tests.archive.test_resources import locked
from tests.house import House
from tests.integrity.reconciling import check, found


def remembered(house: House) -> Passed:
    return Passed(house.data / "integrity" / "passed.json")


def archived_twice(house: House) -> Manifest:
    """Archive what is hot as a first version, whatever the archive has: what no run of ours does."""
    workspace, chain = house.workspace, house.chain
    request = PlanRequest(samples.CUTOFF, frozenset(), 200)
    (spec,) = workspace.store.plan("trades", request, []).batches
    store_id = chain.manifests[-1].store_id
    at = next_archived_at(chain, samples.AS_OF)
    staged = stage(workspace, store_id, spec, chain.next_sequence, at)
    manifest = publish(workspace, store_id, chain, verify(workspace, staged))
    workspace.store.close()
    return manifest


def edit_event(house: House, kind: EventKind, old: str, new: str) -> None:
    (path,) = (house.archive_dir / "manifests").glob(f"*.{kind}*.json")
    path.write_text(path.read_text().replace(old, new))


# ------------------------------------------------------------------------------- clean stores


def test_a_whole_sample_is_clean_before_and_after(
    sample_house: tuple[House, samples.Sample],
) -> None:
    house, sample = sample_house
    memory = remembered(house)
    assert found(house, memory) == {}
    house.archive(limit=500)
    house.archive()
    results = check(house, memory)
    assert {r.outcome for r in results} == {Outcome.PASSED}
    assert {r.rule.name for r in results} == {rule.name for rule in RULES}
    memory.save()
    assert found(house, remembered(house)) == {}, "nothing new to look at"
    assert found(house, deep=True) == {}
    by_name = {r.rule.name: r for r in results if r.object == "trades (archive)"}
    trades = sum(1 for key in sample.due if not key.startswith("orders/"))
    assert by_name["ledger.key-once"].checked == trades


def test_whatever_users_do_is_no_fault(house: House) -> None:
    memory = remembered(house)
    house.add(*range(1, 8))
    house.archive(purge=False)
    assert found(house, memory, now=datetime(2025, 2, 1, tzinfo=UTC)) == {}, "not due then"
    house.archive()
    assert found(house, memory) == {}
    house.restore(trade_ids=[house.key(n) for n in (1, 2, 3)])
    assert found(house, memory) == {}
    house.edit(2, "signal_reason = 'edited after the restore'")
    assert found(house, memory) == {}
    house.archive()
    holds = house.workspace.layout.holds
    release_holds(holds, "trades", [house.key(2), house.key(3)], at=samples.AS_OF)
    assert found(house, memory) == {}, "the next run takes them"
    house.archive()
    assert (house.hot, found(house, memory)) == ({1}, {})
    house.restore(trade_ids=[house.key(2)])
    house.add(8)
    house.hold(house.key(8))
    house.archive()
    assert found(house, memory) == {}
    release_holds(holds, "trades", [house.key(8)], at=samples.AS_OF)
    house.archive()
    assert (house.hot, found(house, memory)) == ({1, 2}, {})
    assert found(house, deep=True) == {}


def test_held_rows_of_a_copied_batch_are_kept_hot_on_purpose(house: House) -> None:
    house.add(1, 2)
    house.archive(purge=False)
    house.hold(house.key(1))
    house.archive()
    assert (house.hot, found(house)) == ({1}, {})
    release_holds(house.workspace.layout.holds, "trades", [house.key(1)], at=samples.AS_OF)
    assert found(house) == {}
    house.archive()
    assert (house.hot, found(house)) == (set(), {})


def test_a_batch_of_which_only_a_part_is_due(house: House) -> None:
    times = {1: datetime(2025, 4, 1, tzinfo=UTC), 2: datetime(2025, 4, 20, tzinfo=UTC)}
    for number, time in times.items():
        house.add(number, exit_time=time.isoformat() if house.kind == "sqlite" else time)
    house.archive(purge=False)
    house.archive(retention_days=50)
    assert house.hot == {2}
    assert found(house, retention_days=50) == {}
    (result,) = found(house, retention_days=30).values()
    assert (result.rule.name, result.sample[0]["hot"]) == ("ledger.purge-interrupted", 1)
    house.archive(retention_days=30)
    assert (house.hot, found(house, retention_days=30)) == (set(), {})


def test_versions_that_were_only_copied_add_up_once_they_are_purged(house: House) -> None:
    house.add(1, 2, 3)
    house.archive(purge=False)
    house.edit(1, "signal_reason = 'corrected'")
    house.archive(purge=False)
    assert set(found(house)) == {"ledger.purge-complete"}
    house.archive()
    assert (house.hot, found(house)) == (set(), {})


# ------------------------------------------------------------------------------------ overlap


def test_an_old_backup_of_the_store_put_back(house: House, tmp_path: Path) -> None:
    house.add(*range(1, 6))
    backup = shutil.copy(house.store, tmp_path / "backup")
    house.archive()
    for journal in house.store.parent.glob(f"{house.store.name}-*"):
        journal.unlink()
    shutil.copy(backup, house.store)
    (result,) = found(house).values()
    assert result.rule.name == "ledger.hot-equals-archived"
    assert (result.rule.severity, result.count, result.object) == (
        Severity.WARNING,
        5,
        "trades (hot)",
    )
    assert result.keys == tuple(house.key(n) for n in range(1, 6))
    assert "5 rows of trades are hot again" in result.observed
    house.archive()
    result = found(house)["ledger.purge-count"]
    assert "has 5 rows, of which 10 were purged in all" in result.observed
    assert len(result.sample[0]["events"]) == 2


def test_a_row_changed_after_it_was_archived(house: House) -> None:
    house.add(1, 2, 3)
    house.archive()
    house.add(2, signal_reason="a late correction", symbol="MSFT")
    (result,) = found(house).values()
    assert result.rule.name == "ledger.hot-differs-from-archived"
    assert (result.rule.severity, result.keys) == (Severity.ERROR, (house.key(2),))
    assert "in signal_reason, symbol" in result.observed
    (row,) = result.sample
    assert row["hot"] == {"symbol": "MSFT", "signal_reason": "a late correction"}
    assert row["archived"]["symbol"] == "AAPL"
    house.archive()
    assert found(house) == {}


def test_an_outdated_version_put_back_differs_from_the_latest(sqlite_house: House) -> None:
    for reason in ("first", "second"):
        sqlite_house.add(1, signal_reason=reason)
        sqlite_house.archive()
    sqlite_house.add(1, signal_reason="first")
    (result,) = found(sqlite_house).values()
    assert result.sample[0]["archived"] == {"signal_reason": "second"}


def test_the_sql_of_an_overlap_shows_both_versions(duckdb_house: House) -> None:
    duckdb_house.add(1)
    duckdb_house.archive()
    duckdb_house.add(1, symbol="MSFT")
    (result,) = found(duckdb_house).values()
    with open_view(duckdb_house.workspace) as connection:
        assert len(connection.execute(result.sql).fetchall()) == 1


# ------------------------------------------------------------------------------------- purges


def test_a_copy_whose_purge_never_came(house: House) -> None:
    house.add(*range(1, 6))
    house.archive(purge=False)
    house.hold(house.key(5))
    (result,) = found(house).values()
    assert result.rule.name == "ledger.purge-complete"
    (batch,) = (m.batch_id for m in house.chain.manifests)
    assert (result.keys, result.sample[0]["due"], result.sample[0]["hot"]) == ((batch,), 4, 4)
    assert "4 rows that are due are still hot" in result.observed
    house.edit_all("signal_reason = 'edited'")
    assert set(found(house)) == {"ledger.hot-differs-from-archived"}, "nothing of it can be purged"
    (house.archive_dir / "holds.json").unlink()
    house.archive()
    assert found(house) == {}


def test_a_purge_that_is_not_on_record(house: House) -> None:
    house.add(1, 2)
    house.archive()
    (event,) = (house.archive_dir / "manifests").glob("*.purged.json")
    event.unlink()
    (result,) = found(house).values()
    assert (result.rule.name, result.sample[0]["hot"]) == ("ledger.purge-interrupted", 0)


def test_a_purge_that_does_not_account_for_every_row(house: House) -> None:
    house.add(1, 2, 3)
    house.archive()
    edit_event(house, EventKind.PURGED, '"rows": 3', '"rows": 2')
    (result,) = found(house).values()
    assert result.rule.name == "ledger.purge-count"
    assert "has 3 rows; its purge accounts for 2" in result.observed


# --------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(("store_kind", "edited"), [("duckdb", False), ("sqlite", True)])
def test_a_row_archived_twice_as_a_first_version(house: House, edited: bool) -> None:
    memory = remembered(house)
    house.add(1, 2, 3)
    house.archive()
    assert found(house, memory) == {}
    house.add(2, **({"signal_reason": "another"} if edited else {}))
    archived_twice(house)
    house.execute(f"DELETE FROM {house.table} WHERE {house.where(2)}")
    for given in (memory, memory, None):
        faults = found(house, given)
        assert faults.pop("ledger.purge-interrupted").count == 1, "nobody purged what was copied"
        (result,) = faults.values()
        assert (result.rule.name, result.keys) == ("ledger.key-once", (house.key(2),))
        assert (result.sample[0]["equal"], result.sample[0]["copies"]) == (not edited, 2)
        assert len(result.sample[0]["batches"]) == 2


@pytest.mark.parametrize(("store_kind", "correction"), [("duckdb", True), ("sqlite", False)])
def test_a_row_twice_in_one_file(house: House, correction: bool) -> None:
    house.add(1, 2)
    house.archive()
    if correction:
        house.add(1, 2, symbol="MSFT")
        house.archive()
    doubled(house)
    (result,) = found(house).values()
    assert (result.rule.name, result.keys) == ("ledger.key-once", (house.key(2),))
    assert result.sample[0]["batches"] == [house.chain.manifests[-1].batch_id]


def doubled(house: House) -> None:
    """Write the last batch anew, with its last row twice, and a manifest that says so."""
    workspace, chain = house.workspace, house.chain
    manifest = chain.manifests[-1]
    path = workspace.layout.root / manifest.file.path
    rows = read_rows(path)
    write_file(path, pa.concat_tables([rows, rows.slice(rows.num_rows - 1)]), {})
    own = workspace.store.own_schema("trades")
    facts = read_back(path, own, workspace.store.key_range_sql("trades"))
    file = manifest.file.model_copy(
        update={
            name: getattr(facts, name)
            for name in ("rows", "bytes", "sha256", "first_closed_at", "last_closed_at", "digest")
        }
    )
    forged = manifest.model_copy(update={"file": file})
    write_manifest(workspace.layout, forged)
    names = (house.archive_dir / "manifests").glob(f"{manifest.batch_id}.purged*.json")
    for event in names:
        text = event.read_text().replace(manifest.sha256, forged.sha256)
        event.write_text(text.replace(f'"rows": {rows.num_rows}', f'"rows": {facts.rows}'))
    record_head(workspace.layout, house.data, house.chain)


# --------------------------------------------------------------------------------------- gaps


def test_numbers_that_no_trade_has(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(*range(3, 20))
    house.add(*range(20, 31), exit_time="2025-05-30T10:00:00")
    assert found(house) == {}
    house.archive()
    assert found(house) == {}, "a batch's numbers alone say so"
    house.execute("DELETE FROM live_trades WHERE id IN (21, 22, 25)")
    (result,) = found(house).values()
    assert (result.rule.name, result.object) == ("ledger.gaps", "live_trades (hot and archive)")
    assert (result.count, result.keys) == (3, ("live_trades:21–22", "live_trades:25"))


def test_a_bot_s_file_that_began_again_has_no_gap(sqlite_house: House) -> None:
    house = sqlite_house
    house.add(*range(1, 9))
    house.archive()
    house.add(1, 2, created_at="2025-03-01T00:00:00", exit_time="2025-05-20T00:00:00")
    house.add(3, created_at="2025-03-01T00:00:01", exit_time="2025-05-20T00:00:01")
    assert found(house) == {}


# ------------------------------------------------------------------------------------- damage


def test_manifests_that_cannot_be_trusted_leave_every_rule_open(house: House) -> None:
    house.add(1, 2)
    house.archive()
    (manifest,) = (m.batch_id for m in house.chain.manifests)
    (house.archive_dir / "manifests" / f"{manifest}.json").unlink()
    results = check(house)
    assert {r.outcome for r in results} == {Outcome.ERRORED}
    assert {r.rule.name for r in results} == {rule.name for rule in RULES}
    assert "event" in results[0].observed


def test_a_damaged_file_leaves_open_only_what_needs_it(house: House) -> None:
    house.add(1, 2)
    house.archive()
    house.add(2, symbol="MSFT")
    path = house.archive_dir / house.chain.manifests[0].file.path
    path.write_bytes(path.read_bytes()[:-200])
    results = check(house)
    told = {r.rule.name for r in results if r.outcome is Outcome.PASSED}
    left = {r.rule.name: r for r in results if r.outcome is Outcome.ERRORED}
    assert str(path) in left["ledger.hot-differs-from-archived"].observed
    assert {"ledger.purge-count", "ledger.cash"} <= told
    assert {result.outcome for result in results} == {Outcome.PASSED, Outcome.ERRORED}
    path.unlink()
    (result,) = (
        r for r in check(house) if r.rule.name == "ledger.key-once" and r.outcome != "passed"
    )
    assert str(path) in result.observed


def test_a_store_that_is_gone_cannot_be_reconciled(house: House) -> None:
    house.add(1, 2)
    house.archive()
    house.store.unlink()
    assert {r.outcome for r in check(house)} == {Outcome.ERRORED}


def test_a_locked_store_is_worth_another_attempt(
    duckdb_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.2")
    with locked("duckdb", duckdb_house.store, 60), pytest.raises(StoreLockedError):
        check(duckdb_house)
