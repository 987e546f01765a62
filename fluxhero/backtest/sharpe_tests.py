"""What a Sharpe ratio is worth, given how long it was measured and how many were tried.

Lo, "The Statistics of Sharpe Ratios" (2002); Bailey and López de Prado, "The Sharpe Ratio Efficient
Frontier" (2012) and "The Deflated Sharpe Ratio" (2014). Every Sharpe ratio here is that of one observation
(a day's: the yearly one by the square root of 252), and kurtosis is 3 for the normal distribution.
"""

import math
from statistics import NormalDist
from typing import Final

from fluxhero.backtest.performance import DAYS_A_YEAR

CONFIDENCE: Final = 0.95
_EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()
_FEWEST: Final = 2  # observations that have a standard error


def a_days(yearly: float) -> float:
    """A day's Sharpe ratio of a yearly one."""
    return yearly / math.sqrt(DAYS_A_YEAR)


def a_years(daily: float) -> float:
    """A year's Sharpe ratio of a daily one."""
    return daily * math.sqrt(DAYS_A_YEAR)


def standard_error(sharpe: float, observations: int, skew: float, kurtosis: float) -> float | None:
    """Of an estimated Sharpe ratio; None where the moments are those of no distribution, or too few observations."""
    spread = _spread(sharpe, skew, kurtosis)
    if spread is None or observations < _FEWEST:
        return None
    return math.sqrt(spread / (observations - 1))


def probabilistic_sharpe(
    sharpe: float, benchmark: float, observations: int, skew: float, kurtosis: float
) -> float | None:
    """The probability that the true Sharpe ratio is above `benchmark`.

    Args:
        sharpe: as estimated.
        benchmark: what it must exceed; 0 asks for any skill.
        observations: it was estimated from.
        skew: of the returns.
        kurtosis: of the returns.

    Returns:
        None where there is no standard error.
    """
    error = standard_error(sharpe, observations, skew, kurtosis)
    return None if error is None else _NORMAL.cdf((sharpe - benchmark) / error)


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """The best Sharpe ratio to be expected of so many trials without any skill.

    Args:
        trials: how many were tried, independent of each other; correlated ones make the bar too high.
        variance: of their Sharpe ratios.
    """
    if trials <= 1 or variance <= 0:
        return 0.0
    first = _NORMAL.inv_cdf(1 - 1 / trials)
    second = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - _EULER) * first + _EULER * second)


def deflated_sharpe(
    sharpe: float, trials: int, variance: float, observations: int, skew: float, kurtosis: float
) -> float | None:
    """The probability that the true Sharpe ratio of the best of several trials is above zero.

    It is the probabilistic Sharpe ratio against what luck alone lets one expect of the best of them.

    Args:
        sharpe: of the best.
        trials: how many there were, all of them.
        variance: of their Sharpe ratios.
        observations: of the best.
        skew: of its returns.
        kurtosis: of its returns.

    Returns:
        None where there is no standard error.
    """
    bar = expected_maximum_sharpe(trials, variance)
    return probabilistic_sharpe(sharpe, bar, observations, skew, kurtosis)


def minimum_track_record(
    sharpe: float, benchmark: float, skew: float, kurtosis: float, confidence: float = CONFIDENCE
) -> float | None:
    """How many observations it takes to trust that the true Sharpe ratio is above `benchmark`.

    Returns:
        None where no number is enough, as the estimate itself is not above it.
    """
    spread = _spread(sharpe, skew, kurtosis)
    if spread is None or sharpe <= benchmark:
        return None
    return 1 + spread * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def _spread(sharpe: float, skew: float, kurtosis: float) -> float | None:
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return spread if spread > 0 else None
