"""Removing from the hot store what the archive has been proven to hold.

Only a row that equals its latest archived version may go, and only one older than the run's cut-off:
a batch of which younger rows may still be hot is not on record as purged.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from fluxhero.archive.holds import held_keys
from fluxhero.archive.identity import ArchiveIdentity, read_identity, write_identity
from fluxhero.archive.manifest import Chain, Event, EventKind, Manifest, write_event
from fluxhero.archive.workspace import Workspace
from fluxhero.engine import connect, literal, moment
from fluxhero.ledger.rows import ARCHIVED_AT
from fluxhero.ledger.store import Progress, PurgeOutcome

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
        proven: whether this run has just made and verified these batches; else their files are hashed
            first, and rows of which there is a newer version are left alone.
        progress: told after each batch.

    Raises:
        DamagedFileError: a file is not the one that was published; nothing was purged.
    """
    due = {
        manifest.batch_id: manifest
        for manifest in manifests
        if cutoff is None or manifest.file.first_closed_at < cutoff
    }
    files = [workspace.archived_file(manifest, cutoff) for manifest in due.values()]
    if not files:
        return PurgeReport()
    if not proven:
        for manifest in due.values():
            workspace.prove_file(manifest)
        outdated = _superseded(workspace, chain, list(due.values()))
        files = [replace(file, superseded=outdated.get(file.batch_id)) for file in files]
    held = held_keys(workspace.layout.holds, now)
    complete = {file.batch_id: file.last_closed_at < file.cutoff for file in files}
    report = PurgeReport()
    for outcome in workspace.store.purge(files, held, progress):
        manifest = due[outcome.batch_id]
        _record(workspace, chain, manifest, outcome, now, complete=complete[manifest.batch_id])
        report = report.plus(PurgeReport(outcome.purged, outcome.changed, outcome.held))
    return report


def _superseded(
    workspace: Workspace, chain: Chain, manifests: Sequence[Manifest]
) -> dict[str, pa.Table]:
    """Batch id → keys of its rows that a later correction has a newer version of.

    A hot row that equals an outdated version was changed back since: a plan archives it anew. Where
    nothing was ever corrected, which is usual, nothing is read.

    Raises:
        DamagedFileError: a correction is not the one that was published; it may hide a newer version.
    """
    found: dict[str, pa.Table] = {}
    for table in workspace.store.archived_tables:
        chosen = [manifest for manifest in manifests if manifest.table == table]
        first = min((manifest.sequence for manifest in chosen), default=0)
        corrections = [m for m in chain.of_table(table) if m.correction and m.sequence > first]
        if chosen and corrections:
            found |= _outdated(workspace, chosen, corrections)
    return found


def _outdated(
    workspace: Workspace, manifests: Sequence[Manifest], corrections: Sequence[Manifest]
) -> dict[str, pa.Table]:
    key = workspace.store.key_sql(corrections[0].table)
    paths = ", ".join(literal(str(workspace.prove_file(manifest))) for manifest in corrections)
    with connect(temp_dir=workspace.data_dir / "tmp") as engine:
        engine.execute(
            f"CREATE TEMP TABLE newest AS SELECT {key} AS key, max({ARCHIVED_AT}) AS made "
            f"FROM read_parquet([{paths}], hive_partitioning = false) GROUP BY 1"
        )
        return {
            manifest.batch_id: engine.sql(
                f"SELECT key FROM newest WHERE made > {moment(manifest.created_at)} AND key IN "
                f"(SELECT {key} FROM read_parquet("
                f"{literal(str(workspace.layout.root / manifest.file.path))}, hive_partitioning = false))"
            ).to_arrow_table()
            for manifest in manifests
            if manifest.created_at < corrections[-1].created_at
        }


def _record(
    workspace: Workspace,
    chain: Chain,
    manifest: Manifest,
    outcome: PurgeOutcome,
    now: datetime,
    *,
    complete: bool,
) -> None:
    """Write down what a purge did; of a batch with younger rows only what it removed."""
    done_before = bool(chain.events(manifest.batch_id, EventKind.PURGED))
    if outcome.purged or (complete and not done_before):
        event = Event(
            kind=EventKind.PURGED if complete or done_before else EventKind.PARTLY_PURGED,
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
