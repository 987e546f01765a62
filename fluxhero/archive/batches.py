"""Making a batch: stage, verify, publish. Each may be killed at any instant and done again."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fluxhero.archive.files import FileFacts, compare, read_back, write_file
from fluxhero.archive.identity import record_head
from fluxhero.archive.layout import Layout, batch_id
from fluxhero.archive.manifest import Chain, DataFile, Manifest, write_manifest
from fluxhero.archive.workspace import Workspace
from fluxhero.durable import link_into_place, remove
from fluxhero.errors import VerificationError
from fluxhero.ledger.migrations import SCHEMA_VERSION
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.rows import hash_algorithm
from fluxhero.ledger.store import BatchSpec
from fluxhero.memory import keep_freed_memory
from fluxhero.release import release


@dataclass(frozen=True, slots=True)
class StagedBatch:
    """A batch written to the staging folder."""

    batch_id: str
    sequence: int
    spec: BatchSpec
    archived_at: datetime
    rows: int
    refused: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedBatch:
    """A staged batch that was read back and found equal to the source."""

    staged: StagedBatch
    facts: FileFacts


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that was not done, and why."""

    what: str
    reason: str


def next_archived_at(chain: Chain, now: datetime) -> datetime:
    """When the next batch counts as made: never before the last one, even if the clock was set back."""
    last = chain.last_created_at
    return max(now, last + timedelta(microseconds=1)) if last else now


def stage(
    workspace: Workspace, store_id: str, spec: BatchSpec, sequence: int, archived_at: datetime
) -> StagedBatch:
    """Copy a batch's rows into the staging folder, durably. With no row left there is no file.

    Raises:
        SourceChangedError: other rows are there than were planned.
        StorageIOError: the disk is full or refuses.
    """
    keep_freed_memory()
    name = batch_id(spec.partition, sequence, secrets.token_hex(4))
    batch = workspace.store.read(spec, archived_at)
    if batch.rows.num_rows:
        write_file(
            workspace.layout.staged(name),
            batch.rows,
            {
                "batch": name,
                "schema_version": str(SCHEMA_VERSION),
                "store": store_id,
                # What a lost manifest is made of again, beside what the rows themselves tell.
                "store_kind": workspace.store.kind,
                "correction": str(spec.correction).lower(),
                "cutoff": spec.cutoff.isoformat(),
                "created_at": archived_at.isoformat(),
                "software_version": release(),
            },
        )
    return StagedBatch(name, sequence, spec, archived_at, batch.rows.num_rows, batch.refused)


def verify(workspace: Workspace, staged: StagedBatch) -> VerifiedBatch:
    """Read a staged file back from disk and compare it with the store as it stands.

    Raises:
        VerificationError: they are not equal; the message names rows.
        DamagedFileError: the file cannot be read back.
    """
    store, partition = workspace.store, staged.spec.partition
    path = workspace.layout.staged(staged.batch_id)
    facts = read_back(path, store.own_schema(partition.table), store.key_range_sql(partition.table))
    if facts.rows != staged.rows:
        raise VerificationError(
            f"{path} holds {facts.rows} rows where {staged.rows} were written",
            next_step="nothing was purged; check the disk and run again",
        )
    comparison = compare(
        store, facts.archived_file(staged.batch_id, path, partition, staged.spec.cutoff)
    )
    if comparison.equal != facts.rows:
        differing = [*comparison.changed, *comparison.missing]
        raise VerificationError(
            f"{partition}: {len(differing)} rows differ from the store or are gone from it since they were "
            f"copied, among them {', '.join(differing[:3])}",
            next_step="nothing of this batch was purged; the next run copies it afresh",
        )
    return VerifiedBatch(staged, facts)


def publish(workspace: Workspace, store_id: str, chain: Chain, verified: VerifiedBatch) -> Manifest:
    """Give a verified file its final name, then make the batch exist by writing its manifest."""
    staged, facts, layout = verified.staged, verified.facts, workspace.layout
    source, target = layout.staged(staged.batch_id), layout.data_file(staged.batch_id)
    link_into_place(source, target)
    manifest = Manifest(
        batch_id=staged.batch_id,
        sequence=staged.sequence,
        store_id=store_id,
        store_kind=workspace.store.kind,
        schema_version=SCHEMA_VERSION,
        table=staged.spec.partition.table,
        mode=staged.spec.partition.mode,
        correction=staged.spec.correction,
        cutoff=staged.spec.cutoff,
        created_at=staged.archived_at,
        software_version=release(),
        file=described(layout, staged.batch_id, facts),
        previous_sha256=chain.head,
    )
    write_manifest(layout, manifest)
    record_head(layout, workspace.data_dir, chain.followed_by(manifest))
    remove(source)
    return manifest


def described(layout: Layout, batch_id: str, facts: FileFacts) -> DataFile:
    """What a manifest says of a batch's file that was read back."""
    return DataFile(
        path=layout.data_file(batch_id).relative_to(layout.root).as_posix(),
        rows=facts.rows,
        bytes=facts.bytes,
        sha256=facts.sha256,
        first_key=facts.first_key,
        last_key=facts.last_key,
        first_closed_at=facts.first_closed_at,
        last_closed_at=facts.last_closed_at,
        digest=facts.digest,
        hash_algorithm=hash_algorithm(),
    )


def as_utc(time: datetime) -> datetime:
    """The same time with an offset; one that has none is UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
