"""FluxHero's SQLite schema: its tables and columns, and how to recognise a store by them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fluxhero.engine import identifier, literal
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
_ON_DELETE = re.compile(r"\bDELETE\s+ON\b", re.I)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """One trades table as found in a file.

    Attributes:
        name: the SQLite table.
        present: its columns that this product knows.
        extra: its other columns, less those that SQLite computes from the others.
        generated: known columns that SQLite computes; they are read, and never inserted.
        rowid: SQL of the number that SQLite finds a row by.
        unique_id: whether that number is `id`, which then stands for one row for ever.
        delete_triggers: triggers that run when a row is deleted.
        loose: known columns whose declared type lets values of another storage class stay so that
            reading would change them unnoticed; each value's class has to be looked at.
    """

    name: str
    present: frozenset[str]
    extra: tuple[str, ...]
    generated: frozenset[str]
    rowid: str
    unique_id: bool
    delete_triggers: tuple[str, ...]
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
    kinds = {
        str(name).lower(): (str(kind), bool(without_rowid))
        for name, kind, without_rowid in connection.rows(
            "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' "
            "AND type IN ('table', 'virtual') AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"
        )
    }
    names = [name for name in MODES if name in kinds]
    if not names:
        raise ForeignStoreError(
            f"{connection.path} is not a FluxHero store: none of the tables {', '.join(MODES)} is in it "
            f"(found: {', '.join(sorted(kinds)) or 'none'})",
            next_step="point FLUXHERO_STORE_URL at the bot's system.db",
        )
    for name in names:
        if kinds[name] != ("table", False):
            raise ForeignStoreError(
                f"table {name} in {connection.path} is virtual or WITHOUT ROWID: its rows cannot be told "
                "apart for certain",
                next_step="copy its rows into an ordinary table of that name",
            )
    return tuple(_inspect_table(connection, name) for name in names)


_Column = tuple[str, str, str, bool, int]  # lower-case name, name, declared type, key, hidden


def _inspect_table(connection: SqliteConnection, name: str) -> SourceTable:
    """Names are compared as SQLite does, whatever their case."""
    columns: list[_Column] = [
        (str(column).lower(), str(column), str(declared).upper(), bool(key), int(hidden))
        for column, declared, key, hidden in connection.rows(
            f"SELECT name, type, pk, hidden FROM pragma_table_xinfo({literal(name)})"
        )
    ]
    known = frozenset(OWN_SCHEMA.names) - {EXTRA}
    present = frozenset(column[0] for column in columns) & known
    missing = [column for column in _ESSENTIAL if column not in present]
    if missing:
        raise ForeignStoreError(
            f"{connection.path} is not a FluxHero store: table {name} has no column {', '.join(missing)}",
            next_step="point FLUXHERO_STORE_URL at the bot's system.db",
        )
    unique_id = _is_rowid(connection, name, columns)
    return SourceTable(
        name=name,
        present=present,
        extra=tuple(
            actual for low, actual, *_, hidden in columns if low not in known and not hidden
        ),
        generated=frozenset(low for low, *_, hidden in columns if low in known and hidden),
        rowid=identifier("id") if unique_id else _alias(connection, name, columns),
        unique_id=unique_id,
        delete_triggers=_delete_triggers(connection, name),
        loose=frozenset(low for low, _, declared, *_ in columns if _is_loose(low, declared, known)),
    )


def _is_rowid(connection: SqliteConnection, name: str, columns: Sequence[_Column]) -> bool:
    """Whether `id` is the row's own number: declared INTEGER PRIMARY KEY, and no index had to be made."""
    keys = [(low, declared) for low, _, declared, key, _ in columns if key]
    indexes = f"SELECT count(*) FROM pragma_index_list({literal(name)}) WHERE origin = 'pk'"
    return keys == [("id", "INTEGER")] and not connection.value(indexes)


def _alias(connection: SqliteConnection, name: str, columns: Sequence[_Column]) -> str:
    """A name of the row's own number that no column has taken."""
    taken = {low for low, *_ in columns}
    for alias in ("rowid", "_rowid_", "oid"):
        if alias not in taken:
            return alias
    raise ForeignStoreError(
        f"table {name} in {connection.path} has columns named rowid, _rowid_ and oid, and no integer primary "
        "key: its rows cannot be told apart for certain",
        next_step="rename one of these columns, or make id the table's INTEGER PRIMARY KEY",
    )


def _delete_triggers(connection: SqliteConnection, name: str) -> tuple[str, ...]:
    triggers = connection.rows(
        f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = {literal(name)}"
    )
    return tuple(str(trigger) for trigger, sql in triggers if _ON_DELETE.search(str(sql)))


def _is_loose(name: str, declared: str, known: frozenset[str]) -> bool:
    """Whether a column may hold what the driver would quietly turn into the column's own type.

    A number in a column of text is read as some text of it. Only text affinity keeps numbers out;
    SQLite finds the affinity in the declared type (https://www.sqlite.org/datatype3.html, 3.1).
    """
    if name not in known:
        return False
    if OWN_SCHEMA.field(name).type == _TEXT:
        return "INT" in declared or not any(word in declared for word in ("CHAR", "CLOB", "TEXT"))
    return declared in {"", "BLOB"}
