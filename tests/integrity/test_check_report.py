"""The report says the answer first, and what to do; its page needs nothing but itself."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from fluxhero.integrity.check_report import CheckReport, RepairLine, report_lines
from fluxhero.integrity.findings import UNTOLD, Finding, State, Trend
from fluxhero.integrity.page import Bar, bars_of, render_page, write_page
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.rules import Rule, Severity

AT = datetime(2026, 3, 2, 22, tzinfo=UTC)
RULES = {
    name: Rule(name, severity, f"{name} holds.", f"{name} means loss.", f"mend {name}")
    for name, severity in {
        "files.sha256": Severity.CRITICAL,
        "trades.pnl": Severity.ERROR,
        "drift.volume": Severity.WARNING,
    }.items()
}


def finding(rule: str, state: State, **changes: object) -> Finding:
    found = Finding(
        rule=rule,
        severity=RULES[rule].severity if rule in RULES else Severity.ERROR,
        object="trades (hot)",
        outcome=Outcome.PASSED if state in {State.SOUND, State.RESOLVED} else Outcome.FAILED,
        state=state,
        count=1,
        observed=f"{rule} | broken",
        first_seen=AT,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def report(*findings: Finding, **changes: object) -> CheckReport:
    given = {
        "run": "20260302T220000Z-0001",
        "at": AT,
        "deep": False,
        "store": "data/fluxhero.duckdb",
        "archive": "data/archive",
        "rules": 40,
        "checked": 500,
        "findings": report_lines(findings, RULES),
    }
    return CheckReport.model_validate(given | changes)


def test_all_sound() -> None:
    sound = report(finding("trades.pnl", State.SOUND))
    assert sound.ok
    assert sound.verdict == "Check: all sound. 40 rules kept."
    assert sound.table() == []
    assert "--deep" in "\n".join(sound.details())


def test_the_gravest_comes_first_and_each_says_what_to_do() -> None:
    found = report(
        finding("drift.volume", State.NEW),
        finding("trades.pnl", State.KNOWN, keys=tuple("abcdefg"), count=7, waived=2),
        finding("files.sha256", State.NEW),
        finding("trades.pnl", State.WAIVED, object="trades (archive)"),
        finding("files.sha256", State.RESOLVED, object="archive/x"),
        finding("trades.gone", State.KNOWN, outcome=Outcome.ERRORED),
        deep=True,
    )
    assert not found.ok
    assert found.severity is Severity.CRITICAL
    assert found.verdict == (
        "Deep check: 1 critical, 2 errors, 1 warning; 2 new, 1 waived, 1 resolved."
    )
    assert [line.rule for line in found.findings] == [
        "files.sha256", "trades.gone", "trades.pnl", "drift.volume", "files.sha256", "trades.pnl",
    ]  # fmt: skip
    text = "\n".join(found.details())
    assert "→ mend trades.pnl" in text
    assert "a, b, c, d, e and 2 more" in text
    assert "trades.gone could not be told (known)" in text
    assert found.table()[2] | {"since": ""} == {
        "severity": "error", "state": "known", "rule": "trades.pnl", "object": "trades (hot)",
        "count": 5, "found": "trades.pnl | broken", "rows": "a, b, c, d, e and 2 more", "since": "",
    }  # fmt: skip
    assert "trades.pnl \\| broken" in found.markdown(), "a cell must not break its table"


def test_rules_that_one_damage_kept_from_being_told_take_one_line() -> None:
    same = {"outcome": Outcome.ERRORED, "object": "trades (archive)", "observed": "x is damaged"}
    found = report(
        finding("drift.volume", State.NEW, **same),
        finding("trades.pnl", State.NEW, **same),
        finding("files.sha256", State.NEW, object="archive/x"),
        finding("drift.volume", State.NEW, outcome=Outcome.ERRORED, object="elsewhere"),
    )
    assert [line.rule for line in found.findings] == ["files.sha256", "trades.*", "drift.volume"]
    line = found.findings[1]
    assert (line.severity, line.count) == (Severity.ERROR, 2)
    assert line.observed == "2 rules could not be told: x is damaged"
    assert line.rows == ("drift.volume", "trades.pnl")


def test_what_several_faults_need_is_said_once() -> None:
    found = report(
        finding("trades.pnl", State.NEW, keys=("t-1",), observed="1 row of 9: t-1"),
        finding("trades.pnl", State.KNOWN, object="trades (archive)"),
        finding("files.sha256", State.NEW, object="archive/x", observed="data/archive/x is gone"),
    )
    assert found.details()[:5] == [
        "CRITICAL files.sha256 (new): data/archive/x is gone",
        "  → mend files.sha256",
        "ERROR trades.pnl (new): trades (hot): 1 row of 9: t-1",
        "ERROR trades.pnl (known): trades (archive): trades.pnl | broken",
        "  → mend trades.pnl",
    ]
    assert found.details()[5].startswith("Right as it is? fluxhero waiver add")
    many = [finding("trades.pnl", State.NEW, object=f"day {n:02}") for n in range(50)]
    told = report(*many).details()
    assert len(told) < 30
    assert "… and 30 more findings in the report" in told


def test_what_could_not_be_told_and_now_is_takes_one_line_too() -> None:
    same = {"object": "trades (archive)", "observed": "x is damaged"}
    found = report(
        finding("drift.volume", State.RESOLVED, **same),
        finding("trades.pnl", State.RESOLVED, **same),
        finding("files.sha256", State.RESOLVED, object="archive/x"),
    )
    assert len(found.findings) == 2
    assert found.verdict == "Check: all sound. 40 rules kept, 2 resolved."


def test_repairs_are_told() -> None:
    mended = report(
        repairs=(
            RepairLine(rule="files.sha256", object="x", mended=True, what="copied from the mirror"),
            RepairLine(rule="files.sha256", object="y", mended=False, what="has no copy"),
        ),
        quarantined=("data/quarantine/files/x",),
        page="data/reports/x.html",
    )
    assert mended.verdict.endswith("Mended: 1. Could not be mended: 1.")
    text = "\n".join(mended.details())
    assert "Mended: x: copied from the mirror" in text
    assert "Not mended: y: has no copy" in text
    assert "data/quarantine/files/x" in text
    assert "### Repairs" in mended.markdown()


def test_a_warning_alone_makes_a_run_end_badly_too() -> None:
    assert report(finding("drift.volume", State.NEW)).severity is Severity.WARNING


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag] * (tag in {"script", "link", "img", "iframe"})
        self.found += [name for name, _ in attrs if name in {"src", "href"}]


def test_the_page_is_self_contained_and_escapes_what_it_shows(tmp_path: Path) -> None:
    faults = [
        finding(
            "trades.pnl",
            State.NEW,
            observed="<script>alert(1)</script>",
            keys=("t-1", "t-2"),
            count=2,
            sample='[{"trade_id": "t-1", "pnl": null}, {"pnl": "<b>2</b>", "fees": "1.5"}]',
            sql="SELECT * FROM trades WHERE a < b",
        ),
        finding("drift.volume", State.WAIVED),
    ]
    trends = [Trend("trades.pnl", (0, 4, UNTOLD, None, 2)), Trend("drift.volume", (None,) * 5)]
    data = report(*faults)
    path = write_page(tmp_path, data, faults, trends)
    page = path.read_text("utf-8")
    links = Links()
    links.feed(page)
    assert links.found == []
    assert not re.search(r"https?:|@import|url\(", page)
    assert "<script>" not in page
    assert "&lt;b&gt;2&lt;/b&gt;" in page
    assert "WHERE a &lt; b" in page
    assert all(text in page for text in ("mend trades.pnl", "t-2", data.verdict, "over the last 5"))
    assert (tmp_path / "reports" / "check-latest.html").read_text("utf-8") == page
    assert render_page(report(), [], []).count("What is wrong") == 0


def test_bars_show_broken_untold_and_unchecked_runs() -> None:
    assert bars_of((0, 1, 4, UNTOLD, None)) == [
        Bar("none", 3), Bar("bar", 6), Bar("bar", 20), Bar("untold", 10), Bar("none", 0),
    ]  # fmt: skip
