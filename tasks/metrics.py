"""The steps of a metric snapshot, a task each."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from prefect.events import emit_event

from config.settings import Settings
from fluxhero.archive.batches import utc_now
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import DamagedFileError
from fluxhero.integrity.check_report import report_lines
from fluxhero.integrity.findings import Finding, State, new_run_id
from fluxhero.integrity.waivers import Waiver, read_waivers, waivers_file
from fluxhero.metrics import breaker, limits
from fluxhero.metrics.about import about_snapshot
from fluxhero.metrics.breaker import BreakerState, Change, Level, Thresholds
from fluxhero.metrics.charts import account_charts
from fluxhero.metrics.compaction import compact_snapshots
from fluxhero.metrics.equity import (
    account_samples,
    accounts,
    equity_curve,
    write_curve,
)
from fluxhero.metrics.equity_points import unusable_by_mode
from fluxhero.metrics.facts import Account, Holdings
from fluxhero.metrics.holdings import holding_samples, holdings
from fluxhero.metrics.jobs import job_samples, readable_jobs
from fluxhero.metrics.ledger_facts import ledger_facts
from fluxhero.metrics.limit_rules import LIMIT_RULES
from fluxhero.metrics.orders import order_samples
from fluxhero.metrics.report import AccountLine, HoldingsLine, SnapshotReport, breaker_lines
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.snapshots import Snapshot, write_snapshot
from fluxhero.metrics.store import store_samples
from fluxhero.metrics.textfile import write_textfile
from fluxhero.metrics.trades import trade_samples
from fluxhero.wording import counted
from tasks.policy import io_task, publishing_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SnapshotRun:
    """What every step of one snapshot needs to know."""

    run: str
    now: datetime
    settings: Settings


@dataclass(frozen=True)
class Measured:
    """What the ledger came to: money for the limits, samples for the store, the curve for the page."""

    accounts: tuple[Account, ...]
    holdings: tuple[Holdings, ...]
    unusable: Mapping[str, int]  # by mode, what keeps an account from being reckoned
    samples: tuple[Sample, ...]
    curve: pa.Table


@dataclass(frozen=True)
class Judged:
    """What the limits say, and the breaker's states."""

    findings: tuple[Finding, ...]
    states: tuple[BreakerState, ...]
    samples: tuple[Sample, ...]


@io_task
def open_snapshot() -> SnapshotRun:
    """Read the settings and name the run.

    Raises:
        ForeignStoreError: there is neither a store nor an archive.
    """
    now = utc_now()
    settings = settings_of_run()
    workspace = Workspace.of(settings)
    if not workspace.layout.root.exists():
        workspace.store.check_there()
    return SnapshotRun(new_run_id(now), now, settings)


@io_task
def measure_ledger(run: SnapshotRun) -> Measured:
    """Measure trades, orders, cash and positions, hot and archived alike."""
    capital = run.settings.initial_capital
    with ledger_facts(Workspace.of(run.settings)) as connection:
        found = accounts(connection, capital)
        held = holdings(connection)
        samples = [
            *account_samples(found, connection, run.now),
            *trade_samples(connection, run.now),
            *holding_samples(held, limits.equity_by_mode(found)),
            *order_samples(connection, run.now),
        ]
        curve = equity_curve(connection, capital)
        unusable = unusable_by_mode(connection)
    logger.info("ledger: %s, %s", counted(len(found), "account"), counted(len(samples), "number"))
    return Measured(tuple(found), tuple(held), unusable, tuple(samples), curve)


@io_task
def measure_storage(run: SnapshotRun) -> list[Sample]:
    """Measure the hot store, the archive, the checks' findings and the flows' last runs."""
    jobs = readable_jobs(run.settings.data_dir)
    samples = [*store_samples(run.settings, run.now), *job_samples(jobs)]
    logger.info("store and flows: %s", counted(len(samples), "number"))
    return samples


@io_task
def move_breaker(run: SnapshotRun, measured: Measured) -> list[Change]:
    """Move the drawdown breaker; a retry finds the same changes again."""
    settings = run.settings
    changes = breaker.observe(
        settings.data_dir,
        measured.accounts,
        Thresholds.of(settings),
        now=run.now,
        run=run.run,
    )
    for change in changes:
        (logger.info if change.after is Level.OK else logger.warning)(change.text)
    return changes


@publishing_task
def tell_of_breaker(changes: Sequence[Change]) -> None:
    """Emit an event for each change of the breaker."""
    for change in changes:
        emit_event(
            f"fluxhero.breaker.{change.after}",
            resource=_account(change.mode),
            payload={"text": change.text, **change.model_dump(mode="json")},
        )


@io_task
def judge_limits(run: SnapshotRun, measured: Measured) -> Judged:
    """Hold the account against the limits of the settings."""
    settings, data_dir = run.settings, run.settings.data_dir
    results = limits.judge_limits(measured.accounts, measured.holdings, measured.unusable, settings)
    findings = limits.keep_findings(data_dir, run.run, run.now, results, _waivers(data_dir))
    states = breaker.states(data_dir)
    samples = [*limits.limit_samples(results, settings), *breaker.breaker_samples(states)]
    return Judged(tuple(findings), tuple(states.values()), tuple(samples))


def _waivers(data_dir: Path) -> list[Waiver]:
    """The waivers, none where they cannot be read: a damaged list must not hide a breach."""
    try:
        return read_waivers(waivers_file(data_dir))
    except DamagedFileError as error:
        logger.warning("%s; no limit is waived", error)
        return []


@io_task
def record_snapshot(
    run: SnapshotRun,
    measured: Measured,
    storage: Sequence[Sample],
    judged: Judged,
    changes: Sequence[Change],
) -> SnapshotReport:
    """Keep the equity curve, the numbers and the node exporter's file, and write the report."""
    settings = run.settings
    samples = (*measured.samples, *storage, *judged.samples, *about_snapshot(run.now))
    write_curve(settings.data_dir, measured.curve, run.now)
    path = write_snapshot(settings.data_dir, Snapshot(run.run, run.now, samples))
    if settings.metrics_textfile:
        write_textfile(settings.metrics_textfile, samples)
    report = SnapshotReport(
        run=run.run,
        at=run.now,
        accounts=tuple(AccountLine.of(account) for account in measured.accounts),
        holdings=tuple(HoldingsLine.of(one) for one in measured.holdings),
        breaker=breaker_lines(judged.states, changes),
        findings=report_lines(judged.findings, {rule.name: rule for rule in LIMIT_RULES}),
        samples=len(samples),
        file=str(path),
        textfile=settings.metrics_textfile and str(settings.metrics_textfile),
        charts=account_charts(measured.curve),
    )
    (logger.info if report.ok else logger.warning)(report.verdict)
    return report


@io_task
def compact_past_days(run: SnapshotRun) -> None:
    """Make one file of each past day's snapshots."""
    for path in compact_snapshots(run.settings.data_dir, run.now):
        logger.info("compacted into %s", path)


@publishing_task
def tell_of_limits(judged: Judged) -> None:
    """Emit an event for each limit newly breached or kept again."""
    for finding in limits.new_breaches(judged.findings):
        _tell_of_limit("breached", finding)
    for finding in judged.findings:
        if finding.state is State.RESOLVED:
            _tell_of_limit("kept", finding)


def _tell_of_limit(happened: str, finding: Finding) -> None:
    emit_event(
        f"fluxhero.limit.{happened}",
        resource=_account(finding.object),
        payload={
            "rule": finding.rule,
            "severity": finding.severity.value,
            "text": f"{finding.object}: {finding.observed}",
        },
    )


def _account(mode: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"fluxhero.account.{mode}",
        "prefect.resource.name": f"{mode} account",
    }
