"""Which rows of a FluxHero SQLite store are due, month by month, held in a few bytes a row.

However many are due, a run's memory stays about the same: eight bytes a row while planning, and
ranges of rowids afterwards.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Integers = npt.NDArray[np.int64]
_Small = npt.NDArray[np.uint32]
_MONTH_US = "datetime64[us]"


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one month: rowids as distances from `first`, close times in ms since the month began."""

    first: int
    distances: Integers | _Small
    closed_ms: _Small

    @classmethod
    def of(cls, month: int, rowids: Integers, closed: Integers) -> "_Part":
        near = int(rowids[-1]) - int(rowids[0]) <= np.iinfo(np.uint32).max
        distances = rowids - rowids[0]  # where that overflows, adding the first one overflows back
        since = (closed - _begin(month)) // 1000
        return cls(
            int(rowids[0]),
            distances.astype(np.uint32) if near else distances,
            since.astype(np.uint32),
        )

    def rowids(self) -> Integers:
        return self.distances.astype(np.int64) + self.first

    def closed(self, month: int) -> Integers:
        return self.closed_ms.astype(np.int64) * 1000 + _begin(month)


class DueRows:
    """Rowids and close times (to the millisecond) of finished rows older than the cut-off."""

    def __init__(self) -> None:
        """Start with nothing due."""
        self._months: dict[int, list[_Part]] = defaultdict(list)

    def add(self, rowids: pa.ChunkedArray, closed: pa.ChunkedArray) -> None:
        """Add rows, which come in order of their rowids; close times are in UTC, without NULLs."""
        numbers = rowids.to_numpy()
        times = closed.cast(pa.timestamp("us")).to_numpy()
        months = times.astype("datetime64[M]").astype(np.int64)
        micros = times.astype(np.int64)
        for month in np.unique(months).tolist():
            chosen = months == month
            self._months[month].append(_Part.of(month, numbers[chosen], micros[chosen]))

    def __len__(self) -> int:
        """How many rows are due."""
        return sum(len(part.distances) for parts in self._months.values() for part in parts)

    def rowids(self) -> pa.Int64Array:
        """All rowids, in no order."""
        parts = [part.rowids() for parts in self._months.values() for part in parts]
        return pa.array(np.concatenate([np.empty(0, np.int64), *parts]))

    def take_out(self, rowids: Integers) -> "DueRows":
        """Remove rows; returns those that were due."""
        taken = DueRows()
        if not len(rowids):
            return taken
        for month, parts in self._months.items():
            staying = []
            for part in parts:
                numbers, closed = part.rowids(), part.closed(month)
                gone = np.isin(numbers, rowids)
                if gone.any():
                    taken._months[month].append(_Part.of(month, numbers[gone], closed[gone]))
                if not gone.all():
                    staying.append(_Part.of(month, numbers[~gone], closed[~gone]))
            self._months[month] = staying
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
            none = np.empty(0, np.int64)
            rowids = np.concatenate([none, *(part.rowids() for part in parts)])
            closed = np.concatenate([none, *(part.closed(key) for part in parts)])
            if left < len(rowids):
                first = np.sort(np.lexsort((rowids, closed))[:left])
                rowids, closed = rowids[first], closed[first]
            left -= len(rowids)
            if len(rowids):
                years, month = divmod(key, 12)
                yield 1970 + years, month + 1, rowids, closed


def _begin(month: int) -> int:
    """When a month begins, in µs since 1970; months are counted from January 1970."""
    return int(np.datetime64(month, "M").astype(_MONTH_US).astype(np.int64))


def to_ranges(rowids: Integers) -> pa.Int64Array:
    """Ascending rowids as the first and the last of each run of neighbours, in turn."""
    ends = np.flatnonzero(np.diff(rowids) != 1)
    firsts = rowids[np.concatenate([[0], ends + 1])]
    lasts = rowids[np.concatenate([ends, [len(rowids) - 1]])]
    return pa.array(np.column_stack([firsts, lasts]).ravel())


def from_ranges(ranges: pa.Int64Array) -> pa.Int64Array:
    """The rowids that `to_ranges` was given."""
    firsts, lasts = ranges.to_numpy().reshape(-1, 2).T
    lengths = lasts - firsts + 1
    before = np.cumsum(lengths) - lengths
    return pa.array(np.arange(lengths.sum()) + np.repeat(firsts - before, lengths))
