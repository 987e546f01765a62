"""Writing down what a broker sends, a row a line, so that memory stays flat however long the history is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fluxhero.broker.alpaca import Row
from fluxhero.durable import storage_errors
from fluxhero.ledger.formats import exact_json

# Half of a surrogate pair, which no UTF-8 text can hold, becomes the escape that JSON has for it.
_LONE: Final = "backslashreplace"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of rows as the broker sent them.

    Attributes:
        path: JSON lines.
        rows: how many.
        newest: time of the newest; None where no row has one.
    """

    path: Path
    rows: int = 0
    newest: datetime | None = None


def write_down(
    pages: Iterable[list[Row]], path: Path, when: Callable[[Row], datetime | None]
) -> Fetched:
    """Write rows into a new file, page after page.

    Args:
        pages: the rows.
        path: the file; one that is there from an attempt that failed is replaced.
        when: tells a row's time.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    rows, newest = 0, None
    with storage_errors("write", path), path.open("w", encoding="utf-8", errors=_LONE) as file:
        for page in pages:
            file.writelines(f"{exact_json.dump(row)}\n" for row in page)
            rows += len(page)
            newest = max(filter(None, [newest, *map(when, page)]), default=None)
    return Fetched(path, rows, newest)
