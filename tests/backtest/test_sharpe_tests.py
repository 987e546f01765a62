"""Tests of Sharpe ratios give the numbers that the papers print, and those of ffn."""

import math

import ffn  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]

from fluxhero.backtest.sharpe_tests import (
    a_days,
    a_years,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    standard_error,
)
from fluxhero.errors import BadInputError


@pytest.mark.parametrize(
    ("sharpe", "observations", "printed"),
    [(0.50, 12, 0.306), (3.00, 12, 0.677), (1.00, 60, 0.158), (3.00, 500, 0.105)],
)
def test_standard_errors_of_lo_2002(sharpe: float, observations: int, printed: float) -> None:
    """Table 1. Lo divides by T where Bailey and López de Prado divide by T - 1."""
    error = standard_error(sharpe, observations + 1, 0, 3)
    assert error == pytest.approx(printed, abs=0.0005)


def test_the_hedge_fund_of_the_efficient_frontier_2012() -> None:
    """Two years by month, Sharpe ratio 0.458: 0.982 as if normal, 0.913 with skew and kurtosis as they are."""
    assert probabilistic_sharpe(0.458, 0, 24, 0, 3) == pytest.approx(0.982, abs=0.0005)
    assert probabilistic_sharpe(0.458, 0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=0.0005)


@pytest.mark.parametrize(
    ("a_year", "skew", "kurtosis", "years"),
    [(250, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_track_records_of_the_efficient_frontier_2012(
    a_year: int, skew: float, kurtosis: float, years: float
) -> None:
    """How long it takes to be 95 % sure that a yearly Sharpe ratio of 2 is above 1."""
    root = math.sqrt(a_year)
    needed = minimum_track_record(2 / root, 1 / root, skew, kurtosis)
    assert needed is not None
    assert needed / a_year == pytest.approx(years, abs=0.005)
    # By then, and not before, the probabilistic Sharpe ratio says so.
    for observations, sure in ((math.ceil(needed), True), (math.floor(needed), False)):
        found = probabilistic_sharpe(2 / root, 1 / root, observations, skew, kurtosis)
        assert (found >= 0.95) is sure


def test_the_example_of_the_deflated_sharpe_ratio_2014() -> None:
    """Yearly 2.5 in 1,250 days of 250 a year, variance of the trials 1/2 a year."""
    sharpe, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=0.00005)
    assert deflated_sharpe(sharpe, 100, variance, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(sharpe, 46, variance, 1250, -3, 10) == pytest.approx(0.9505, abs=5e-5)
    assert deflated_sharpe(sharpe, 88, variance, 1250, 0, 3) == pytest.approx(0.9505, abs=5e-5)


def test_as_ffn_deflates() -> None:
    rng = np.random.default_rng(5)
    returns = pd.Series(rng.standard_t(5, 500) * 0.01 + 0.0008)
    trials = rng.normal(0.02, 0.03, 40)
    ours = deflated_sharpe(
        float(returns.mean() / returns.std()),
        len(trials),
        float(trials.var(ddof=1)),
        len(returns),
        float(stats.skew(returns, bias=False)),  # as ffn's are
        float(stats.kurtosis(returns, bias=False)) + 3,
    )
    theirs = ffn.core.calc_deflated_sharpe_ratio(
        returns, trials, nperiods=252, annualized_trials=False
    )
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert expected_maximum_sharpe(40, 0.09) == pytest.approx(
        ffn.core.calc_expected_max_sharpe(40, 0.3)
    )


def test_the_best_of_many_without_skill_is_as_good_as_expected() -> None:
    best = np.random.default_rng(1).normal(0, 0.5, (4_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 0.25) == pytest.approx(best, rel=0.02)


def test_one_trial_is_not_deflated_and_nothing_is_made_up() -> None:
    assert expected_maximum_sharpe(1, 0.5) == 0
    assert expected_maximum_sharpe(10, 0) == 0
    assert deflated_sharpe(0.1, 1, 0.5, 100, 0, 3) == probabilistic_sharpe(0.1, 0, 100, 0, 3)
    assert minimum_track_record(0.1, 0.1, 0, 3) is None
    with pytest.raises(BadInputError, match="1 return cannot tell"):
        standard_error(0.1, 1, 0, 3)
    with pytest.raises(BadInputError, match="no returns have a Sharpe ratio of 2"):
        probabilistic_sharpe(2.0, 0, 100, 3, 3)
    with pytest.raises(BadInputError, match="no returns have"):
        minimum_track_record(2.0, 0, 3, 3)
    assert a_years(a_days(1.7)) == pytest.approx(1.7)
