"""The criteria of the engines' comparison: how each is measured, and by which rule it is scored.

Each gives a value and a score from 0 to 10. What was not measured has neither and says why. The rules in
`CRITERIA` are what the evaluation document prints.
"""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import EngineUsed, Measure, Row, Validation
from fluxhero.errors import ConfigurationError
from fluxhero.wording import counted

MOST_SECONDS: Final = 10.0  # the audit's limit for a year of minute bars
FEWEST_SPEED_BARS: Final = 90_000  # that count as such a year
PYTHONS: Final = ("3.11", "3.12", "3.13")  # what this product runs on
SOURCES: Final = ("parquet", "duckdb")
_OWN_TOLERANCE = 0.001
_NATIVE_STEPS = ((0.001, 8.0), (0.01, 6.0), (0.05, 4.0), (0.20, 2.0))
_RELEASE_STEPS = ((90, 10.0), (180, 8.0), (365, 6.0), (730, 3.0))
# What a licence is like, the most restrictive first, and whether an engine may be part of what others get from us.
_LICENCES = (
    (r"commons clause", 3.0, False),
    (r"agpl|affero", 0.0, False),
    (r"lgpl|lesser general public", 7.0, True),
    (r"gpl|general public", 2.0, False),
    (r"mozilla|mpl", 8.0, True),
    (r"mit|bsd|apache|isc|python software", 10.0, True),
)


class NotMeasuredError(Exception):
    """A criterion has no value; the message says why."""


@dataclass(frozen=True)
class Found:
    """A value with its score."""

    value: float | None
    text: str
    score: float


@dataclass(frozen=True)
class Case:
    """What is known of one engine."""

    engine: EngineUsed
    rows: Sequence[Row]
    validations: Sequence[Validation]
    contract: Contract

    def of_mode(self, mode: str) -> list[Row]:
        """Its rows of one mode that could be run at all.

        Raises:
            NotMeasuredError: there is none.
        """
        self.has_run()
        found = [row for row in self.rows if row.mode == mode and row.ending != "not-native"]
        if not found:
            raise NotMeasuredError(f"nothing was run with {_MODES[mode]}")
        return found

    def has_run(self) -> None:
        """Make sure that it ran.

        Raises:
            NotMeasuredError: it did not.
        """
        if self.engine.status == "unavailable":
            raise NotMeasuredError(f"unavailable: {self.engine.reason}")


_MODES = {"given": "given signals", "native": "its own idiom"}


def _agreement(case: Case) -> Found:
    rows = case.of_mode("given")
    exact = sum(row.agreement is not None and row.agreement.to_the_cent for row in rows)
    return Found(
        exact / len(rows), f"{exact} of {counted(len(rows), 'run')}", 10 * exact / len(rows)
    )


def _native_agreement(case: Case) -> Found:
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
        else _stepped(difference, _NATIVE_STEPS)
        for row, difference in zip(rows, apart, strict=True)
    )
    shown = (
        "most runs failed" if math.isinf(middle) else f"{middle:.2%} of the cash in the middle run"
    )
    text = f"{shown}, {exact} of {counted(len(rows), 'run')} to the cent"
    return Found(None if math.isinf(middle) else middle, text, score)


def _apart(difference: Decimal, case: Case) -> float:
    return float(difference / case.contract.cash)


def _speed(case: Case) -> Found:
    case.has_run()
    engine = case.engine
    if engine.speed_failure:
        return Found(None, engine.speed_failure, 0.0)
    if engine.speed_seconds is None or engine.speed_bars is None:
        raise NotMeasuredError("no run for speed was made")
    if engine.speed_bars < FEWEST_SPEED_BARS:
        raise NotMeasuredError(
            f"the run for speed had {counted(engine.speed_bars, 'bar')}, a year of minutes has about 100,000"
        )
    seconds = engine.speed_seconds
    text = f"{seconds:.2f} s for {counted(engine.speed_bars, 'bar')}"
    if engine.speed_run_seconds is not None:
        text += f", {engine.speed_run_seconds:.2f} s of it the run"
    return Found(seconds, text, _falling(seconds, best=1, a_point=10 ** (1 / 5)))


def _costs(case: Case) -> Found:
    fills, commission, slippage = _conducted(case, "commission", "slippage")
    text = (
        f"commission right in {commission} and slippage in {slippage} of {counted(fills, 'fill')}"
    )
    share = (commission + slippage) / (2 * fills)
    return Found(share, text, 10 * share)


def _next_bar(case: Case) -> Found:
    fills, right = _conducted(case, "next_bar")
    return Found(right / fills, f"{right} of {counted(fills, 'fill')}", 10 * right / fills)


def _conducted(case: Case, *names: str) -> tuple[int, ...]:
    conducts = [row.conduct for row in case.of_mode("native") if row.conduct is not None]
    fills = sum(one.fills for one in conducts)
    if not fills:
        raise NotMeasuredError("no run in its own idiom gave a fill")
    return fills, *(sum(getattr(one, name) for one in conducts) for name in names)


def _walk_forward(case: Case) -> Found:
    case.has_run()
    tests = [one for one in case.validations if one.test == "walk-forward"]
    known = [one for one in tests if one.as_reference is not None]
    if not known:
        raise NotMeasuredError(tests[0].text if tests else "no walk-forward test was run")
    same = sum(one.as_reference is True for one in known)
    text = f"{same} of {counted(len(known), 'walk')} as the reference's: {known[0].value}"
    return Found(same / len(known), text, 10 * same / len(known))


def _data(case: Case) -> Found:
    case.has_run()
    works, fails = case.engine.sources, case.engine.sources_failed
    if not works and not fails:
        raise NotMeasuredError("no source was tried")
    text = f"the same result from {' and '.join(works)}" if works else "from no source"
    text += f"; failed: {'; '.join(fails)}" if fails else ""
    good = sum(one in works for one in SOURCES)
    return Found(good, text, 10 * good / len(SOURCES))


def _metrics(case: Case) -> Found:
    case.has_run()
    right, due = 0, 0
    for row in case.rows:
        if row.performance is not None:
            shared = row.performance
            for name in ("sharpe", "total_return", "max_drawdown", "trades"):
                value = getattr(shared, name)
                if value is not None:
                    due += 1
                    right += name in row.own and _close(abs(row.own[name]), abs(float(value)))
    if not due:
        raise NotMeasuredError("no run gave figures to compare")
    return Found(right / due, f"{right} of {due} own figures right to 0.1 %", 10 * right / due)


def _close(own: float, shared: float) -> bool:
    return math.isclose(own, shared, rel_tol=_OWN_TOLERANCE, abs_tol=1e-9)


def _memory(case: Case) -> Found:
    case.has_run()
    peak = case.engine.speed_peak_mb
    if peak is None:
        raise NotMeasuredError("no run for speed gave a figure")
    return Found(peak, f"{peak:,.0f} MiB at most in the run for speed", _falling(peak, 256, 2**0.4))


def _import(case: Case) -> Found:
    case.has_run()
    seconds = case.engine.import_seconds
    if seconds is None:
        raise NotMeasuredError("it was not imported")
    return Found(seconds, f"{seconds:.2f} s", _falling(seconds, 0.5, 10 ** (1 / 5)))


def _dependencies(case: Case) -> Found:
    facts = _facts(case)
    text = f"{counted(facts.packages, 'package')}, {facts.megabytes:,.0f} MB"
    return Found(facts.megabytes, text, _falling(facts.megabytes, 250, 2**0.3))


def _python(case: Case) -> Found:
    facts = _facts(case)
    if not facts.requires_python:
        raise NotMeasuredError("its metadata does not say")
    fits = [version for version in PYTHONS if _admits(facts.requires_python, version)]
    text = f"{', '.join(fits) or 'none'} by Requires-Python {facts.requires_python}; ran on {facts.python}"
    return Found(len(fits), text, 10 * len(fits) / len(PYTHONS))


def _admits(requirement: str, version: str) -> bool:
    """Whether a Requires-Python admits a minor version's releases, told from its bounds."""
    minor = tuple(int(part) for part in version.split("."))
    for clause in re.split(r"\s*,\s*", requirement.strip()):
        sign, given = re.fullmatch(r"([<>=!~]=?|==)\s*([\d.]+?)(?:\.\*)?", clause).groups()  # type: ignore[union-attr]
        bound = tuple(int(part) for part in given.split(".")[:2])
        bound = (*bound, 0)[:2]
        fine = {
            ">=": minor >= bound,
            ">": minor >= bound,
            "<": minor < bound,
            "<=": minor <= bound,
            "==": minor == bound,
            "!=": minor != bound or given.count(".") > 1,
            "~=": minor >= bound and minor[0] == bound[0],
        }
        if not fine[sign]:
            return False
    return True


def _licence(case: Case) -> Found:
    facts = _facts(case)
    for pattern, score, embeddable in _LICENCES:
        if re.search(rf"\b(?:{pattern})", facts.licence, re.IGNORECASE):
            text = f"{facts.licence}: {facts.forbids or 'forbids nothing that matters here'}"
            return Found(float(embeddable), text, score)
    raise NotMeasuredError(f"its licence is not one known here: {facts.licence or 'none stated'}")


def _activity(case: Case) -> Found:
    facts = _facts(case)
    if facts.last_release is None or facts.looked_up is None:
        raise NotMeasuredError("its releases have not been looked up")
    days = (facts.looked_up - facts.last_release).days
    text = f"last release {facts.last_release}, {counted(days, 'day')} before {facts.looked_up}"
    if facts.releases_in_year is not None:
        text += f"; {counted(facts.releases_in_year, 'release')} in the year before"
    return Found(days, text, _stepped(days, _RELEASE_STEPS))


def _facts(case: Case) -> "EngineFacts":
    if case.engine.facts is None:
        raise NotMeasuredError(case.engine.reason or "nothing was read from its environment")
    return case.engine.facts


def _falling(value: float, best: float, a_point: float) -> float:
    """10 up to the best value, and a point less each time it grows by a factor; 0 at the least."""
    if value <= best:
        return 10.0
    return max(0.0, 10 - math.log(value / best) / math.log(a_point))


def _stepped(value: float, steps: Iterable[tuple[float, float]]) -> float:
    return next((score for most, score in steps if value <= most), 0.0)


@dataclass(frozen=True)
class Criterion:
    """How something is measured and scored, in words and as a function."""

    unit: str
    measured: str
    rule: str
    find: Callable[[Case], Found]
