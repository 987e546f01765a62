"""What a Sharpe ratio is worth, given how long it was measured and how many were tried.

Lo, "The Statistics of Sharpe Ratios" (2002); Bailey and López de Prado, "The Sharpe Ratio Efficient
Frontier" (2012) and "The Deflated Sharpe Ratio" (2014). Every Sharpe ratio here is that of one observation
(a day's: the yearly one by the square root of 252), and kurtosis is 3 for the normal distribution.
"""

import math
from statistics import NormalDist
from typing import Final

from fluxhero.backtest.performance import DAYS_A_YEAR
from fluxhero.errors import BadInputError
from fluxhero.wording import counted

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


def standard_error(sharpe: float, observations: int, skew: float, kurtosis: float) -> float:
    """Of an estimated Sharpe ratio.

    Raises:
        BadInputError: there are too few observations, or no distribution has such moments.
    """
    if observations < _FEWEST:
        raise BadInputError(
            f"{counted(observations, 'return')} cannot tell how sure a Sharpe ratio is",
            next_step="give a longer time",
        )
    return math.sqrt(_spread(sharpe, skew, kurtosis) / (observations - 1))


def probabilistic_sharpe(
    sharpe: float, benchmark: float, observations: int, skew: float, kurtosis: float
) -> float:
    """The probability that the true Sharpe ratio is above `benchmark`.

    Args:
        sharpe: as estimated.
        benchmark: what it must exceed; 0 asks for any skill.
        observations: it was estimated from.
        skew: of the returns.
        kurtosis: of the returns.

    Raises:
        BadInputError: there is no standard error.
    """
    error = standard_error(sharpe, observations, skew, kurtosis)
    return _NORMAL.cdf((sharpe - benchmark) / error)


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
) -> float:
    """The probability that the best of several trials is better than luck.

    It is the probabilistic Sharpe ratio against what luck alone lets one expect of the best of so many.

    Args:
        sharpe: of the best.
        trials: how many there were, all of them.
        variance: of their Sharpe ratios.
        observations: of the best.
        skew: of its returns.
        kurtosis: of its returns.

    Raises:
        BadInputError: there is no standard error.
    """
    bar = expected_maximum_sharpe(trials, variance)
    return probabilistic_sharpe(sharpe, bar, observations, skew, kurtosis)


def minimum_track_record(
    sharpe: float, benchmark: float, skew: float, kurtosis: float, confidence: float = CONFIDENCE
) -> float | None:
    """How many observations it takes to trust that the true Sharpe ratio is above `benchmark`.

    Returns:
        None where no number is enough, as the estimate itself is not above it.

    Raises:
        BadInputError: no distribution has such moments.
    """
    spread = _spread(sharpe, skew, kurtosis)
    if sharpe <= benchmark:
        return None
    return 1 + spread * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def _spread(sharpe: float, skew: float, kurtosis: float) -> float:
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if spread <= 0:
        raise BadInputError(
            f"no returns have a Sharpe ratio of {sharpe:.2f}, a skew of {skew:.2f} and a kurtosis of {kurtosis:.2f}",
            next_step="give moments of the same returns",
        )
    return spread
