"""Risk limits of the settings, held against the account and what it holds; what breaks one is a finding.

Each mode is judged by itself. Money is compared, never ratios: a loss breaks a limit that it reaches,
everything else one that it exceeds. Without equity nothing can be told, which is no pass.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from config.settings import Settings
from fluxhero.integrity.findings import (
    Area,
    Finding,
    State,
    finding_files,
    judge,
    latest_findings,
    write_findings,
)
from fluxhero.integrity.results import Outcome, Result, errored, failed, passed
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.waivers import Waiver, waived_count
from fluxhero.metrics.exact import above, loss_percent, lost, money, percent, ratio_percent
from fluxhero.metrics.facts import Account, Basis, Holdings, Strategy
from fluxhero.metrics.limit_rules import (
    DRAWDOWN_CRITICAL,
    DRAWDOWN_WARNING,
    EQUITY_UNKNOWN,
    EXPOSURE,
    NO_STOP,
    POSITION,
    POSITIONS_OPEN,
    RISK_MEAN_REVERSION,
    RISK_TREND,
)
from fluxhero.metrics.samples import Sample, sample
from fluxhero.wording import counted, printable

_NO_EQUITY = "the equity is not known"
_NO_PRICE = "a position has no price"


def equity_by_mode(accounts: Iterable[Account]) -> dict[str, Decimal]:
    """The equity that a mode's holdings are held against: the marked one where there is one."""
    known = [one for one in accounts if one.equity.is_finite()]
    closed_first = sorted(known, key=lambda one: one.basis is Basis.MARKED)
    return {one.mode: one.equity for one in closed_first}


def judge_limits(
    accounts: Sequence[Account],
    holdings: Sequence[Holdings],
    unusable_by_mode: Mapping[str, int],
    settings: Settings,
) -> list[Result]:
    """Hold every mode against every limit.

    Args:
        accounts: one a mode and basis.
        holdings: one a mode.
        unusable_by_mode: how many closed trades of a mode lack a result or a time, and how many recorded
            values of its account are no number.
        settings: the limits.

    Returns:
        One result a rule and mode; the object of each is the mode.
    """
    held = {one.mode: one for one in holdings}
    unusable = {mode: count for mode, count in unusable_by_mode.items() if count}
    equity = equity_by_mode(accounts)
    results = []
    for mode in sorted({*held, *unusable, *(one.mode for one in accounts)}):
        mine = [one for one in accounts if one.mode == mode]
        results += _judge_account(mode, mine, unusable.get(mode, 0), settings)
        if mode in held:
            results += _judge_holdings(held[mode], equity.get(mode), settings)
    return results


def _judge_account(
    mode: str, accounts: Sequence[Account], unusable: int, settings: Settings
) -> list[Result]:
    known = [one for one in accounts if one.equity.is_finite() and one.peak.is_finite()]
    whole = bool(known) and len(known) == len(accounts) and not unusable
    results = [
        _judge_drawdown(DRAWDOWN_CRITICAL, mode, known, whole, settings.drawdown_critical_pct),
        _judge_drawdown(DRAWDOWN_WARNING, mode, known, whole, settings.drawdown_warning_pct),
    ]
    if whole:
        return [*results, passed(EQUITY_UNKNOWN, mode)]
    why = "its value is not a number, or there is none"
    if unusable:
        why = f"{counted(unusable, 'trade or value', 'trades or values')} that cannot be reckoned with"
    return [*results, failed(EQUITY_UNKNOWN, mode, why, count=max(unusable, 1))]


def _judge_drawdown(
    rule: Rule, mode: str, accounts: Sequence[Account], whole: bool, limit: Decimal
) -> Result:
    broken = [one for one in accounts if lost(one.equity, one.peak, limit)]
    if broken:
        said = [
            f"{money(one.equity)} is {loss_percent(one.equity, one.peak)} below the peak of "
            f"{money(one.peak)} ({one.basis})"
            for one in broken
        ]
        what = f"{', '.join(said)}; the limit is {ratio_percent(limit)}"
        return failed(rule, mode, what, checked=len(accounts))
    return passed(rule, mode, len(accounts)) if whole else errored(rule, mode, _NO_EQUITY)


def _judge_holdings(held: Holdings, equity: Decimal | None, settings: Settings) -> list[Result]:
    most = settings.max_open_positions
    return [
        _judge_value(
            EXPOSURE, held, held.exposure, equity, settings.max_total_exposure_pct, "positions are"
        ),
        _judge_value(
            POSITION,
            held,
            held.largest,
            equity,
            settings.max_position_size_pct,
            f"{printable(held.largest_symbol or '')} is",
        ),
        failed(
            POSITIONS_OPEN,
            held.mode,
            f"{held.positions} open, the limit is {most}",
            count=held.positions - most,
            checked=held.positions,
        )
        if held.positions > most
        else passed(POSITIONS_OPEN, held.mode, held.positions),
        _judge_risks(RISK_TREND, Strategy.TREND, held, equity, settings.max_risk_pct_trend),
        _judge_risks(
            RISK_MEAN_REVERSION,
            Strategy.MEAN_REVERSION,
            held,
            equity,
            settings.max_risk_pct_mean_rev,
        ),
        failed(
            NO_STOP,
            held.mode,
            f"{counted(held.without_stop, 'open trade')} without a stop",
            count=held.without_stop,
        )
        if held.without_stop
        else passed(NO_STOP, held.mode, held.positions),
    ]


def _judge_value(
    rule: Rule,
    held: Holdings,
    value: Decimal | None,
    equity: Decimal | None,
    limit: Decimal,
    subject: str,
) -> Result:
    if not held.positions:
        return passed(rule, held.mode, 0)
    if value is None or equity is None:
        return errored(rule, held.mode, _NO_PRICE if value is None else _NO_EQUITY)
    if not above(value, limit, equity):
        return passed(rule, held.mode, held.positions)
    what = (
        f"{subject} worth {money(value)}, {percent(value, equity)} of the equity of "
        f"{money(equity)}; the limit is {ratio_percent(limit)}"
    )
    keys = (held.largest_symbol,) if rule is POSITION and held.largest_symbol else ()
    return failed(rule, held.mode, what, checked=held.positions, keys=keys)


def _judge_risks(
    rule: Rule, strategy: Strategy, held: Holdings, equity: Decimal | None, limit: Decimal
) -> Result:
    risks = [risk for risk in held.risks if risk.strategy is strategy]
    if not risks:
        return passed(rule, held.mode, 0)
    if equity is None:
        return errored(rule, held.mode, _NO_EQUITY)
    broken = [risk for risk in risks if above(risk.amount, limit, equity)]
    if not broken:
        return passed(rule, held.mode, len(risks))
    worst = max(broken, key=lambda risk: risk.amount)
    return failed(
        rule,
        held.mode,
        f"{counted(len(broken), 'trade')} above {ratio_percent(limit)} of the equity of "
        f"{money(equity)}; {printable(worst.trade)} risks {money(worst.amount)}, {percent(worst.amount, equity)}",
        count=len(broken),
        checked=len(risks),
        keys=tuple(risk.trade for risk in broken),
    )


def limit_samples(results: Iterable[Result], settings: Settings) -> list[Sample]:
    """The limits and whether each is kept; one that could not be told has no sample."""
    ratios = {
        "risk_trend": settings.max_risk_pct_trend,
        "risk_mean_reversion": settings.max_risk_pct_mean_rev,
        "position": settings.max_position_size_pct,
        "exposure": settings.max_total_exposure_pct,
        "correlation": settings.correlation_threshold,
        "drawdown_warning": settings.drawdown_warning_pct,
        "drawdown_critical": settings.drawdown_critical_pct,
    }
    samples = [sample("limit_ratio", float(ratio), limit=name) for name, ratio in ratios.items()]
    samples.append(sample("positions_open_limit", settings.max_open_positions))
    for result in results:
        if result.outcome is not Outcome.ERRORED:
            broken = float(result.outcome is Outcome.FAILED)
            name = label_of(result.rule.name)
            samples.append(sample("limit_breached", broken, mode=result.object, limit=name))
    return samples


def label_of(rule: str) -> str:
    """A rule's name as the value of the label `limit`."""
    return rule.partition(".")[2].replace("-", "_")


def keep_findings(
    data_dir: Path, run: str, at: datetime, results: Sequence[Result], waivers: Sequence[Waiver]
) -> list[Finding]:
    """Hold the results against what was open before, and write a file if that changed.

    Snapshots are frequent: one that finds what the one before found leaves no file. Trying again for a
    run that has its file tells again what is in it.

    Args:
        data_dir: the data folder.
        run: the snapshot's.
        at: now.
        results: one a rule and mode.
        waivers: all of them.

    Returns:
        What was found, as `judge` has it.

    Raises:
        StorageIOError: the file cannot be written.
    """
    before = latest_findings(data_dir, at, Area.LIMITS)
    files = finding_files(data_dir, Area.LIMITS)
    if files and files[-1].stem == run:
        return before
    findings = judge([*results, *_of_vanished(results, before, waivers, at)], before, waivers, at)
    if _open(findings) != _open(before) or not files:
        write_findings(data_dir, run, at, findings, deep=False, area=Area.LIMITS)
    return findings


def _of_vanished(
    results: Sequence[Result], before: Sequence[Finding], waivers: Sequence[Waiver], at: datetime
) -> list[Result]:
    """What was open about the account of a mode of which nothing is left: that is no recovery.

    A waiver ends it, for whoever removed the mode on purpose.
    """
    judged = {result.object for result in results}
    rules = {rule.name: rule for rule in (DRAWDOWN_CRITICAL, DRAWDOWN_WARNING, EQUITY_UNKNOWN)}
    untold = [
        errored(
            rules[one.rule], one.object, f"{one.object}: neither trades nor values are left of it"
        )
        for one in before
        if one.state.is_open and one.object not in judged and one.rule in rules
    ]
    return [one for one in untold if not waived_count(one, waivers, at)]


def _open(findings: Iterable[Finding]) -> set[tuple[object, ...]]:
    return {
        (one.rule, one.object, one.outcome, one.state is State.WAIVED, one.count, one.keys)
        for one in findings
        if one.state.is_open
    }


def new_breaches(findings: Iterable[Finding]) -> list[Finding]:
    """What somebody should be told of: broken since this run, or broken by more than before."""
    return [finding for finding in findings if finding.state is State.NEW]
