"""What Alpaca's orders and its account activities have in common: how its objects become columns.

Alpaca writes numbers as strings and times as RFC 3339 to the nanosecond, with their offset. What has
no column of its own goes into `extra` under the name that Alpaca gives it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.json_rows import RowPage, first_object
from fluxhero.ledger.formats.json_text import storable, text_of
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import BASE_CURRENCY

SOURCE = "alpaca"
_STANDARD_OPTION = re.compile(r"[A-Z]{1,6}[0-9]?[0-9]{6}[CP][0-9]{8}")


def ledger_key(value: str) -> str:
    """The ledger's key of what Alpaca calls by this id."""
    return f"{SOURCE}:{value}"


def currency_of(row: Mapping[str, Any]) -> Any:
    """What a row's prices and amounts are in: as it says, else as its pair says, else dollars."""
    if given := row.get("currency"):
        return given
    _, _, quoted = str(row.get("symbol") or "").partition("/")
    return quoted or BASE_CURRENCY


def is_option(symbol: Any) -> bool:
    """Whether a symbol is an option contract's, as the OCC writes them."""
    return isinstance(symbol, str) and _STANDARD_OPTION.fullmatch(symbol) is not None
