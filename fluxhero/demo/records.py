"""Writing demo rows as JSON lines in the ledger's columns, every digit kept."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from fluxhero.ledger.formats import exact_json

Row = dict[str, Any]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write one JSON object a line; what is None is left out."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(exact_json.dump(_plain(row)) + "\n")


def text(value: Row) -> str:
    """A dictionary as JSON text, for a JSON column."""
    return exact_json.dump(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, (Decimal, int)) and not isinstance(value, bool):
        return exact_json.Number(format(value, "f") if isinstance(value, Decimal) else value)
    return value.isoformat() if isinstance(value, datetime) else value
