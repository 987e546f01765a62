"""Where things lie in an archive. Names only: nothing here reads or writes."""

import re
from dataclasses import dataclass
from pathlib import Path

from fluxhero.ledger.store import Partition

STAGING = ".staging"
_BATCH_ID = re.compile(
    r"(?P<sequence>\d{8})-(?P<table>trades|orders)-(?P<mode>[a-z]+)-(?P<year>\d{4})(?P<month>\d{2})"
    r"-[0-9a-f]{8}"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one archive."""

    root: Path

    @property
    def manifests(self) -> Path:
        """Folder of manifests and their events."""
        return self.root / "manifests"

    @property
    def staging(self) -> Path:
        """Folder of unfinished files; what is in it belongs to the run that holds the lock."""
        return self.root / STAGING

    @property
    def identity(self) -> Path:
        """The file that says which store this archive belongs to."""
        return self.root / "archive.json"

    @property
    def holds(self) -> Path:
        """The trades that must stay hot."""
        return self.root / "holds.json"

    @property
    def lock(self) -> Path:
        """Locked for as long as a run lives."""
        return self.root / ".lock"

    @property
    def lock_holder(self) -> Path:
        """Who holds the lock."""
        return self.root / ".lock-holder.json"

    def manifest(self, batch_id: str) -> Path:
        """The manifest of a batch."""
        return self.manifests / f"{batch_id}.json"

    def staged(self, batch_id: str) -> Path:
        """A batch's file before it is published. Ends so that no reader's `*.parquet` matches it."""
        return self.staging / f"{batch_id}.parquet.partial"

    def data_file(self, batch_id: str) -> Path:
        """A batch's published file."""
        return self.root / partition_folder(partition_of(batch_id)) / f"{batch_id}.parquet"

    def data_files(self) -> list[Path]:
        """Every published-looking data file, named by a manifest or not."""
        tables = ("trades", "orders")
        return sorted(path for table in tables for path in (self.root / table).rglob("*.parquet"))


def partition_folder(partition: Partition) -> Path:
    """Hive-style folder of a partition, relative to the archive."""
    return Path(
        partition.table,
        f"mode={partition.mode}",
        f"year={partition.year:04d}",
        f"month={partition.month:02d}",
    )


def batch_id(partition: Partition, sequence: int, suffix: str) -> str:
    """Name a batch: its place in the chain, its partition, and eight hexadecimal digits."""
    month = f"{partition.year:04d}{partition.month:02d}"
    return f"{sequence:08d}-{partition.table}-{partition.mode}-{month}-{suffix}"


def partition_of(batch_id: str) -> Partition:
    """The partition a batch id names.

    Raises:
        ValueError: it is not a batch id.
    """
    match = _BATCH_ID.fullmatch(batch_id)
    if match is None:
        raise ValueError(f"{batch_id!r} is not a batch id")
    return Partition(match["table"], match["mode"], int(match["year"]), int(match["month"]))


def sequence_of(batch_id: str) -> int:
    """A batch's place in the manifest chain."""
    return int(batch_id.split("-", 1)[0])
