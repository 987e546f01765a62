"""The steps of the archive protocol, a task each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from config.bounds import MOST_ROWS
from config.logging import log_context
from fluxhero.archive import batches as making
from fluxhero.archive import mirror as mirroring
from fluxhero.archive import purge as purging
from fluxhero.archive import recover as recovering
from fluxhero.archive.batches import Refusal, StagedBatch, VerifiedBatch
from fluxhero.archive.holds import held_keys
from fluxhero.archive.identity import check_owner, claim, follow_head, owner
from fluxhero.archive.manifest import Manifest
from fluxhero.archive.mirror import Mirrored
from fluxhero.archive.purge import PurgeReport
from fluxhero.archive.recover import Recovery
from fluxhero.archive.report import ArchiveReport, BatchLine, refused_lines
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError, FluxHeroError, IntegrityError, SourceChangedError
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.store import BatchSpec, PlanRequest
from fluxhero.wording import counted
from tasks.grouping import in_groups
from tasks.policy import compute_task, io_task
from tasks.starting import days_for, settings_of_run

logger = logging.getLogger(__name__)

_STEPS_OF_A_GROUP = 3  # stage, verify, publish


@dataclass(frozen=True)
class ArchiveRun:
    """What every step of one run needs to know."""

    workspace: Workspace
    started: datetime
    retention_days: int
    cutoff: datetime
    dry_run: bool
    purge: bool
    mirror_dir: Path | None = None

    @property
    def copy_only(self) -> bool:
        """Whether the run copies and verifies, and purges nothing."""
        return not self.purge


class MirroringRun(Protocol):
    """Any run at whose end the mirror is kept."""

    @property
    def workspace(self) -> Workspace: ...  # noqa: D102
    @property
    def mirror_dir(self) -> Path | None: ...  # noqa: D102
    @property
    def dry_run(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Plan:
    """What a run has to do, over all tables: groups of batches, so that tasks stay few."""

    groups: tuple[tuple[BatchSpec, ...], ...] = ()
    purge_only: dict[str, int] = field(default_factory=dict)
    refused: tuple[Rejected, ...] = ()
    held: int = 0
    undated: int = 0

    @property
    def batches(self) -> tuple[BatchSpec, ...]:
        """All batches."""
        return tuple(batch for group in self.groups for batch in group)


@dataclass(frozen=True)
class Staged:
    """Batches in the staging folder, and what could not get there."""

    batches: tuple[StagedBatch, ...] = ()
    refused: tuple[Refusal, ...] = ()
    refused_rows: tuple[Rejected, ...] = ()


@dataclass(frozen=True)
class Verified:
    """Batches proven equal to the store, and those that are not."""

    batches: tuple[VerifiedBatch, ...] = ()
    refused: tuple[Refusal, ...] = ()


@io_task
def open_archive_run(
    retention_days: int | None,
    as_of: datetime | None,
    *,
    dry_run: bool,
    purge: bool,
    adopt: bool = False,
) -> ArchiveRun:
    """Read the settings and fix the cut-off.

    Raises:
        BadInputError: the parameters make no sense.
        ForeignStoreError: there is no store; no folder is made for its archive then.
        ConfigurationError: archive and mirror lie in one another.
    """
    settings = settings_of_run()
    now = making.utc_now()
    days = days_for(
        "retention", settings.retention_days if retention_days is None else retention_days
    )
    moment = now if as_of is None else making.as_utc(as_of)
    if moment > now:
        raise BadInputError(
            f"--as-of {moment.isoformat()} lies in the future: trades younger than the retention would move",
            next_step="give a time that has passed, or a smaller --retention-days",
        )
    cutoff = _cutoff(moment, days)
    workspace = Workspace.of(settings, adopting=adopt)
    workspace.store.check_there()
    if settings.archive_mirror_dir:
        mirroring.check_place(workspace.layout, settings.archive_mirror_dir)
    return ArchiveRun(
        workspace=workspace,
        started=now,
        retention_days=days,
        cutoff=cutoff,
        dry_run=dry_run,
        purge=purge and not dry_run,
        mirror_dir=settings.archive_mirror_dir,
    )


def _cutoff(moment: datetime, days: int) -> datetime:
    try:
        return moment - timedelta(days=days)
    except OverflowError as error:
        raise BadInputError(
            f"--as-of {moment.isoformat()} less {days} days is before the first year",
            next_step="give a later time, or a smaller --retention-days",
        ) from error


@io_task
def check_archive(run: ArchiveRun) -> None:
    """Make sure that the archive is this store's, complete and unedited."""
    store, layout = run.workspace.store, run.workspace.layout
    chain = run.workspace.chain()  # first: an archive that is gone is an error, not a new beginning
    if not run.dry_run:
        claim(layout, store, run.started, adopt=run.workspace.adopting)
        follow_head(layout, run.workspace.data_dir, chain)
    elif not run.workspace.adopting:
        check_owner(layout, store)  # a dry run writes nothing
    batches = counted(len(chain), "batch")
    logger.info("archive %s of store %s: %s, chain proven", layout.root, store.path, batches)


@io_task
def recover_interrupted(run: ArchiveRun) -> Recovery:
    """Finish or discard what an earlier run left; a dry run leaves everything as it is."""
    if run.dry_run:
        return Recovery()
    chain = run.workspace.chain()
    purge_before = run.cutoff if run.purge else None
    return recovering.recover(run.workspace, chain, now=run.started, purge_before=purge_before)


@io_task
def plan_batches(run: ArchiveRun, limit: int | None) -> Plan:
    """Find everything due up to now and cut it into batches."""
    if limit is not None and not 1 <= limit <= MOST_ROWS:
        raise BadInputError(f"a limit of {limit} rows", next_step=f"give 1 to {MOST_ROWS:,} rows")
    workspace = run.workspace
    chain = workspace.chain()
    held = held_keys(workspace.layout.holds, run.started)
    batches: list[BatchSpec] = []
    plan = Plan()
    for table in workspace.store.archived_tables:
        left = None if limit is None else max(0, limit - sum(batch.rows for batch in batches))
        request = PlanRequest(run.cutoff, held[table], workspace.batch_rows, left)
        manifests = chain.of_table(table)
        known = [workspace.archived_file(manifest) for manifest in manifests]
        with workspace.scanning(manifests):
            part = workspace.store.plan(table, request, known)
        if left is None or left > 0:  # what is only purged is no part of the limit
            batches += part.batches
        plan = Plan(
            purge_only=plan.purge_only | part.purge_only,
            refused=plan.refused + part.refused,
            held=plan.held + part.held,
            undated=plan.undated + part.undated,
        )
    logger.info(
        "due: %s in %s, closed before %s UTC",
        counted(sum(batch.rows for batch in batches), "row"),
        counted(len(batches), "batch"),
        f"{run.cutoff:%Y-%m-%d %H:%M}",
    )
    return Plan(_groups(batches), plan.purge_only, plan.refused, plan.held, plan.undated)


def _groups(batches: Sequence[BatchSpec]) -> tuple[tuple[BatchSpec, ...], ...]:
    return in_groups(batches, steps=_STEPS_OF_A_GROUP)


@io_task
def preview_rows(run: ArchiveRun, plan: Plan) -> Plan:
    """Read what would move, without writing: the plan without the rows that would be refused."""
    batches: list[BatchSpec] = []
    refused: list[Rejected] = []
    for batch in plan.batches:
        found = run.workspace.store.read(batch, run.started)
        refused += found.refused
        if found.rows.num_rows:
            batches.append(replace(batch, rows=found.rows.num_rows))
    return replace(plan, groups=_groups(batches), refused=(*plan.refused, *refused))


@io_task
def copy_store_before_first_purge(run: ArchiveRun) -> str | None:
    """Copy a bot's own database once, before anything is ever removed from it."""
    return purging.copy_store_once(run.workspace) if run.purge else None


@io_task
def stage_batches(run: ArchiveRun, group: Sequence[BatchSpec]) -> Staged:
    """Copy a group's rows into the staging folder, durably."""
    workspace = run.workspace
    chain = workspace.chain()
    recovering.discard_staging(workspace.layout)
    store_id = owner(workspace.layout).store_id
    archived_at = making.next_archived_at(chain, run.started)
    staged: list[StagedBatch] = []
    refused: list[Refusal] = []
    for place, spec in enumerate(group):
        moment = archived_at + timedelta(microseconds=place)
        try:
            batch = making.stage(workspace, store_id, spec, chain.next_sequence + place, moment)
        except SourceChangedError as error:
            logger.warning("%s refused: %s", spec.partition, error)
            refused.append(Refusal(str(spec.partition), str(error)))
        else:
            staged.append(batch)
    rows = tuple(row for batch in staged for row in batch.refused)
    return Staged(tuple(batch for batch in staged if batch.rows), tuple(refused), rows)


@io_task
def verify_batches(run: ArchiveRun, staged: Staged) -> Verified:
    """Read the staged files back from disk and compare every value with the store as it stands."""
    verified: list[VerifiedBatch] = []
    refused: list[Refusal] = []
    for batch in staged.batches:
        with log_context(batch=batch.batch_id):
            try:
                verified.append(making.verify(run.workspace, batch))
            except IntegrityError as error:
                logger.error("%s stopped, nothing of it is purged: %s", batch.batch_id, error)  # noqa: TRY400
                refused.append(Refusal(batch.batch_id, str(error)))
    batches = counted(len(verified), "batch")
    logger.info("verified %s: hashed, read back, every value compared", batches)
    return Verified(tuple(verified), tuple(refused))


@io_task
def publish_batches(run: ArchiveRun, verified: Verified) -> list[Manifest]:
    """Link the verified files into place and write their manifests: now the batches exist."""
    workspace = run.workspace
    chain = workspace.chain()
    store_id = owner(workspace.layout).store_id
    published: list[Manifest] = []
    for batch in verified.batches:
        known = chain.get(batch.staged.batch_id)  # published by an attempt that failed afterwards
        if known is None:
            with log_context(batch=batch.staged.batch_id):
                known = making.publish(workspace, store_id, chain, batch)
            chain = chain.followed_by(known)
        published.append(known)
    rows = sum(known.file.rows for known in published)
    logger.info("published %s in %s", counted(rows, "row"), counted(len(published), "batch"))
    return published


@io_task
def purge_batches(run: ArchiveRun, published: Sequence[Manifest], plan: Plan) -> PurgeReport:
    """Remove from the hot store what has just been proven, and rows that were archived long ago."""
    if not run.purge:
        return PurgeReport()
    workspace = run.workspace
    chain = workspace.chain()

    def progress(done: int, total: int | None) -> None:
        if done == total or done % 100 == 0:
            logger.info("purged %d of %s batches", done, total)

    report = purging.purge(
        workspace, chain, published, now=run.started, proven=True, progress=progress
    )
    again = [known for batch in plan.purge_only if (known := chain.get(batch))]
    more = purging.purge(workspace, chain, again, now=run.started, cutoff=run.cutoff)
    return report.plus(more)


@io_task
def record_refusals(run: ArchiveRun, refused: Sequence[Rejected]) -> int:
    """List rows that cannot be archived in the store's quarantine; returns how many are new."""
    if run.dry_run or not refused:
        return 0
    return run.workspace.store.quarantine("archive", refused)


@io_task
def mirror_archive(run: MirroringRun) -> Mirrored:
    """Copy to the mirror what it lacks. The run has done its work, so a mirror that fails is reported."""
    if run.mirror_dir is None or run.dry_run:
        return Mirrored()
    try:
        done = mirroring.keep_mirror(run.workspace, run.mirror_dir, run.workspace.chain())
    except FluxHeroError as error:
        logger.error("the mirror %s was not kept: %s", run.mirror_dir, error)  # noqa: TRY400
        return Mirrored(str(run.mirror_dir), problems=(str(error),))
    logger.info("copied %s to the mirror %s", counted(done.copied, "file"), done.mirror)
    return done


@compute_task
def summarise_archive_run(
    run: ArchiveRun,
    recovery: Recovery,
    plan: Plan,
    refused_rows: Sequence[Rejected],
    refusals: Sequence[Refusal],
    published: Sequence[Manifest],
    purge: PurgeReport,
    new_refusals: int,
    store_copy: str | None,
    mirrored: Mirrored,
) -> ArchiveReport:
    """Put the run's outcome together."""
    lines = [_planned_line(batch) for batch in plan.batches] if run.dry_run else []
    lines += [_published_line(manifest) for manifest in published]
    return ArchiveReport(
        store=str(run.workspace.store.path),
        archive=str(run.workspace.layout.root),
        cutoff=run.cutoff,
        retention_days=run.retention_days,
        dry_run=run.dry_run,
        copy_only=run.copy_only and not run.dry_run,
        batches=tuple(lines),
        purged=purge.purged,
        purge_only=sum(plan.purge_only.values()),
        late_corrections=recovery.purge.changed + purge.changed,
        held=plan.held,
        undated=plan.undated,
        refused=refused_lines(refused_rows, refusals),
        news=bool(new_refusals or refusals),
        recovered_purges=recovery.purge.purged,
        discarded=recovery.discarded,
        quarantined_files=recovery.quarantined,
        store_copy=store_copy,
        mirror=mirrored.mirror or None,
        mirrored=mirrored.copied,
        mirror_problems=mirrored.problems,
    )


def _planned_line(batch: BatchSpec) -> BatchLine:
    partition = batch.partition
    return BatchLine(
        table=partition.table,
        mode=partition.mode,
        month=f"{partition.year:04d}-{partition.month:02d}",
        rows=batch.rows,
        correction=batch.correction,
    )


def _published_line(manifest: Manifest) -> BatchLine:
    return BatchLine(
        table=manifest.table,
        mode=manifest.mode,
        month=manifest.month,
        rows=manifest.file.rows,
        correction=manifest.correction,
        batch=manifest.batch_id,
        bytes=manifest.file.bytes,
        file=manifest.file.path,
        sha256=manifest.file.sha256,
    )
