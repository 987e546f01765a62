"""What passes between the product and an engine's process: bars, targets and the rules one way, answers back.

Nothing that comes back is believed before it is checked: an engine may have written anything.
"""

import math
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars, Floats, Int8s, Ints
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.results import Result
from fluxhero.backtest.round_trips import orders_from_fills, round_trips
from fluxhero.backtest.rules import BASIS, MOST_UNITS
from fluxhero.backtest.tables import (
    PARTS,
    UNITS_A_DOLLAR,
    WHOLE,
    counts,
    equity_table,
    fills_table,
    integers,
    signs,
    units_of,
    worth,
)
from fluxhero.durable import storage_errors
from fluxhero.engine import connect, identifier, literal
from fluxhero.errors import BadInputError
from fluxhero.wording import printable

Source = Literal["parquet", "duckdb"]
Kind = Literal["ok", "not-native", "failed", "timed-out", "out-of-memory", "crashed", "garbage"]
OWN: Final = ("sharpe", "total_return", "max_drawdown", "trades")
_MOST_SHARES: Final = 10**10
_LONGEST_TEXT: Final = 4_000
_FILLS: Final = pa.schema(
    [
        ("bar", pa.int64()),
        ("side", pa.int64()),
        ("shares", pa.float64()),
        ("price", pa.float64()),
        ("commission", pa.float64()),
    ]
)


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# Where what an engine says of itself goes into reports and onto terminals.
Text = Annotated[str, AfterValidator(lambda text: printable(text[:_LONGEST_TEXT]))]


class Spent(BaseModel):
    """Time that something took in the engine's process."""

    model_config = ConfigDict(frozen=True)

    seconds: Seconds
    cpu_seconds: Seconds


class Answer(BaseModel):
    """What the harness says of a job."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    error: Text = ""
    own: dict[str, float] = {}
    load: Spent = Spent(seconds=0, cpu_seconds=0)
    run: Spent = Spent(seconds=0, cpu_seconds=0)


class Process(BaseModel):
    """What the harness says of itself once the engine is imported."""

    model_config = ConfigDict(frozen=True)

    import_seconds: Seconds
    import_cpu_seconds: Seconds
    python: Text
    versions: dict[Text, Text]


class GarbageError(Exception):
    """What came back makes no sense; the message says in which way, for the report."""


# ------------------------------------------------------------------------------- there


def rules_for(contract: Contract) -> dict[str, Any]:
    """The contract in whole numbers, as the harness reads it."""
    return {
        "cash_units": units_of(contract.cash),
        "commission_units": units_of(contract.commission),
        "slippage_bp": contract.slippage_bp,
        "impact_bp": contract.impact_bp,
        "impact_parts": int(contract.impact_fraction * BASIS),
        "volume_window": contract.volume_window,
        "sizing": contract.sizing.value,
        "shares": contract.shares,
        "cash_policy": contract.cash_policy.value,
        "allow_short": contract.allow_short,
    }


def write_bars(bars: Bars, folder: Path, source: Source) -> Path:
    """Write the bars, unless they are there already: prices in USD, times as nanoseconds since 1970 UTC.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    suffix = {"parquet": "parquet", "duckdb": "duckdb"}[source]
    path = folder / f"bars-{bars.digest[:16]}.{suffix}"
    if path.exists():
        return path
    prices = {
        name: getattr(bars, name) / TICKS_A_DOLLAR for name in ("open", "high", "low", "close")
    }
    table = pa.table({"end": bars.ends, **prices, "volume": bars.volume})
    with storage_errors("write", path):
        if source == "parquet":
            pq.write_table(table, path)
        else:
            _write_duckdb(table, path)
    return path


def _write_duckdb(table: pa.Table, path: Path) -> None:
    with connect() as db:
        # Read by whichever DuckDB the engine's environment has.
        db.execute(f"ATTACH {literal(str(path))} AS given (STORAGE_VERSION 'v1.5.0')")
        db.register("table_of_bars", table)
        db.execute(f"CREATE TABLE given.bars AS FROM {identifier('table_of_bars')}")
        db.execute("DETACH given")


def write_targets(targets: Int8s, path: Path) -> Path:
    """Write targets, of one backtest or (bars x combinations) of many.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    with storage_errors("write", path):
        np.save(path, targets.astype(np.int8), allow_pickle=False)
    return path


# ------------------------------------------------------------------------------- and back


def read_process(folder: Path) -> Process | None:
    """What the harness said of itself; None where it did not come so far."""
    try:
        return Process.model_validate_json((folder / "process.json").read_bytes())
    except (OSError, ValidationError):
        return None


def read_peak_mb(folder: Path) -> float:
    """Most memory that the harness said it had; 0 where it did not come so far."""
    try:
        return _End.model_validate_json((folder / "end.json").read_bytes()).peak_mb
    except (OSError, ValidationError):
        return 0.0


class _End(BaseModel):
    peak_mb: float = Field(ge=0, allow_inf_nan=False)


def read_answer(folder: Path, number: int) -> Answer | None:
    """What the harness said of a job; None where it did not come so far.

    Raises:
        GarbageError: it is none of what a harness says.
    """
    try:
        said = (folder / f"{number}.json").read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GarbageError(f"the answer cannot be read: {error.strerror}") from error
    try:
        return Answer.model_validate_json(said)
    except ValidationError as error:
        raise GarbageError(f"the answer cannot be read: {error.errors()[0]['msg']}") from error


def read_result(folder: Path, number: int, bars: Bars) -> Result:
    """The result of a job that the harness says went well.

    Raises:
        GarbageError: it is no result of these bars.
    """
    fills = _read_fills(folder / f"{number}.fills.parquet", bars)
    marks = _read_table(folder / f"{number}.equity.parquet")
    equity = _units(_column(marks, "equity", pa.float64(), len(bars)), "equity")
    try:
        trips = round_trips(fills, bars)
        orders = orders_from_fills(fills, bars)
    except BadInputError as error:
        raise GarbageError(error.what) from error
    shares, kind = counts(fills["shares"])
    held = np.zeros(len(bars), np.int64)
    np.add.at(held, integers(fills["bar"]), signs(fills["side"]) * shares)
    held = np.cumsum(held)
    marks = bars.close * BASIS
    if np.any(np.abs(held * (marks / kind)) > MOST_UNITS):
        raise GarbageError("more shares are held than can be counted in USD")
    cash = equity - worth(held, marks, kind)
    return Result(orders, fills, trips, equity_table(bars, held, cash, equity, kind))


def read_targets(folder: Path, number: int, bars: Bars) -> Int8s | None:
    """Which way the engine's own indicators wanted to be; None where it does not say.

    Raises:
        GarbageError: they are none of these bars.
    """
    marks = _read_table(folder / f"{number}.equity.parquet")
    if "targets" not in marks.column_names:
        return None
    targets: Ints = _column(marks, "targets", pa.int64(), len(bars))
    if not np.isin(targets, (-1, 0, 1)).all():
        raise GarbageError("a target is none of -1, 0 and 1")
    return targets.astype(np.int8)


def read_sweep(folder: Path, number: int, shape: tuple[int, int]) -> Floats:
    """The equity of every bar and combination of a sweep that the harness says went well.

    Raises:
        GarbageError: it is none of these.
    """
    path = folder / f"{number}.npy"
    try:
        equity = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise GarbageError(f"{path.name} cannot be read: {error}") from error
    if equity.shape != shape or equity.dtype != np.float64:
        raise GarbageError(f"equity has shape {equity.shape}, not {shape}")
    if not np.isfinite(equity).all():
        raise GarbageError("equity is not a number on some bars")
    whole: Floats = equity
    return whole


def own_metrics(answer: Answer) -> dict[str, float]:
    """The engine's own metrics, of those that are asked for the ones that are numbers."""
    return {name: answer.own[name] for name in OWN if math.isfinite(answer.own.get(name, math.nan))}


def _read_fills(path: Path, bars: Bars) -> pa.Table:
    table = _read_table(path)
    if table.schema.remove_metadata() != _FILLS:
        raise GarbageError(f"fills have other columns: {', '.join(map(str, table.schema))}")
    columns = {name: _column(table, name, _FILLS.field(name).type, None) for name in _FILLS.names}
    bar, side = columns["bar"], columns["side"]
    shares, kind = _shares(columns["shares"])
    if np.any((bar < 0) | (bar >= len(bars))):
        raise GarbageError("a fill is on a bar that there is not")
    if np.any(np.diff(bar) < 0):
        raise GarbageError("fills are not in the order of time")
    if not np.isin(side, (-1, 1)).all():
        raise GarbageError("the side of a fill is neither 1 nor -1")
    price, commission = (
        _units(columns["price"], "price"),
        _units(columns["commission"], "commission"),
    )
    if np.any(price <= 0):
        raise GarbageError("the price of a fill is not above zero")
    if np.any(columns["shares"] * np.maximum(price, bars.open[bar] * BASIS) > MOST_UNITS):
        raise GarbageError("a fill is worth more than can be counted in USD")
    order = np.arange(len(bar))
    return fills_table(bars, order, bar, side, shares, price, commission, kind)


def _shares(given: Floats) -> tuple[Ints, int]:
    """Shares of fills, and what they count: whole ones, unless some are parts of one."""
    if not np.all((given > 0) & (given <= _MOST_SHARES)):
        raise GarbageError("a fill is of no shares, or of more than there are")
    kind = WHOLE if np.array_equal(given, np.rint(given)) else PARTS
    shares = np.rint(given * kind).astype(np.int64)
    if np.any(shares == 0):
        raise GarbageError("a fill is of less than 0.00000001 of a share")
    return shares, kind


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        first = str(error).partition("\n")[0]
        raise GarbageError(f"{path.name} cannot be read: {first}") from error


def _column(table: pa.Table, name: str, kind: pa.DataType, rows: int | None) -> Any:
    if name not in table.column_names or table.schema.field(name).type != kind:
        raise GarbageError(f"there is no column {name} of {kind}")
    column = table[name]
    if column.null_count:
        raise GarbageError(f"{name} is missing in some rows")
    if rows is not None and len(column) != rows:
        raise GarbageError(f"{name} has {len(column):,} values for {rows:,} bars")
    return column.to_numpy()


def _units(dollars: Floats, name: str) -> Ints:
    if not np.isfinite(dollars).all():
        raise GarbageError(f"{name} is not a number in some rows")
    scaled = np.rint(dollars * UNITS_A_DOLLAR)
    if np.any(np.abs(scaled) > MOST_UNITS):
        raise GarbageError(
            f"{name} is beyond what can be counted: {Decimal(MOST_UNITS).scaleb(-8)} USD"
        )
    return scaled.astype(np.int64)
