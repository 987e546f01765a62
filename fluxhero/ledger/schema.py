"""The canonical ledger tables, stated once.

Everything that must agree on a column's name, type or allowed values (the DuckDB DDL, the Arrow
schema of archive files, ingest validation, the view) derives it from here. Nothing here does I/O.
"""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Kind(StrEnum):
    """A column's type, by its DuckDB name."""

    TEXT = "VARCHAR"
    MONEY = "DECIMAL(18,8)"
    TIME = "TIMESTAMPTZ"
    JSON = "JSON"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that carries this kind without loss."""
        return _ARROW[self]


_ARROW: dict[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.MONEY: pa.decimal128(18, 8),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.JSON: pa.string(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, kind, whether a value is required, and the values allowed (empty: any).

    A number `unsigned` is never negative: its row's side tells the direction.
    """

    name: str
    kind: Kind
    required: bool = False
    allowed: tuple[str, ...] = ()
    unsigned: bool = False

    @property
    def ddl(self) -> str:
        """The column's line in a CREATE TABLE statement."""
        return f'"{self.name}" {self.kind.value}{" NOT NULL" if self.required else ""}'


@dataclass(frozen=True, slots=True)
class Table:
    """One ledger table: its columns and its key.

    `archivable` names the statuses whose rows may leave the hot store (empty: rows never do), `final`
    those that a row does not leave again by itself, `outcome` the columns that say how it ended, and
    `settled` those whose value stands once it has.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    archivable: tuple[str, ...] = ()
    closed_at: tuple[str, ...] = ()  # the columns that date a finished row, first non-null wins
    final: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    immutable: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """Arrow schema of the whole row."""
        return pa.schema([(c.name, c.kind.arrow) for c in self.columns])

    @property
    def closed_at_sql(self) -> str:
        """SQL for the time a finished row was finished."""
        return f"coalesce({', '.join(self.closed_at)})"

    @property
    def finished_sql(self) -> str:
        """SQL condition of the rows that may leave the hot store."""
        statuses = ", ".join(f"'{status}'" for status in self.archivable)
        return f"status IN ({statuses})"

    def closed_between_sql(self, relation: str, first: str, last: str) -> str:
        """SELECT the rows finished in a range, and their rowid.

        One branch for each column that may date a row, so that DuckDB can prune by its statistics.
        """
        branches = []
        for place, name in enumerate(self.closed_at):
            earlier = "".join(f"{other} IS NULL AND " for other in self.closed_at[:place])
            branches.append(
                f"SELECT *, rowid FROM {relation} WHERE {earlier}{name} BETWEEN {first} AND {last}"
            )
        return f"({' UNION ALL '.join(branches)})"

    def create_sql(self, qualified_name: str) -> str:
        """CREATE TABLE for this table under the given (already quoted) name."""
        lines = [column.ddl for column in self.columns]
        if self.key:
            quoted = ", ".join(f'"{name}"' for name in self.key)
            lines.append(f"PRIMARY KEY ({quoted})")
        return f"CREATE TABLE {qualified_name} ({', '.join(lines)})"


MODES = ("live", "paper", "legacy")
TRADE_SIDES = ("long", "short")
TRADE_STATUSES = ("open", "closed", "cancelled")
FINISHED_TRADES = ("closed", "cancelled")
CASH_FLOW_KINDS = ("deposit", "withdrawal", "dividend", "fee", "interest", "tax", "rebate")
FILL_KINDS = ("trade", "expiry", "assignment", "exercise", "split", "transfer")
# In a fill's `extra`: what the fill is called that it takes back, and what it is called there itself,
# where that is not its key.
CANCELS, CANCELLED_AS = "cancels", "cancelled_as"
BASE_CURRENCY = "USD"  # of every sum; a row that names no currency is in it
ORDER_SIDES = ("buy", "sell")
FINAL_ORDERS = ("filled", "cancelled", "expired", "rejected", "replaced")
FINISHED_ORDERS = (*FINAL_ORDERS, "done_for_day")  # which may be working again the next day

_TEXT, _MONEY, _TIME, _JSON = Kind.TEXT, Kind.MONEY, Kind.TIME, Kind.JSON

TRADES = Table(
    "trades",
    (
        Column("trade_id", _TEXT, required=True),
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("symbol", _TEXT, required=True),
        Column("side", _TEXT, required=True, allowed=TRADE_SIDES),
        Column("quantity", _MONEY, required=True, unsigned=True),
        Column("entry_price", _MONEY, required=True),
        Column("entry_time", _TIME, required=True),
        Column("exit_price", _MONEY),
        Column("exit_time", _TIME),
        Column("stop_loss", _MONEY),
        Column("take_profit", _MONEY),
        Column("fees", _MONEY),
        Column("realized_pnl", _MONEY),
        Column("status", _TEXT, required=True, allowed=TRADE_STATUSES),
        Column("strategy", _TEXT),
        Column("regime", _TEXT),
        Column("signal_reason", _TEXT),
        Column("signal_explanation", _JSON),
        Column("source", _TEXT),
        Column("source_id", _TEXT),
        Column("created_at", _TIME),
        Column("updated_at", _TIME),
        Column("extra", _JSON),
    ),
    key=("trade_id",),
    archivable=FINISHED_TRADES,
    closed_at=("exit_time", "updated_at"),
    final=FINISHED_TRADES,
    outcome=("exit_price", "exit_time", "realized_pnl"),
    settled=("fees",),
)

ORDERS = Table(
    "orders",
    (
        Column("order_id", _TEXT, required=True),
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("broker", _TEXT),
        Column("symbol", _TEXT, required=True),
        Column("side", _TEXT, required=True, allowed=ORDER_SIDES),
        Column("order_type", _TEXT),
        Column("quantity", _MONEY, required=True, unsigned=True),
        Column("filled_quantity", _MONEY, unsigned=True),
        Column("limit_price", _MONEY),
        Column("stop_price", _MONEY),
        Column("average_fill_price", _MONEY),
        Column("status", _TEXT, required=True),
        Column("submitted_at", _TIME),
        Column("acknowledged_at", _TIME),
        Column("filled_at", _TIME),
        Column("cancelled_at", _TIME),
        Column("trade_id", _TEXT),
        Column("source", _TEXT),
        Column("source_id", _TEXT),
        Column("extra", _JSON),
    ),
    key=("order_id",),
    archivable=FINISHED_ORDERS,
    closed_at=("filled_at", "cancelled_at", "submitted_at"),
    final=FINAL_ORDERS,
    outcome=("filled_quantity", "average_fill_price", "filled_at", "cancelled_at"),
)

CASH_FLOWS = Table(
    "cash_flows",
    (
        Column("flow_id", _TEXT, required=True),
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("at", _TIME, required=True),
        Column("kind", _TEXT, required=True, allowed=CASH_FLOW_KINDS),
        Column("amount", _MONEY, required=True),
        Column("source", _TEXT),
        Column("source_id", _TEXT),
        Column("account", _TEXT),
        Column("currency", _TEXT),
        Column("extra", _JSON),
    ),
    key=("flow_id",),
)

FILLS = Table(
    "fills",
    (
        Column("fill_id", _TEXT, required=True),
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("broker", _TEXT, required=True),
        Column("account", _TEXT),
        Column("symbol", _TEXT, required=True),
        Column("currency", _TEXT, required=True),
        Column("side", _TEXT, required=True, allowed=ORDER_SIDES),
        Column("quantity", _MONEY, required=True, unsigned=True),
        Column("price", _MONEY, required=True),
        Column("executed_at", _TIME, required=True),
        Column("fees", _MONEY),
        Column("realized_pnl", _MONEY),
        Column("multiplier", _MONEY),
        Column("kind", _TEXT, required=True, allowed=FILL_KINDS),
        Column("order_id", _TEXT),
        Column("trade_id", _TEXT),
        Column("source", _TEXT),
        Column("source_id", _TEXT),
        Column("extra", _JSON),
    ),
    key=("fill_id",),
    immutable=True,
)

EQUITY = Table(
    "equity",
    (
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("at", _TIME, required=True),
        Column("equity", _MONEY, required=True),
        Column("cash", _MONEY),
        Column("unrealized_pnl", _MONEY),
    ),
    key=("mode", "at"),
)

POSITIONS = Table(
    "positions",
    (
        Column("mode", _TEXT, required=True, allowed=MODES),
        Column("symbol", _TEXT, required=True),
        Column("side", _TEXT, required=True, allowed=TRADE_SIDES),
        Column("quantity", _MONEY, required=True),
        Column("entry_price", _MONEY),
        Column("current_price", _MONEY),
        Column("stop_loss", _MONEY),
        Column("take_profit", _MONEY),
        Column("entry_time", _TIME),
        Column("updated_at", _TIME),
    ),
    key=("mode", "symbol", "side"),
)

QUARANTINE = Table(
    "quarantine",
    (
        Column("at", _TIME, required=True),
        Column("source", _TEXT, required=True),
        Column("row", _JSON, required=True),
        Column("reason", _TEXT, required=True),
        Column("rule", _TEXT, required=True),
        Column("resolved_at", _TIME),
    ),
    key=(),
)

LEDGER_TABLES: dict[str, Table] = {
    table.name: table for table in (TRADES, ORDERS, FILLS, CASH_FLOWS, EQUITY, POSITIONS)
}
ALL_TABLES: dict[str, Table] = {**LEDGER_TABLES, QUARANTINE.name: QUARANTINE}
