"""What a query found to break a rule: counted whole, shown in part. However much it is, it stays in DuckDB."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb

from fluxhero.engine import one_row
from fluxhero.integrity.results import MOST_KEYS, MOST_SAMPLED
from fluxhero.ledger.view import BATCH_ID

BATCHES = "_batches"  # of a row that is in several


@dataclass(frozen=True, slots=True)
class Faults:
    """What breaks a rule.

    Attributes:
        count: of different keys.
        keys: the first of them, sorted.
        sample: the first rows, ready for JSON.
        batches: every batch with such a row.
    """

    count: int
    keys: tuple[str, ...]
    sample: tuple[dict[str, Any], ...]
    batches: frozenset[str]


def gather(connection: duckdb.DuckDBPyConnection, select: str) -> Faults:
    """Run a SELECT of `key`, what to show, and `_batch_id` or a list `_batches`.

    Its rows can be looked at in the table `faults` until the next call.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE faults AS {select}")
    count = int(one_row(connection, "SELECT count(DISTINCT key) FROM faults")[0])
    if not count:
        return Faults(0, (), (), frozenset())
    keys = connection.execute(
        f"SELECT DISTINCT key FROM faults ORDER BY key LIMIT {MOST_KEYS}"
    ).fetchall()
    cursor = connection.execute(f"SELECT * FROM faults ORDER BY key LIMIT {MOST_SAMPLED}")
    names = [str(column[0]) for column in cursor.description or ()]
    sample = tuple(_shown(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
    batch = f"unnest({BATCHES})" if BATCHES in names else BATCH_ID
    batches = connection.execute(f"SELECT DISTINCT {batch} FROM faults").fetchall()
    return Faults(
        count,
        tuple(str(key) for (key,) in keys),
        sample,
        frozenset(str(name) for (name,) in batches if name),
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "batches" if name == BATCHES else "batch" if name == BATCH_ID else name: _json(value)
        for name, value in row.items()
    }


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value.isoformat() if isinstance(value, datetime) else value
