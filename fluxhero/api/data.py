"""Routes under `/api`: what the page and a user's own programs read. All of them only read.

A file that is damaged is answered with 503 and its name; a parameter that makes no sense with 422.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel

from fluxhero.api import evaluations
from fluxhero.api.errors import RESPONSES
from fluxhero.api.models import (
    BatchLine,
    BreakerAnswer,
    EquityAnswer,
    EvaluationLine,
    EvaluationRows,
    Page,
    SampleLine,
    Series,
    SeriesAnswer,
    SnapshotAnswer,
)
from fluxhero.api.services import Runs, Services
from fluxhero.api.sources import shown
from fluxhero.api.status import breaker_lines, finding_line, remedies, status_of
from fluxhero.api.status_models import FindingLine, StatusAnswer
from fluxhero.archive.manifest import Chain, EventKind, Manifest
from fluxhero.errors import BadInputError
from fluxhero.integrity.findings import Area
from fluxhero.integrity.rules import Severity
from fluxhero.metrics import snapshots
from fluxhero.metrics.exposition import exposed_type
from fluxhero.metrics.facts import Basis
from fluxhero.metrics.families import family_of
from fluxhero.metrics.samples import Sample

MOST_DAYS: Final = 400  # of one series
MOST_NAMES: Final = 10
MOST_ROWS: Final = 1_000_000  # that are read for one answer
MOST_POINTS: Final = 50_000  # of all series in one answer
_WEEK: Final = timedelta(days=7)
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=1_000_000_000)]
Mode = Annotated[str | None, Query(pattern="^[a-z]{1,20}$")]
T = TypeVar("T", bound=BaseModel)


def router(services: Services) -> APIRouter:
    """The routes; each runs in a thread, so that none blocks the event loop."""
    routes = APIRouter(prefix="/api", tags=["data"], responses=RESPONSES)
    _whole(routes, services)
    _lists(routes, services)
    _snapshots(routes, services)
    _evaluations(routes, services)
    return routes


def _whole(routes: APIRouter, services: Services) -> None:
    """What is answered as a whole."""
    settings, sources = services.settings, services.sources
    asked = Annotated[Runs, Depends(services.runs.runs)]

    @routes.get("/status")
    def status(runs: asked) -> StatusAnswer:
        """All that the page shows at first sight; what cannot be read is a problem in it."""
        return status_of(settings, sources, runs, services.clock())

    @routes.get("/runs")
    def runs(runs: asked) -> Runs:
        """The last runs of our flows and the next ones."""
        return runs

    @routes.get("/breaker")
    def breaker() -> BreakerAnswer:
        """The drawdown breaker of each mode."""
        return BreakerAnswer(breaker=breaker_lines(sources.breaker()))

    @routes.get("/equity")
    def equity(mode: Mode = None, basis: Basis | None = None) -> EquityAnswer:
        """Equity curves with the two limits of the drawdown."""
        found = sources.curves()
        return EquityAnswer(
            curves=tuple(
                curve
                for curve in found.curves
                if mode in {None, curve.mode} and basis in {None, curve.basis}
            ),
            warning=float(settings.drawdown_warning_pct),
            critical=float(settings.drawdown_critical_pct),
            written_at=found.written_at,
        )


def _lists(routes: APIRouter, services: Services) -> None:
    sources = services.sources

    @routes.get("/batches")
    def batches(limit: Limit = 100, offset: Offset = 0) -> Page[BatchLine]:
        """Batches of the archive, newest first."""
        chain = sources.chain()
        newest_first = chain.manifests[::-1]
        return Page(
            items=tuple(_batch(chain, one) for one in newest_first[offset : offset + limit]),
            total=len(chain),
            limit=limit,
            offset=offset,
        )

    @routes.get("/findings")
    def findings(
        state: Literal["open", "all"] = "open",
        area: Area | None = None,
        severity: Severity | None = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> Page[FindingLine]:
        """What the last checks found, gravest first; those that are open, or all with what was sound."""
        advice, gravest = remedies(), list(Severity)
        found = [
            (gravest.index(finding.severity), finding_line(one, finding, advice))
            for one in Area
            if area in {None, one}
            for finding in sources.checked(one).findings
            if (state == "all" or finding.state.is_open) and severity in {None, finding.severity}
        ]
        found.sort(key=lambda pair: (pair[0], pair[1].rule, pair[1].object))
        return _page([line for _, line in found], limit, offset)


def _snapshots(routes: APIRouter, services: Services) -> None:
    settings = services.settings

    @routes.get("/snapshots/latest")
    def latest(
        name: Annotated[str, Query(max_length=100)] = "", limit: Limit = 1000, offset: Offset = 0
    ) -> SnapshotAnswer:
        """Samples of the newest snapshot that can be read; `name` is how theirs begin."""
        found = services.sources.snapshot().latest
        snapshot = found.snapshot
        samples = [one for one in snapshot.samples if one.name.startswith(name)] if snapshot else []
        return SnapshotAnswer(
            run=snapshot.run if snapshot else None,
            at=snapshot.at if snapshot else None,
            age_seconds=(services.clock() - snapshot.at).total_seconds() if snapshot else None,
            unreadable=tuple(shown(str(path), settings) for path in found.unreadable),
            total=len(samples),
            limit=limit,
            offset=offset,
            samples=tuple(_sample(one) for one in samples[offset : offset + limit]),
        )

    @routes.get("/snapshots/series")
    def series(
        name: Annotated[list[str], Query(min_length=1, max_length=MOST_NAMES)],
        first: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        last: Annotated[AwareDatetime | None, Query(alias="to")] = None,
        label: Annotated[
            list[Annotated[str, Query(pattern="^[a-z_]{1,40}:[ -~]{0,80}$")]],
            Query(max_length=MOST_NAMES),
        ] = [],  # noqa: B006 - read only
        max_points: Annotated[int, Query(ge=1, le=5000)] = 500,
    ) -> SeriesAnswer:
        """Metrics over a time, the last seven days if none is named; `label` reads `mode:live`."""
        until = last or services.clock()
        since = first or max(until, _EARLIEST) - _WEEK
        _refuse_span(since, until)
        _refuse_names(name)
        wanted = dict(one.split(":", 1) for one in label)
        rows = snapshots.series(
            settings.data_dir, name, since, until, wanted, max_points, most_rows=MOST_ROWS
        )
        _refuse_many(rows.num_rows)
        points: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[datetime, float]]] = {}
        columns = (rows[column].to_pylist() for column in ("name", "labels", "timestamp", "value"))
        for named, labels, at, value in zip(*columns, strict=True):
            points.setdefault((named, tuple(labels)), []).append((at, value))
        return SeriesAnswer(
            first=since,
            last=until,
            series=tuple(
                Series(name=named, labels=dict(labels), points=tuple(line))
                for (named, labels), line in points.items()
            ),
        )


def _evaluations(routes: APIRouter, services: Services) -> None:
    data_dir = services.settings.data_dir

    @routes.get("/evaluations")
    def listed(limit: Limit = 100, offset: Offset = 0) -> Page[EvaluationLine]:
        """Results of the backtest evaluation, newest first."""
        return _page(evaluations.listed(data_dir), limit, offset)

    @routes.get("/evaluations/{name:path}")
    def rows(name: str, limit: Limit = 100, offset: Offset = 0) -> EvaluationRows:
        """The rows of one of them."""
        return evaluations.rows_of(data_dir, name, limit, offset)


def _page(lines: Sequence[T], limit: int, offset: int) -> Page[T]:
    part = tuple(lines[offset : offset + limit])
    return Page(items=part, total=len(lines), limit=limit, offset=offset)


def _refuse_span(since: datetime, until: datetime) -> None:
    if not _EARLIEST <= since <= until <= _LATEST:
        raise BadInputError(
            "'from' is later than 'to', or one of them is out of all reason",
            next_step="name times such as 2026-09-01T00:00:00Z, the earlier one as 'from'",
        )
    if until - since > timedelta(days=MOST_DAYS):
        raise BadInputError(
            f"the time asked for is longer than {MOST_DAYS} days",
            next_step='ask for parts of it, or use `fluxhero query "SELECT … FROM snapshots"`',
        )


def _refuse_names(names: Sequence[str]) -> None:
    for name in names:
        if family_of(name) is None:
            raise BadInputError(
                "there is no metric of this name", next_step="docs/metrics.md lists every metric"
            )


def _refuse_many(points: int) -> None:
    if points > MOST_POINTS:
        raise BadInputError(
            f"the answer would have {points:,} points, and {MOST_POINTS:,} is the limit",
            next_step="narrow it down by 'label', or ask for fewer points of each series by 'max_points'",
        )


def _sample(one: Sample) -> SampleLine:
    return SampleLine(
        name=one.name,
        type=exposed_type(family_of(one.name)),
        labels=dict(one.labels),
        value=one.value,
        count=one.count,
    )


def _batch(chain: Chain, manifest: Manifest) -> BatchLine:
    file = manifest.file
    restored = chain.events(manifest.batch_id, EventKind.RESTORED)
    return BatchLine(
        batch=manifest.batch_id,
        table=manifest.table,
        mode=manifest.mode,
        month=manifest.month,
        created_at=manifest.created_at,
        rows=file.rows,
        bytes=file.bytes,
        purged=chain.purged_rows(manifest.batch_id),
        restored=sum(event.rows for event in restored),
        correction=manifest.correction,
        first_closed_at=file.first_closed_at,
        last_closed_at=file.last_closed_at,
    )
