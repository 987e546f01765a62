"""An evaluation's place on disk: every result as Parquet with a record, and the whole as JSON."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.comparison import Compared
from fluxhero.backtest.concluding import paired
from fluxhero.backtest.evaluation import Evaluation, Row
from fluxhero.backtest.referenced import Referenced
from fluxhero.backtest.results import MONEY, Result
from fluxhero.backtest.trials import EVALUATIONS, REFERENCE
from fluxhero.durable import write_atomically
from fluxhero.recorded import write_recorded

JSON: Final = "evaluation.json"
ROWS: Final = pa.schema(
    [
        ("engine", pa.string()),
        ("mode", pa.string()),
        ("strategy", pa.string()),
        ("label", pa.string()),
        ("symbol", pa.string()),
        ("timeframe", pa.string()),
        ("bars", pa.int64()),
        ("ending", pa.string()),
        ("error", pa.string()),
        ("run_seconds", pa.float64()),
        ("total_return", pa.float64()),
        ("sharpe", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("trades", pa.int64()),
        ("to_the_cent", pa.bool_()),
        ("final_difference", MONEY),
        ("largest_difference", MONEY),
    ]
)
SHARES: Final = pa.decimal128(28, 8)
_SHARES: Final = ("shares", "ordered", "filled")
_KEPT: Final = ("orders", "fills", "round_trips", "equity")


def keep(
    asked: Asked,
    evaluation: Evaluation,
    references: Sequence[Referenced],
    compared: Sequence[Compared],
) -> Path:
    """Write every result as Parquet with a record, and the evaluation as JSON; returns the folder.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    folder = asked.settings.data_dir / EVALUATIONS / asked.run
    whole = list(_results_as_they_are(references, compared))
    for name in _KEPT:
        tables = [_told(getattr(result, name), about) for about, result in whole]
        if tables:
            table = pa.concat_tables(tables)
            write_recorded(folder / f"{name}.parquet", table, asked.at)
    write_recorded(folder / "rows.parquet", _rows(evaluation), asked.at)
    write_atomically(folder / JSON, evaluation.model_dump_json(indent=1).encode() + b"\n")
    return folder


def _results_as_they_are(
    references: Sequence[Referenced], compared: Sequence[Compared]
) -> Iterator[tuple[tuple[str, str, str, str], Result]]:
    for one in references:
        label, symbol = one.row.label, one.row.symbol
        yield (REFERENCE, REFERENCE, label, symbol), one.result
    for engine in compared:
        for one, outcome in paired(references, engine):
            if outcome.result is not None:
                about = (engine.engine, outcome.job.mode.value, one.row.label, one.row.symbol)
                yield about, outcome.result


def _told(table: pa.Table, about: tuple[str, str, str, str]) -> pa.Table:
    """A table with four columns before it that say what it is of; shares may be parts, whoever counts whole ones."""
    count = table.num_rows
    for place, field in enumerate(table.schema):
        if field.name in _SHARES:
            table = table.set_column(place, field.name, table.column(place).cast(SHARES))
    names = ("engine", "mode", "strategy", "symbol")
    columns = [pa.repeat(pa.scalar(text, pa.string()), count) for text in about]
    for name, column in zip(reversed(names), reversed(columns), strict=True):
        table = table.add_column(0, name, column)
    return table


def _rows(evaluation: Evaluation) -> pa.Table:
    """One row a run of a strategy: how it ended, its figures, and whether it agrees."""
    plain = {name for name in ROWS.names if name in Row.model_fields}
    rows = [{**row.model_dump(include=plain), **_figures(row)} for row in evaluation.rows]
    return pa.Table.from_pylist(rows, schema=ROWS)


def _figures(row: Row) -> dict[str, object]:
    shown, agreed = row.performance, row.agreement
    return {
        "total_return": shown.total_return if shown else None,
        "sharpe": shown.sharpe if shown else None,
        "max_drawdown": shown.max_drawdown if shown else None,
        "trades": shown.trades if shown else None,
        "to_the_cent": agreed.to_the_cent if agreed else None,
        "final_difference": agreed.final_difference if agreed else None,
        "largest_difference": agreed.largest_difference if agreed else None,
    }
