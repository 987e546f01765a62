"""The curve as it is kept for readers that may not open the hot store."""

import logging
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from fluxhero.errors import DamagedFileError, StorageIOError
from fluxhero.metrics.equity import CURVE, curve_path, equity_curve, read_curve, write_curve
from fluxhero.recorded import read_record, record_path
from tests.metrics.tables import START, hours, mark, tables, trade


@pytest.fixture
def curve() -> pa.Table:
    with tables(trades=[trade(5), trade(-9, hours(30))], equity=[mark("99999.5")]) as connection:
        return equity_curve(connection, Decimal(100_000))


def test_the_curve_is_read_as_it_was_written(curve: pa.Table, tmp_path: Path) -> None:
    assert curve.schema == CURVE
    assert read_curve(tmp_path).equals(CURVE.empty_table())
    path = write_curve(tmp_path, curve.slice(0, 1), START)
    assert path == curve_path(tmp_path)
    write_curve(tmp_path, curve, START)
    read = read_curve(tmp_path)
    assert read.equals(curve)
    assert curve.num_rows == 3
    record = read_record(path)
    assert record is not None
    assert record.contents.rows == 3


def test_a_damaged_curve_is_said_and_written_anew(
    curve: pa.Table, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_curve(tmp_path, curve, START)
    whole = path.read_bytes()
    for damaged in (b"PAR1 no more", whole[: len(whole) // 2], whole[:40] + b"\xff" + whole[41:]):
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"equity\.parquet cannot be read"):
            read_curve(tmp_path)
    record_path(path).write_text("{", encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"equity\.parquet\.json is damaged"):
        read_curve(tmp_path)
    with caplog.at_level(logging.WARNING):
        write_curve(tmp_path, curve, START)
    assert "it is written anew" in caplog.text
    assert read_curve(tmp_path).equals(curve)
    path.unlink()
    path.mkdir()
    with pytest.raises((DamagedFileError, StorageIOError), match=r"equity\.parquet"):
        read_curve(tmp_path)
