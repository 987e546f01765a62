"""What a storage check found, as data and as text. Rendering only; publishing is elsewhere."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from fluxhero.integrity.check_text import MOST_KEYS, UNTOLD, few, told
from fluxhero.integrity.findings import Finding, State
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Rule, Severity, gravest
from fluxhero.markdown import page, points, table
from fluxhero.wording import counted

_MOST_LISTED = 200
_MOST_TOLD = 20
_MEND_FIRST = "Mend what is named here (another finding says how), then check again."
_PLURALS = {Severity.CRITICAL: "critical"}


class FindingLine(BaseModel):
    """A fault as a report shows it; `rows` are the keys of those that were named."""

    model_config = ConfigDict(frozen=True)

    rule: str
    severity: Severity
    state: State
    outcome: Outcome
    object: str
    count: int
    waived: int
    observed: str
    rows: tuple[str, ...]
    first_seen: datetime | None
    says: str
    means: str
    remedy: str
    sql: str


class RepairLine(BaseModel):
    """Something that was mended, or could not be; `number` is what it is undone by."""

    model_config = ConfigDict(frozen=True)

    rule: str
    object: str
    mended: bool
    what: str
    source: str = ""
    kept: str | None = None
    number: int | None = None

    def __str__(self) -> str:
        text = f"{'Mended' if self.mended else 'Not mended'}: {self.object}: {self.what}"
        text += f", proven by {self.source}" if self.source else ""
        text += f"; the original is {self.kept}" if self.kept else ""
        return text + (f" (undo: fluxhero repairs undo {self.number})" if self.number else "")


class CheckReport(BaseModel):
    """Outcome of `check_storage`.

    `findings` has the faults that are there and those just resolved, gravest first.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    at: datetime
    deep: bool
    store: str
    archive: str
    rules: int
    checked: int
    findings: tuple[FindingLine, ...] = ()
    repairs: tuple[RepairLine, ...] = ()
    quarantined: tuple[str, ...] = ()
    page: str | None = None

    @property
    def severity(self) -> Severity | None:
        """The gravest severity of what counts."""
        return gravest(line.severity for line in self.findings if line.state.counts)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that nobody has waived, and nothing was left untold."""
        return self.severity is None

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        kind = "Deep check" if self.deep else "Check"
        faults = [line for line in self.findings if line.state.counts]
        if not faults:
            text = f"{kind}: all sound. {counted(self.rules, 'rule')} kept"
        else:
            text = f"{kind}: {_by_severity(faults)}"
            text += f"; {sum(line.state is State.NEW for line in faults):,} new"
        waived = sum(line.state is State.WAIVED for line in self.findings)
        resolved = sum(line.state is State.RESOLVED for line in self.findings)
        text += f", {waived:,} waived" if waived else ""
        text += f", {resolved:,} resolved" if resolved else ""
        return f"{text}.{self._mended()}"

    def _mended(self) -> str:
        mended = sum(line.mended for line in self.repairs)
        left = len(self.repairs) - mended
        text = f" Mended: {mended:,}." if mended else ""
        return text + (f" Could not be mended: {left:,}." if left else "")

    def details(self) -> list[str]:
        """What else a reader should know, a line each: what was mended, what is wrong, what was read."""
        lines = [str(repair) for repair in self.repairs]
        faults = [line for line in self.findings if line.state.counts]
        lines += told(faults[:_MOST_TOLD])
        if len(faults) > _MOST_TOLD:
            lines.append(f"… and {counted(len(faults) - _MOST_TOLD, 'more finding')} in the report")
        if any(line.rows and line.outcome is Outcome.FAILED for line in faults):
            lines.append(
                "Right as it is? fluxhero waiver add --rule RULE --key KEY --reason WHY accepts it for a while"
            )
        return [*lines, *self._facts()]

    def _facts(self) -> list[str]:
        lines = [f"Store: {self.store}", f"Archive: {self.archive}"]
        if not self.deep:
            lines.append(
                "Read: what is new, changed or due by schedule; --deep reads every byte and row"
            )
        if self.quarantined:
            lines.append(f"Copied to quarantine: {', '.join(self.quarantined[:MOST_KEYS])}")
        if self.page:
            lines.append(f"Report: {self.page}")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Findings as rows of a table, at most 200."""
        return [
            {
                "severity": line.severity.value,
                "state": line.state.value,
                "rule": line.rule,
                "object": line.object,
                "count": line.count - line.waived,
                "found": line.observed,
                "rows": few(line.rows),
                "since": "" if line.first_seen is None else f"{line.first_seen:%Y-%m-%d %H:%M}",
            }
            for line in self.findings[:_MOST_LISTED]
        ]

    def markdown(self) -> str:
        """The whole report for a page."""
        faults = [line for line in self.findings if line.state.counts][:_MOST_LISTED]
        heads = ["severity", "rule", "where", "found", "do"]
        rows = [[f.severity, f"`{f.rule}`", f.object, f.observed, f.remedy] for f in faults]
        return page(
            self.verdict,
            ("What to do", [table(heads, rows)]),
            ("Repairs", points(map(str, self.repairs))),
            ("What was read", points(self._facts())),
        )


def report_lines(findings: Sequence[Finding], rules: Mapping[str, Rule]) -> tuple[FindingLine, ...]:
    """The faults among the findings, gravest and newest first, with what their rules say of them."""
    faults = [f for f in findings if f.state.is_open or f.state is State.RESOLVED]
    order = {severity: place for place, severity in enumerate(Severity)}
    states = {state: place for place, state in enumerate(State)}
    faults.sort(key=lambda f: (states[f.state] > 1, order[f.severity], states[f.state], f.rule))
    untold: dict[tuple[str, ...], list[Finding]] = {}
    for finding in faults:
        if _was_untold(finding):
            untold.setdefault(_cause(finding), []).append(finding)
    lines = []
    for finding in faults:
        same = untold.get(_cause(finding), [finding])
        if len(same) == 1 or not _was_untold(finding):
            lines.append(_line(finding, rules.get(finding.rule)))
        elif finding is same[0]:
            lines.append(_untold(same))
    return tuple(lines)


def _was_untold(finding: Finding) -> bool:
    """Whether a rule could not be told, or could not until now: then nothing was found by it."""
    resolved = finding.state is State.RESOLVED
    return finding.outcome is Outcome.ERRORED or (
        resolved and not (finding.keys or finding.sql or finding.sample != "[]")
    )


def _cause(finding: Finding) -> tuple[str, ...]:
    return (finding.object, finding.observed, str(finding.state is State.RESOLVED))


def _untold(findings: Sequence[Finding]) -> FindingLine:
    """One line for all the rules that the same thing kept from being told, the gravest one's severity."""
    first = findings[0]
    area = first.rule.partition(".")[0]
    return FindingLine(
        rule=f"{area}.*",
        severity=first.severity,
        state=first.state,
        outcome=first.outcome,
        object=first.object,
        count=len(findings),
        waived=0,
        observed=f"{len(findings)} rules {UNTOLD}: {_cause_told(first)}",
        rows=tuple(sorted(finding.rule for finding in findings)),
        first_seen=first.first_seen,
        says="What cannot be checked does not pass.",
        means="Something that these rules need is damaged, missing or in use; nothing is known of what "
        "they would have found.",
        remedy=_MEND_FIRST,
        sql="",
    )


def _line(finding: Finding, rule: Rule | None) -> FindingLine:
    gone = "the rule is no longer checked"
    untold = finding.outcome is Outcome.ERRORED
    return FindingLine(
        rule=finding.rule,
        severity=finding.severity,
        state=finding.state,
        outcome=finding.outcome,
        object=finding.object,
        count=finding.count,
        waived=finding.waived,
        observed=_cause_told(finding) if untold else finding.observed,
        rows=finding.keys,
        first_seen=finding.first_seen,
        says=rule.says if rule else gone,
        means=rule.means if rule else gone,
        remedy=_MEND_FIRST if untold else rule.remedy if rule else gone,
        sql=finding.sql,
    )


def _cause_told(finding: Finding) -> str:
    """Why a rule could not be told; what an error advises is for who met it by itself."""
    return finding.observed.partition(" → ")[0]


def _by_severity(faults: Iterable[FindingLine]) -> str:
    numbers = Counter(line.severity for line in faults)
    return ", ".join(
        counted(numbers[severity], severity.value, _PLURALS.get(severity))
        for severity in Severity
        if numbers[severity]
    )
