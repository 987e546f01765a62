"""Which rows of a FluxHero SQLite store are due, month by month, held in a few bytes a row."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Integers = npt.NDArray[np.int64]


class DueRows:
    """Rowids and close times of finished rows older than the cut-off."""

    def __init__(self) -> None:
        """Start with nothing due."""
        self._months: dict[int, list[tuple[Integers, Integers]]] = defaultdict(list)

    def add(self, rowids: pa.ChunkedArray, closed: pa.ChunkedArray) -> None:
        """Add rows, which come in order of their rowids; close times are in UTC, without NULLs."""
        numbers = rowids.to_numpy()
        times = closed.cast(pa.timestamp("us")).to_numpy()
        months = times.astype("datetime64[M]").astype(np.int64)
        micros = times.astype(np.int64)
        for month in np.unique(months).tolist():
            chosen = months == month
            self._months[month].append((numbers[chosen], micros[chosen]))

    def __len__(self) -> int:
        """How many rows are due."""
        return sum(len(rowids) for parts in self._months.values() for rowids, _ in parts)

    def rowids(self) -> pa.Int64Array:
        """All rowids, in no order."""
        parts = [rowids for months in self._months.values() for rowids, _ in months]
        return pa.array(np.concatenate([np.empty(0, np.int64), *parts]))

    def take_out(self, rowids: Integers) -> "DueRows":
        """Remove rows; returns those that were due."""
        taken = DueRows()
        if not len(rowids):
            return taken
        for month, parts in self._months.items():
            going = [np.isin(numbers, rowids) for numbers, _ in parts]
            for (numbers, closed), gone in zip(parts, going, strict=True):
                if gone.any():
                    taken._months[month].append((numbers[gone], closed[gone]))
            self._months[month] = [
                (numbers[~gone], closed[~gone])
                for (numbers, closed), gone in zip(parts, going, strict=True)
            ]
        return taken

    def by_month(self, limit: int | None) -> Iterator[tuple[int, int, Integers, Integers]]:
        """Go through the months, oldest first, and forget each.

        Args:
            limit: most rows in all; the last month gives those that were closed first.

        Yields:
            (year, month, rowids in ascending order, their close times in µs since 1970).
        """
        left = len(self) if limit is None else limit
        for key in sorted(self._months):
            parts = self._months.pop(key)
            rowids = np.concatenate([numbers for numbers, _ in parts])
            closed = np.concatenate([times for _, times in parts])
            if left < len(rowids):
                first = np.sort(np.lexsort((rowids, closed))[:left])
                rowids, closed = rowids[first], closed[first]
            left -= len(rowids)
            if len(rowids):
                years, month = divmod(key, 12)
                yield 1970 + years, month + 1, rowids, closed
