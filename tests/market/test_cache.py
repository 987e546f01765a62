"""The cache's files: their names, whoever wrote them, damage, merging, a writer that is killed."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxhero.durable import sha256
from fluxhero.errors import AlreadyRunningError, BadInputError, DamagedFileError
from fluxhero.market import cache
from fluxhero.market.cache import BARS, Origin
from fluxhero.market.merging import merge
from fluxhero.market.timeframe import DAILY, Timeframe
from fluxhero.recorded import read_record, record_path
from tests.samples import SYMBOLS

REPOSITORY = Path(__file__).parents[2]
AT = datetime(2024, 2, 1, 12, tzinfo=UTC)
ORIGIN = Origin(symbol="AAPL", timeframe="1d", provider="alpaca", adjustment="split")


def bars(*rows: tuple[int, float], schema: pa.Schema = BARS, **more: list[Any]) -> pa.Table:
    """Bars by day of January 2024 and price."""
    days = [datetime.fromisoformat(f"2024-01-{day:02} 05:00") for day, _ in rows]
    prices = [price for _, price in rows]
    table = pa.table([days, prices, prices, prices, prices, [100.0] * len(rows)], schema=BARS)
    for name, values in more.items():
        table = table.append_column(name, pa.array(values, pa.float64()))
    return table


@pytest.mark.parametrize(
    "symbol",
    [*SYMBOLS, "BRK.B", "..", ".", "../../etc/passwd", "A_B", "%2F", "a\x00b", "^GSPC", "BTC\\USD"],
)
def test_a_name_leads_back_to_its_symbol_and_nowhere_else(tmp_path: Path, symbol: str) -> None:
    for timeframe in (DAILY, Timeframe.read("15Min")):
        path = cache.path_of(tmp_path, symbol, timeframe)
        assert path.parent == tmp_path
        assert path.resolve().parent == tmp_path.resolve()
        assert not path.name.startswith(".")
        assert cache.name_parts(path) == (symbol, timeframe)
        path.write_bytes(b"")
    assert len(cache.cached_files(tmp_path)) == 2


def test_names(tmp_path: Path) -> None:
    assert cache.path_of(tmp_path, "AAPL", DAILY).name == "AAPL_1d.parquet"
    assert cache.path_of(tmp_path, "BTC/USD", DAILY).name == "BTC%2FUSD_1d.parquet"
    for symbol in ("", " ", "Ω" * 50):
        with pytest.raises(BadInputError, match="is no symbol"):
            cache.path_of(tmp_path, symbol, DAILY)
    for name in ("findings.parquet", "_1d.parquet", "AAPL_9q.parquet", ".AAPL_1d.parquet"):
        (tmp_path / name).write_bytes(b"")
    assert cache.cached_files(tmp_path) == []


def test_our_own_file(tmp_path: Path) -> None:
    path = cache.write(tmp_path, bars((2, 10.0), (3, 11.0), rsi=[None, 50.0]), ORIGIN, AT)
    held = cache.read(path)
    assert (held.origin, held.written_at) == (ORIGIN, AT)
    assert held.bars.column_names == [*BARS.names, "rsi"]
    record = read_record(path)
    assert record is not None
    assert record.contents.columns["timestamp"] == "timestamp[us]"
    frame = pd.read_parquet(path)  # as FluxHero does
    seconds = (frame["timestamp"] - pd.Timestamp("1970-01-01", tz=None)).dt.total_seconds()
    assert seconds[0] == datetime(2024, 1, 2, 5, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("shape", ["fluxhero", "index", "unnamed index", "aware", "seconds", "ns"])
def test_files_of_other_programs(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "SPY_1d.parquet"
    days = pd.to_datetime(["2024-01-02 05:00", "2024-01-03 05:00"])
    values: dict[str, Any] = {name: [1, 2] for name in ("open", "high", "low", "close", "volume")}
    frame = pd.DataFrame({"timestamp": days, **values, "ema": [0.5, 0.6]})
    if shape == "index":
        frame = frame.set_index("timestamp")
    elif shape == "unnamed index":
        frame = frame.set_index(pd.DatetimeIndex(days)).drop(columns="timestamp")
    elif shape == "aware":
        frame["timestamp"] = frame["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    elif shape == "seconds":
        frame["timestamp"] = [one.timestamp() + 0.25 for one in days.tz_localize("UTC")]
    elif shape == "ns":
        frame["timestamp"] = frame["timestamp"].astype("datetime64[ns]")
    frame.to_parquet(path)
    held = cache.read(path)
    assert held.origin is None
    assert abs(datetime.now(UTC) - held.written_at) < timedelta(minutes=5)
    assert held.bars.select(BARS.names).schema.remove_metadata() == BARS
    assert set(held.bars.column_names) == {*BARS.names, "ema"}
    quarter = timedelta(seconds=0.25 if shape == "seconds" else 0)
    assert held.bars["timestamp"][0].as_py() == datetime.fromisoformat("2024-01-02 05:00") + quarter


def test_files_that_hold_no_bars(tmp_path: Path) -> None:
    path = tmp_path / "SPY_1d.parquet"
    pq.write_table(pa.table({"timestamp": [1], "open": [1.0]}), path)
    with pytest.raises(BadInputError, match="no column high, low, close, volume"):
        cache.read(path)
    table = bars((2, 1.0), (3, 1.0))
    pq.write_table(
        table.set_column(0, "timestamp", pa.array([datetime.fromisoformat("2024-01-02"), None])),
        path,
    )
    with pytest.raises(BadInputError, match="a bar without a time"):
        cache.read(path)
    pq.write_table(table.set_column(0, "timestamp", pa.array(["monday", "tuesday"])), path)
    with pytest.raises(BadInputError, match=r"column timestamp of .* cannot be read as timestamp"):
        cache.read(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "exchanged", "record", "origin"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    path = cache.write(tmp_path, bars(*[(day, 1.0 + day) for day in range(2, 30)]), ORIGIN, AT)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flip":
        path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    elif damage == "exchanged":
        other = cache.write(tmp_path / "other", bars((2, 1.0)), ORIGIN, AT)
        path.write_bytes(other.read_bytes())
    elif damage == "record":
        record_path(path).write_text("{}")
    else:
        pq.write_table(bars((2, 1.0)).replace_schema_metadata({b"fluxhero.bars": b"{}"}), path)
    with pytest.raises(DamagedFileError) as raised:
        cache.read(path)
    assert path.name in str(raised.value)


def test_a_file_set_aside_takes_its_record_along(tmp_path: Path) -> None:
    path = cache.write(tmp_path, bars((2, 1.0)), ORIGIN, AT)
    aside = cache.set_aside(path, tmp_path / "quarantine")
    assert aside.exists()
    assert record_path(aside).exists()
    assert not path.exists()
    assert not record_path(path).exists()


# ------------------------------------------------------------------------------------- merging


def test_what_was_fetched_last_counts_and_indicators_stay_where_nothing_changed() -> None:
    held = bars((2, 10.0), (3, 11.0), (5, 12.0), ema=[1.0, 2.0, 3.0])
    merged = merge(held, bars((3, 11.0), (4, 99.0), (5, 12.5)))
    assert merged.bars.select(["close", "ema"]).to_pylist() == [
        {"close": 10.0, "ema": 1.0},
        {"close": 11.0, "ema": 2.0},
        {"close": 99.0, "ema": None},
        {"close": 12.5, "ema": None},
    ]
    assert (merged.added, merged.changed) == (1, (datetime.fromisoformat("2024-01-05 05:00"),))


PRICES = st.sampled_from([1.0, 2.0, float("nan")])
ROWS = st.lists(st.tuples(st.integers(2, 9), PRICES), max_size=12)


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_merging_keeps_each_time_once_in_order(
    held: list[tuple[int, float]], fetched: list[tuple[int, float]]
) -> None:
    merged = merge(bars(*held), bars(*fetched))
    times = [at.day for at in merged.bars["timestamp"].to_pylist()]
    wanted = {**dict(held), **dict(fetched)}
    assert times == sorted(wanted)
    assert repr([wanted[day] for day in times]) == repr(merged.bars["close"].to_pylist())
    assert merged.added == len(set(dict(fetched)) - set(dict(held)))
    again = merge(merged.bars, bars(*fetched))
    assert (again.added, again.changed) == (0, ())
    assert repr(again.bars.to_pylist()) == repr(merged.bars.to_pylist())


# --------------------------------------------------------------------------------- one at a time

_HOLDER = """
import sys, time
from pathlib import Path
from fluxhero.market.cache import cache_lock
with cache_lock(Path(sys.argv[1])):
    print("holding", flush=True)
    time.sleep(60)
"""


def test_one_run_writes_the_cache_and_its_lock_dies_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE, cwd=REPOSITORY, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        with (
            pytest.raises(AlreadyRunningError, match="another run writes the bars"),
            cache.cache_lock(tmp_path),
        ):
            pass
        process.kill()
    leftovers = [".AAPL_1d.parquet.partial", f".AAPL_1d.parquet.json.{os.getpid()}.partial"]
    for name in (*leftovers, "mine.partial"):
        (tmp_path / name).write_bytes(b"half")
    with cache.cache_lock(tmp_path):
        assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", "mine.partial"]


# Kills itself at the n-th call that changes what is on disk; a child for each n, imported once.
_VICTIMS = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from fluxhero.market import cache
origin = cache.Origin(symbol="AAPL", timeframe="1d", provider="alpaca", adjustment="split")
def victim(folder, left):
    def counting(call):
        def counted(*args, **kwargs):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return counted
    for name in ("fsync", "replace", "unlink", "open"):
        setattr(os, name, counting(getattr(os, name)))
    days = [datetime(2024, 1, day, 5) for day in (2, 3)]
    bars = pa.table([days, *[[1.0, 2.0]] * 5], schema=cache.BARS)
    cache.write(folder, bars, origin, datetime(2024, 2, 2, tzinfo=UTC))
for step, folder in enumerate(sys.argv[1:]):
    if not (child := os.fork()):
        victim(Path(folder), step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
KILLINGS = 24


def test_a_killed_writer_leaves_one_version_or_the_other(tmp_path: Path) -> None:
    folders = [tmp_path / str(step) for step in range(KILLINGS)]
    for folder in folders:
        cache.write(folder, bars((2, 1.0)), ORIGIN, AT)
    command = [sys.executable, "-c", _VICTIMS, *map(str, folders)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    outcomes = set()
    for folder, code in zip(folders, done.stdout.split(), strict=True):
        path = cache.path_of(folder, "AAPL", DAILY)
        record = read_record(path)
        assert record is not None
        assert record.knows(sha256(path)), folder
        outcomes.add((int(code), cache.read(path).bars.num_rows))
        with cache.cache_lock(folder):
            cache.write(folder, bars((2, 1.0), (4, 2.0)), ORIGIN, AT)
        assert json.loads(record_path(path).read_text())["writing"] is False
        assert not list(folder.glob("*.partial"))
    assert outcomes == {(-signal.SIGKILL, 1), (-signal.SIGKILL, 2), (0, 2)}
