"""The archive protocol step by step, without Prefect: each step is a task's own function."""

from datetime import datetime, timedelta
from pathlib import Path

from config.settings import Settings
from fluxhero.archive import restore as restoring
from fluxhero.archive.restore import Restored, Wanted
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import FluxHeroError
from tasks import archive as steps
from tasks.archive import ArchiveRun
from tasks.locking import exclusively
from tests.samples import AS_OF, CUTOFF, RETENTION_DAYS, Sample


def workspace_of(sample: Sample, data_dir: Path) -> Workspace:
    """The workspace of a sample store."""
    return Workspace.of(Settings(data_dir=data_dir, store_url=sample.url, batch_rows=200))


def archive(workspace: Workspace, *, purge: bool = True, at: datetime = AS_OF) -> int:
    """One archive run; returns how many rows were published."""
    run = ArchiveRun(workspace, at, RETENTION_DAYS, CUTOFF, dry_run=False, purge=purge)
    with exclusively(workspace, "test"):
        steps.check_archive.fn(run)
        steps.copy_store_before_first_purge.fn(run)
        steps.recover_interrupted.fn(run)
        plan = steps.plan_batches.fn(run, None)
        published = []
        for group in plan.groups:
            verified = steps.verify_batches.fn(run, steps.stage_batches.fn(run, group))
            if verified.refused:
                raise FluxHeroError(str(verified.refused), next_step="see the test")
            published += steps.publish_batches.fn(run, verified)
        steps.purge_batches.fn(run, published, plan)
    return sum(manifest.file.rows for manifest in published)


def restore(workspace: Workspace, keys: list[str], *, at: datetime = AS_OF) -> Restored:
    """Restore some trades; they are on hold for ten days."""
    with exclusively(workspace, "test"):
        chain = workspace.chain()
        found = restoring.find(workspace, chain, Wanted("trades", tuple(keys)))
        until = at + timedelta(days=10)
        return restoring.restore(workspace, chain, found, reason="test", now=at, hold_until=until)
