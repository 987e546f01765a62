"""Where rows are and how sound they are: hot store, archive, quarantine, and what storage checks found.

Told from manifests, the store's own counts and the findings of checks; no row of the archive is read.
What is not there (no store yet, never a check) has no series, and is never shown as zero.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta

from config.settings import Settings
from fluxhero.archive.identity import check_owner
from fluxhero.archive.manifest import Chain, EventKind
from fluxhero.archive.workspace import Workspace
from fluxhero.engine import connect
from fluxhero.ledger.schema import QUARANTINE
from fluxhero.metrics.checks import check_samples
from fluxhero.metrics.samples import OTHER, Sample, sample
from fluxhero.status import oldest_due

MOST_REASONS = 20
_REASONS_SQL = "SELECT rule, count(*) FROM quarantined WHERE resolved_at IS NULL GROUP BY rule ORDER BY 2 DESC, 1"


def store_samples(settings: Settings, now: datetime) -> list[Sample]:
    """The metrics of storage.

    Args:
        settings: name the store, the archive and how long closed trades stay hot.
        now: what is due counts from here.

    Raises:
        ForeignArchiveError: the archive belongs to another store.
        ManifestError: the archive's manifests are damaged or incomplete.
        StoreLockedError: another process holds the store.
    """
    workspace = Workspace.of(settings)
    check_owner(workspace.layout, workspace.store)
    chain = workspace.chain()
    samples = [*_archive(chain, workspace.store.archived_tables)]
    if workspace.store.path.exists():
        with closing(workspace.store):
            samples += _hot(workspace)
            samples += _lag(workspace, chain, settings.retention_days, now)
            samples += _quarantine(workspace)
    return [*samples, *check_samples(settings.data_dir, now)]


def _hot(workspace: Workspace) -> Iterator[Sample]:
    statistics = workspace.store.statistics()
    for table, rows in statistics.rows.items():
        yield sample("hot_store_rows", rows, table=table)
    yield sample("hot_store_bytes", statistics.bytes)


def _archive(chain: Chain, tables: Sequence[str]) -> Iterator[Sample]:
    yield sample("archive_files", len(chain))
    yield sample("archive_bytes", sum(manifest.file.bytes for manifest in chain.manifests))
    for table in tables:
        batches = chain.of_table(table)
        ids = [manifest.batch_id for manifest in batches]
        restored = [event for one in ids for event in chain.events(one, EventKind.RESTORED)]
        rows = sum(manifest.file.rows for manifest in batches)
        yield sample("archive_rows_total", rows, table=table)
        yield sample("purged_rows_total", sum(map(chain.purged_rows, ids)), table=table)
        yield sample("restored_rows_total", sum(event.rows for event in restored), table=table)


def _lag(workspace: Workspace, chain: Chain, retention_days: int, now: datetime) -> list[Sample]:
    oldest = oldest_due(workspace, chain, retention_days, now)
    due_since = now if oldest is None else oldest.closed_at + timedelta(days=retention_days)
    return [sample("archive_lag_seconds", (now - due_since).total_seconds())]


def _quarantine(workspace: Workspace) -> list[Sample]:
    with connect(temp_dir=workspace.data_dir / "tmp", threads=1) as connection:
        workspace.store.load(connection, QUARANTINE.name, "quarantined", ("rule", "resolved_at"))
        reasons = connection.execute(_REASONS_SQL).fetchall()
    named = dict(reasons[:MOST_REASONS])
    if others := sum(rows for _, rows in reasons[MOST_REASONS:]):
        named[OTHER] = named.get(OTHER, 0) + others
    return [sample("quarantined_rows", rows, reason=rule) for rule, rows in named.items()]
