"""Cleaning up what an earlier run left when it was killed."""

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fluxhero.archive.files import compare, read_back
from fluxhero.archive.identity import HEAD_FILE
from fluxhero.archive.layout import Layout, partition_of
from fluxhero.archive.manifest import Chain
from fluxhero.archive.purge import PurgeReport, purge
from fluxhero.archive.workspace import Workspace
from fluxhero.durable import half_written, move_aside, remove, storage_errors
from fluxhero.errors import IntegrityError, StorageIOError

logger = logging.getLogger(__name__)
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found and done.

    Attributes:
        purge: purges completed.
        discarded: files removed: staging, and unpublished files whose rows are all still hot.
        quarantined: unpublished files that hold something the hot store does not.
    """

    purge: PurgeReport = field(default_factory=PurgeReport)
    discarded: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()


def recover(
    workspace: Workspace, chain: Chain, *, now: datetime, purge_before: datetime | None
) -> Recovery:
    """Finish published batches whose purge is not complete; discard what was never published.

    Args:
        workspace: the store and its archive, locked by this run.
        chain: the archive's manifests.
        now: decides which holds are active.
        purge_before: this run's cut-off, for a copy may have been made with a later one; None where
            this run is to copy only.

    Raises:
        DamagedFileError: the file of an unpurged batch is not the one that was published.
    """
    discarded = [str(path) for path in discard_staging(workspace.layout)]
    for path in unfinished_writes(workspace):
        remove(path)
    quarantined = []
    for path in unpublished_files(workspace.layout, chain):
        if _still_hot(workspace, path):
            remove(path)
            discarded.append(str(path))
        else:
            target = move_aside(path, workspace.quarantined_files)
            logger.warning(
                "%s has no manifest and holds rows that are not hot: moved to %s", path, target
            )
            quarantined.append(str(target))
    report = PurgeReport()
    if purge_before is not None and (unfinished := chain.unpurged()):
        logger.info("completing the purge of %d batches", len(unfinished))
        report = purge(workspace, chain, unfinished, now=now, cutoff=purge_before)
    return Recovery(report, tuple(discarded), tuple(quarantined))


def discard_staging(layout: Layout) -> list[Path]:
    """Remove what is in the staging folder: it was never published, so its rows are still hot."""
    if not layout.staging.is_dir():
        return []
    with storage_errors("read", layout.staging):
        leftovers = sorted(path for path in layout.staging.iterdir() if path.is_file())
    for path in leftovers:
        remove(path)
    return leftovers


def unfinished_writes(workspace: Workspace) -> list[Path]:
    """Temporary files of atomic writes that never got their name; the archive's lock keeps writers out."""
    layout = workspace.layout
    return [
        *half_written(layout.root, r"(archive|holds)\.json"),
        *half_written(layout.manifests, r"\d{8}-.+\.json"),
        *half_written(workspace.data_dir, re.escape(HEAD_FILE)),
        *half_written(workspace.backups, r".+-\d{8}T\d{6}Z\.db", copies=True),
    ]


def unpublished_files(layout: Layout, chain: Chain) -> list[Path]:
    """Data files that no manifest names."""
    named = {layout.root / manifest.file.path for manifest in chain.manifests}
    return [path for path in layout.data_files() if path not in named]


def _still_hot(workspace: Workspace, path: Path) -> bool:
    """Whether every row of an unpublished file is still identical in the hot store."""
    store = workspace.store
    try:
        partition = partition_of(path.stem)
        facts = read_back(
            path, store.own_schema(partition.table), store.key_range_sql(partition.table)
        )
        comparison = compare(store, facts.archived_file(path.stem, path, partition, _END_OF_TIME))
    except (IntegrityError, StorageIOError, ValueError) as error:
        logger.warning("%s cannot be compared with the store: %s", path, error)
        return False
    return comparison.equal == facts.rows
