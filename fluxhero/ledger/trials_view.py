"""Every backtest that was tried, as a relation."""

from pathlib import Path

import duckdb

from fluxhero.backtest.trials import SCHEMA, read_trials, trial_files
from fluxhero.engine import identifier, literal

NAME = "trials"


def create_trials(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    """Make the view `trials`; it is empty where nothing was tried.

    Raises:
        DamagedFileError: a file of the register is gone or damaged.
    """
    files = trial_files(data_dir)
    if not files:
        connection.from_arrow(SCHEMA.empty_table()).create(NAME)
        return
    paths = ", ".join(literal(str(path)) for path in files)
    columns = ", ".join(identifier(name) for name in SCHEMA.names)
    try:
        connection.execute(
            f"CREATE VIEW {NAME} AS SELECT {columns} FROM read_parquet([{paths}], "
            "union_by_name = true, hive_partitioning = false)"
        )
    except duckdb.Error:
        prove_trials(data_dir, None)
        raise


def prove_trials(data_dir: Path, message: str | None) -> None:
    """After a query failed: read the files that its message names as a whole; None for all.

    Raises:
        DamagedFileError: one is gone or damaged.
    """
    for path in trial_files(data_dir):
        if message is None or str(path) in message:
            read_trials(path)
