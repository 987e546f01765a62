"""`bars`: every file of the cache as one table, and the file named that spoils it."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError, DamagedFileError
from fluxhero.ledger.query import run_query
from fluxhero.market.cache import BARS
from tests.protocol import workspace_of
from tests.samples import Sample, create_duckdb_store

ALL = "FROM bars ORDER BY symbol, timeframe, timestamp"
AT = datetime(2026, 3, 2, 5)  # noqa: DTZ001 - as bars are stored


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    store = tmp_path / "store.duckdb"
    create_duckdb_store(store)
    found = workspace_of(Sample("duckdb", store, frozenset(), frozenset()), tmp_path / "data")
    found.cache_dir.mkdir(parents=True)
    return found


def write(workspace: Workspace, name: str, *closes: float, **more: list[str]) -> Path:
    columns = {name: list(closes) for name in ("open", "high", "low", "close", "volume")}
    table = pa.table({"timestamp": [AT] * len(closes), **columns}, schema=BARS)
    for column, values in more.items():
        table = table.append_column(column, [values])
    pq.write_table(table, workspace.cache_dir / name)
    return workspace.cache_dir / name


def test_without_a_cache_there_are_no_bars(workspace: Workspace) -> None:
    workspace.cache_dir.rmdir()
    result = run_query(workspace, ALL)
    assert result.columns == (
        "symbol", "timeframe", "timestamp", "open", "high", "low", "close", "volume",
    )  # fmt: skip
    assert result.rows == ()


def test_each_bar_is_of_the_file_it_is_in(workspace: Workspace) -> None:
    write(workspace, "BTC%2FUSD_5m.parquet", 3.0)
    write(workspace, "AAPL_1d.parquet", 1.0, ema=["9"])
    write(workspace, "MSFT_1d.parquet", 2.0, symbol=["not this"])
    write(workspace, "notes.parquet", 7.0)
    theirs = pd.DataFrame(
        {name: [4] for name in ("Open", "High", "Low", "Close", "Volume")},
        index=pd.DatetimeIndex([AT], tz="UTC", name="timestamp"),
    )
    theirs.to_parquet(workspace.cache_dir / "SPY_1h.parquet")
    assert [(*row[:3], row[-1]) for row in run_query(workspace, ALL).rows] == [
        ("AAPL", "1d", AT, 1.0),
        ("BTC/USD", "5m", AT, 3.0),
        ("MSFT", "1d", AT, 2.0),
        ("SPY", "1h", AT, 4.0),
    ]
    one = run_query(workspace, "SELECT close FROM bars WHERE symbol = 'AAPL'")
    assert one.rows == ((1.0,),)


def test_a_damaged_file_is_named(workspace: Workspace) -> None:
    write(workspace, "AAPL_1d.parquet", 1.0)
    spoilt = write(workspace, "MSFT_1d.parquet", *range(100))
    whole = spoilt.read_bytes()
    spoilt.write_bytes(whole[:-100])
    with pytest.raises(DamagedFileError, match="MSFT_1d"):
        run_query(workspace, ALL)
    head = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    spoilt.write_bytes(whole[:4] + b"\xff" * (head - 4) + whole[head:])
    with pytest.raises(DamagedFileError, match="MSFT_1d") as raised:
        run_query(workspace, ALL)
    assert "fluxhero refresh" in raised.value.next_step
    assert run_query(workspace, "SELECT 1 FROM trades").rows == ()


def test_a_file_of_something_else_is_named(workspace: Workspace) -> None:
    pq.write_table(pa.table({"a": [1]}), workspace.cache_dir / "MSFT_1d.parquet")
    with pytest.raises(BadInputError, match="MSFT_1d"):
        run_query(workspace, ALL)


def test_a_mistake_in_the_sql_stays_one(workspace: Workspace) -> None:
    write(workspace, "AAPL_1d.parquet", 1.0)
    with pytest.raises(BadInputError, match="no_such"):
        run_query(workspace, "SELECT no_such FROM bars")
