"""What was measured, as a relation: every snapshot once, whether its day is one file yet or not."""

from pathlib import Path

import duckdb

from fluxhero.engine import identifier, literal
from fluxhero.metrics.snapshot_files import SCHEMA, read_file, snapshot_files

NAME = "snapshots"


def create_snapshots(connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
    """Make the view `snapshots`; it is empty where there are none.

    Raises:
        DamagedFileError: a file of snapshots is no Parquet file any more.
    """
    files = snapshot_files(data_dir)
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
        prove_snapshots(data_dir, None)
        raise


def prove_snapshots(data_dir: Path, message: str | None) -> None:
    """After a query failed: read the files that its message names as a whole; None for all.

    Raises:
        DamagedFileError: one is damaged.
    """
    for path in snapshot_files(data_dir):
        if message is None or str(path) in message:
            read_file(path)
