"""What each account is worth, and how far below its best: now, at worst, and day by day."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.durable import storage_errors
from fluxhero.engine import literal
from fluxhero.errors import DamagedFileError
from fluxhero.ledger.schema import CASH_FLOW_KINDS
from fluxhero.metrics.equity_points import (
    FLOWS_SQL,
    RATIO_SQL,
    equity_values,
    known_modes,
    unusable_trades,
)
from fluxhero.metrics.facts import Account, Basis
from fluxhero.metrics.ledger_facts import LEFT_OUT
from fluxhero.metrics.samples import OTHER, Sample, sample
from fluxhero.parquet import DAMAGE
from fluxhero.recorded import read_record, record_path, write_recorded

logger = logging.getLogger(__name__)

CURVE = pa.schema(
    [
        ("mode", pa.string()),
        ("basis", pa.string()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("equity", pa.decimal128(38, 8)),
        ("peak", pa.decimal128(38, 8)),
        ("drawdown_ratio", pa.float64()),
    ]
)
_ACCOUNTS_SQL = """
WITH latest AS (
    SELECT mode, basis, max(instant) AS last, arg_max(held, instant) AS now,
        arg_max(held, {ratio}) AS worst
    FROM (SELECT *, struct_pack(equity := equity, peak := peak) AS held FROM {values})
    GROUP BY mode, basis
),
turns AS (
    SELECT mode, basis, instant, below, lead(instant) OVER steps AS until
    FROM (
        SELECT mode, basis, instant, peak > equity AS below,
            lag(peak > equity, 1, false) OVER (PARTITION BY mode, basis ORDER BY instant) AS before
        FROM {values}
    )
    WHERE below <> before
    WINDOW steps AS (PARTITION BY mode, basis ORDER BY instant)
)
SELECT mode, basis, last, now.equity, now.peak, worst.equity, worst.peak,
    max(instant) FILTER (below AND until IS NULL),
    coalesce(max(epoch_us(coalesce(until, last)) - epoch_us(instant)) FILTER (below), 0)
FROM latest LEFT JOIN turns USING (mode, basis) GROUP BY ALL
"""
_CURVE_SQL = """
SELECT mode::VARCHAR AS mode, basis, instant::DATE AS day, max(instant) AS "at",
    arg_max(equity, instant) AS equity, arg_max(peak, instant) AS peak,
    max({ratio}) AS drawdown_ratio
FROM {values} GROUP BY mode, basis, day ORDER BY mode, basis, day
"""
# Of the last point alone: what an earlier one says is over.
_OPEN_RESULT_SQL = """
SELECT mode, arg_max(struct_pack(open_result := unrealized_pnl), "at").open_result
FROM equity GROUP BY mode ORDER BY mode
"""


def accounts(connection: duckdb.DuckDBPyConnection, initial_capital: Decimal) -> list[Account]:
    """Every account of the ledger, as it stands.

    On the closed basis a mode has one if it has trades or cash flows, none of them unusable; on the
    marked one if its source recorded values, none of them missing. An account was under water from the
    first step below its high-water mark until the first one at it again.

    Args:
        connection: of `ledger_facts`.
        initial_capital: value of each account before its first step.
    """
    modes = known_modes(connection)
    values = equity_values(connection, modes, initial_capital)
    rows = connection.execute(_ACCOUNTS_SQL.format(values=values, ratio=RATIO_SQL)).fetchall()
    found = {(mode, basis): _account(mode, basis, *row) for mode, basis, *row in rows}
    for mode in modes.closed:
        found.setdefault((mode, Basis.CLOSED), _untouched(mode, initial_capital))
    return [found[key] for key in sorted(found)]


def _account(
    mode: str,
    basis: str,
    last: datetime,
    equity: Decimal,
    peak: Decimal,
    equity_at_worst: Decimal,
    peak_at_worst: Decimal,
    since: datetime | None,
    longest: int,
) -> Account:
    return Account(
        mode=mode,
        basis=Basis(basis),
        at=last.astimezone(UTC),
        equity=equity,
        peak=peak,
        worst_ratio=_ratio(equity_at_worst, peak_at_worst),
        under_water_since=since.astimezone(UTC) if since else None,
        longest_under_water=timedelta(microseconds=longest),
    )


def _untouched(mode: str, capital: Decimal) -> Account:
    """The account of trades none of which has been closed yet."""
    return Account(mode, Basis.CLOSED, None, capital, capital, Decimal(0), None, timedelta())


def _ratio(equity: Decimal, peak: Decimal) -> Decimal:
    """See `RATIO_SQL`."""
    if peak > 0:
        return (peak - equity) / peak
    return Decimal(int(peak > equity))


def account_samples(
    accounts: Sequence[Account], connection: duckdb.DuckDBPyConnection, now: datetime
) -> list[Sample]:
    """Samples of the accounts, and of what they are made of.

    Of a mode whose equity is not known there are only those that say so.
    """
    samples = [one for account in accounts for one in _of_account(account, now)]
    samples += [
        sample("unrealized_pnl_usd", float(amount), mode=mode)
        for mode, amount in connection.execute(_OPEN_RESULT_SQL).fetchall()
        if amount is not None
    ]
    samples += _flow_samples(connection)
    for mode, trades in unusable_trades(connection).items():
        samples.append(sample("trades_unusable", trades.no_result, mode=mode, reason="no_result"))
        samples.append(sample("trades_unusable", trades.no_time, mode=mode, reason="no_time"))
    left_out = connection.execute(f"SELECT mode, ledger_table, rows FROM {LEFT_OUT} ORDER BY ALL")
    samples += [
        sample("rows_other_currency", rows, mode=mode, table=table)
        for mode, table, rows in left_out.fetchall()
    ]
    return samples


def _of_account(account: Account, now: datetime) -> list[Sample]:
    since = account.under_water_since
    # A clock that was set back makes no time negative.
    lasting = max(now - since, timedelta()) if since else timedelta()
    longest = max(account.longest_under_water, lasting)
    values = {
        "equity_usd": float(account.equity),
        "equity_peak_usd": float(account.peak),
        "drawdown_usd": float(account.drawdown),
        "drawdown_ratio": float(_ratio(account.equity, account.peak)),
        "drawdown_max_ratio": float(account.worst_ratio),
        "drawdown_duration_seconds": lasting.total_seconds(),
        "drawdown_duration_max_seconds": longest.total_seconds(),
    }
    if account.at:
        values["equity_timestamp_seconds"] = account.at.timestamp()
    return [
        sample(name, value, mode=account.mode, basis=account.basis.value)
        for name, value in values.items()
    ]


def _flow_samples(connection: duckdb.DuckDBPyConnection) -> list[Sample]:
    kinds = ", ".join(map(literal, CASH_FLOW_KINDS))
    rows = connection.execute(
        f"SELECT mode, CASE WHEN kind IN ({kinds}) THEN kind ELSE {literal(OTHER)} END AS kind, sum(amount) "
        f"FROM ({FLOWS_SQL}) GROUP BY ALL HAVING count(amount) = count(*) ORDER BY ALL"
    ).fetchall()
    return [sample("cash_flow_usd", float(total), mode=m, kind=kind) for m, kind, total in rows]


def equity_curve(connection: duckdb.DuckDBPyConnection, initial_capital: Decimal) -> pa.Table:
    """Every account day by day (UTC), in the columns of `CURVE`; days without a step have no row.

    Equity and high-water mark are those of the day's last step, the drawdown is the day's worst.
    """
    values = equity_values(connection, known_modes(connection), initial_capital)
    rows = connection.sql(_CURVE_SQL.format(values=values, ratio=RATIO_SQL)).to_arrow_table()
    return rows.cast(CURVE)


def curve_path(data_dir: Path) -> Path:
    """Where the curve is kept."""
    return data_dir / "metrics" / "equity.parquet"


def write_curve(data_dir: Path, curve: pa.Table, now: datetime) -> Path:
    """Keep the curve for readers that may not open the hot store; the one before is replaced.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    path = curve_path(data_dir)
    try:
        write_recorded(path, curve, now)
    except DamagedFileError as error:
        # Nothing is lost with it: curve and record are both made anew.
        logger.warning("%s; it is written anew", error)
        record_path(path).unlink(missing_ok=True)
        write_recorded(path, curve, now)
    return path


def read_curve(data_dir: Path) -> pa.Table:
    """The curve as last written; without rows if it never was.

    Raises:
        DamagedFileError: it cannot be read.
        StorageIOError: the operating system refuses.
    """
    path = curve_path(data_dir)
    if not path.exists():
        return CURVE.empty_table()
    read_record(path)
    with storage_errors("read", path):
        try:
            rows = pq.read_table(path, page_checksum_verification=True, partitioning=None)
            return rows.cast(CURVE)
        except DAMAGE as error:
            raise DamagedFileError(
                f"{path} cannot be read: {error}",
                next_step="run `fluxhero snapshot`, which writes it anew",
            ) from error
