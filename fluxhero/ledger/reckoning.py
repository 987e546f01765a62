"""Comparing incoming rows with the ledger: which are new, changed, known, stale, refused.

The hot row counts where there is one, else the latest archived version. All canonical columns are
compared except `source_id`, which says where in its source a row was found: a file that was sorted
or cut anew says nothing new about its trades.

A row that does not say when it was written may come from an older or a shorter export. So it never
takes back how a trade ended, which the ledger may be the only one to know: only a row with a newer
`updated_at` does. An order has its `updated_at` in `extra`, where its source tells one.

What has happened, as a fill, cannot change: a row of an immutable table that says more of what is known
adds that, and one that says something else is in conflict with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from fluxhero.engine import connect, identifier, literal
from fluxhero.ledger.schema import Table


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a page.

    Attributes:
        write: rows to insert or replace.
        foreign: rows whose key the ledger has from another source, named in `_owner`.
        regressive: rows that would take back what the ledger knows: `_taken` says what, and
            `_known_at` when the ledger's version was updated.
        conflicting: rows that say something else of what has happened: `_taken` says what.
    """

    write: pa.Table
    foreign: pa.Table
    regressive: pa.Table
    conflicting: pa.Table
    inserted: int
    updated: int
    unchanged: int
    stale: int


class Reckoning:
    """Compares pages of one table; `reckoning` gives it a connection."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, table: Table, *, derived: bool
    ) -> None:
        """Prepare the comparison for a table."""
        self._connection = connection
        self._table = table
        self._sql = _compare_sql(table, derived=derived)

    def compare(self, incoming: pa.Table, hot: pa.Table, archived: pa.Table) -> Verdict:
        """Compare a page with the rows of the same keys, all in `table.arrow`, keys unique."""
        if not hot.num_rows and not archived.num_rows:
            none = incoming.slice(0, 0)
            return Verdict(incoming, none, none, none, incoming.num_rows, 0, 0, 0)
        for name, rows in (("incoming", incoming), ("hot", hot), ("archived", archived)):
            self._connection.register(name, rows)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE verdict AS {self._sql}")
        counted = self._connection.execute("SELECT _verdict, count(*) FROM verdict GROUP BY 1")
        counts: dict[str, int] = dict(counted.fetchall())
        names = ", ".join(map(identifier, self._table.names))
        write = self._connection.sql(
            f"SELECT {names} FROM verdict WHERE _verdict IN ('inserted', 'updated')"
        ).to_arrow_table()
        foreign = self._connection.sql(
            f"SELECT {names}, _owner FROM verdict WHERE _verdict = 'foreign'"
        ).to_arrow_table()
        regressive = self._connection.sql(
            f"SELECT {names}, _taken, _known_at FROM verdict WHERE _verdict = 'regressive'"
        ).to_arrow_table()
        conflicting = self._connection.sql(
            f"SELECT {names}, _taken FROM verdict WHERE _verdict = 'conflicting'"
        ).to_arrow_table()
        return Verdict(
            write=write.cast(self._table.arrow),
            foreign=foreign,
            regressive=regressive,
            conflicting=conflicting,
            inserted=counts.get("inserted", 0),
            updated=counts.get("updated", 0),
            unchanged=counts.get("unchanged", 0),
            stale=counts.get("stale", 0),
        )


@contextmanager
def reckoning(table: Table, *, derived: bool = False) -> Iterator[Reckoning]:
    """Yield a `Reckoning` with a connection of its own.

    Args:
        table: of the rows.
        derived: the rows are made of all that the ledger knows, so that none of them is an older word.
    """
    with connect() as connection:
        yield Reckoning(connection, table, derived=derived)


def _compare_sql(table: Table, *, derived: bool) -> str:
    keys = ", ".join(map(identifier, table.key))
    names = set(table.names)
    first_key = identifier(table.key[0])
    equal = " AND ".join(
        f"i.{identifier(name)} IS NOT DISTINCT FROM k.{identifier(name)}"
        for name in table.names
        if name not in (*table.key, "source_id")
    )
    cases = [f"WHEN k.{first_key} IS NULL THEN 'inserted'"]
    owner = "NULL::VARCHAR"
    if "source" in names:
        owner = "k.source"
        cases.append("WHEN i.source IS DISTINCT FROM k.source THEN 'foreign'")
    cases.append(f"WHEN {equal} THEN 'unchanged'")
    known_at = _updated_sql(table, "k") or "NULL::TIMESTAMPTZ"
    taken = _contradicted_sql(table) if table.immutable else _taken_sql(table)
    if table.immutable:
        cases.append(f"WHEN {taken} <> '' THEN 'conflicting'")
        cases.append(f"WHEN NOT ({_richer_sql(table)}) THEN 'unchanged'")
    elif not derived:
        if incoming_at := _updated_sql(table, "i"):
            cases.append(f"WHEN {incoming_at} < {known_at} THEN 'stale'")
        cases.append(f"WHEN {taken} <> '' AND NOT {_newer_sql(table)} THEN 'regressive'")
    return (
        f"WITH known AS (FROM hot UNION ALL FROM archived ANTI JOIN hot USING ({keys})) "
        f"SELECT i.*, {owner} AS _owner, {known_at}::VARCHAR AS _known_at, {taken} AS _taken, "
        f"CASE {' '.join(cases)} ELSE 'updated' END AS _verdict "
        f"FROM incoming i LEFT JOIN known k USING ({keys})"
    )


def _updated_sql(table: Table, row: str) -> str | None:
    """SQL of when a row was last updated; None where its table does not tell."""
    if "updated_at" in table.names:
        return f"{row}.updated_at"
    if not table.final:
        return None
    text = f"{row}.extra::VARCHAR"
    return (
        f"CASE WHEN contains({text}, '\"updated_at\"') "
        f"THEN TRY_CAST(json_extract_string({text}, '$.updated_at') AS TIMESTAMPTZ) END"
    )


def _facts(table: Table) -> list[str]:
    """Names of an immutable table's columns that say what happened, and not where that was read."""
    beside = {*table.key, "source", "source_id", "extra"}
    return [name for name in table.names if name not in beside]


def _contradicted_sql(table: Table) -> str:
    """SQL that words what a row says otherwise of something that happened; empty if nothing."""
    changes = (
        f"CASE WHEN i.{identifier(name)} <> k.{identifier(name)} THEN '{name} ' "
        f"|| k.{identifier(name)}::VARCHAR || ' → ' || i.{identifier(name)}::VARCHAR END"
        for name in _facts(table)
    )
    return f"concat_ws(', ', {', '.join(changes)})"


def _richer_sql(table: Table) -> str:
    """SQL condition of a row that knows all that the ledger knows of it, and more."""
    columns = [identifier(name) for name in _facts(table)]
    poorer = " OR ".join(f"(i.{name} IS NULL AND k.{name} IS NOT NULL)" for name in columns)
    more = " OR ".join(f"(i.{name} IS NOT NULL AND k.{name} IS NULL)" for name in columns)
    return f"NOT ({poorer}) AND ({more})"


def _taken_sql(table: Table) -> str:
    """SQL that words what a row takes back of how its trade ended; empty if nothing."""
    if not table.final:
        return "''"
    final = f"({', '.join(map(literal, table.final))})"
    ended = f"k.status IN {final}"
    reopened = f"{ended} AND i.status NOT IN {final}"
    changes = [f"CASE WHEN {reopened} THEN 'status ' || k.status || ' → ' || i.status END"]
    for name in (*table.outcome, *table.settled):
        counts = "true" if name in table.outcome else ended
        changes.append(
            f"CASE WHEN {counts} AND k.{name} IS NOT NULL AND i.{name} IS NULL "
            f"THEN '{name} ' || k.{name}::VARCHAR || ' → nothing' END"
        )
    return f"concat_ws(', ', {', '.join(changes)})"


def _newer_sql(table: Table) -> str:
    """SQL condition that a row says it was written after the ledger's version.

    Where that one does not say when it was updated, it was no earlier than the end it tells of.
    """
    incoming, known = _updated_sql(table, "i"), _updated_sql(table, "k")
    if incoming is None or known is None:
        return "false"
    others = [f"k.{name}" for name in table.closed_at if name != "updated_at"]
    since = f"coalesce({', '.join([known, *others])})"
    return f"({incoming} IS NOT NULL AND coalesce({incoming} > {since}, true))"
