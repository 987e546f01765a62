"""Risk limits against exact money, each mode by itself; what could not be told is never kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from config.settings import Settings
from fluxhero.archive.workspace import Workspace
from fluxhero.integrity.findings import (
    Area,
    Finding,
    State,
    finding_files,
    latest_findings,
    new_run_id,
    write_findings,
)
from fluxhero.integrity.results import Result, passed
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.integrity.waivers import Waiver, read_waivers, waivers_file
from fluxhero.ledger.view import open_view
from fluxhero.metrics.facts import Account, Basis, Holdings, Strategy, TradeRisk
from fluxhero.metrics.families import LIMITS
from fluxhero.metrics.limit_rules import LIMIT_RULES
from fluxhero.metrics.limits import (
    equity_by_mode,
    judge_limits,
    keep_findings,
    label_of,
    limit_samples,
    new_breaches,
)
from tests.command import Run

NOW = datetime(2026, 3, 2, 22, tzinfo=UTC)
STEP = timedelta(minutes=5)
EQUITY = Decimal(100_000)
FLAT = Holdings("live", 0, Decimal(0), None, None, (), 0)


def account(
    equity: str = "100000",
    mode: str = "live",
    basis: Basis = Basis.CLOSED,
    peak: Decimal = EQUITY,
) -> Account:
    return Account(mode, basis, NOW, Decimal(equity), peak, Decimal(0), None, timedelta(0))


def risk(trade: str, amount: str, strategy: Strategy = Strategy.TREND) -> TradeRisk:
    return TradeRisk(trade, strategy, Decimal(amount))


def judged(results: list[Result], mode: str = "live") -> dict[str, str]:
    """Limit → outcome, of those that are not kept."""
    return {
        label_of(one.rule.name): one.outcome.value
        for one in results
        if one.object == mode and one.outcome != "passed"
    }


def broken(
    held: Holdings, *accounts: Account, settings: Settings, unusable: int = 0
) -> dict[str, str]:
    mine = accounts or (account(),)
    return judged(judge_limits(mine, [held], {"live": unusable}, settings))


def test_drawdown_is_broken_when_it_is_reached(settings: Settings) -> None:
    peak = Decimal(150_000)

    def drawdown(*equity: str) -> dict[str, str]:
        bases = zip(equity, Basis, strict=False)
        accounts = [account(one, basis=basis, peak=peak) for one, basis in bases]
        return judged(judge_limits(accounts, [], {}, settings))

    assert drawdown("127500.15") == {}
    assert drawdown("127500") == {"drawdown_warning": "failed"}
    assert drawdown("120000.01") == {"drawdown_warning": "failed"}
    both = {"drawdown_critical": "failed", "drawdown_warning": "failed"}
    assert drawdown("120000") == both
    assert drawdown("150000", "120000") == both
    (critical, *_) = judge_limits([account("120000", peak=peak)], [], {}, settings)
    assert critical.observed == (
        "120,000.00 is 20.00 % below the peak of 150,000.00 (closed); the limit is 20 %"
    )


def test_what_is_held_is_broken_when_it_is_exceeded(settings: Settings) -> None:
    def of(**changes: object) -> dict[str, str]:
        return broken(replace(FLAT, positions=2, **changes), settings=settings)  # type: ignore[arg-type]

    fine = {"exposure": Decimal(50_000), "largest": Decimal(20_000), "largest_symbol": "AAPL"}
    assert of(**fine) == {}
    assert of(**fine | {"exposure": Decimal("50000.00000001")}) == {"exposure": "failed"}
    assert of(**fine | {"largest": Decimal("20000.01")}) == {"position": "failed"}
    assert of(**fine | {"exposure": None, "largest": None}) == {
        "exposure": "errored",
        "position": "errored",
    }
    assert of(**fine, risks=(risk("T-1", "1000"), risk("T-2", "9999", Strategy.OTHER))) == {}
    assert of(**fine, risks=(risk("T-1", "1000.01"),)) == {"risk_trend": "failed"}
    reverting = risk("T-3", "750.01", Strategy.MEAN_REVERSION)
    assert of(**fine, risks=(risk("T-1", "750.01"), reverting)) == {"risk_mean_reversion": "failed"}
    assert of(**fine, without_stop=1) == {"no_stop": "failed"}
    many = replace(FLAT, positions=6, **fine)  # type: ignore[arg-type]
    assert broken(many, settings=settings) == {"positions_open": "failed"}
    assert broken(replace(many, positions=5), settings=settings) == {}


def test_equity_that_is_not_known_keeps_no_limit(settings: Settings) -> None:
    held = replace(
        FLAT,
        positions=1,
        exposure=Decimal(1),
        largest=Decimal(1),
        risks=(risk("T-1", "0"),),
    )
    unknown = dict.fromkeys(
        ("drawdown_critical", "drawdown_warning", "exposure", "position", "risk_trend"), "errored"
    ) | {"equity_unknown": "failed"}
    assert judged(judge_limits([], [held], {"live": 3}, settings)) == unknown
    assert judged(judge_limits([], [held], {}, settings)) == unknown
    assert broken(held, account("NaN"), settings=settings) == unknown
    gone = account("0", peak=Decimal(0))
    assert broken(held, gone, settings=settings) == {"exposure": "failed", "position": "failed"}
    # A basis that is known and has lost too much is said, whatever the other one is.
    low = account("80000", basis=Basis.MARKED)
    assert broken(FLAT, low, settings=settings, unusable=1) == {
        "drawdown_critical": "failed",
        "drawdown_warning": "failed",
        "equity_unknown": "failed",
    }
    assert broken(FLAT, account("NaN"), settings=settings) == {
        "drawdown_critical": "errored",
        "drawdown_warning": "errored",
        "equity_unknown": "failed",
    }
    unusable = judge_limits([], [], {"paper": 2, "live": 0}, settings)
    assert {one.object for one in unusable} == {"paper"}
    assert any("2 trades or values" in one.observed for one in unusable)


def test_holdings_are_held_against_what_they_are_worth_now() -> None:
    both = [account("90000", basis=Basis.MARKED), account("100000"), account("7", mode="paper")]
    assert equity_by_mode(both) == {"live": Decimal(90_000), "paper": Decimal(7)}
    assert equity_by_mode([account("NaN", basis=Basis.MARKED), account()]) == {"live": EQUITY}


def test_the_samples_are_the_settings_and_what_could_be_told(settings: Settings) -> None:
    results = judge_limits([account("80000")], [], {"paper": 1}, settings)
    samples = limit_samples(results, settings)
    found = {(one.name.removeprefix("trading_"), *one.labels): one.value for one in samples}
    assert len(found) == len(samples)
    families = {family.name: set(family.labels) for family in LIMITS}
    assert all(families[one.name] == set(dict(one.labels)) for one in samples)
    ratios = {key[1][1]: value for key, value in found.items() if key[0] == "limit_ratio"}
    assert ratios == {
        "risk_trend": 0.01,
        "risk_mean_reversion": 0.0075,
        "position": 0.2,
        "exposure": 0.5,
        "correlation": 0.7,
        "drawdown_warning": 0.15,
        "drawdown_critical": 0.2,
    }
    assert found["positions_open_limit",] == 5
    breached = {key[1:]: value for key, value in found.items() if key[0] == "limit_breached"}
    told = {(mode[1], limit[1]): value for (mode, limit), value in breached.items()}
    assert told == {
        ("live", "drawdown_critical"): 1,
        ("live", "drawdown_warning"): 1,
        ("live", "equity_unknown"): 0,
        ("paper", "equity_unknown"): 1,
    }


def keep(
    data: Path, results: list[Result], night: int, waivers: tuple[Waiver, ...] = ()
) -> list[Finding]:
    at = NOW + night * STEP
    return keep_findings(data, new_run_id(at), at, results, waivers)


def test_findings_are_written_when_they_change(settings: Settings) -> None:
    data = settings.data_dir

    def held(**changes: object) -> list[Result]:
        filled = replace(FLAT, positions=2, exposure=Decimal(1), largest=Decimal(1))
        return judge_limits([account()], [replace(filled, **changes)], {}, settings)  # type: ignore[arg-type]

    def files() -> int:
        return len(finding_files(data, Area.LIMITS))

    assert new_breaches(keep(data, held(), 0)) == []
    assert files() == 1, "the first one says that the limits were looked at"
    keep(data, held(), 1)
    assert files() == 1
    (new,) = new_breaches(keep(data, held(without_stop=1), 2))
    last = finding_files(data, Area.LIMITS)[-1].stem
    again = keep_findings(data, last, NOW + 2 * STEP, held(without_stop=1), [])
    assert new_breaches(again) == [new], "a run that is tried again tells it again"
    assert (new.rule, new.object, new.first_seen) == ("limits.no-stop", "live", NOW + 2 * STEP)
    assert new_breaches(keep(data, held(without_stop=1), 3)) == []
    assert files() == 2
    (grown,) = new_breaches(keep(data, held(without_stop=2), 4))
    assert (grown.count, grown.first_seen) == (2, NOW + 2 * STEP)
    mended = keep(data, held(), 5)
    assert [one.rule for one in mended if one.state is State.RESOLVED] == ["limits.no-stop"]
    assert files() == 4
    assert all(not one.state.is_open for one in keep(data, held(), 6))
    # What cannot be told any more stays open.
    keep(data, held(exposure=Decimal(60_000)), 7)
    untold = keep(data, held(exposure=None), 8)
    (still,) = [one for one in untold if one.state.is_open and one.rule == "limits.exposure"]
    assert (still.outcome, still.state) == ("errored", State.KNOWN)
    waiver = Waiver(rule="limits.no-stop", reason="hedged", since=NOW, until=NOW + 99 * STEP)
    keep(data, held(without_stop=1), 9, (waiver,))
    assert new_breaches(latest_findings(data, NOW + 9 * STEP, Area.LIMITS)) == []


def test_a_mode_of_which_nothing_is_left_has_not_recovered(settings: Settings) -> None:
    data = settings.data_dir
    live, paper = account("70000"), account("100000", mode="paper")
    held = [replace(FLAT, positions=1, without_stop=1)]
    keep(data, judge_limits([live, paper], held, {}, settings), 0)
    drawdown = {"limits.drawdown-critical", "limits.drawdown-warning"}
    for night in (1, 2):
        found = keep(data, judge_limits([paper], [], {}, settings), night)
        still = [one for one in found if one.state.is_open and one.rule in drawdown]
        assert {(one.rule, one.object) for one in still} == {(rule, "live") for rule in drawdown}
        assert {(one.outcome, one.state) for one in still} == {("errored", State.KNOWN)}
        assert "neither trades nor values" in still[0].observed
    later = NOW + 9 * STEP
    removed = [
        Waiver(rule=rule, key="live", reason="moved", since=NOW, until=later) for rule in drawdown
    ]
    found = keep(data, judge_limits([paper], [], {}, settings), 3, tuple(removed))
    assert not [one for one in found if one.state.is_open and one.rule in drawdown]


def test_a_storage_check_and_the_limits_have_lives_of_their_own(settings: Settings) -> None:
    data = settings.data_dir
    keep(data, judge_limits([account("70000")], [], {}, settings), 0)
    rule = Rule("trades.pnl", Severity.ERROR, "says", "means", "remedy")
    stored = Finding(
        rule.name, rule.severity, "trades (hot)", passed(rule, "x").outcome, State.KNOWN
    )
    assert latest_findings(data, NOW) == []
    write_findings(data, new_run_id(NOW), NOW, [stored], deep=False)
    assert latest_findings(data, NOW) == [stored]
    workspace = Workspace.of(settings)
    counted = (
        "SELECT area, rule, count(*) FROM findings WHERE state <> 'sound' GROUP BY ALL ORDER BY ALL"
    )
    with open_view(workspace, ["findings"]) as view:
        assert view.execute(counted).fetchall() == [
            ("limits", "limits.drawdown-critical", 1),
            ("limits", "limits.drawdown-warning", 1),
            ("storage", "trades.pnl", 1),
        ]


def test_without_findings_the_view_is_empty_and_has_its_columns(settings: Settings) -> None:
    with open_view(Workspace.of(settings), ["findings"]) as view:
        names = [row[0] for row in view.execute("DESCRIBE findings").fetchall()]
        assert names[-1] == "area"
        assert view.execute("FROM findings").fetchall() == []


@pytest.mark.parametrize("rule", LIMIT_RULES, ids=lambda rule: rule.name)
def test_every_rule_says_what_to_do(rule: Rule) -> None:
    assert rule.name.startswith("limits.")
    for text in (rule.says, rule.means, rule.remedy):
        assert text.endswith("."), text


def test_a_limit_that_is_broken_on_purpose_is_waived_like_any_other_finding(run: Run) -> None:
    settings = Settings()
    held = [replace(FLAT, positions=1, exposure=Decimal(1), largest=Decimal(1), without_stop=1)]
    results = judge_limits([account()], held, {}, settings)
    now = datetime.now(UTC)
    keep_findings(settings.data_dir, new_run_id(now), now, results, [])
    added = run("waiver", "add", "--rule", "limits.no-stop", "--key", "live", "--reason", "hedged")
    assert (added.status, "did not find" in added.out) == (0, False)
    unknown = run("waiver", "add", "--rule", "limits.no-stop", "--key", "demo", "--reason", "x")
    assert "did not find demo" in unknown.out
    waivers = read_waivers(waivers_file(settings.data_dir))
    later = datetime.now(UTC)
    found = keep_findings(settings.data_dir, new_run_id(later), later, results, waivers)
    (waived,) = [one for one in found if one.state.is_open]
    assert (waived.rule, waived.state) == ("limits.no-stop", State.WAIVED)
