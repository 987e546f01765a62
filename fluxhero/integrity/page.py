"""The report of a storage check as one HTML file that needs nothing else: no script, no asset, no network."""

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxhero.integrity.check_report import CheckReport, FindingLine
from fluxhero.integrity.findings import UNTOLD, Finding, Trend
from fluxhero.reports import write_report

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

RUNS_SHOWN = 30
_TEMPLATE = "report.html.j2"
_CODE = re.compile(r"`([^`]+)`")
_HIGHEST, _LOWEST = 20, 3  # pixels of a bar


@dataclass(frozen=True, slots=True)
class Bar:
    """One run's bar of a trend."""

    kind: str
    height: int


@dataclass(frozen=True, slots=True)
class _Fault:
    line: FindingLine
    sample: list[dict[str, Any]]
    columns: list[str]


@dataclass(frozen=True, slots=True)
class _TrendRow:
    rule: str
    state: str
    bars: list[Bar]
    label: str
    last: str


def write_page(
    data_dir: Path, report: CheckReport, findings: Sequence[Finding], trends: Sequence[Trend]
) -> Path:
    """Write the report, and a second time as the latest one; returns where."""
    return write_report(data_dir, "check", report.run, render_page(report, findings, trends))


def render_page(report: CheckReport, findings: Sequence[Finding], trends: Sequence[Trend]) -> str:
    """The report as HTML."""
    samples = {(finding.rule, finding.object): finding.sample for finding in findings}
    faults = [
        _fault(line, samples.get((line.rule, line.object), "[]"))
        for line in report.findings
        if line.state.counts
    ]
    states = {
        line.rule: line.severity.value for line in reversed(report.findings) if line.state.counts
    }
    return _template().render(
        report=report,
        faults=faults,
        quiet=[line for line in report.findings if not line.state.counts],
        runs=max((len(trend.counts) for trend in trends), default=1),
        trends=[_trend_row(trend, states.get(trend.rule, "sound")) for trend in trends],
    )


def _fault(line: FindingLine, sample: str) -> _Fault:
    rows = json.loads(sample)
    return _Fault(line, rows, list(dict.fromkeys(name for row in rows for name in row)))


def _trend_row(trend: Trend, state: str) -> _TrendRow:
    told = [_told(count) for count in trend.counts]
    return _TrendRow(trend.rule, state, bars_of(trend.counts), ", ".join(told), told[-1])


def _told(count: int | None) -> str:
    if count is None:
        return "not checked"
    return "not told" if count == UNTOLD else f"{count:,}"


def bars_of(counts: Sequence[int | None]) -> list[Bar]:
    """One bar a run; a broken rule's is as high as its share of the highest count."""
    highest = max((count for count in counts if count and count > 0), default=1)
    bars = []
    for count in counts:
        if count is None:
            bars.append(Bar("none", 0))
        elif count == UNTOLD:
            bars.append(Bar("untold", _HIGHEST // 2))
        elif count == 0:
            bars.append(Bar("none", _LOWEST))
        else:
            bars.append(Bar("bar", max(2 * _LOWEST, round(_HIGHEST * count / highest))))
    return bars


@functools.cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("fluxhero.integrity", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["prose"] = _prose
    return environment.get_template(_TEMPLATE)


def _prose(text: str) -> "Markup":
    """Escape a text, and show what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped
