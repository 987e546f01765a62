"""Criteria that are measured on what an engine's runs gave: agreement, conduct, its own figures."""

import math
import statistics
from decimal import Decimal

from fluxhero.backtest.case import Case, Found, NotMeasuredError, stepped
from fluxhero.wording import counted

_OWN_TOLERANCE = 0.001
_NATIVE_STEPS = ((0.001, 8.0), (0.01, 6.0), (0.05, 4.0), (0.20, 2.0))


def agreement(case: Case) -> Found:
    """How many runs with given signals agree to the cent."""
    rows = case.of_mode("given")
    exact = sum(row.agreement is not None and row.agreement.to_the_cent for row in rows)
    return Found(
        exact / len(rows), f"{exact} of {counted(len(rows), 'run')}", 10 * exact / len(rows)
    )


def native_agreement(case: Case) -> Found:
    """How far runs in the engine's own idiom end up from the reference."""
    rows = case.of_mode("native")
    apart = [
        math.inf if row.agreement is None else _apart(row.agreement.largest_difference, case)
        for row in rows
    ]
    middle = statistics.median_high(apart)
    exact = sum(row.agreement is not None and row.agreement.to_the_cent for row in rows)
    score = statistics.fmean(
        10.0
        if row.agreement is not None and row.agreement.to_the_cent
        else stepped(difference, _NATIVE_STEPS)
        for row, difference in zip(rows, apart, strict=True)
    )
    shown = (
        "most runs failed"
        if math.isinf(middle)
        else f"{100 * middle:,.2f} % of the cash in the middle run"
    )
    text = f"{shown}, {exact} of {counted(len(rows), 'run')} to the cent"
    return Found(None if math.isinf(middle) else middle, text, score)


def _apart(difference: Decimal, case: Case) -> float:
    return float(difference / case.contract.cash)


def costs(case: Case) -> Found:
    """How many native fills pay what they should."""
    fills, commission, slippage = _conducted(case, "commission", "slippage")
    text = (
        f"commission right in {commission} and slippage in {slippage} of {counted(fills, 'fill')}"
    )
    share = (commission + slippage) / (2 * fills)
    return Found(share, text, 10 * share)


def next_bar_fill(case: Case) -> Found:
    """How many native fills are at the open after the signal."""
    fills, right = _conducted(case, "next_bar")
    return Found(right / fills, f"{right} of {counted(fills, 'fill')}", 10 * right / fills)


def _conducted(case: Case, *names: str) -> tuple[int, ...]:
    conducts = [row.conduct for row in case.of_mode("native") if row.conduct is not None]
    fills = sum(one.fills for one in conducts)
    if not fills:
        raise NotMeasuredError("no run in its own idiom gave a fill")
    return fills, *(sum(getattr(one, name) for one in conducts) for name in names)


def walk_forward(case: Case) -> Found:
    """How many walk-forwards come out the same."""
    case.has_run()
    tests = [one for one in case.validations if one.test == "walk-forward"]
    known = [one for one in tests if one.as_reference is not None]
    if not known:
        raise NotMeasuredError(tests[0].text if tests else "no walk-forward test was run")
    same = sum(one.as_reference is True for one in known)
    text = f"{same} of {counted(len(known), 'walk')} as the reference's: {known[0].value}"
    return Found(same / len(known), text, 10 * same / len(known))


def metrics(case: Case) -> Found:
    """How many of the engine's own figures are right."""
    case.has_run()
    right, due = 0, 0
    for row in case.rows:
        if row.performance is not None:
            shared = row.performance
            for name in ("sharpe", "total_return", "max_drawdown", "trades"):
                value = getattr(shared, name)
                if value is not None:
                    due += 1
                    right += name in row.own and _close(name, row.own[name], float(value))
    if not due:
        raise NotMeasuredError("no run gave figures to compare")
    return Found(right / due, f"{right} of {due} own figures right to 0.1 %", 10 * right / due)


def _close(name: str, own: float, shared: float) -> bool:
    if name == "max_drawdown":  # some write it below zero
        own = abs(own)
    return math.isclose(own, shared, rel_tol=_OWN_TOLERANCE, abs_tol=1e-9)
