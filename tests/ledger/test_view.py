"""The view of hot and archive: the same rows at every stage of the protocol, each key once."""

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import ForeignArchiveError, ManifestError
from fluxhero.ledger.schema import CASH_FLOWS, ORDERS, TRADES
from fluxhero.ledger.view import VIEWS, archived_rows, open_view
from tests.protocol import archive, restore, workspace_of
from tests.samples import AS_OF, Sample, insert_duckdb, ledger_trade, write_sample

Picture = Counter[tuple[Any, ...]]
KINDS = ("duckdb", "sqlite")


@pytest.fixture(params=KINDS)
def sample(request: pytest.FixtureRequest, clean_environment: Path) -> Sample:
    kind: str = request.param
    return write_sample(kind, clean_environment / f"store.{kind}")


@pytest.fixture
def workspace(sample: Sample) -> Workspace:
    return workspace_of(sample, sample.path.parent / "data")


def picture(workspace: Workspace) -> Picture:
    """Every row of trades and orders in canonical columns, after a check that no key is doubled."""
    rows: Picture = Counter()
    with open_view(workspace, ("trades", "orders")) as view:
        for table in (TRADES, ORDERS):
            doubled = view.execute(
                f"SELECT {table.key[0]}, count(*) FROM {table.name} GROUP BY 1 HAVING count(*) > 1"
            ).fetchall()
            assert doubled == []
            names = ", ".join(f'"{name}"' for name in table.names)
            found = view.execute(f"SELECT {names} FROM {table.name}").fetchall()
            rows.update((table.name, *row) for row in found)
    return rows


def locations(workspace: Workspace) -> dict[str, int]:
    with open_view(workspace, ["trades"]) as view:
        counted = view.execute("SELECT _location, count(*) FROM trades GROUP BY 1")
        return dict(counted.fetchall())


def change(sample: Sample, key: str) -> None:
    """Correct a hot trade, as a bot or a broker's late report does."""
    if sample.kind == "duckdb":
        with duckdb.connect(str(sample.path)) as db:
            db.execute("UPDATE trades SET fees = 7 WHERE trade_id = ?", [key])
        return
    import sqlite3

    table, row_id, _ = key.split(":", 2)
    with sqlite3.connect(sample.path) as bot:
        bot.execute(f"UPDATE {table} SET regime = 'corrected' WHERE id = ?", [row_id])
    bot.close()


def some_due(sample: Sample, count: int) -> list[str]:
    due = sorted(sample.due)
    return [key.removeprefix("trades/") for key in due if not key.startswith("orders/")][:count]


def test_the_rows_are_the_same_at_every_stage(sample: Sample, workspace: Workspace) -> None:
    before = picture(workspace)
    backup = sample.path.with_name("backup")
    shutil.copy(sample.path, backup)
    assert set(locations(workspace)) == {"hot"}

    assert archive(workspace, purge=False) > 0
    assert picture(workspace) == before, "after copying only"
    assert set(locations(workspace)) == {"hot"}, "the hot row counts where there is one"

    archive(workspace)
    assert picture(workspace) == before, "after the purge"
    assert set(locations(workspace)) == {"hot", "archive"}

    back = some_due(sample, 3)
    assert len(restore(workspace, back).restored) == 3
    assert picture(workspace) == before, "after a restore"

    change(sample, back[0])
    corrected = picture(workspace)
    assert sum((corrected - before).values()) == 1, "a correction of a restored trade shows"
    later = AS_OF + timedelta(days=20)  # the holds have ended
    assert archive(workspace, at=later) == 1, "the corrected version is archived"
    assert picture(workspace) == corrected, "after the correction was archived"

    workspace.store.close()
    for suffix in ("-wal", "-shm"):
        sample.path.with_name(sample.path.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, sample.path)
    assert picture(workspace) == before, "an old backup: its hot rows count, none is doubled"


def test_where_a_row_is_and_which_batch_has_it(sample: Sample, workspace: Workspace) -> None:
    archive(workspace)
    with open_view(workspace) as view:
        assert {row[0] for row in view.execute("SHOW TABLES").fetchall()} == set(VIEWS)
        nameless = view.execute(
            "SELECT count(*) FROM trades WHERE (_location = 'archive') "
            "<> (_batch_id IS NOT NULL AND _archived_at IS NOT NULL)"
        ).fetchall()
        assert nameless == [(0,)]
        counted = view.execute(
            "SELECT _batch_id, count(*) FROM trades WHERE _location = 'archive' GROUP BY 1"
        ).fetchall()
        listed = view.execute("SELECT batch_id, rows FROM batches WHERE table_name = 'trades'")
        assert sorted(counted) == sorted(listed.fetchall())
        totals = view.execute("SELECT sum(rows), sum(purged_rows), sum(restored_rows) FROM batches")
        rows, purged, restored = totals.fetchall()[0]
        assert rows == purged == len(sample.due)
        assert restored == 0
        types = view.execute("SELECT typeof(created_at), typeof(file) FROM batches").fetchall()
        assert types[0] == ("TIMESTAMP WITH TIME ZONE", "VARCHAR")


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_asked_for_is_made(kind: str, clean_environment: Path) -> None:
    sample = write_sample(kind, clean_environment / "store")
    with open_view(workspace_of(sample, clean_environment), ["orders"]) as view:
        assert view.execute("SHOW TABLES").fetchall() == [("orders",)]


def test_without_a_store_and_without_an_archive_everything_is_empty(
    clean_environment: Path,
) -> None:
    sample = Sample("duckdb", clean_environment / "none.duckdb", frozenset(), frozenset())
    with open_view(workspace_of(sample, clean_environment / "data")) as view:
        for name in VIEWS:
            assert view.execute(f"SELECT count(*) FROM {name}").fetchall() == [(0,)]
    assert not sample.path.exists()


def test_the_archive_alone_can_be_read_when_the_store_is_gone(clean_environment: Path) -> None:
    sample = write_sample("duckdb", clean_environment / "store.duckdb")
    workspace = workspace_of(sample, clean_environment / "data")
    archive(workspace)
    sample.path.unlink()
    assert set(locations(workspace)) == {"archive"}


def test_the_archive_of_another_store_is_refused(clean_environment: Path) -> None:
    mine = write_sample("duckdb", clean_environment / "mine.duckdb")
    other = write_sample("duckdb", clean_environment / "other.duckdb")
    archive(workspace_of(mine, clean_environment / "data"))
    identity = (clean_environment / "data/archive/archive.json").read_bytes()
    with pytest.raises(ForeignArchiveError, match=r"mine\.duckdb.*other\.duckdb"):
        picture(workspace_of(other, clean_environment / "data"))
    assert (clean_environment / "data/archive/archive.json").read_bytes() == identity


def test_a_missing_manifest_is_an_error_and_not_fewer_rows(
    sample: Sample, workspace: Workspace
) -> None:
    archive(workspace)
    sorted(workspace.layout.manifests.glob("*.json"))[0].unlink()
    with pytest.raises(ManifestError):
        picture(workspace)


def test_a_file_that_no_manifest_names_is_not_read(sample: Sample, workspace: Workspace) -> None:
    archive(workspace)
    before = picture(workspace)
    file = workspace.layout.data_files()[0]
    shutil.copy(file, file.with_name("0" + file.name))
    assert picture(workspace) == before


def test_looking_archived_rows_up_by_key(clean_environment: Path) -> None:
    sample = write_sample("duckdb", clean_environment / "store.duckdb")
    insert_duckdb(sample.path, "trades", ledger_trade(1, extra='{"a": 1}'))
    workspace = workspace_of(sample, clean_environment / "data")
    look_up = archived_rows(workspace)
    keys = pa.table({"trade_id": ["t-00001", "nobody"]})
    assert look_up(TRADES, keys).num_rows == 0

    archive(workspace)
    restore(workspace, ["t-00001"])
    change(sample, "t-00001")
    archive(workspace, at=AS_OF + timedelta(days=20))
    found = archived_rows(workspace)(TRADES, keys)
    assert found.schema == TRADES.arrow
    assert [(row["trade_id"], int(row["fees"])) for row in found.to_pylist()] == [("t-00001", 7)]
    assert archived_rows(workspace)(TRADES, keys.slice(0, 0)).num_rows == 0
    assert archived_rows(workspace)(CASH_FLOWS, pa.table({"flow_id": ["x"]})).num_rows == 0
