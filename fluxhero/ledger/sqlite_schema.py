"""FluxHero's SQLite schema: its tables and columns, and how to recognise a store by them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fluxhero.errors import ForeignStoreError
from fluxhero.ledger.sqlite_connection import SqliteConnection

MODES: dict[str, str] = {"trades": "legacy", "live_trades": "live", "paper_trades": "paper"}
EXTRA = "_extra"  # JSON: unknown column → its value as a SQL literal, exactly as SQLite's quote() gives it

_INT, _REAL, _TEXT = pa.int64(), pa.float64(), pa.string()
OWN_SCHEMA = pa.schema(
    [
        ("id", _INT),
        ("symbol", _TEXT),
        ("side", _INT),
        ("entry_price", _REAL),
        ("entry_time", _TEXT),
        ("exit_price", _REAL),
        ("exit_time", _TEXT),
        ("shares", _REAL),
        ("stop_loss", _REAL),
        ("take_profit", _REAL),
        ("realized_pnl", _REAL),
        ("status", _INT),
        ("strategy", _TEXT),
        ("regime", _TEXT),
        ("signal_reason", _TEXT),
        ("signal_explanation", _TEXT),
        ("created_at", _TEXT),
        ("updated_at", _TEXT),
        ("broker_order_id", _TEXT),
        ("slippage_applied", _REAL),
        (EXTRA, _TEXT),
    ]
)
REQUIRED = ("id", "symbol", "side", "entry_price", "entry_time", "shares", "status")
_ESSENTIAL = (*REQUIRED, "exit_time")
TIMES = ("entry_time", "exit_time", "created_at", "updated_at")
MONEY = tuple(field.name for field in OWN_SCHEMA if field.type == _REAL)
LARGEST = "9999999999"  # beyond it a value does not fit DECIMAL(18,8); infinity is beyond it too
ROWID, PROBLEM = "_rowid", "_problem"


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One trades table as found in a file.

    Attributes:
        name: the SQLite table.
        present: its columns that this product knows.
        extra: its other columns.
        unique_id: whether SQLite guarantees that `id` is unique.
        loose: known columns whose declared type lets values of another storage class stay so that
            reading would change them unnoticed; each value's class has to be looked at.
    """

    name: str
    present: frozenset[str]
    extra: tuple[str, ...]
    unique_id: bool
    loose: frozenset[str]

    @property
    def mode(self) -> str:
        """The ledger mode of this table's trades."""
        return MODES[self.name]

    @property
    def own_columns(self) -> tuple[str, ...]:
        """Every column of the table, known ones first."""
        known = [name for name in OWN_SCHEMA.names if name in self.present]
        return (*known, *self.extra)


def inspect(connection: SqliteConnection) -> tuple[SourceTable, ...]:
    """List the trades tables of a FluxHero store.

    Raises:
        ForeignStoreError: it is not one; the message names what is missing.
    """
    found = {
        str(row[0])
        for row in connection.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    names = [name for name in MODES if name in found]
    if not names:
        raise ForeignStoreError(
            f"{connection.path} is not a FluxHero store: none of the tables {', '.join(MODES)} is in it "
            f"(found: {', '.join(sorted(found)) or 'none'})",
            next_step="point FLUXHERO_STORE_URL at the bot's system.db",
        )
    return tuple(_inspect_table(connection, name) for name in names)


def _inspect_table(connection: SqliteConnection, name: str) -> SourceTable:
    columns = connection.rows(f"SELECT name, type, pk FROM pragma_table_info('{name}')")
    present = frozenset(str(column[0]) for column in columns) & frozenset(OWN_SCHEMA.names)
    missing = [column for column in _ESSENTIAL if column not in present]
    if missing:
        raise ForeignStoreError(
            f"{connection.path} is not a FluxHero store: table {name} has no column {', '.join(missing)}",
            next_step="point FLUXHERO_STORE_URL at the bot's system.db",
        )
    keys = [str(column[0]) for column in columns if column[2]]
    return SourceTable(
        name=name,
        present=present,
        extra=tuple(str(c[0]) for c in columns if str(c[0]) not in present),
        unique_id=keys == ["id"] and _declared(columns, "id") == "INTEGER",
        loose=frozenset(name for name in present if _is_loose(name, _declared(columns, name))),
    )


def _declared(columns: Sequence[tuple[Any, ...]], name: str) -> str:
    return next(str(column[1]).upper() for column in columns if column[0] == name)


def _is_loose(name: str, declared: str) -> bool:
    """Whether a column may hold what the driver would quietly turn into the column's own type.

    A number in a column of text is read as some text of it. Only text affinity keeps numbers out;
    SQLite finds the affinity in the declared type (https://www.sqlite.org/datatype3.html, 3.1).
    """
    if OWN_SCHEMA.field(name).type == _TEXT:
        return "INT" in declared or not any(word in declared for word in ("CHAR", "CLOB", "TEXT"))
    return declared in {"", "BLOB"}
