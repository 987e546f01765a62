"""Removing from the hot store what the archive has been proven to hold."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fluxhero.archive.holds import held_trades
from fluxhero.archive.identity import ArchiveIdentity, read_identity, write_identity
from fluxhero.archive.manifest import Chain, Event, EventKind, Manifest, write_event
from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.store import ArchivedFile, Progress, PurgeOutcome

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge did, over all its batches."""

    purged: int = 0
    changed: tuple[str, ...] = ()
    held: tuple[str, ...] = ()

    def plus(self, other: "PurgeReport") -> "PurgeReport":
        """Both together."""
        return PurgeReport(
            self.purged + other.purged, self.changed + other.changed, self.held + other.held
        )


def copy_store_once(workspace: Workspace) -> str | None:
    """Copy a store that is not ours before the first purge ever; returns where it is if just made."""
    identity = read_identity(workspace.layout)
    if not isinstance(identity, ArchiveIdentity) or identity.first_backup:
        return None
    copy = workspace.store.copy_before_first_purge(workspace.backups)
    if copy is None:
        return None
    write_identity(workspace.layout, identity.model_copy(update={"first_backup": str(copy)}))
    logger.info("copied the store to %s before its first purge", copy)
    return str(copy)


def purge(
    workspace: Workspace,
    chain: Chain,
    manifests: Sequence[Manifest],
    *,
    now: datetime,
    cutoff: datetime | None = None,
    proven: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> PurgeReport:
    """Remove the hot rows of these batches that equal their archived copy, and record it.

    Args:
        workspace: the store and its archive.
        chain: the archive's manifests.
        manifests: the batches.
        now: decides which holds are active.
        cutoff: leave rows alone that are newer than this; by default each batch's own cut-off.
        proven: whether this run has just verified the files; else they are hashed first.
        progress: told after each batch.

    Raises:
        DamagedFileError: a file is not the one that was published; nothing was purged.
    """
    files: list[ArchivedFile] = []
    for manifest in manifests:
        if not proven:
            workspace.prove_file(manifest)
        files.append(workspace.archived_file(manifest, cutoff))
    if not files:
        return PurgeReport()
    held = held_trades(workspace.layout.holds, now)
    outcomes = workspace.store.purge(files, held, progress)
    by_id = {manifest.batch_id: manifest for manifest in manifests}
    report = PurgeReport()
    for outcome in outcomes:
        _record(workspace, chain, by_id[outcome.batch_id], outcome, now)
        report = report.plus(PurgeReport(outcome.purged, outcome.changed, outcome.held))
    return report


def _record(
    workspace: Workspace, chain: Chain, manifest: Manifest, outcome: PurgeOutcome, now: datetime
) -> None:
    if not outcome.purged and chain.events(manifest.batch_id, EventKind.PURGED):
        return
    event = Event(
        kind=EventKind.PURGED,
        batch_id=manifest.batch_id,
        manifest_sha256=manifest.sha256,
        at=now,
        rows=outcome.purged,
        kept_hot=outcome.changed + outcome.held,
    )
    write_event(workspace.layout, chain, event)
    for key in outcome.changed:
        logger.warning(
            "late correction: %s changed after it was archived in %s; it stays hot and the next run "
            "archives the new version",
            key,
            manifest.batch_id,
        )
