"""Putting archived rows back into a FluxHero SQLite store, value for value."""

import json
import re

import pyarrow as pa

from fluxhero.engine import identifier
from fluxhero.errors import BadInputError
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_schema import EXTRA, OWN_SCHEMA, SourceTable

# What SQLite's quote() can have produced: the only text that is ever put back into a statement.
_LITERAL = re.compile(
    r"NULL|[+-]?\d+|[+-]?\d+\.\d+(e[+-]?\d+)?|'(?:[^']|'')*'|X'[0-9A-F]*'|CAST\(X'[0-9A-F]*' AS TEXT\)",
    re.S,
)


def insert_rows(connection: SqliteConnection, table: SourceTable, rows: pa.Table) -> None:
    """Insert rows of `OWN_SCHEMA`, inside the caller's transaction.

    Raises:
        BadInputError: an archived value of an unknown column is not in the form it was written in.
    """
    known = [name for name in OWN_SCHEMA.names if name in table.present - table.generated]
    names = ", ".join(identifier(name) for name in (*known, *table.extra))
    # A table may say that a new row replaces one it conflicts with; here it must not.
    target = f"INSERT OR ABORT INTO {identifier(table.name)} ({names})"
    marks = ", ".join("?" for _ in known)
    if not table.extra:
        for batch in rows.select(known).combine_chunks().to_batches():
            connection.insert(f"{target} VALUES ({marks})", batch)
        return
    for number in range(rows.num_rows):
        row = rows.slice(number, 1)
        stored = json.loads(row[EXTRA][0].as_py() or "{}")
        literals = [stored.get(name, "NULL") for name in table.extra]
        if wrong := [text for text in literals if not _LITERAL.fullmatch(text)]:
            raise BadInputError(
                f"an archived value of {table.name} is no SQL literal: {wrong[0][:40]}",
                next_step="check the archive file's origin; nothing was restored from this chunk",
            )
        values = ", ".join([marks, *literals])
        connection.insert(
            f"{target} VALUES ({values})", row.select(known).combine_chunks().to_batches()[0]
        )
