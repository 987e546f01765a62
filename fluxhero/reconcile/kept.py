"""What each reconciliation found, as Parquet: `reconcile/{run}/differences.parquet` and `round_trips.parquet`.

A run's files never change. The round trips are written first, so that a run that has differences has both.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fluxhero.durable import storage_errors
from fluxhero.errors import DamagedFileError
from fluxhero.parquet import DAMAGE, read_declared
from fluxhero.reconcile.differences import Difference
from fluxhero.reconcile.exact import DECIMALS
from fluxhero.reconcile.round_trips import RoundTrip
from fluxhero.recorded import record_path, write_recorded

FOLDER: Final = "reconcile"
DIFFERENCES: Final = "differences.parquet"
ROUND_TRIPS: Final = "round_trips.parquet"
_TIME: Final = pa.timestamp("us", tz="UTC")
_MONEY: Final = pa.decimal128(38, DECIMALS)  # results of a quantity, a price and a multiplier
_STEP: Final = Decimal(1).scaleb(-DECIMALS)
DIFFERENCES_SCHEMA: Final = pa.schema(
    [
        ("run", pa.string()),
        ("at", _TIME),  # of the run
        ("kind", pa.string()),
        ("mode", pa.string()),
        ("account", pa.string()),
        ("symbol", pa.string()),
        ("currency", pa.string()),
        ("side", pa.string()),
        ("leg", pa.string()),
        ("trade_id", pa.string()),
        ("orders", pa.list_(pa.string())),
        ("bot", pa.string()),
        ("broker", pa.string()),
        ("difference", _MONEY),
        ("pnl_effect", _MONEY),
        ("happened_at", _TIME),
    ]
)
ROUND_TRIPS_SCHEMA: Final = pa.schema(
    [
        ("run", pa.string()),
        ("at", _TIME),  # of the run
        ("first_fill", pa.string()),
        ("mode", pa.string()),
        ("broker", pa.string()),
        ("account", pa.string()),
        ("symbol", pa.string()),
        ("currency", pa.string()),
        ("trade_id", pa.string()),
        ("side", pa.string()),
        ("status", pa.string()),
        ("quantity", _MONEY),
        ("max_position", _MONEY),
        ("open_quantity", _MONEY),
        ("entry_price", _MONEY),
        ("exit_price", _MONEY),
        ("entry_time", _TIME),
        ("exit_time", _TIME),
        ("gross", _MONEY),
        ("fees", _MONEY),
        ("realized_pnl", _MONEY),
        ("source_pnl", _MONEY),
        ("fills", pa.int64()),
        ("carried_in", pa.bool_()),
    ]
)


def write_run(
    data_dir: Path,
    run: str,
    at: datetime,
    trips: Iterable[RoundTrip],
    differences: Iterable[Difference],
) -> Path:
    """Keep a run's round trips and differences; returns the folder they are in.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    folder = data_dir / FOLDER / run
    of_run = {"run": run, "at": at}
    parts = (
        (ROUND_TRIPS, ROUND_TRIPS_SCHEMA, [of_run | _trip(trip) for trip in trips]),
        (DIFFERENCES, DIFFERENCES_SCHEMA, [of_run | _difference(one) for one in differences]),
    )
    for name, schema, rows in parts:
        write_recorded(folder / name, pa.Table.from_pylist(rows, schema=schema), at)
    return folder


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "mode": one.mode,
        "account": one.account,
        "symbol": one.symbol,
        "currency": one.currency,
        "side": one.side,
        "leg": one.leg or None,
        "trade_id": one.trade_id,
        "orders": list(one.orders),
        "bot": one.bot,
        "broker": one.broker,
        "difference": _money(one.difference),
        "pnl_effect": _money(one.pnl_effect),
        "happened_at": one.at,
    }


def _trip(trip: RoundTrip) -> dict[str, Any]:
    first = trip.first
    same = {
        name: getattr(trip, name)
        for name in ROUND_TRIPS_SCHEMA.names
        if name in RoundTrip.__slots__ and name != "first"
    }
    named = {
        name: getattr(first, name)
        for name in ("mode", "broker", "account", "symbol", "currency", "trade_id")
    }
    return same | named | {"first_fill": first.fill_id, "fills": len(trip.parts)}


def _money(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(_STEP)


def difference_files(data_dir: Path) -> list[Path]:
    """The differences of every run, the earliest first; what has no record is not ours."""
    return _files(data_dir, DIFFERENCES)


def round_trip_files(data_dir: Path) -> list[Path]:
    """The round trips of the last run: they are all that the fills of the ledger made until then."""
    return _files(data_dir, ROUND_TRIPS)[-1:]


def _files(data_dir: Path, name: str) -> list[Path]:
    folder = data_dir / FOLDER
    with storage_errors("list", folder):
        found = sorted(folder.glob(f"[!.]*/{name}"))
    return [path for path in found if record_path(path).exists()]


def read_differences(path: Path) -> pa.Table:
    """Read what one run found.

    Raises:
        DamagedFileError: it is damaged or holds something else.
    """
    return _read(path, DIFFERENCES_SCHEMA)


def read_round_trips(path: Path) -> pa.Table:
    """Read the round trips of one run.

    Raises:
        DamagedFileError: the file is damaged or holds something else.
    """
    return _read(path, ROUND_TRIPS_SCHEMA)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        return read_declared(path, schema)
    except DAMAGE as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} cannot be read: {why}",
        next_step="move its folder away, or restore it from a backup; `fluxhero reconcile` finds again "
        "what differs now",
    )
