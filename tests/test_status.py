"""The status at every stage, for both kinds of store."""

from datetime import timedelta
from pathlib import Path

import pytest

from fluxhero.errors import DamagedFileError, ForeignStoreError, MissingArchiveError
from fluxhero.status import collect_status
from tests.protocol import archive, restore, workspace_of
from tests.samples import (
    AS_OF,
    RETENTION_DAYS,
    Sample,
    fluxhero_trade,
    insert_sqlite,
    write_sample,
)

KINDS = ("duckdb", "sqlite")


def test_without_a_store_it_says_how_to_begin(clean_environment: Path) -> None:
    sample = Sample("duckdb", clean_environment / "none.duckdb", frozenset(), frozenset())
    status = collect_status(workspace_of(sample, clean_environment), 30)
    assert (status.store_exists, status.hot_rows, status.due, status.archived) == (False, {}, 0, ())
    assert f"no store at {sample.path} yet" in status.next_step
    assert "fluxhero ingest" in status.next_step
    assert "the folder of its .env, or set FLUXHERO_STORE_URL" in status.next_step
    assert not sample.path.exists()


def test_a_bots_database_that_is_not_there_is_an_error(clean_environment: Path) -> None:
    sample = Sample("sqlite", clean_environment / "system.db", frozenset(), frozenset())
    with pytest.raises(ForeignStoreError, match=r"system\.db"):
        collect_status(workspace_of(sample, clean_environment), 30)


@pytest.mark.parametrize("kind", KINDS)
def test_before_and_after_archiving(kind: str, clean_environment: Path) -> None:
    sample = write_sample(kind, clean_environment / "store")
    workspace = workspace_of(sample, clean_environment / "data")
    before = collect_status(workspace, RETENTION_DAYS, now=AS_OF)
    assert before.due == len(sample.due)
    assert sum(before.hot_rows.values()) == len(sample.due | sample.staying)
    assert before.oldest_due is not None
    assert before.oldest_due.closed_at.month == 2
    assert before.oldest_due.age_days == (AS_OF - before.oldest_due.closed_at).days
    assert any(before.oldest_due.key in key for key in sample.due)
    assert "--dry-run" in before.next_step
    assert before.last_batch is None

    archive(workspace, purge=False)
    copied = collect_status(workspace, RETENTION_DAYS, now=AS_OF)
    assert copied.due == 0
    assert copied.due_purge_only == len(sample.due)
    assert len(copied.unpurged) == copied.archived_files > 0
    assert "completes" in copied.next_step

    archive(workspace)
    after = collect_status(workspace, RETENTION_DAYS, now=AS_OF, batches=True)
    assert (after.due, after.due_purge_only, after.unpurged, after.oldest_due) == (0, 0, (), None)
    assert after.archived_rows == len(sample.due) == sum(total.rows for total in after.archived)
    files = workspace.layout.data_files()
    assert after.archived_bytes == sum(file.stat().st_size for file in files)
    assert {total.mode for total in after.archived if total.table == "trades"} >= {"live", "paper"}
    assert after.batches[-1] == after.last_batch
    assert sum(batch.purged for batch in after.batches) == len(sample.due)

    key = min(key.removeprefix("trades/") for key in sample.due if not key.startswith("orders/"))
    restore(workspace, [key])
    restored = collect_status(workspace, RETENTION_DAYS, now=AS_OF + timedelta(seconds=1))
    assert restored.holds == 1
    assert restored.due == 0


def test_rows_that_cannot_be_used_are_not_due(clean_environment: Path) -> None:
    sample = write_sample("sqlite", clean_environment / "store")
    workspace = workspace_of(sample, clean_environment / "data")
    archive(workspace)
    insert_sqlite(sample.path, "live_trades", fluxhero_trade(9001, side=7), fluxhero_trade(9002))
    status = collect_status(workspace, RETENTION_DAYS, now=AS_OF)
    assert (status.due, status.refused) == (1, 1)
    archive(workspace)
    status = collect_status(workspace, RETENTION_DAYS, now=AS_OF)
    assert (status.due, status.refused) == (0, 1)
    assert "cannot be used" in status.next_step


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_of_the_archive_is_named(kind: str, clean_environment: Path) -> None:
    sample = write_sample(kind, clean_environment / "store")
    workspace = workspace_of(sample, clean_environment / "data")
    archive(workspace, purge=False)
    for file in workspace.layout.data_files():
        file.write_bytes(b"PAR1")
    with pytest.raises(DamagedFileError, match="is not the file that was published"):
        collect_status(workspace, RETENTION_DAYS, now=AS_OF)


@pytest.mark.parametrize("kind", KINDS)
def test_copied_rows_that_are_not_due_yet_are_nothing_to_do(
    kind: str, clean_environment: Path
) -> None:
    sample = write_sample(kind, clean_environment / "store")
    workspace = workspace_of(sample, clean_environment / "data")
    archive(workspace, purge=False)
    status = collect_status(workspace, RETENTION_DAYS + 3650, now=AS_OF)
    assert (status.due_purge_only, len(status.unpurged)) == (0, status.archived_files)
    assert "not yet purged" not in status.next_step


def test_an_archive_that_is_gone_is_an_error(clean_environment: Path) -> None:
    import shutil

    sample = write_sample("duckdb", clean_environment / "store")
    workspace = workspace_of(sample, clean_environment / "data")
    archive(workspace)
    shutil.rmtree(workspace.layout.root)
    with pytest.raises(MissingArchiveError):
        collect_status(workspace, RETENTION_DAYS)
