"""Bars from the user's own files."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxhero.errors import BadInputError
from fluxhero.market.cache import BARS
from fluxhero.market.local import read_local

HEAD = "Date,Open,High,Low,Close,Adj Close,Volume\n"


def test_csv_of_a_vendor(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(
        "\ufeff" + HEAD + "2024-01-02,1,3,0.5,2,1.9,1000\n\n2024-01-03 09:30,2,3,1,2,1.9, 1e3\n"
        "2024-07-03T09:30:00+02:00,2,3,1,2,1.9,0\n"
    )
    bars = read_local(path, "America/New_York")
    assert bars.schema == BARS
    assert bars["timestamp"].to_pylist() == [
        datetime.fromisoformat("2024-01-02 05:00"),
        datetime.fromisoformat("2024-01-03 14:30"),
        datetime.fromisoformat("2024-07-03 07:30"),
    ]
    assert bars["volume"].to_pylist() == [1000, 1000, 0]
    assert read_local(path)["timestamp"].to_pylist()[0] == datetime.fromisoformat("2024-01-02")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            HEAD + "2024-01-02,1,3,0.5,2,1.9,1000\n2024-01-03,1,x,0.5,2,1.9,1\n",
            "line 3: high 'x' is no",
        ),
        (HEAD + "2024-01-02,1,NaN,0.5,2,1.9,1000\n", "line 2: high 'NaN' is no number"),
        (HEAD + "02/01/2024,1,3,0.5,2,1.9,1000\n", "line 2: '02/01/2024' is no time"),
        (HEAD + "2024-01-02,1,3\n", "line 2: it has 3 fields only"),
        (HEAD + '2024-01-02,"1,3\n', "line 2: unexpected end"),
        (HEAD + "2024-11-03 01:30,1,3,0.5,2,1.9,1000\n", "line 2: .* is ambiguous in America"),
        (HEAD + "2024-03-10 02:30,1,3,0.5,2,1.9,1000\n", "line 2: .* is ambiguous in America"),
        (
            HEAD + "2024-01-02,1,3,0.5,2,1.9,1\n" * 2,
            "two bars of 2024-01-02 05:00:00 UTC: the 1. and",
        ),
        ("Date,Open,High\n", "no column low, close, volume; it has Date, Open, High"),
        ("", "it has none"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "AAPL.csv"
    path.write_text(text)
    with pytest.raises(BadInputError, match=message):
        read_local(path, "America/New_York")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="there is no file"):
        read_local(tmp_path / "none.csv")
    path = tmp_path / "bars.csv"
    path.write_bytes(HEAD.encode() + b"2024-01-02,\xff,3,0.5,2,1.9,1\n")
    with pytest.raises(BadInputError, match="line 2: it is no UTF-8 text"):
        read_local(path)
    with pytest.raises(BadInputError, match="no time zone 'Mars/Base'"):
        read_local(path, "Mars/Base")
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"PAR1 not")
    with pytest.raises(BadInputError, match="cannot be read as Parquet"):
        read_local(path)


def test_parquet_in_any_shape(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    naive = pa.array(
        [datetime.fromisoformat("2024-01-02"), datetime.fromisoformat("2024-01-03")],
        pa.timestamp("ns"),
    )
    ones = pa.array([1, 2], pa.int32())
    columns = {"t": naive, "O": ones, "h": ones, "l": ones, "C": ones, "v": ones, "vw": ones}
    pq.write_table(pa.table(columns), path)
    assert read_local(path).schema == BARS
    assert read_local(path)["timestamp"][0].as_py() == datetime.fromisoformat("2024-01-02")
    assert read_local(path, "Europe/Berlin")["timestamp"][0].as_py() == datetime.fromisoformat(
        "2024-01-01 23:00"
    )
    aware = pa.array(
        [datetime(2024, 1, 2, 5, tzinfo=UTC)] * 2, pa.timestamp("us", "America/New_York")
    )
    pq.write_table(pa.table(columns | {"t": aware}), path)
    with pytest.raises(BadInputError, match="two bars of 2024-01-02 05:00:00 UTC"):
        read_local(path, "Europe/Berlin")
    doubled = pa.array(
        [datetime.fromisoformat("2024-10-27 02:30"), datetime.fromisoformat("2024-01-03")],
        pa.timestamp("us"),
    )
    pq.write_table(pa.table(columns | {"t": doubled}), path)
    with pytest.raises(BadInputError, match=r"row 1: .* is ambiguous in Europe/Berlin"):
        read_local(path, "Europe/Berlin")
    pq.write_table(pa.table(columns | {"O": pa.array(["a", "b"])}), path)
    with pytest.raises(BadInputError, match=r"column open of .* cannot be read as double"):
        read_local(path)
