"""The rules of a backtest written for reading, in decimals: the yardstick that all else is held against.

Shares no arithmetic with the fast simulator. Any operation that would have to round raises instead.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import TICK, CashPolicy, Contract, Sizing
from fluxhero.backtest.results import (
    AT,
    EQUITY,
    FILLS,
    ORDERS,
    ROUND_TRIPS,
    Reason,
    Result,
    Status,
)
from fluxhero.backtest.rules import MOST_UNITS
from fluxhero.backtest.tables import UNITS_A_DOLLAR, beyond_units
from fluxhero.backtest.targets import checked_targets

_MOST = Decimal(MOST_UNITS) / UNITS_A_DOLLAR
_BASIS_POINT = Decimal("0.0001")
_CONTEXT = Context(prec=60, traps=[Inexact, InvalidOperation])

Row = dict[str, Any]


@dataclass
class _Order:
    """One order on its way; `side` is 1 to buy, -1 to sell."""

    row: Row
    side: int
    shares: int
    bp: int
    leaves: bool


@dataclass
class _Entry:
    """How the position that is held came to be."""

    bar: int
    price: Decimal
    commission: Decimal


@dataclass
class _Account:
    """A backtest under way."""

    bars: Bars
    contract: Contract
    cash: Decimal
    held: int = 0
    entry: _Entry | None = None
    waiting: list[_Order] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    fills: list[Row] = field(default_factory=list)
    trips: list[Row] = field(default_factory=list)
    marks: list[Row] = field(default_factory=list)


def simulate_exact(bars: Bars, targets: npt.ArrayLike, contract: Contract) -> Result:
    """Trade the targets on the bars.

    Args:
        bars: checked ones.
        targets: after each bar, 1 long, 0 out, -1 short.
        contract: the rules.

    Raises:
        StrategyError: the targets are none.
        BadInputError: gains went beyond what can be counted.
    """
    wanted = [int(target) for target in checked_targets(targets, bars, contract)]
    account = _Account(bars, contract, contract.cash)
    volumes: deque[int] = deque(maxlen=contract.volume_window)
    before = 0
    with localcontext(_CONTEXT):
        for bar, target in enumerate(wanted):
            for order in account.waiting:
                _fill(account, order, bar)
            account.waiting.clear()
            equity = _mark(account, bar)
            volumes.append(int(bars.volume[bar]))
            if target != before:
                _order(account, bar, target, equity, volumes)
            before = target
        return Result(
            pa.Table.from_pylist(account.orders, ORDERS),
            pa.Table.from_pylist(account.fills, FILLS),
            pa.Table.from_pylist(account.trips, ROUND_TRIPS),
            pa.Table.from_pylist(account.marks, EQUITY),
        )


def _mark(account: _Account, bar: int) -> Decimal:
    """Value what is held at the close, and note it."""
    value = account.held * _price(account.bars.close, bar)
    equity = account.cash + value
    for amount in (value, equity):
        _within(amount, bar)
    account.marks.append(
        {
            "bar": bar,
            "at": _at(account.bars, bar),
            "shares": account.held,
            "cash": account.cash,
            "equity": equity,
        }
    )
    return equity


def _order(account: _Account, bar: int, target: int, equity: Decimal, volumes: deque[int]) -> None:
    """Give the orders that lead from what is held to the target: out of the one, then into the other."""
    if account.held:
        side = -1 if account.held > 0 else 1
        _give(account, bar, side, abs(account.held), volumes, leaves=True)
    if target:
        shares = _entry_size(account.contract, equity, _price(account.bars.close, bar))
        _give(account, bar, target, shares, volumes, leaves=False)


def _entry_size(contract: Contract, equity: Decimal, close: Decimal) -> int:
    if contract.sizing is Sizing.FIXED:
        return contract.shares
    cost = close * (1 + contract.slippage_bp * _BASIS_POINT) + contract.commission
    return max(0, int(equity // cost))


def _give(
    account: _Account, bar: int, side: int, shares: int, volumes: deque[int], *, leaves: bool
) -> None:
    row: Row = {
        "order": len(account.orders),
        "signal_bar": bar,
        "signal_at": _at(account.bars, bar),
        "side": _side(side),
        "ordered": shares,
        "filled": 0,
    }
    account.orders.append(row)
    if shares == 0:
        row.update(status=Status.REJECTED, reason=Reason.UNAFFORDABLE)
        return
    row.update(status=Status.EXPIRED, reason=Reason.NO_BAR)  # unless one does follow
    bp = account.contract.slippage_bp
    # The average times the number of bars, so that nothing has to be divided.
    if shares * len(volumes) > account.contract.impact_fraction * sum(volumes):
        bp += account.contract.impact_bp
    account.waiting.append(_Order(row, side, shares, bp, leaves))


def _fill(account: _Account, order: _Order, bar: int) -> None:
    """Fill an order at the open, as far as the cash goes."""
    opened = _price(account.bars.open, bar)
    price = opened * (1 + order.side * order.bp * _BASIS_POINT)
    shares = order.shares if order.leaves else _paid_for(account, order.shares, price)
    if shares == order.shares:
        order.row.update(filled=shares, status=Status.FILLED, reason=Reason.NONE)
    else:
        status = Status.SHRUNK if shares else Status.REJECTED
        order.row.update(filled=shares, status=status, reason=Reason.NO_CASH)
    if shares == 0:
        return
    commission = shares * account.contract.commission
    _within(shares * price + commission, bar)
    account.cash -= order.side * shares * price + commission
    _within(account.cash, bar)
    account.held += order.side * shares
    account.fills.append(
        {
            "order": order.row["order"],
            "bar": bar,
            "at": _at(account.bars, bar),
            "side": _side(order.side),
            "shares": shares,
            "price": price,
            "commission": commission,
            "slippage": shares * abs(price - opened),
        }
    )
    if account.entry is not None:
        account.trips.append(
            _trip(account.bars, account.entry, order.side, shares, bar, price, commission)
        )
    account.entry = None if order.leaves else _Entry(bar, price, commission)


def _paid_for(account: _Account, shares: int, price: Decimal) -> int:
    """How many of the shares of an entry are bought, or sold short."""
    each = price + account.contract.commission
    if shares * each <= account.cash or account.contract.cash_policy is CashPolicy.ALLOW:
        return shares
    if account.contract.cash_policy is CashPolicy.REJECT:
        return 0
    return max(0, int(account.cash // each))


def _trip(
    bars: Bars,
    entry: _Entry,
    leaving: int,
    shares: int,
    bar: int,
    price: Decimal,
    commission: Decimal,
) -> Row:
    both = entry.commission + commission
    return {
        "side": "long" if leaving < 0 else "short",
        "shares": shares,
        "entry_bar": entry.bar,
        "entry_at": _at(bars, entry.bar),
        "entry_price": entry.price,
        "exit_bar": bar,
        "exit_at": _at(bars, bar),
        "exit_price": price,
        "commission": both,
        "pnl": -leaving * shares * (price - entry.price) - both,
        "bars_held": bar - entry.bar,
    }


def _price(ticks: npt.NDArray[np.int64], bar: int) -> Decimal:
    return int(ticks[bar]) * TICK


def _at(bars: Bars, bar: int) -> pa.Scalar:
    return pa.scalar(int(bars.ends[bar]), AT)


def _side(side: int) -> str:
    return "buy" if side > 0 else "sell"


def _within(amount: Decimal, bar: int) -> None:
    if abs(amount) > _MOST:
        raise beyond_units(bar)
