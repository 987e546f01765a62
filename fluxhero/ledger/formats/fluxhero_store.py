"""The `fluxhero` format: a bot's `system.db`, all three trades tables of it.

What the SQLite schema looks like and what it means is `fluxhero.ledger.sqlite_source`; settings are
never read. Rows whose status the ledger does not know are refused here, because a copy in the
ledger must say what a trade's state is.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.ledger.formats.contract import Format, Page, ReadOptions
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import TRADE_SIDES, TRADE_STATUSES, TRADES
from fluxhero.ledger.sqlite_source import read_canonical

_MAGIC = b"SQLite format 3\x00"


def _recognises(_path: Path, head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    for rows, rejected in read_canonical(path, timezone=options.timezone):
        yield admit_known(rows, rejected)


def admit_known(rows: pa.Table, rejected: list[Rejected]) -> Page:
    """A page without the rows whose side or status the ledger does not know."""
    known = pc.and_(
        pc.is_in(rows["side"], value_set=pa.array(TRADE_SIDES)),
        pc.is_in(rows["status"], value_set=pa.array(TRADE_STATUSES)),
    )
    if pc.all(known).as_py() is False:
        refused = [
            Rejected(
                row={n: v if v is None else str(v) for n, v in row.items()},
                reason=f"side is {row['side']}, status is {row['status']}: not both known",
                rule="allowed",
                position=row["source_id"],
            )
            for row in rows.filter(pc.invert(known)).to_pylist()
        ]
        return Page(TRADES, rows.filter(known), [*rejected, *refused])
    return Page(TRADES, rows, rejected)


FLUXHERO = Format("fluxhero", "a FluxHero system.db (SQLite)", _recognises, _pages)
