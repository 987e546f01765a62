"""The status: each part from its source, empty with a problem where it cannot be read, and the verdict."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeVar

from config.settings import Settings
from fluxhero.alerts.standing import Alerts
from fluxhero.api import measured as lines
from fluxhero.api.measured import Measured
from fluxhero.api.reports import report_line
from fluxhero.api.services import Runs
from fluxhero.api.sources import Checked, Sources, Taken, plain, shown
from fluxhero.api.status_models import (
    ArchiveLine,
    BreakerLine,
    FindingLine,
    FindingsLine,
    JobLine,
    LastBatch,
    Problem,
    StatusAnswer,
    Verdict,
)
from fluxhero.api.told import alerts_line
from fluxhero.api.verdict import STALE, verdict_of
from fluxhero.archive.manifest import Chain
from fluxhero.errors import FluxHeroError
from fluxhero.integrity.catalogue import RULES
from fluxhero.integrity.findings import Area, Finding, State
from fluxhero.integrity.rules import Severity
from fluxhero.metrics.breaker_record import BreakerState
from fluxhero.metrics.jobs import Job
from fluxhero.metrics.limit_rules import LIMIT_RULES
from fluxhero.metrics.snapshots import Latest
from fluxhero.reports import ReportFile, reports

MOST_FINDINGS: Final = 50
_GRAVEST = tuple(str(severity) for severity in Severity)

Part = Literal["snapshot", "archive", "findings", "equity", "breaker", "jobs", "reports", "alerts"]
T = TypeVar("T")


@dataclass
class _Parts:
    """Asks the sources, and notes what cannot be read."""

    settings: Settings
    problems: list[Problem] = field(default_factory=list)

    def of(self, part: Part, read: Callable[[], T], otherwise: T) -> T:
        """What a source says; `otherwise` where it cannot be read."""
        try:
            return read()
        except FluxHeroError as error:
            self.problems.append(
                Problem(
                    part=part,
                    what=None,
                    message=shown(error.what, self.settings),
                    next_step=shown(error.next_step, self.settings),
                )
            )
            return otherwise

    def passed_over(self, part: Part, paths: Iterable[Path]) -> None:
        """Files that are damaged, and in whose place older ones are shown."""
        for path in paths:
            name = shown(str(path), self.settings)
            self.problems.append(
                Problem(
                    part=part,
                    what=name,
                    message=f"{name} cannot be read, and what is shown is older",
                    next_step="restore it from a backup, or move it away with its record",
                )
            )


def status_of(settings: Settings, sources: Sources, runs: Runs, now: datetime) -> StatusAnswer:
    """How everything stands."""
    parts = _Parts(settings)
    nothing = Taken(Latest(None), Measured(()))
    taken = parts.of("snapshot", sources.snapshot, nothing)
    parts.passed_over("snapshot", taken.latest.unreadable)
    chain = parts.of("archive", sources.chain, None)
    breaker: tuple[BreakerState, ...] = parts.of("breaker", sources.breaker, ())
    jobs: tuple[Job, ...] = parts.of("jobs", sources.jobs, ())
    written: list[ReportFile] = parts.of("reports", lambda: reports(settings.data_dir), [])
    alerts = parts.of("alerts", sources.alerts, Alerts.none())
    parts.of("equity", lambda: bool(sources.curves()), False)
    checked = {area: _checked(parts, sources, area) for area in Area}
    at = taken.latest.snapshot.at if taken.latest.snapshot else None
    limits = lines.limits_of(settings)
    status = StatusAnswer(
        at=now,
        verdict=Verdict(level="unknown", text="", reasons=()),
        problems=tuple(parts.problems),
        snapshot_at=at,
        snapshot_age_seconds=(now - at).total_seconds() if at else None,
        snapshot_stale=at is None or now - at > STALE,
        accounts=lines.accounts(taken.measured),
        unusable=lines.unusable(taken.measured),
        limits=limits,
        breaker=breaker_lines(breaker),
        latency=lines.latency(taken.measured),
        orders=lines.orders(taken.measured),
        trades=lines.trades(taken.measured),
        positions=lines.positions(taken.measured, limits),
        archive=None if chain is None else _archive(chain, taken.measured),
        findings=_findings(checked),
        jobs=tuple(_job(job) for job in jobs),
        alerts=alerts_line(alerts, settings),
        reports=tuple(report_line(one) for one in written if one.is_latest),
        runs=runs,
    )
    found = status.findings
    return status.model_copy(
        update={
            "verdict": verdict_of(status),
            "findings": found.model_copy(update={"open": found.open[:MOST_FINDINGS]}),
        }
    )


def _checked(parts: _Parts, sources: Sources, area: Area) -> Checked:
    checked = parts.of("findings", lambda: sources.checked(area), Checked(None, None, (), ()))
    parts.passed_over("findings", checked.unreadable)
    return checked


def breaker_lines(states: Sequence[BreakerState]) -> tuple[BreakerLine, ...]:
    """The drawdown breaker of each mode, with exact money."""
    return tuple(
        BreakerLine(
            mode=state.mode,
            level=str(state.level),
            since=state.since,
            reason=state.reason,
            equity=None if state.equity is None else plain(state.equity),
            peak=None if state.peak is None else plain(state.peak),
            basis=None if state.basis is None else str(state.basis),
        )
        for state in states
    )


def _archive(chain: Chain, measured: Measured) -> ArchiveLine:
    last = chain.manifests[-1] if chain.manifests else None
    hot_bytes = measured.one("hot_store_bytes")
    return ArchiveLine(
        rows=sum(manifest.file.rows for manifest in chain.manifests),
        files=len(chain),
        bytes=sum(manifest.file.bytes for manifest in chain.manifests),
        lag_seconds=measured.one("archive_lag_seconds"),
        last_batch=None
        if last is None
        else LastBatch(
            batch=last.batch_id,
            table=last.table,
            mode=last.mode,
            created_at=last.created_at,
            rows=last.file.rows,
            bytes=last.file.bytes,
        ),
        hot_rows=lines.hot_rows(measured),
        hot_bytes=None if hot_bytes is None else int(hot_bytes),
    )


def finding_line(area: Area, finding: Finding, remedies: dict[str, str]) -> FindingLine:
    """One finding with what to do about it."""
    return FindingLine(
        area=str(area),
        rule=finding.rule,
        severity=str(finding.severity),
        object=finding.object,
        observed=finding.observed,
        state=str(finding.state),
        outcome=str(finding.outcome),
        count=finding.count,
        first_seen=finding.first_seen,
        last_seen=finding.last_seen,
        resolved_at=finding.resolved_at,
        remedy=remedies.get(finding.rule, ""),
    )


def remedies() -> dict[str, str]:
    """What to do about a breach of each rule."""
    return {rule.name: rule.remedy for rule in (*RULES, *LIMIT_RULES)}


def _findings(checked: dict[Area, Checked]) -> FindingsLine:
    advice = remedies()
    still_open = [
        finding_line(area, finding, advice)
        for area, run in checked.items()
        for finding in run.findings
        if finding.state.is_open
    ]
    still_open.sort(key=_rank)
    return FindingsLine(
        open=tuple(still_open),
        total=len(still_open),
        waived=sum(map(_waived, still_open)),
        checked_at=checked[Area.STORAGE].at,
    )


def _rank(line: FindingLine) -> tuple[bool, int, str, str]:
    return _waived(line), _GRAVEST.index(line.severity), line.rule, line.object


def _waived(line: FindingLine) -> bool:
    return line.state == State.WAIVED


def _job(job: Job) -> JobLine:
    return JobLine(
        job=job.flow,
        last_success_at=job.last_success_at,
        last_ended_at=job.last_ended_at,
        last_ok=job.last_ok,
        last_seconds=job.last_seconds,
    )
