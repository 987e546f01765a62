"""What is due in a SQLite store, by month; and how rows are named in its SQL."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from fluxhero.ledger.sqlite_archiving import rowid_tail
from fluxhero.ledger.sqlite_connection import SqliteConnection
from fluxhero.ledger.sqlite_due import DueRows, from_ranges, to_ranges
from fluxhero.ledger.sqlite_schema import inspect
from tests.house import House


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[misc, arg-type]


def due(rows: dict[int, datetime]) -> DueRows:
    """Rows by rowid, added in two pages."""
    found = DueRows()
    pairs = list(rows.items())
    for page in (pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]):
        rowids = pa.chunked_array([pa.array([rowid for rowid, _ in page], pa.int64())])
        closed = pa.array([time for _, time in page], pa.timestamp("us", tz="UTC"))
        found.add(rowids, pa.chunked_array([closed]))
    return found


def months(rows: DueRows, limit: int | None = None) -> list[tuple[int, int, list[int]]]:
    return [(year, month, rowids.tolist()) for year, month, rowids, _ in rows.by_month(limit)]


ROWS = {
    3: at(2025, 12, 31, 23, 59, 59, 999_999),
    4: at(2026, 1, 3),
    5: at(2026, 1, 1),
    9: at(1969, 12, 31, 23),
    11: at(2026, 1, 2),
    12: at(2025, 12, 1),
}


def test_months_come_oldest_first_and_rowids_ascending() -> None:
    assert months(due(ROWS)) == [(1969, 12, [9]), (2025, 12, [3, 12]), (2026, 1, [4, 5, 11])]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (0, []),
        (1, [(1969, 12, [9])]),
        (2, [(1969, 12, [9]), (2025, 12, [12])]),
        (5, [(1969, 12, [9]), (2025, 12, [3, 12]), (2026, 1, [5, 11])]),
        (99, [(1969, 12, [9]), (2025, 12, [3, 12]), (2026, 1, [4, 5, 11])]),
    ],
)
def test_a_limit_takes_the_rows_closed_first(
    limit: int, expected: list[tuple[int, int, list[int]]]
) -> None:
    assert months(due(ROWS), limit) == expected


def test_rows_taken_out_are_given_back_with_their_months() -> None:
    rows = due(ROWS)
    taken = rows.take_out(np.array([5, 12, 77]))
    assert months(taken) == [(2025, 12, [12]), (2026, 1, [5])]
    assert len(rows) == 4
    assert sorted(rows.rowids().to_pylist()) == [3, 4, 9, 11]
    assert not len(rows.take_out(np.array([], np.int64)))


def test_rowids_far_apart_and_negative_ones_are_kept() -> None:
    far = {
        -(2**63): at(2026, 1, 1),
        -7: at(2026, 1, 2),
        5: at(2026, 1, 3),
        2**63 - 1: at(2026, 1, 4),
    }
    assert months(due(far)) == [(2026, 1, list(far))]


@pytest.mark.parametrize(
    "rowids", [[7], [1, 2, 3], [1, 3, 5], [-9, -8, 4, 5, 6, 2**62], [2**63 - 2, 2**63 - 1]]
)
def test_ranges_name_exactly_the_rowids(rowids: list[int]) -> None:
    assert from_ranges(to_ranges(np.array(rowids, np.int64))).to_pylist() == rowids


def test_neighbours_are_one_range() -> None:
    assert to_ranges(np.arange(5, 100_000)).to_pylist() == [5, 99_999]


@pytest.mark.parametrize(
    "rowids",
    [[], [7], [1, 2, 3, 4], [2, 3, 5, 6, 9], [1, 20], [1, 5, 9, 13, 17, 20], [-5, 3, 4]],
)
def test_sql_selects_exactly_the_rowids(sqlite_house: House, rowids: list[int]) -> None:
    sqlite_house.add(*range(1, 21))
    with SqliteConnection(sqlite_house.store, read_only=True, busy_timeout=1) as connection:
        there = {int(row[0]) for row in connection.rows("SELECT rowid FROM live_trades")}
        (table,) = [found for found in inspect(connection) if found.name == "live_trades"]
        tail = rowid_tail(table, pa.array(rowids, pa.int64()))
        rows = connection.rows(f"SELECT rowid FROM live_trades {tail}")
    assert [int(row[0]) for row in rows] == [rowid for rowid in rowids if rowid in there]
