"""The rules of a backtest at the speed of machine code: the same results as `simulate_exact`, to the last digit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxhero.backtest.bars import Bars, Int8s, Ints
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.results import Reason, Result, Status
from fluxhero.backtest.round_trips import round_trips
from fluxhero.backtest.rules import BASIS
from fluxhero.backtest.tables import (
    beyond_units,
    equity_table,
    fills_table,
    orders_table,
    units_of,
    words,
)
from fluxhero.backtest.targets import checked_targets

_POLICIES = tuple(CashPolicy)  # as the kernel numbers them: shrink, reject, allow
# As the kernel numbers what became of an order.
_OUTCOMES = (
    (Status.FILLED, Reason.NONE),
    (Status.SHRUNK, Reason.NO_CASH),
    (Status.REJECTED, Reason.UNAFFORDABLE),
    (Status.REJECTED, Reason.NO_CASH),
    (Status.EXPIRED, Reason.NO_BAR),
)


@dataclass(frozen=True, eq=False)
class Swept:
    """What a sweep needs of one combination.

    Attributes:
        equity: units of 0.00000001 USD at each close.
        trades: finished round trips.
    """

    equity: Ints
    trades: int


def simulate(bars: Bars, targets: npt.ArrayLike, contract: Contract) -> Result:
    """Trade the targets on the bars.

    Args:
        bars: checked ones.
        targets: after each bar, 1 long, 0 out, -1 short.
        contract: the rules.

    Raises:
        StrategyError: the targets are none.
        BadInputError: gains went beyond what can be counted.
    """
    wanted = checked_targets(targets, bars, contract)
    changes = np.count_nonzero(np.diff(wanted, prepend=np.int8(0)))
    equity = np.empty(len(bars), np.int64)
    marks = np.empty((2, len(bars)), np.int64)
    noted = np.empty((2 * changes, 6), np.int64)
    given, _left = _walk(bars, wanted, contract, equity, marks, noted)
    signal_bar, side, ordered, filled, outcome, price = np.ascontiguousarray(noted[:given].T)
    done = np.flatnonzero(filled)
    commission = filled[done] * units_of(contract.commission)
    fills = fills_table(
        bars, done, signal_bar[done] + 1, side[done], filled[done], price[done], commission
    )
    return Result(
        orders_table(bars, signal_bar, side, ordered, filled, _outcomes(outcome)),
        fills,
        round_trips(fills, bars),
        equity_table(bars, marks[0], marks[1], equity),
    )


def swept(bars: Bars, targets: npt.ArrayLike, contract: Contract) -> Swept:
    """Trade the targets on the bars as `simulate` does, without making tables.

    Raises:
        StrategyError: the targets are none.
        BadInputError: gains went beyond what can be counted.
    """
    wanted = checked_targets(targets, bars, contract)
    equity = np.empty(len(bars), np.int64)
    _given, left = _walk(bars, wanted, contract, equity, _no_room(2, 0), _no_room(0, 6))
    return Swept(equity, left)


def equity_units(bars: Bars, targets: npt.ArrayLike, contract: Contract) -> Ints:
    """The equity at each close, in units of 0.00000001 USD; raises what `swept` raises."""
    return swept(bars, targets, contract).equity


def _walk(
    bars: Bars, targets: Int8s, contract: Contract, equity: Ints, marks: Ints, orders: Ints
) -> tuple[int, int]:
    """Run the kernel; how many orders were given and how many positions left."""
    from fluxhero.backtest.kernel import walk

    opens, closes = (np.ascontiguousarray(one, np.int64) for one in (bars.open, bars.close))
    rule = _rule(contract, bars.highest_close)
    given, left, beyond = walk(opens, closes, bars.traded, targets, rule, equity, marks, orders)
    if beyond >= 0:
        raise beyond_units(beyond)
    return given, left


def _rule(contract: Contract, highest_close: int) -> Ints:
    """The contract as the kernel reads it."""
    return np.array(
        [
            units_of(contract.cash),
            units_of(contract.commission),
            contract.slippage_bp,
            contract.impact_bp,
            int(contract.impact_fraction * BASIS),
            contract.volume_window,
            contract.shares if contract.sizing is Sizing.FIXED else 0,
            _POLICIES.index(contract.cash_policy),
            highest_close,
        ],
        np.int64,
    )


def _no_room(rows: int, columns: int) -> Ints:
    return np.empty((rows, columns), np.int64)


def _outcomes(codes: Ints) -> tuple[pa.Array, pa.Array]:
    """The columns status and reason."""
    statuses, reasons = zip(*_OUTCOMES, strict=True)
    return words(codes, statuses), words(codes, reasons)
