"""Where things stand: what is hot, archived and due, and what to do next. Reads only."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from fluxhero.archive.batches import utc_now
from fluxhero.archive.holds import held_keys
from fluxhero.archive.identity import check_owner
from fluxhero.archive.manifest import Chain, EventKind, Manifest
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import SourceChangedError
from fluxhero.ledger.store import BatchSpec, PlanRequest, StoreStatistics, TablePlan
from fluxhero.wording import counted

# Of more rows, only the times are looked at: it would take seconds.
_MOST_LOOKED_INTO = 20_000


class ArchivedTotal(BaseModel):
    """What the archive holds of one table's rows of one mode."""

    model_config = ConfigDict(frozen=True)

    table: str
    mode: str
    rows: int
    files: int
    bytes: int
    first_month: str
    last_month: str


class Batch(BaseModel):
    """One archived batch."""

    model_config = ConfigDict(frozen=True)

    batch: str
    created_at: datetime
    rows: int
    bytes: int
    purged: int
    restored: int
    correction: bool


class OldestDue(BaseModel):
    """The row that has been due for longest."""

    model_config = ConfigDict(frozen=True)

    key: str
    closed_at: datetime
    age_days: int


class Status(BaseModel):
    """The state of a store and its archive.

    Attributes:
        due: rows that an archive run would move now.
        due_purge_only: hot rows that are archived already and would only be purged.
        refused: finished rows that cannot be archived as they are.
        unpurged: batches whose purge is not complete; some of their rows may not be due yet.
        next_step: what to do, in a sentence.
    """

    model_config = ConfigDict(frozen=True)

    store: str
    store_kind: Literal["duckdb", "sqlite"]
    store_exists: bool
    archive: str
    retention_days: int
    hot_rows: dict[str, int]
    hot_bytes: int
    archived: tuple[ArchivedTotal, ...]
    archived_rows: int
    archived_files: int
    archived_bytes: int
    due: int
    due_purge_only: int
    refused: int
    oldest_due: OldestDue | None
    last_batch: Batch | None
    unpurged: tuple[str, ...]
    holds: int
    quarantined: int
    next_step: str
    batches: tuple[Batch, ...] = ()


class _Due(BaseModel):
    """What an archive run would find."""

    rows: int = 0
    purge_only: int = 0
    refused: int = 0
    oldest: OldestDue | None = None


def collect_status(
    workspace: Workspace, retention_days: int, *, batches: bool = False, now: datetime | None = None
) -> Status:
    """Look at everything and change nothing; fine without a store and without an archive.

    Args:
        workspace: the store and its archive.
        retention_days: days a closed trade stays hot.
        batches: whether to list every batch.
        now: the moment to count back from.

    Raises:
        ForeignArchiveError: the archive belongs to another store.
        ManifestError: the archive's manifests are damaged or incomplete.
    """
    now = now or utc_now()
    store = workspace.store
    exists = store.kind == "sqlite" or store.path.exists()  # a bot's database has to be there
    check_owner(workspace.layout, store)
    statistics = store.statistics() if exists else StoreStatistics({}, 0, 0)
    chain = workspace.chain()
    held = held_keys(workspace.layout.holds, now)
    with closing(store):
        due = _due(workspace, chain, held, retention_days, now) if exists else _Due()
    unpurged = chain.unpurged()
    cutoff = now - timedelta(days=retention_days)
    completable = [m for m in unpurged if m.file.last_closed_at < cutoff]
    lines = [_batch(chain, manifest) for manifest in chain.manifests]
    return Status(
        store=str(store.path),
        store_kind=store.kind,
        store_exists=exists,
        archive=str(workspace.layout.root),
        retention_days=retention_days,
        hot_rows=statistics.rows,
        hot_bytes=statistics.bytes,
        archived=_totals(chain.manifests),
        archived_rows=sum(manifest.file.rows for manifest in chain.manifests),
        archived_files=len(chain),
        archived_bytes=sum(manifest.file.bytes for manifest in chain.manifests),
        due=due.rows,
        due_purge_only=due.purge_only,
        refused=due.refused,
        oldest_due=due.oldest,
        last_batch=lines[-1] if lines else None,
        unpurged=tuple(manifest.batch_id for manifest in unpurged),
        holds=sum(map(len, held.values())),
        quarantined=statistics.quarantined,
        next_step=_next_step(
            due,
            missing=None if exists else str(store.path),
            unpurged=len(completable),
            quarantined=statistics.quarantined,
        ),
        batches=tuple(lines) if batches else (),
    )


def oldest_due(
    workspace: Workspace, chain: Chain, retention_days: int, now: datetime
) -> OldestDue | None:
    """The row that has been due for longest; None if nothing is due.

    Only times are looked at, so that of rows with a value that cannot be archived it may be one.
    """
    held = held_keys(workspace.layout.holds, now)
    plans = _plans(workspace, chain, held, now - timedelta(days=retention_days))
    return _oldest(workspace, [spec for plan in plans for spec in plan.batches], now)


def _plans(
    workspace: Workspace, chain: Chain, held: Mapping[str, frozenset[str]], cutoff: datetime
) -> Iterator[TablePlan]:
    """What an archive run would do, by table."""
    for table in workspace.store.archived_tables:
        manifests = chain.of_table(table)
        known = [workspace.archived_file(manifest) for manifest in manifests]
        request = PlanRequest(cutoff, held[table], workspace.batch_rows)
        with workspace.scanning(manifests):
            plan = workspace.store.plan(table, request, known)
        yield plan


def _due(
    workspace: Workspace,
    chain: Chain,
    held: Mapping[str, frozenset[str]],
    retention_days: int,
    now: datetime,
) -> _Due:
    plans = [*_plans(workspace, chain, held, now - timedelta(days=retention_days))]
    specs = [spec for plan in plans for spec in plan.batches]
    rows = sum(spec.rows for spec in specs)
    unusable = _unusable(workspace, specs, now) if rows <= _MOST_LOOKED_INTO else 0
    return _Due(
        rows=rows - unusable,
        purge_only=sum(count for plan in plans for count in plan.purge_only.values()),
        refused=sum(len(plan.refused) for plan in plans) + unusable,
        oldest=_oldest(workspace, specs, now),
    )


def _unusable(workspace: Workspace, specs: Sequence[BatchSpec], now: datetime) -> int:
    """How many of the planned rows an archive run would refuse for a value in them."""
    count = 0
    for spec in specs:
        with suppress(SourceChangedError):  # somebody is writing: nobody needs to know that exactly
            count += len(workspace.store.read(spec, now).refused)
    return count


def _oldest(workspace: Workspace, specs: Sequence[BatchSpec], now: datetime) -> OldestDue | None:
    """The row closed first among the batches of the first month."""
    month = min(((s.partition.year, s.partition.month) for s in specs), default=None)
    early = [s for s in specs if (s.partition.year, s.partition.month) == month]
    firsts = [first for spec in early if (first := workspace.store.first_row(spec))]
    if not firsts:
        return None
    closed_at, key = min(firsts)
    return OldestDue(key=key, closed_at=closed_at, age_days=(now - closed_at).days)


def _totals(manifests: Sequence[Manifest]) -> tuple[ArchivedTotal, ...]:
    parts = sorted({(manifest.table, manifest.mode) for manifest in manifests}, reverse=True)
    totals = []
    for table, mode in parts:
        chosen = [m for m in manifests if (m.table, m.mode) == (table, mode)]
        totals.append(
            ArchivedTotal(
                table=table,
                mode=mode,
                rows=sum(manifest.file.rows for manifest in chosen),
                files=len(chosen),
                bytes=sum(manifest.file.bytes for manifest in chosen),
                first_month=min(manifest.month for manifest in chosen),
                last_month=max(manifest.month for manifest in chosen),
            )
        )
    return tuple(totals)


def _batch(chain: Chain, manifest: Manifest) -> Batch:
    restored = chain.events(manifest.batch_id, EventKind.RESTORED)
    return Batch(
        batch=manifest.batch_id,
        created_at=manifest.created_at,
        rows=manifest.file.rows,
        bytes=manifest.file.bytes,
        purged=chain.purged_rows(manifest.batch_id),
        restored=sum(event.rows for event in restored),
        correction=manifest.correction,
    )


def _next_step(due: _Due, *, missing: str | None, unpurged: int, quarantined: int) -> str:
    if missing:
        return (
            f"There is no store at {missing} yet: bring trades in with `fluxhero ingest PATH`; if yours "
            "is set up elsewhere, run in the folder of its .env, or set FLUXHERO_STORE_URL."
        )
    if unpurged:
        return (
            f"Copied and not yet purged: {counted(unpurged, 'batch')}. "
            "`fluxhero archive` completes what is left."
        )
    if due.rows or due.purge_only:
        return (
            f"Due: {counted(due.rows + due.purge_only, 'row')}. `fluxhero archive --dry-run` lists "
            "what would move, `fluxhero archive` moves it."
        )
    if due.refused or quarantined:
        return (
            "Nothing is due, but some rows cannot be used: "
            '`fluxhero query "SELECT rule, reason, source FROM quarantine"` says why.'
        )
    return "Nothing is due, nothing is left to do."
