"""Rows that contradict the ledger or their own file, in the words of the quarantine.

Each is understood, and none is chosen: which version is right only their owner knows. `file` is the
name of the file they are from.
"""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import Table


def owned_elsewhere(rows: pa.Table, file: str) -> Iterator[Rejected]:
    """Rows whose key the ledger has from another source, named in `_owner`."""
    for row in rows.to_pylist():
        owner, place = row.pop("_owner"), row.pop("source_id")
        yield Rejected(
            row=_json_safe(row),
            reason=f"the ledger has this key from '{owner}', this row is from '{row['source']}'",
            rule="foreign_key_owner",
            position=_position(place, file),
        )


def taking_back(rows: pa.Table, file: str) -> Iterator[Rejected]:
    """Rows that would take back what the ledger knows: `_taken`, as of `_known_at`."""
    for row in rows.to_pylist():
        taken, known_at, place = row.pop("_taken"), row.pop("_known_at"), row.pop("source_id")
        advice = ""
        if "updated_at" in row:
            advice = (
                f"; the ledger's version was updated {known_at or 'at no known time'}, this row "
                f"{row['updated_at'] or 'at no known time'}; if it is right, give it a newer updated_at"
            )
        yield Rejected(
            row=_json_safe(row),
            reason=f"would take back what the ledger knows: {taken}{advice}",
            rule="takes_back",
            position=_position(place, file),
        )


def happened_otherwise(rows: pa.Table, file: str) -> Iterator[Rejected]:
    """Rows that say something else of what the ledger has as a fact: `_taken` says what."""
    for row in rows.to_pylist():
        taken, place = row.pop("_taken"), row.pop("source_id")
        yield Rejected(
            row=_json_safe(row),
            reason=f"the ledger knows this otherwise, and what has happened does not change: {taken}",
            rule="conflict",
            position=_position(place, file),
        )


def ambiguous(rows: pa.Table, table: Table, file: str) -> Iterator[Rejected]:
    """Rows whose key their file has more than once, with different values."""
    for row in rows.to_pylist():
        key = ", ".join(f"{name} {row[name]}" for name in table.key)
        place = row.pop("source_id", None)  # where it was found is no part of what it is
        yield Rejected(
            row=_json_safe(row),
            reason=f"the file has {key} more than once, with different values",
            rule="duplicate_key",
            position=_position(place, file) if place else key,
        )


def _position(source_id: str, file: str) -> str:
    """Where a row was found, in the words of the formats.

    They make a `source_id` of the file and the row's number where a row has none of its own; one that
    has is found by it.
    """
    made, _, number = source_id.rpartition(":")
    own = made != file or not number.isdecimal()
    return f"source_id {source_id}" if own else f"row {number}"


def _json_safe(row: dict[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in row.items() if value is not None}
    safe: dict[str, Any] = json.loads(json.dumps(given, default=str))
    return safe
