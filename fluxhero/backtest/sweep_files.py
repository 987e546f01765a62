"""The files of a sweep: the bars it is made on, and for each part of the work the combinations' results."""

import json
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.sweep_measures import MEASURES, SUMS
from fluxhero.durable import sha256
from fluxhero.errors import DamagedFileError
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import read_record

COLUMNS: Final = pa.schema(
    [
        ("combination", pa.int64()),
        ("parameters", pa.string()),  # JSON
        *MEASURES,
        ("outcome", pa.string()),  # ok, failed, or died: those are tried again
        ("error", pa.string()),  # why; empty where it did not fail
        *SUMS,
    ]
)
FAILED: Final = "failed"  # raised, or gave no targets
DIED: Final = "died"  # took its process with it, or was not reached as too many did
_BARS: Final = ("ends", "open", "high", "low", "close", "volume")
_ABOUT: Final = b"fluxhero.sweep"


def bars_table(bars: Bars) -> pa.Table:
    """Bars as a table that says whose they are."""
    about = json.dumps({"symbol": bars.symbol, "timeframe": bars.timeframe}).encode()
    columns = {name: np.asarray(getattr(bars, name), dtype=np.int64) for name in _BARS}
    return pa.table(columns).replace_schema_metadata({_ABOUT: about})


def read_bars(path: Path, digest: str) -> Bars:
    """Read the bars of a sweep.

    Raises:
        DamagedFileError: the file is gone or damaged, or they are others than those of the digest.
    """
    table = _read(path)
    try:
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        bars = Bars(
            about["symbol"], about["timeframe"], *(table[name].to_numpy() for name in _BARS)
        )
    except DAMAGE as error:
        raise _damaged(path, "it holds no bars of a sweep") from error
    if bars.digest != digest:
        raise _damaged(path, "its bars are others than those of the sweep")
    return bars


def read_part(path: Path, combinations: range) -> pa.Table:
    """Read the results of a part.

    Raises:
        DamagedFileError: the file is gone or damaged, or holds results of other combinations.
    """
    table = _read(path)
    if not table.schema.equals(COLUMNS):
        raise _damaged(path, "it has other columns than the results of a sweep")
    if table["combination"].to_pylist() != list(combinations):
        raise _damaged(path, "it holds other combinations")
    return table


def _read(path: Path) -> pa.Table:
    try:
        record = read_record(path)
    except DamagedFileError as error:
        raise _damaged(path, "its record is damaged") from error
    try:
        if not path.exists() or record is None:
            raise _damaged(path, "it is gone, or has no record")
        if not record.knows(sha256(path)):
            raise _damaged(path, "it is not what its record says")
        return pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except DAMAGE as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be used: {why}", next_step="run the sweep again, which writes it anew"
    )
