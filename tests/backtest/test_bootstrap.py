"""Bootstrap intervals: repeatable, as wide as theory says, and wider where days hang together."""

import math

import numpy as np
import pytest

from fluxhero.backtest.bootstrap import Bootstrap, bootstrap
from fluxhero.backtest.performance import DAYS_A_YEAR, sharpe_of
from fluxhero.backtest.sharpe_tests import a_days, a_years, standard_error
from fluxhero.errors import BadInputError

RETURNS = np.random.default_rng(4).normal(0.0006, 0.01, 1_000)


def test_the_same_seed_gives_the_same() -> None:
    first = bootstrap(RETURNS, 0.04, samples=50)
    assert first == bootstrap(RETURNS, 0.04, samples=50)
    assert first != bootstrap(RETURNS, 0.04, samples=50, seed=2)
    assert Bootstrap.model_validate_json(first.model_dump_json()) == first


def test_the_interval_is_as_wide_as_the_standard_error_says() -> None:
    found = bootstrap(RETURNS, 0.0, samples=800)
    sharpe = float(sharpe_of(RETURNS, 0.0))
    error = standard_error(a_days(sharpe), len(RETURNS), 0, 3)
    width = 2 * 1.645 * a_years(error)
    assert found.sharpe.high - found.sharpe.low == pytest.approx(width, rel=0.1)
    assert found.sharpe.low < sharpe < found.sharpe.high
    growth = float(np.prod(1 + RETURNS)) ** (DAYS_A_YEAR / len(RETURNS)) - 1
    assert found.annual_return.low < growth < found.annual_return.high
    assert 0 < found.max_drawdown.low < found.max_drawdown.high < 1
    # Returns of a geometric mean above zero lose in as many samples as a normal distribution says.
    log = np.log1p(RETURNS)
    z = log.mean() / log.std() * math.sqrt(len(log))
    assert found.loss_probability == pytest.approx(0.5 * math.erfc(z / math.sqrt(2)), abs=0.04)


def test_days_that_hang_together_are_drawn_together() -> None:
    shocks = np.random.default_rng(5).normal(0, 0.01, 1_000)
    trending = np.convolve(shocks, np.ones(10) / 10, "valid")
    found = bootstrap(trending, 0.0, samples=200)
    assert found.block_days > 10
    apart = bootstrap(np.random.default_rng(1).permutation(trending), 0.0, samples=200)
    assert apart.block_days < 10
    width = found.sharpe.high - found.sharpe.low
    assert width > 2 * (apart.sharpe.high - apart.sharpe.low)


def test_one_day_that_matters_among_many_that_do_not() -> None:
    """Samples without it have no Sharpe ratio, and are left out of the interval."""
    returns = np.zeros(40)
    returns[7] = 0.05
    found = bootstrap(returns, 0.0, samples=100)
    assert math.isfinite(found.sharpe.low)
    assert found.loss_probability == 0


def test_a_day_that_loses_more_than_everything() -> None:
    returns = np.append(RETURNS[:30], -1.5)
    assert bootstrap(returns, 0.0, samples=50).annual_return.low == -1


@pytest.mark.parametrize("returns", [RETURNS[:19], np.zeros(100), np.append(RETURNS, np.nan)])
def test_what_cannot_be_drawn_anew_is_refused(returns: np.ndarray) -> None:
    with pytest.raises(BadInputError, match="cannot be drawn anew"):
        bootstrap(returns, 0.04)
