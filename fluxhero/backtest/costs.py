"""What is left of a result when trading costs more, or less, than was assumed."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Final

from pydantic import BaseModel, ConfigDict

from config.bounds import MOST_BASIS_POINTS
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import UNIT, Contract
from fluxhero.backtest.fast import equity_units

MULTIPLES: Final = tuple(map(Decimal, ("0", "0.5", "1", "2", "5", "10")))
_FURTHEST: Final = Decimal(100)  # times the costs, when looking for the break-even
_CLOSE_ENOUGH: Final = Decimal("0.01")
_MOST_COMMISSION: Final = Decimal(100)


class CostRow(BaseModel):
    """A backtest at so many times the costs.

    Attributes:
        multiple: of commission, slippage and the surcharge for large orders.
        commission: USD a share.
        slippage_bp: basis points.
        profit: USD, final equity less the starting cash.
        total_return: the same as a fraction of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    multiple: Decimal
    commission: Decimal
    slippage_bp: Decimal
    profit: Decimal
    total_return: float


class CostSensitivity(BaseModel):
    """How a result depends on costs.

    Attributes:
        rows: rising; multiples whose costs the rules do not allow are left out.
        break_even: times the costs at which nothing is gained or lost, to 0.01; None if it loses without any
            costs, or gains at the furthest multiple still.
        furthest: multiple up to which it was looked for.
        gains_without_costs: whether there is anything for costs to eat.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: tuple[CostRow, ...]
    break_even: Decimal | None
    furthest: Decimal
    gains_without_costs: bool


def cost_sensitivity(bars: Bars, targets: Int8s, contract: Contract) -> CostSensitivity:
    """Run the same targets at several times the costs.

    Slippage is whole basis points by the rules; a result between two of them is interpolated.

    Raises:
        BadInputError: without the costs, gains go beyond what can be counted.
    """
    furthest = _furthest(contract)
    rows = tuple(
        CostRow(
            multiple=multiple,
            commission=_commission(contract, multiple),
            slippage_bp=contract.slippage_bp * multiple,
            profit=(profit := _profit(bars, targets, contract, multiple)),
            total_return=float(profit / contract.cash),
        )
        for multiple in MULTIPLES
        if multiple <= furthest
    )
    gains = rows[0].profit > 0
    return CostSensitivity(
        rows=rows,
        break_even=_break_even(bars, targets, contract, furthest) if gains else None,
        furthest=furthest,
        gains_without_costs=gains,
    )


def _break_even(
    bars: Bars, targets: Int8s, contract: Contract, furthest: Decimal
) -> Decimal | None:
    low, high = Decimal(0), furthest
    if _profit(bars, targets, contract, high) > 0:
        return None
    while high - low > _CLOSE_ENOUGH:
        middle = (low + high) / 2
        if _profit(bars, targets, contract, middle) > 0:
            low = middle
        else:
            high = middle
    return low.quantize(_CLOSE_ENOUGH)


def _furthest(contract: Contract) -> Decimal:
    bounds = [_FURTHEST]
    for value, most in (
        (Decimal(contract.slippage_bp), Decimal(MOST_BASIS_POINTS)),
        (Decimal(contract.impact_bp), Decimal(MOST_BASIS_POINTS)),
        (contract.commission, _MOST_COMMISSION),
    ):
        if value:
            bounds.append(most / value)
    return min(bounds)


def _commission(contract: Contract, multiple: Decimal) -> Decimal:
    return (contract.commission * multiple).quantize(UNIT)


def _profit(bars: Bars, targets: Int8s, contract: Contract, multiple: Decimal) -> Decimal:
    total = Decimal(0)
    for (slippage, slippage_weight), (impact, impact_weight) in product(
        _whole_ones(contract.slippage_bp * multiple), _whole_ones(contract.impact_bp * multiple)
    ):
        costs = {
            "commission": _commission(contract, multiple),
            "slippage_bp": slippage,
            "impact_bp": impact,
        }
        marks = equity_units(bars, targets, contract.model_copy(update=costs))
        total += slippage_weight * impact_weight * (int(marks[-1]) * UNIT - contract.cash)
    return total.quantize(UNIT)


def _whole_ones(basis_points: Decimal) -> Iterator[tuple[int, Decimal]]:
    """The whole basis points around, with their weights."""
    below = int(basis_points)
    above = basis_points - below
    yield below, 1 - above
    if above:
        yield below + 1, above
