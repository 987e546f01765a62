"""The register of trials: every backtest that was tried, so that the best of many is judged as such.

One Parquet file a run in `evaluations/trials`, which never changes. A trial is a strategy with its parameters
and rules on certain bars; running it again, or by another engine, is no new trial. Of failed ones it is known
that they were tried, but nothing could be chosen among them: they do not count.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from statistics import variance
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.backtest.contract import Contract
from fluxhero.durable import sha256, storage_errors
from fluxhero.errors import AlreadyRunningError, DamagedFileError
from fluxhero.locks import locked
from fluxhero.parquet import DAMAGE, read_declared
from fluxhero.recorded import RECORD_SUFFIX, read_record, record_path, write_recorded

EVALUATIONS: Final = "evaluations"  # folder of all that evaluations keep
FOLDER: Final = Path(EVALUATIONS) / "trials"
REFERENCE: Final = "reference"  # what the reference simulator is called where engines are
OK: Final = "ok"
SCHEMA: Final = pa.schema(
    [
        ("run", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("strategy", pa.string()),
        ("reference", pa.string()),  # module:Class
        ("parameters", pa.string()),  # JSON
        ("symbol", pa.string()),
        ("timeframe", pa.string()),
        ("data", pa.string()),  # SHA-256 of the bars
        ("contract", pa.string()),  # JSON
        ("engine", pa.string()),
        ("mode", pa.string()),  # given or native
        ("code", pa.string()),  # which state of the user's file it is of; empty for what is shipped
        ("sharpe", pa.float64()),  # a year
        ("total_return", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("trades", pa.int64()),
        ("skew", pa.float64()),
        ("kurtosis", pa.float64()),
        ("days", pa.int64()),
        ("outcome", pa.string()),  # ok, or how it failed
        ("error", pa.string()),  # why; empty where it did not fail
    ]
)
_LOCK_SECONDS = 60.0
_SAME: Final = ["reference", "code", "parameters", "contract"]  # in two rows of one trial


@dataclass(frozen=True, slots=True)
class Trial:
    """One backtest; the fields are the columns of `SCHEMA`. What is undefined is None."""

    strategy: str
    reference: str
    parameters: str
    symbol: str
    timeframe: str
    data: str
    contract: str
    engine: str = REFERENCE
    mode: str = "given"
    code: str = ""
    sharpe: float | None = None
    total_return: float | None = None
    max_drawdown: float | None = None
    trades: int | None = None
    skew: float | None = None
    kurtosis: float | None = None
    days: int | None = None
    outcome: str = OK
    error: str = ""


@dataclass(frozen=True, slots=True)
class TrialCount:
    """How much was tried.

    Attributes:
        number: trials that differ.
        sharpes: the yearly Sharpe ratio of each that has one, of the reference where it ran there.
    """

    number: int
    sharpes: tuple[float, ...]

    @property
    def sharpe_variance(self) -> float | None:
        """Sample variance of the yearly Sharpe ratios; None of fewer than two."""
        return variance(self.sharpes) if len(self.sharpes) > 1 else None


def contract_json(contract: Contract) -> str:
    """Rules as text that is the same for equal rules, however their numbers were written."""
    values = contract.model_dump()
    plain = {
        name: f"{value.normalize():f}" if isinstance(value, Decimal) else value
        for name, value in values.items()
    }
    return json.dumps(plain, sort_keys=True)


def register(data_dir: Path, run: str, at: datetime, trials: Sequence[Trial]) -> Path:
    """Add trials to the register, in a file of their own whatever else is written meanwhile.

    Args:
        data_dir: the data folder.
        run: name of the run, which may register several times.
        at: now.
        trials: all of them, failed ones too.

    Raises:
        AlreadyRunningError: another process has been writing to the register for a minute.
        StorageIOError: the disk is full or refuses.
    """
    folder = data_dir / FOLDER
    rows = [_row(run, at, trial) for trial in trials]
    busy = AlreadyRunningError(
        f"another process is writing to the trials in {folder}",
        next_step="wait for it to end, then run again",
    )
    with locked(folder / ".lock", lambda: busy, wait_seconds=_LOCK_SECONDS):
        path = next(path for path in _names(folder, run) if not _taken(path))
        write_recorded(path, pa.Table.from_pylist(rows, schema=SCHEMA), at)
    return path


def _row(run: str, at: datetime, trial: Trial) -> dict[str, Any]:
    values = {name: getattr(trial, name) for name in trial.__slots__}
    return {"run": run, "at": at, **{name: _defined(value) for name, value in values.items()}}


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _names(folder: Path, run: str) -> Iterator[Path]:
    yield folder / f"{run}.parquet"
    number = 1
    while True:
        number += 1
        yield folder / f"{run}.{number}.parquet"


def _taken(path: Path) -> bool:
    return path.exists() or record_path(path).exists()


def trial_files(data_dir: Path) -> list[Path]:
    """The register's files, the earliest run first; what has no record is not ours.

    A file that is gone is among them, so that reading it fails: with fewer trials than there were, luck
    would pass for skill. One that a killed process did not finish is not.

    Raises:
        DamagedFileError: the record of a file that is gone cannot be read.
    """
    folder = data_dir / FOLDER
    records = folder.glob(f"[!.]*.parquet{RECORD_SUFFIX}")
    with storage_errors("list", folder):
        paths = sorted(path.with_name(path.name.removesuffix(RECORD_SUFFIX)) for path in records)
    return [path for path in paths if path.exists() or not _unfinished(path)]


def _unfinished(path: Path) -> bool:
    record = read_record(path)
    return record is None or record.writing


def read_trials(path: Path) -> pa.Table:
    """Read one file of the register.

    Raises:
        DamagedFileError: it is gone, or not what its record says.
    """
    record = read_record(path)
    try:
        if record is None or not path.exists():
            raise _unreadable(path, "it is gone")
        if not record.knows(sha256(path)):
            raise _unreadable(path, "it is not what its record says")
        return read_declared(path, SCHEMA)
    except DAMAGE as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"the trials in {path} cannot be read: {why}",
        next_step="restore it from a backup: without it fewer trials are counted than were made",
    )


def trials_of(
    data_dir: Path,
    *,
    data: str | None = None,
    symbol: str | None = None,
    timeframe: str | None = None,
) -> pa.Table:
    """Trials in the order they were registered.

    Args:
        data_dir: the data folder.
        data: only those on bars of this digest.
        symbol: only those on this symbol.
        timeframe: only those on bars of this length.

    Raises:
        DamagedFileError: a file of the register is gone or damaged.
    """
    tables = [read_trials(path).cast(SCHEMA) for path in trial_files(data_dir)]
    table = pa.concat_tables([SCHEMA.empty_table(), *tables])
    for name, wanted in (("data", data), ("symbol", symbol), ("timeframe", timeframe)):
        if wanted is not None:
            table = table.filter(pc.equal(table[name], wanted))
    return table.sort_by([("at", "ascending")])


def count_trials(trials: pa.Table) -> TrialCount:
    """How many of these trials differ in strategy, code, parameters or rules; failed ones are left out.

    The bars are not compared: of the same strategy on bars to which a day was added it is no new trial.
    `trials_of` chooses which bars count at all.
    """
    found: dict[tuple[str, ...], tuple[str, float | None]] = {}
    for row in trials.select([*_SAME, "engine", "sharpe", "outcome"]).to_pylist():
        if row["outcome"] == OK:
            key = tuple(row[name] for name in _SAME)
            before = found.get(key)
            if before is None or row["engine"] == REFERENCE or before[0] != REFERENCE:
                found[key] = (row["engine"], row["sharpe"])
    sharpes = (sharpe for _, sharpe in found.values())
    return TrialCount(len(found), tuple(one for one in sharpes if one is not None))
