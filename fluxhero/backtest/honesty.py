"""The verdict on whether a strategy peeks, from what `fluxhero.backtest.look_ahead` compared."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.look_ahead import Difference
from fluxhero.errors import StrategyError
from fluxhero.wording import counted

_NANOSECONDS: Final = 1_000_000_000
_LEAST_SHARE: Final = 0.5  # of the truncations; on fewer, "no difference" says little


class Honesty(StrEnum):
    """What came of asking whether a strategy peeks."""

    HONEST = "honest"  # it says the same whatever comes after
    PEEKS = "peeks"
    UNREPEATABLE = (
        "unrepeatable"  # it says something else on the same bars, so that nobody can know
    )
    UNKNOWN = "unknown"  # not asked, or could not be found out; never to be taken for honest


@dataclass(frozen=True)
class Peek(Difference):
    """A difference found, with the time `at` which its bar is over."""

    at: datetime

    def __str__(self) -> str:
        only = "bar" if self.known == 1 else f"{self.known:,} bars"
        return (
            f"{self.full} for {self.at:%Y-%m-%d %H:%M} UTC when it knows all bars,"
            f" {self.truncated} when it knows only the first {only}"
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a strategy peeks.

    Attributes:
        honesty: the verdict.
        peeks: where it does, at most once a truncation.
        truncations: how often bars were left away to find out.
        reason: why it is not known to be honest, in words; empty where it is.
    """

    honesty: Honesty = Honesty.UNKNOWN
    peeks: tuple[Peek, ...] = ()
    truncations: int = 0
    reason: str = "nobody asked"


def verdict(comparison: dict[str, Any] | StrategyError, bars: Bars) -> Verdict:
    """Judge by a `Comparison` as a worker wrote it, or by what kept it from making one."""
    if isinstance(comparison, StrategyError):
        return Verdict(reason=f"it could not be found out: {comparison.what}")
    tried, raised = comparison["truncations"], comparison["raised"]
    times = counted(tried, "truncation")
    peeks: tuple[Peek, ...] = ()
    if not comparison["repeatable"]:
        honesty = Honesty.UNREPEATABLE
        reason = "on the same bars it gives other targets: it is random, or keeps something from call to call"
    elif comparison["differences"]:
        peeks = tuple(_peek(one, bars) for one in comparison["differences"])
        honesty = Honesty.PEEKS
        example = peeks[len(peeks) // 2]  # the shortest say little to the reader
        reason = f"it changes its mind in {len(peeks)} of {times}: it says {example}"
    elif tried - raised <= tried * _LEAST_SHARE:
        honesty = Honesty.UNKNOWN
        said = f": {comparison['said']}" if raised else ""
        reason = f"only {tried - raised} of {times} could be compared{said}"
    else:
        return Verdict(Honesty.HONEST, (), tried, "")
    return Verdict(honesty, peeks, tried, reason)


def _peek(difference: dict[str, int], bars: Bars) -> Peek:
    at = datetime.fromtimestamp(int(bars.ends[difference["bar"]]) / _NANOSECONDS, tz=UTC)
    return Peek(at=at, **difference)
