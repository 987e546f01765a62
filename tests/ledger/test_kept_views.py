"""`snapshots` in a query: every run once, in any state of its day, and a damaged file by its name."""

from datetime import timedelta
from pathlib import Path

import pytest

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError, DamagedFileError
from fluxhero.ledger.query import run_query
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.samples import sample
from fluxhero.metrics.snapshots import write_snapshot
from tests.metrics.measured import NOON, snapshot, write_several
from tests.metrics.test_snapshots import damage
from tests.protocol import workspace_of
from tests.samples import Sample

HOUR = timedelta(hours=1)
COUNT = "SELECT count(*), count(DISTINCT run), sum(value) FROM snapshots"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A data folder without a store."""
    none = Sample("duckdb", tmp_path / "none.duckdb", frozenset(), frozenset())
    return workspace_of(none, tmp_path / "data=1")


def test_snapshots_can_be_asked_for_in_sql(workspace: Workspace) -> None:
    data = workspace.data_dir
    types = {
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "name": "VARCHAR",
        "labels": "MAP(VARCHAR, VARCHAR)",
        "type": "VARCHAR",
        "value": "DOUBLE",
        "window": "VARCHAR",
        "count": "BIGINT",
        "run": "VARCHAR",
    }

    def described() -> dict[str, str]:
        rows = run_query(workspace, "DESCRIBE snapshots").rows
        return {row[0]: row[1] for row in rows}

    assert described() == types
    assert run_query(workspace, COUNT).rows == ((0, 0, None),)
    write_several(data, NOON, HOUR, 3)
    expected = ((3, 3, sum((NOON + n * HOUR).timestamp() for n in range(3))),)
    assert described() == types
    assert run_query(workspace, COUNT).rows == expected
    for now in (24, 25.5):  # beside its parts, and alone
        compact_snapshots(data, NOON + now * HOUR)
        assert run_query(workspace, COUNT).rows == expected
    write_snapshot(data, snapshot(NOON + 3 * HOUR, sample("win_ratio", 0.5, mode="paper")))
    result = run_query(
        workspace,
        "SELECT labels['mode'], value, typeof(timestamp) FROM snapshots "
        "WHERE name = 'trading_win_ratio' AND labels['mode'] = 'paper'",
    )
    assert result.rows == (("paper", 0.5, "TIMESTAMP WITH TIME ZONE"),)
    folder = data / "snapshots"
    assert run_query(workspace, f"SELECT count(*) FROM '{folder}/*.parquet'").rows == ((3,),)
    with pytest.raises(BadInputError, match=r"bars|snapshots"):
        run_query(workspace, "FROM snapshot")


@pytest.mark.parametrize("how", ["cut", "page", "gone from its day"])
def test_a_damaged_file_of_snapshots_is_named(workspace: Workspace, how: str) -> None:
    data = workspace.data_dir
    paths = write_several(data, NOON, HOUR, 3)
    path = paths[1]
    if how == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "page":
        path.write_bytes(path.read_bytes()[:4] + bytes(300) + path.read_bytes()[304:])
    else:
        (path,) = compact_snapshots(data, NOON + 24 * HOUR)
        damage(path)
    with pytest.raises(DamagedFileError, match=path.name) as caught:
        run_query(workspace, "SELECT sum(hash(s)) FROM snapshots s")
    assert "backup" in caught.value.next_step
