"""Performance: by hand, against empyrical, ffn and scipy, and where nothing is defined."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import empyrical  # type: ignore[import-untyped]
import ffn  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]

from fluxhero.backtest.bars import Floats
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.performance import (
    Curve,
    curve,
    daily_returns,
    day_ends,
    performance,
    sharpe_of,
    simple_returns,
)
from fluxhero.backtest.results import Result
from fluxhero.errors import BadInputError
from tests.backtest.session_bars import daily_bars, ends_of, new_york, sessions

NEW_YORK = ZoneInfo("America/New_York")
PLAIN = Contract(
    cash=Decimal(10_000),
    commission=Decimal("0.01"),
    slippage_bp=0,
    impact_bp=0,
    sizing=Sizing.FIXED,
    shares=10,
)


def curve_of(returns: Floats, risk_free: float = 0.04) -> Curve:
    marks: Floats = np.asarray(100_000 * np.cumprod(1 + returns), np.float64)
    ends = ends_of(sessions(len(returns)))
    return curve(marks, 100_000.0, ends, day_ends(ends, NEW_YORK), risk_free)


def test_by_hand() -> None:
    """Bought 10 at 100, sold at 110; bought at 120, sold at 90; bought at 90 and held."""
    bars = daily_bars([100, 100, 110, 120, 90, 90, 95])
    result = simulate(bars, [1, 0, 1, 0, 1, 1, 1], PLAIN)
    found = performance(result, bars, PLAIN, 0.04, NEW_YORK)
    # Cash after each bar: 10,000; -1,000.10; +1,099.90; -1,200.10; +899.90; -900.10; then +950 of shares.
    assert found.total_return == pytest.approx((9_849.50 - 10_000) / 10_000)
    assert (found.trades, found.win_rate, found.days) == (2, 0.5, 7)
    assert (found.average_win, found.average_loss) == (Decimal("99.80"), Decimal("-300.20"))
    assert found.profit_factor == pytest.approx(99.8 / 300.2)
    assert found.average_bars_held == 1
    assert found.exposure == 4 / 7
    assert (found.commission, found.slippage) == (Decimal("0.50"), Decimal(0))
    # Peak 10,099.80 after the third bar, 9,799.50 after the sixth.
    assert found.max_drawdown == pytest.approx((10_099.80 - 9_799.50) / 10_099.80)
    assert found.drawdown_days == 6  # 5 to 11 January, not at the peak again
    mean = (10_000 + 9_999.90 + 10_099.80 + 10_099.70 + 9_799.60 + 9_799.50 + 9_849.50) / 7
    assert found.turnover == pytest.approx(10 * (100 + 110 + 120 + 90 + 90) / mean * 252 / 7)


@pytest.mark.parametrize("seed", [1, 2])
def test_as_others_reckon_it(seed: int) -> None:
    returns = np.random.default_rng(seed).standard_t(4, 700) * 0.01
    found = curve_of(returns)
    series = pd.Series(returns)
    daily = 0.04 / 252
    expected = {
        "total_return": empyrical.cum_returns_final(series),
        "annual_return": empyrical.annual_return(series),
        "volatility": empyrical.annual_volatility(series),
        "sharpe": empyrical.sharpe_ratio(series, risk_free=daily),
        "sortino": empyrical.sortino_ratio(series, required_return=daily),
        "calmar": empyrical.calmar_ratio(series),
        "max_drawdown": -empyrical.max_drawdown(series),
        "skew": stats.skew(returns),
        "kurtosis": stats.kurtosis(returns, fisher=False),
    }
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-9)
    above = series - daily
    assert found.sharpe == pytest.approx(ffn.core.calc_sharpe(above, nperiods=252))
    assert found.sortino == pytest.approx(ffn.core.calc_sortino_ratio(above, nperiods=252))


def test_the_drawdown_begins_with_the_cash_and_ends_when_it_is_made_up() -> None:
    ends = ends_of(sessions(6))  # 3, 4, 5, 6, 9, 10 January
    last = day_ends(ends, NEW_YORK)

    def of(*marks: float) -> tuple[float, float]:
        found = curve(np.array(marks), 100.0, ends, last, 0.0)
        return found.max_drawdown, found.drawdown_days

    assert of(80, 90, 90, 90, 90, 90) == (0.2, 7)
    assert of(80, 90, 100, 100, 100, 100) == (0.2, 2)
    assert of(100, 110, 120, 60, 121, 122) == (0.5, 4)  # from Thursday, over the weekend, to Monday
    assert of(100, 101, 102, 103, 104, 105) == (0, 0)
    assert curve(np.array([120_000.0]), 150_000.0, ends[:1], last[:1], 0.0).max_drawdown == 0.2


def test_days_are_those_of_the_exchange() -> None:
    def ends(*texts: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in texts]
        return np.array([int(one.timestamp()) * 10**9 for one in moments])

    # Past midnight UTC it is the same day in New York, in winter and in summer.
    night = ends("2023-03-10 20:59", "2023-03-11 00:30", "2023-03-13 20:00", "2023-03-14 01:00")
    assert day_ends(night, NEW_YORK).tolist() == [1, 3]
    # What ends at midnight belongs to the day before.
    midnight = ends("2023-01-01 23:59", "2023-01-02 00:00", "2023-01-02 00:01")
    assert day_ends(midnight, ZoneInfo("UTC")).tolist() == [1, 2]


def test_a_days_return_is_that_of_its_last_mark() -> None:
    some = sessions(3)
    ends = np.sort(np.concatenate([ends_of(some) - 60 * 10**9, ends_of(some)]))
    prices = [100, 100, 150, 110, 90, 99]
    bars = daily_bars(prices, [*some, *some])
    object.__setattr__(bars, "ends", ends)
    result = simulate(bars, [1] * 6, PLAIN)
    returns = daily_returns(result.equity, PLAIN.cash, NEW_YORK)
    marks = [10_000 - 0.10, 10_100 - 0.10, 9_990 - 0.10]
    assert returns == pytest.approx(np.array(marks) / [10_000, *marks[:2]] - 1)
    found = performance(result, bars, PLAIN, 0.04, NEW_YORK)
    assert found.max_drawdown == pytest.approx((10_499.90 - 9_899.90) / 10_499.90)  # of every bar
    assert found.days == 3


def test_what_is_not_defined_is_none() -> None:
    bars = daily_bars([100, 100, 100])
    found = performance(simulate(bars, [0, 0, 0], PLAIN), bars, PLAIN, 0.04, NEW_YORK)
    undefined = {name for name, value in found.model_dump().items() if value is None}
    assert undefined == {
        *("sharpe", "sortino", "calmar", "skew", "kurtosis", "volatility"),
        *("win_rate", "average_win", "average_loss", "profit_factor", "average_bars_held"),
    }
    assert (found.total_return, found.annual_return, found.turnover) == (0, 0, 0)
    one = performance(simulate(bars.head(1), [1], PLAIN), bars.head(1), PLAIN, 0.04, NEW_YORK)
    assert (one.days, one.sharpe, one.volatility, one.skew) == (1, None, None, None)
    assert sharpe_of(np.full(50, 0.001), 0.0) != sharpe_of(np.full(50, 0.001), 0.0)  # NaN
    steady = curve_of(np.full(50, 0.001))
    assert steady.sharpe is None
    assert steady.calmar is None


def test_a_short_that_loses_everything_has_no_ratios() -> None:
    contract = PLAIN.model_copy(update={"allow_short": True, "shares": 50})
    bars = daily_bars([100, 100, 110, 400, 500, 390])
    found = performance(simulate(bars, [-1] * 6, contract), bars, contract, 0.04, new_york().zone)
    assert found.total_return == pytest.approx(-1.45005)
    assert found.max_drawdown > 1
    assert (found.annual_return, found.sharpe, found.sortino, found.volatility) == (None,) * 4
    deep = performance(
        simulate(bars, [-1] * 6, contract.model_copy(update={"cash": Decimal(5_000)})),
        bars,
        contract.model_copy(update={"cash": Decimal(5_000)}),
        0.04,
        NEW_YORK,
    )
    assert deep.turnover is None  # there is no mean equity to be a multiple of


def test_ratios_of_a_matrix_are_those_of_its_columns() -> None:
    returns = np.random.default_rng(3).normal(0.001, 0.01, (60, 4))
    returns[:, 2] = 0
    marks: Floats = np.asarray(100 * np.cumprod(1 + returns, axis=0), np.float64)
    assert simple_returns(marks, 100.0) == pytest.approx(returns)
    together = sharpe_of(returns, 0.04)
    apart = [float(sharpe_of(returns[:, column], 0.04)) for column in range(4)]
    assert together == pytest.approx(apart, nan_ok=True)
    assert np.isnan(together).tolist() == [False, False, True, False]
    assert np.isnan(sharpe_of(returns[:1], 0.04)).all()


def test_equity_of_other_bars_is_refused() -> None:
    bars = daily_bars([100, 101, 102])
    result: Result = simulate(bars, [0, 0, 0], PLAIN)
    with pytest.raises(BadInputError, match="3 marks for 2 bars of TEST"):
        performance(result, bars.head(2), PLAIN, 0.04, NEW_YORK)
