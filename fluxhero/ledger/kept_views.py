"""What the pipeline keeps as files of one schema, as relations: snapshots, trials, reconciliations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from fluxhero.backtest import trials
from fluxhero.engine import identifier, literal
from fluxhero.metrics import snapshot_files
from fluxhero.reconcile import kept


@dataclass(frozen=True, eq=False)
class KeptView:
    """All files of one kind as one relation.

    Attributes:
        name: of the view.
        schema: of every file; later ones may have more columns.
        files: those there are in a data folder.
        read: reads one as a whole, and raises where it is damaged.
    """

    name: str
    schema: pa.Schema
    files: Callable[[Path], Sequence[Path]]
    read: Callable[[Path], object]

    def create(self, connection: duckdb.DuckDBPyConnection, data_dir: Path) -> None:
        """Make the view; it is empty where there are no files.

        Raises:
            DamagedFileError: a file is gone or damaged.
        """
        files = self.files(data_dir)
        if not files:
            connection.from_arrow(self.schema.empty_table()).create(self.name)
            return
        paths = ", ".join(literal(str(path)) for path in files)
        columns = ", ".join(identifier(name) for name in self.schema.names)
        try:
            connection.execute(
                f"CREATE VIEW {self.name} AS SELECT {columns} FROM read_parquet([{paths}], "
                "union_by_name = true, hive_partitioning = false)"
            )
        except duckdb.Error:
            self.prove(data_dir, None)
            raise

    def prove(self, data_dir: Path, message: str | None) -> None:
        """After a query failed: read the files that its message names as a whole; None for all.

        Raises:
            DamagedFileError: one is gone or damaged.
        """
        for path in self.files(data_dir):
            if message is None or str(path) in message:
                self.read(path)


# Every snapshot once, whether its day is one file yet or not.
SNAPSHOTS: Final = KeptView(
    "snapshots", snapshot_files.SCHEMA, snapshot_files.snapshot_files, snapshot_files.read_file
)
# Every backtest that was tried.
TRIALS: Final = KeptView("trials", trials.SCHEMA, trials.trial_files, trials.read_trials)
# What differed between a broker's records and a bot's ledger, in every run.
DIFFERENCES: Final = KeptView(
    "differences", kept.DIFFERENCES_SCHEMA, kept.difference_files, kept.read_differences
)
# The round trips that all fills made, as of the last run.
ROUND_TRIPS: Final = KeptView(
    "round_trips", kept.ROUND_TRIPS_SCHEMA, kept.round_trip_files, kept.read_round_trips
)
KEPT_VIEWS: Final = {view.name: view for view in (SNAPSHOTS, TRIALS, DIFFERENCES, ROUND_TRIPS)}
