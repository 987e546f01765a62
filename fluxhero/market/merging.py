"""Putting new bars and those of the cache together: each time once, and nothing lost silently."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from fluxhero.engine import identifier, scratch
from fluxhero.market.cache import BARS, VALUES


@dataclass(frozen=True, slots=True)
class Merged:
    """Bars in order of time, what is new in them, and the times whose bar is another one now."""

    bars: pa.Table
    added: int
    changed: tuple[datetime, ...]


def merge(held: pa.Table, fetched: pa.Table) -> Merged:
    """Put bars together; of the same time, the one fetched last counts.

    What others added to a bar (an indicator) stays with a bar that stays as it was. It was computed
    from the old values where the bar changed, and is dropped there.

    Args:
        held: what the cache has, in `BARS` with any other columns after.
        fetched: `BARS`.
    """
    others = [name for name in held.column_names if name not in BARS.names]
    same = " AND ".join(f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in VALUES)
    columns = ["coalesce(new.timestamp, old.timestamp) AS timestamp"]
    columns += [
        f"CASE WHEN new.timestamp IS NULL THEN old.{name} ELSE new.{name} END AS {name}"
        for name in VALUES
    ]
    columns += [
        f"CASE WHEN new.timestamp IS NULL OR ({same}) THEN old.{identifier(name)} END "
        f"AS {identifier(name)}"
        for name in others
    ]
    whole = (
        f"{_each_once('held')} AS old FULL JOIN {_each_once('fetched')} AS new USING (timestamp)"
    )
    with scratch() as connection:
        connection.register("held", held)
        connection.register("fetched", fetched.select(BARS.names))
        query = connection.sql(f"SELECT {', '.join(columns)} FROM {whole} ORDER BY 1")
        bars: pa.Table = query.to_arrow_table()
        told = connection.execute(
            f"SELECT count(*) FILTER (old.timestamp IS NULL), list(new.timestamp ORDER BY "
            f"new.timestamp) FILTER (old.timestamp IS NOT NULL AND new.timestamp IS NOT NULL "
            f"AND NOT ({same})) FROM {whole}"
        ).fetchone() or (0, None)
    kept = [held.schema.field(name) for name in others]
    return Merged(bars.cast(pa.schema([*BARS, *kept])), int(told[0]), tuple(told[1] or ()))


def _each_once(relation: str) -> str:
    """Of bars with the same time, the last one in the order given."""
    return (
        f"(SELECT * EXCLUDE place FROM (SELECT *, row_number() OVER () AS place FROM {relation}) "
        "QUALIFY row_number() OVER (PARTITION BY timestamp ORDER BY place DESC) = 1)"
    )
