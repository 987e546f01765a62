"""The `freqtrade` format: the database of a freqtrade bot (`tradesv3.sqlite`), read and never written.

Its trades, its orders, and a fill for each order that is over and bought or sold something. What a row
means is `freqtrade_rows`. The database does not say whether the bot played (dry run) or traded, so the
user has to. Times in it are UTC, whatever zone the user names.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxhero.engine import identifier, literal
from fluxhero.errors import BadInputError, FluxHeroError
from fluxhero.ledger.formats.admission import admission, text_schema
from fluxhero.ledger.formats.contract import Format, Page, ReadOptions, need_mode
from fluxhero.ledger.formats.freqtrade_rows import (
    SOURCE,
    Row,
    UnknownStatusError,
    fill,
    order,
    trade,
)
from fluxhero.ledger.formats.rules import POSITION
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import FILLS, ORDERS, TRADES, Table
from fluxhero.ledger.sqlite_connection import SqliteConnection, backup

NAME = "freqtrade"
_MAGIC = b"SQLite format 3\x00"
_PAGE_TRADES, _PAGE_ORDERS = 500, 20_000
_BUSY_SECONDS = 30
# Columns without which a row cannot be read; every release of freqtrade since 2020 has them.
_REQUIRED = {
    "trades": ("id", "exchange", "pair", "is_open", "amount", "open_rate", "open_date"),
    "orders": ("id", "ft_trade_id", "ft_order_side", "ft_pair", "ft_is_open", "order_id", "status"),
}
_MARKS = {"trades": "pair", "orders": "ft_trade_id"}
_OLDER_NAMES = {"sell_reason": "exit_reason", "sell_order_status": "exit_order_status"}
_OLDER_NAMES |= {"buy_tag": "enter_tag"}
_KINDS = {"INT": pa.int64(), "BOOL": pa.int64(), "FLOAT": pa.float64(), "REAL": pa.float64()}

_Columns = dict[str, pa.DataType]


def _recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(_MAGIC):
        return False
    try:
        with SqliteConnection(path, read_only=True, busy_timeout=_BUSY_SECONDS) as connection:
            return all(mark in _columns(connection, table) for table, mark in _MARKS.items())
    except FluxHeroError:  # what is wrong with it, the format that reads any SQLite file says
        return False


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    mode = need_mode(path, NAME, options)
    own = replace(options, timezone="UTC")
    with (
        SqliteConnection(path, read_only=True, busy_timeout=_BUSY_SECONDS) as connection,
        ExitStack() as stack,
    ):
        judges = {
            table.name: stack.enter_context(admission(path, SOURCE, replace(own, table=table)))
            for table in (TRADES, ORDERS, FILLS)
        }
        for found in _read(connection, _inspect(path, connection)):
            sorted_out = _Sorting(mode, options.account)
            for row, orders in found:
                sorted_out.take(row, orders)
            for table in (TRADES, ORDERS, FILLS):
                raw = pa.Table.from_pylist(sorted_out.rows[table.name], text_schema(table))
                refused = sorted_out.refused[table.name]
                yield judges[table.name].page(raw, refused, own_extra=True)
        if strays := _strays(connection):
            yield Page(ORDERS, ORDERS.arrow.empty_table(), strays)


class _Sorting:
    """The rows of some trades and their orders, by the ledger's table."""

    def __init__(self, mode: str, account: str | None) -> None:
        self._mode, self._account = mode, account
        self.rows: dict[str, list[Row]] = {table.name: [] for table in (TRADES, ORDERS, FILLS)}
        self.refused: dict[str, list[Rejected]] = {name: [] for name in self.rows}

    def take(self, row: dict[str, Any], orders: list[dict[str, Any]]) -> None:
        """Make rows of a trade and its orders."""
        self._add(TRADES, f"trades.{row['id']}", row, trade(row, orders, self._account))
        for of_trade in orders:
            place = f"orders.{of_trade['id']}"
            try:
                found = order(of_trade, row, self._account)
            except UnknownStatusError as error:
                refused = Rejected(of_trade, str(error), "allowed", f"row {place}")
                self.refused[ORDERS.name].append(refused)
                continue
            self._add(ORDERS, place, of_trade, found)
            if (filled := fill(of_trade, row, self._account)) is not None:
                self._add(FILLS, place, of_trade, filled)

    def _add(self, table: Table, place: str, source: dict[str, Any], row: Row) -> None:
        broken = next((name for name, value in row.items() if not _is_text(value)), None)
        if broken is None:
            self.rows[table.name].append(row | {"mode": self._mode, POSITION: place})
            return
        reason = f"{broken} is not UTF-8 text"
        shown = {name: repr(value) for name, value in source.items() if value is not None}
        self.refused[table.name].append(Rejected(shown, reason, "type", f"row {place}"))


def _inspect(path: Path, connection: SqliteConnection) -> dict[str, _Columns]:
    """The columns of both tables, by what they are called today.

    Raises:
        BadInputError: a table or a column is missing without which nothing can be read.
    """
    found = {table: _columns(connection, table) for table in _REQUIRED}
    for table, mark in _MARKS.items():
        if mark not in found[table]:
            raise BadInputError(
                f"{path} is no database of freqtrade: it has no table {table} with a column {mark}",
                next_step="give the bot's tradesv3.sqlite, or leave --format out",
            )
    for table, needed in _REQUIRED.items():
        if missing := [name for name in needed if name not in found[table]]:
            raise BadInputError(
                f"{path} has no column {', '.join(missing)} in its table {table}, which freqtrade's has",
                next_step="start the bot once with a current freqtrade, which brings its database up to date",
            )
    return found


def _columns(connection: SqliteConnection, table: str) -> _Columns:
    """Name → type as Arrow has it, in order."""
    declared = connection.rows(f"SELECT name, type FROM pragma_table_info({literal(table)})")
    return {str(name): _kind(str(kind).upper()) for name, kind in declared}


def _kind(declared: str) -> pa.DataType:
    return next((kind for word, kind in _KINDS.items() if word in declared), pa.string())


_Trade = tuple[dict[str, Any], list[dict[str, Any]]]


def _read(connection: SqliteConnection, tables: dict[str, _Columns]) -> Iterator[list[_Trade]]:
    """Some trades at a time, each with its orders, in the order they were made."""
    last = 0
    while trades := _rows(connection, "trades", tables["trades"], f"id > {last}", _PAGE_TRADES):
        first, last = trades[0]["id"], trades[-1]["id"]
        of_trade: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in trades}
        done = 0
        while some := _rows(
            connection,
            "orders",
            tables["orders"],
            f"ft_trade_id BETWEEN {first} AND {last} AND id > {done}",
            _PAGE_ORDERS,
        ):
            done = some[-1]["id"]
            for row in some:
                if row["ft_trade_id"] in of_trade:
                    of_trade[row["ft_trade_id"]].append(row)
        yield [(row, of_trade[row["id"]]) for row in trades]


def _rows(
    connection: SqliteConnection, table: str, columns: _Columns, where: str, limit: int
) -> list[dict[str, Any]]:
    wanted = [(_OLDER_NAMES.get(n, n), identifier(n), kind) for n, kind in columns.items()]
    tail = f"FROM {identifier(table)} WHERE {where} ORDER BY id LIMIT {limit}"
    page = connection.arrow(wanted, tail)
    try:
        rows: list[dict[str, Any]] = page.to_pylist()
    except UnicodeDecodeError:
        texts = [
            pa.field(f.name, pa.binary() if f.type == pa.string() else f.type) for f in page.schema
        ]
        return [_decoded(row) for row in page.cast(pa.schema(texts)).to_pylist()]
    return rows


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Text where it is that; what is not stays bytes, and is refused with its row."""
    return {
        name: value if not isinstance(value, bytes) or not _is_text(value) else value.decode()
        for name, value in row.items()
    }


def _is_text(value: Any) -> bool:
    if not isinstance(value, bytes):
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _strays(connection: SqliteConnection) -> list[Rejected]:
    """Orders whose trade is not there."""
    found = connection.rows(
        "SELECT id, ft_trade_id, order_id, ft_pair FROM orders "
        "WHERE ft_trade_id IS NULL OR ft_trade_id NOT IN (SELECT id FROM trades) ORDER BY id"
    )
    return [
        Rejected(
            {"id": number, "ft_trade_id": trade_id, "order_id": order_id, "ft_pair": pair},
            f"its trade {trade_id} is not in the database",
            "trade",
            f"row orders.{number}",
        )
        for number, trade_id, order_id, pair in found
    ]


def _snapshot(source: Path, target: Path) -> None:
    """Copy the database of a bot that may be running, as one file that reading leaves alone."""
    with SqliteConnection(source, read_only=True, busy_timeout=_BUSY_SECONDS) as connection:
        _inspect(source, connection)
    backup(source, target)
    with SqliteConnection(target, read_only=False, busy_timeout=_BUSY_SECONDS) as connection:
        # A database with a write-ahead log would have one made beside it by whoever reads it.
        connection.rows("PRAGMA journal_mode = DELETE")


FREQTRADE = Format(
    NAME,
    "a freqtrade bot's tradesv3.sqlite",
    _recognises,
    _pages,
    keeps_raw=True,
    snapshot=_snapshot,
)
