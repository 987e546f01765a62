"""Criteria that are measured on an engine as a package and a process: speed, size, licence, releases."""

import re
from typing import Final

from packaging.specifiers import SpecifierSet

from fluxhero.backtest.case import Case, Found, NotMeasuredError, falling, stepped
from fluxhero.backtest.facts import EngineFacts
from fluxhero.wording import counted

MOST_SECONDS: Final = 10.0  # the audit's limit for a year of minute bars
FEWEST_SPEED_BARS: Final = 90_000  # that count as such a year
PYTHONS: Final = ("3.11", "3.12", "3.13")  # what this product runs on
SOURCES: Final = ("parquet", "duckdb")
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


def speed(case: Case) -> Found:
    """Seconds of the run for speed."""
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
    if engine.speed_cpu_seconds is not None:
        text += f" ({engine.speed_cpu_seconds:.2f} s of CPU)"
    return Found(seconds, text, falling(seconds, best=1, a_point=10 ** (1 / 5)))


def data(case: Case) -> Found:
    """Sources that bars came from."""
    case.has_run()
    works, fails = case.engine.sources, case.engine.sources_failed
    if not works and not fails:
        raise NotMeasuredError("no source was tried")
    text = f"the same result from {' and '.join(works)}" if works else "from no source"
    text += f"; failed: {'; '.join(fails)}" if fails else ""
    good = sum(one in works for one in SOURCES)
    return Found(good, text, 10 * good / len(SOURCES))


def memory(case: Case) -> Found:
    """Memory of the run for speed."""
    case.has_run()
    peak = case.engine.speed_peak_mb
    if peak is None:
        raise NotMeasuredError("no run for speed gave a figure")
    return Found(peak, f"{peak:,.0f} MiB at most in the run for speed", falling(peak, 256, 2**0.4))


def importing(case: Case) -> Found:
    """Seconds of the import."""
    case.has_run()
    seconds = case.engine.import_seconds
    if seconds is None:
        raise NotMeasuredError("it was not imported")
    return Found(seconds, f"{seconds:.2f} s", falling(seconds, 0.5, 10 ** (1 / 5)))


def dependencies(case: Case) -> Found:
    """Size of the environment."""
    facts = _facts(case)
    text = f"{counted(facts.packages, 'package')}, {facts.megabytes:,.0f} MiB"
    return Found(facts.megabytes, text, falling(facts.megabytes, 250, 2**0.3))


def python_versions(case: Case) -> Found:
    """Versions of Python admitted."""
    facts = _facts(case)
    if not facts.requires_python:
        raise NotMeasuredError(f"its metadata does not say; ran on {facts.python}")
    admitted = SpecifierSet(facts.requires_python)
    # A late release of each, as bounds may be of a micro release.
    fits = [version for version in PYTHONS if f"{version}.99" in admitted]
    text = f"{', '.join(fits) or 'none'} by Requires-Python {facts.requires_python}; ran on {facts.python}"
    return Found(len(fits), text, 10 * len(fits) / len(PYTHONS))


def licence(case: Case) -> Found:
    """What kind of licence it is."""
    facts = _facts(case)
    for pattern, score, embeddable in _LICENCES:
        if re.search(rf"\b(?:{pattern})", facts.licence, re.IGNORECASE):
            text = f"{facts.licence}: {facts.forbids or 'forbids nothing that matters here'}"
            return Found(float(embeddable), text, score)
    raise NotMeasuredError(f"its licence is not one known here: {facts.licence or 'none stated'}")


def activity(case: Case) -> Found:
    """How long ago the last release was."""
    facts = _facts(case)
    if facts.last_release is None or facts.looked_up is None:
        raise NotMeasuredError("its releases have not been looked up")
    days = (facts.looked_up - facts.last_release).days
    text = f"last release {facts.last_release}, {counted(days, 'day')} before {facts.looked_up}"
    if facts.releases_in_year is not None:
        text += f"; {counted(facts.releases_in_year, 'release')} in the year before"
    return Found(days, text, stepped(days, _RELEASE_STEPS))


def _facts(case: Case) -> EngineFacts:
    if case.engine.facts is None:
        case.has_run()
        raise NotMeasuredError("nothing was read from its environment")
    return case.engine.facts
