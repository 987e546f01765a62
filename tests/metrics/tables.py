"""The tables that are measured, made of a few rows, for what depends on their values alone.

They admit what a ledger does not, such as a NULL where a value is required.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import isfinite
from operator import attrgetter
from typing import Any

import duckdb
import pyarrow as pa

from fluxhero.engine import connect
from fluxhero.ledger.schema import LEDGER_TABLES
from fluxhero.metrics.families import Kind, family_of
from fluxhero.metrics.ledger_facts import FACTS, LEFT_OUT
from fluxhero.metrics.samples import PREFIX, Sample

START = datetime(2025, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def trade(result: object, at: datetime | None = START, **changes: Any) -> Row:
    """A closed trade with this result; entered a day before."""
    return {
        "trade_id": "t",
        "mode": "live",
        "symbol": "AAPL",
        "side": "long",
        "quantity": Decimal(10),
        "entry_price": Decimal(100),
        "entry_time": (at or START) - timedelta(days=1),
        "exit_time": at,
        "realized_pnl": None if result is None else Decimal(str(result)),
        "status": "closed",
    } | changes


def flow(kind: str, amount: object, at: datetime | None = START, **changes: Any) -> Row:
    value = None if amount is None else Decimal(str(amount))
    return {"flow_id": "f", "mode": "live", "at": at, "kind": kind, "amount": value} | changes


def mark(equity: object, at: datetime | None = START, **changes: Any) -> Row:
    value = None if equity is None else Decimal(str(equity))
    return {"mode": "live", "at": at, "equity": value} | changes


@contextmanager
def tables(**rows: Sequence[Row]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables of `ledger_facts`; those not given are empty."""
    with connect(threads=1) as connection:
        for name in FACTS:
            schema = LEDGER_TABLES[name].arrow
            given = pa.Table.from_pylist(list(rows.get(name, ())), schema=schema)
            connection.register("given", given)
            connection.execute(f"CREATE TEMP TABLE {name} AS FROM given")
            connection.unregister("given")
        connection.execute(
            f"CREATE TEMP TABLE {LEFT_OUT} (ledger_table VARCHAR, mode VARCHAR, rows BIGINT)"
        )
        yield connection


def of(thing: object, *names: str) -> tuple[Any, ...]:
    """Some of its attributes, two or more."""
    found: tuple[Any, ...] = attrgetter(*names)(thing)
    return found


def values(samples: Sequence[Sample], name: str) -> dict[tuple[str, ...], float]:
    """A metric's values by those of its labels."""
    found = [one for one in samples if one.name == PREFIX + name]
    by_label = {tuple(value for _, value in one.labels): one.value for one in found}
    assert len(by_label) == len(found), f"a series of {name} is there twice"
    return by_label


def assert_fit(samples: Sequence[Sample]) -> None:
    """Every sample is of a known metric, with its labels in order, and a number."""
    for one in samples:
        family = family_of(one.name)
        assert family, one.name
        names = tuple(name for name, _ in one.labels if name != "le")
        assert names == family.labels, one
        assert (family.name != one.name) == (family.kind is Kind.HISTOGRAM), one
        assert isfinite(one.value), one
        assert all(type(value) is str for _, value in one.labels), one
