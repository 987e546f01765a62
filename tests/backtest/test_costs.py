"""Cost sensitivity: each row is a backtest at such costs, and the break-even is where nothing is left."""

from decimal import Decimal

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.costs import cost_sensitivity
from fluxhero.backtest.fast import simulate
from tests.backtest.session_bars import daily_bars

FIXED = Contract(sizing=Sizing.FIXED, shares=100)


def profit(bars: Bars, targets: Int8s, contract: Contract) -> Decimal:
    equity = simulate(bars, targets, contract).equity["equity"]
    final: Decimal = equity[-1].as_py()
    return final - contract.cash


def in_and_out(gain: float, times: int = 10) -> tuple[Bars, Int8s]:
    """Buys at 100 and sells at so much more, again and again."""
    bars = daily_bars([100, 100, 100 + gain, 100 + gain] * times + [100])
    return bars, np.array([1, 0, 0, 0] * times + [0], np.int8)


@pytest.mark.parametrize("large", [Decimal("0.10"), Decimal(0)])
def test_each_row_is_the_backtest_at_its_costs(large: Decimal) -> None:
    """Also where every order is a large one and pays the surcharge."""
    bars, targets = in_and_out(0.5)
    contract = FIXED.model_copy(update={"impact_fraction": large})
    found = cost_sensitivity(bars, targets, contract)
    assert [str(row.multiple) for row in found.rows] == ["0", "0.5", "1", "2", "5", "10"]
    for row in found.rows:
        if row.multiple == Decimal("0.5"):
            continue
        costs = {
            "commission": FIXED.commission * row.multiple,
            "slippage_bp": int(row.multiple),
            "impact_bp": int(5 * row.multiple),
        }
        assert row.profit == profit(bars, targets, contract.model_copy(update=costs))
        assert row.total_return == pytest.approx(float(row.profit) / 100_000)
        assert (row.commission, row.slippage_bp) == (costs["commission"], costs["slippage_bp"])
    # With a fixed number of shares costs are linear, and so half of them is half way.
    assert found.rows[1].profit == (found.rows[0].profit + found.rows[2].profit) / 2


def test_break_even_is_where_nothing_is_left() -> None:
    bars, targets = in_and_out(0.5)
    found = cost_sensitivity(bars, targets, FIXED)
    paid = found.rows[0].profit - found.rows[2].profit
    assert found.break_even is not None
    assert float(found.break_even) == pytest.approx(float(found.rows[0].profit / paid), abs=0.011)
    assert found.gains_without_costs


def test_what_no_costs_can_eat_or_nothing_is_left_to_eat_of() -> None:
    bars, targets = in_and_out(-0.5)
    loses = cost_sensitivity(bars, targets, FIXED)
    assert (loses.break_even, loses.gains_without_costs) == (None, False)
    bars, targets = in_and_out(60, times=1)
    gains = cost_sensitivity(bars, targets, FIXED)
    assert (gains.break_even, gains.gains_without_costs) == (None, True)
    assert gains.furthest == 100
    free = FIXED.model_copy(update={"commission": Decimal(0), "slippage_bp": 0, "impact_bp": 0})
    assert {row.profit for row in cost_sensitivity(bars, targets, free).rows} == {Decimal(6_000)}


def test_costs_beyond_the_rules_are_left_out() -> None:
    bars, targets = in_and_out(50, times=1)
    dear = FIXED.model_copy(update={"commission": Decimal(30), "slippage_bp": 250})
    found = cost_sensitivity(bars, targets, dear)
    assert [str(row.multiple) for row in found.rows] == ["0", "0.5", "1", "2"]
    assert found.furthest == pytest.approx(Decimal(100) / 30)
