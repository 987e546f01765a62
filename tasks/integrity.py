"""The steps of a storage check, a task each."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prefect.events import emit_event

from fluxhero.alerts.folder_incidents import integrity_level
from fluxhero.archive.batches import utc_now
from fluxhero.errors import DamagedFileError, StorageIOError
from fluxhero.integrity.bars import check_bars
from fluxhero.integrity.catalogue import rules_by_name
from fluxhero.integrity.check_report import CheckReport, RepairLine, report_lines
from fluxhero.integrity.drift import check_drift
from fluxhero.integrity.file_quarantine import quarantine_files
from fluxhero.integrity.findings import judge, latest_findings, new_run_id, trends, write_findings
from fluxhero.integrity.page import RUNS_SHOWN, write_page
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reconcile import reconcile
from fluxhero.integrity.repair import repair
from fluxhero.integrity.repair_log import Repair
from fluxhero.integrity.results import (
    Outcome,
    Result,
    condensed,
    errored,
    failed,
    object_of,
    passed,
)
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.scrub import scrub
from fluxhero.integrity.values import check_values
from fluxhero.integrity.waivers import READABLE, Waiver, read_waivers, waivers_file
from fluxhero.ledger.schema import LEDGER_TABLES
from fluxhero.wording import counted
from tasks.policy import io_task, publishing_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

_MOST_PASSES = 3  # of a repair


@dataclass(frozen=True)
class CheckRun:
    """What every step of one check needs to know."""

    run: str
    scope: Scope

    @property
    def memory(self) -> Passed:
        """What passed before, as it is on disk."""
        return Passed(self.scope.home / "passed.json")


@io_task
def open_check(*, deep: bool) -> CheckRun:
    """Read the settings and name the run.

    Raises:
        ForeignStoreError: there is neither a store nor an archive.
    """
    now = utc_now()
    scope = Scope.of(settings_of_run(), now=now, deep=deep)
    if not scope.workspace.layout.root.exists():
        scope.workspace.store.check_there()
    return CheckRun(new_run_id(now), scope)


@io_task
def scrub_files(run: CheckRun) -> list[Result]:
    """Hold every file against its manifest or record, and the manifests against each other."""
    with _remembering(run) as memory:
        return _told("files", scrub(run.scope, memory))


@io_task
def repair_faults(run: CheckRun, results: Sequence[Result]) -> list[Repair]:
    """Mend what has a proven source, keeping the damaged original.

    What is mended first may show what else is missing, so the files are looked at again. Nothing of that
    is remembered: the check that follows reads the mended files itself, and only so are their faults
    resolved.
    """
    repairs: list[Repair] = []
    for passes in range(_MOST_PASSES):
        if passes:
            results = [*scrub(run.scope, run.memory), *reconcile(run.scope, run.memory)]
        done = repair(run.scope, results)
        repairs = [*(one for one in repairs if one.ok), *done]
        if not any(one.ok for one in done):
            break
    return repairs


@io_task
def reconcile_ledger(run: CheckRun) -> list[Result]:
    """Hold the hot store against the archive, orders against trades, and cash against results."""
    with _remembering(run) as memory:
        return _told("ledger", reconcile(run.scope, memory))


@io_task
def check_ledger_values(run: CheckRun, scrubbed: Sequence[Result]) -> list[Result]:
    """Run the expectation suite of each ledger table, on hot and archived rows alike.

    Rows that break a rule are copied into quarantine; files that the scrub found damaged are not read.
    """
    damaged = {
        result.file: result.observed
        for result in scrubbed
        if result.file is not None and result.outcome is not Outcome.PASSED
    }
    with _remembering(run) as memory:
        results = [
            result
            for table in LEDGER_TABLES
            for result in check_values(run.scope, table, memory, run_id=run.run, damaged=damaged)
        ]
    return _told("values", results)


@io_task
def check_bar_values(run: CheckRun) -> list[Result]:
    """Run the expectation suite of the bars, each symbol and timeframe by itself."""
    with _remembering(run) as memory:
        return _told("bars", check_bars(run.scope, memory))


@io_task
def watch_drift(run: CheckRun) -> list[Result]:
    """Hold the last sessions against the store's own history."""
    return _told("drift", check_drift(run.scope))


@io_task
def quarantine_damaged(run: CheckRun, results: Sequence[Result]) -> list[str]:
    """Copy damaged files, with the reason and where they were; returns where the copies are."""
    return [str(path) for path in quarantine_files(run.scope, results)]


@io_task
def record_check(
    run: CheckRun,
    results: Sequence[Result],
    repairs: Sequence[Repair],
    quarantined: Sequence[str],
) -> CheckReport:
    """Keep the findings, with what they were before, and write the report."""
    scope, data_dir = run.scope, run.scope.data_dir
    waivers, of_waivers = _read_waivers(scope)
    results = [*results, of_waivers]
    findings = judge(results, latest_findings(data_dir, scope.now), waivers, scope.now)
    write_findings(data_dir, run.run, scope.now, findings, deep=scope.deep)
    rules = rules_by_name()
    report = CheckReport(
        run=run.run,
        at=scope.now,
        deep=scope.deep,
        store=str(scope.workspace.store.path),
        archive=str(scope.workspace.layout.root),
        rules=len({result.rule.name for result in results}),
        checked=sum(result.checked for result in results),
        findings=report_lines(findings, rules),
        repairs=tuple(_repair_line(one) for one in repairs),
        quarantined=tuple(quarantined),
    )
    page = write_page(data_dir, report, findings, trends(data_dir, RUNS_SHOWN))
    (logger.info if report.ok else logger.warning)(report.verdict)
    return report.model_copy(update={"page": str(page)})


@publishing_task
def tell_of_check(run: CheckRun, report: CheckReport) -> None:
    """Emit an event if the verdict is another one than the check before came to: critical, warning or ok."""
    data_dir, now = run.scope.data_dir, run.scope.now
    before = integrity_level(latest_findings(data_dir, now, besides=run.run))
    level = integrity_level(report.findings)
    if level == before:
        return
    emit_event(
        f"fluxhero.integrity.{level}",
        resource={
            "prefect.resource.id": "fluxhero.storage",
            "prefect.resource.name": "hot store and archive",
        },
        payload={"text": report.verdict, "run": report.run, "before": before, "after": level},
    )


def _read_waivers(scope: Scope) -> tuple[list[Waiver], Result]:
    """The waivers, none where they cannot be read: a damaged list must not hide what was found."""
    path = waivers_file(scope.data_dir)
    about = object_of(path, scope.data_dir)
    try:
        waivers = read_waivers(path)
    except DamagedFileError as error:
        return [], failed(READABLE, about, error.what, file=path)
    except StorageIOError as error:
        return [], errored(READABLE, about, error.what)
    return waivers, passed(READABLE, about, len(waivers))


def _repair_line(repair: Repair) -> RepairLine:
    return RepairLine(
        rule=repair.rule,
        object=repair.object,
        mended=repair.ok,
        what=repair.action,
        source=repair.source,
        kept=None if repair.kept is None else str(repair.kept),
        number=repair.number,
    )


@contextmanager
def _remembering(run: CheckRun) -> Iterator[Passed]:
    """What passed before, for a step that tells what passes now; kept when the step has come to its end."""
    memory = run.memory
    yield memory
    memory.save()


def _told(what: str, results: list[Result]) -> list[Result]:
    """Log what a step came to."""
    broken = [result for result in results if result.outcome is not Outcome.PASSED]
    logger.info("%s: %s, %d not passed", what, counted(len(results), "check"), len(broken))
    for result in broken:
        logger.info(
            "%s %s, %s: %s", result.rule.name, result.outcome, result.object, result.observed
        )
    return condensed(results)  # thousands of sound files would cost the orchestrator seconds
