"""Judging pages of canonical rows: text in, ledger rows and refusals out.

Every canonical format (csv, jsonl, parquet) reads its file into pages of text and hands them to an
`Admission`, so that one set of rules (`rules`) holds for all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.engine import connect
from fluxhero.ledger.formats import exact_json
from fluxhero.ledger.formats.contract import Page, ReadOptions
from fluxhero.ledger.formats.rules import EXACT, POSITION, PROBLEM, UNKNOWN, judge_sql
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import Kind, Table


def text_schema(table: Table) -> pa.Schema:
    """Schema of a page before judgement: the table's columns, `_unknown`, `_position`, all text."""
    return pa.schema([(name, pa.string()) for name in (*table.names, UNKNOWN, POSITION)])


class Admission:
    """Judges pages of one file."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, source: str, options: ReadOptions
    ) -> None:
        """Prepare the judgement; use `admission` to get a connection with it."""
        self._connection = connection
        self._table = options.table
        self._sql = judge_sql(
            options.table,
            "page",
            source=source,
            file=options.file(path),
            timezone=options.timezone,
        )

    def page(self, raw: pa.Table, rejected: list[Rejected], *, own_extra: bool = False) -> Page:
        """Judge a page of text.

        Args:
            raw: rows in `text_schema(table)`; `_position` is the row's number in the file.
            rejected: rows the reader itself could not make text of.
            own_extra: that the reader made each row's `extra` itself: JSON objects with a member at
                least and none called `exact`, and no `_unknown`. They are not looked at again.
        """
        self._connection.register("page", raw)
        judged = self._connection.sql(self._sql).to_arrow_table()
        self._connection.unregister("page")
        problems = _present(judged[PROBLEM])
        if "extra" in self._table.names:
            for column in self._table.columns:
                if column.kind is Kind.JSON and not (own_extra and column.name == "extra"):
                    _check_json(column.name, judged[column.name], problems)
            fold = _append_exact if own_extra else _fold_extra
            judged = fold(judged, problems)
        rows = judged.select(self._table.names)
        if problems:
            rejected = rejected + _describe(raw, problems)
            keep = [at not in problems for at in range(rows.num_rows)]
            rows = rows.filter(pa.array(keep, pa.bool_()))
        return Page(self._table, rows.cast(self._table.arrow), rejected)


@contextmanager
def admission(path: Path, source: str, options: ReadOptions) -> Iterator[Admission]:
    """Yield an `Admission` with a connection of its own, in the zone of the options."""
    with connect(timezone=options.timezone) as connection:
        yield Admission(connection, path, source, options)


def _present(column: pa.ChunkedArray) -> dict[int, str]:
    """The texts of a column that are not null, by their row."""
    at = pc.indices_nonzero(pc.is_valid(column))
    return dict(zip(at.to_pylist(), column.take(at).to_pylist(), strict=True))


def _check_json(name: str, column: pa.ChunkedArray, problems: dict[int, str]) -> None:
    for at, text in _present(column).items():
        try:
            exact_json.check(text, kind=dict if name == "extra" else None)
        except ValueError as error:
            problems.setdefault(at, f"json|{name} is not valid JSON: {error}")


def _fold_extra(judged: pa.Table, problems: dict[int, str]) -> pa.Table:
    """Fold the unknown columns and the exact texts of each row into its `extra`."""
    own, unknown, exact = (judged[name] for name in ("extra", UNKNOWN, EXACT))
    if unknown.null_count + exact.null_count == 2 * judged.num_rows:
        return judged
    wrapped = pc.binary_join_element_wise('{"exact":', exact, "}", "")
    given = [pc.is_valid(column).cast(pa.int8()) for column in (own, unknown, exact)]
    several = pc.greater(pc.add(pc.add(given[0], given[1]), given[2]), 1)
    folded = pc.coalesce(own, unknown, wrapped).to_pylist()
    for at in pc.indices_nonzero(several).to_pylist():
        if at not in problems:
            try:
                folded[at] = _merge(own[at].as_py(), unknown[at].as_py(), exact[at].as_py())
            except ValueError as error:
                problems[at] = f"extra|extra {error}"
    index = judged.schema.get_field_index("extra")
    return judged.set_column(index, "extra", pa.array(folded, pa.string()))


def _append_exact(judged: pa.Table, _problems: dict[int, str]) -> pa.Table:
    """Add the exact texts of each row to an `extra` that has other members, and none of that name."""
    own, exact = judged["extra"], judged[EXACT]
    if exact.null_count == judged.num_rows:
        return judged
    # Bytes, since text is cut by characters, each of which is looked at.
    begun = pc.binary_slice(own.cast(pa.binary()), 0, -1)
    ended = pc.binary_join_element_wise(begun, b',"exact":', exact.cast(pa.binary()), b"}", b"")
    folded = pc.coalesce(ended.cast(pa.string()), own)
    return judged.set_column(judged.schema.get_field_index("extra"), "extra", folded)


def _merge(extra: str | None, unknown: str | None, exact: str | None) -> str:
    """One JSON object out of a row's own extra, its unknown columns and its exact texts."""
    merged: dict[str, Any] = exact_json.parse(extra) if extra else {}
    for name, value in (exact_json.parse(unknown) if unknown else {}).items():
        if merged.setdefault(name, value) != value:
            raise ValueError(f"already has a '{name}', other than the column of that name")
    if exact:
        remembered = merged.setdefault("exact", {})
        if not isinstance(remembered, dict):
            raise ValueError("has an 'exact' that is not an object")
        for name, text in exact_json.parse(exact).items():
            if remembered.setdefault(name, text) != text:
                raise ValueError(f"has another 'exact' {name} than the column of that name")
    return exact_json.dump(merged)


def _describe(raw: pa.Table, problems: dict[int, str]) -> list[Rejected]:
    refused = sorted(problems)
    described = []
    for at, row in zip(refused, raw.take(pa.array(refused, pa.int64())).to_pylist(), strict=True):
        rule, _, reason = problems[at].partition("|")
        position, unknown = row.pop(POSITION), row.pop(UNKNOWN)
        given = {name: value for name, value in row.items() if value is not None}
        if unknown:
            given |= exact_json.parse(unknown)
        described.append(Rejected(given, reason, rule, f"row {position}"))
    return described
