"""Results of an engine that does one thing differently from the reference, made by hand from its fills."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.results import AT, MONEY, Result

Fill = tuple[int, int, Decimal, Decimal, Decimal]  # bar, side, shares, price, commission
CENT = Decimal("0.01")
DAY = 86_400_000_000_000


def bars_of(opens: Sequence[int], closes: Sequence[int], volume: int = 1_000_000) -> Bars:
    """Daily bars of cents."""
    opened, closed = np.array(opens) * 100, np.array(closes) * 100
    ends = np.arange(1, len(opened) + 1) * DAY
    high, low = np.maximum(opened, closed), np.minimum(opened, closed)
    return Bars("AAA", "1d", ends, opened, high, low, closed, np.full(len(opened), volume))


def fills_of(result: Result) -> list[Fill]:
    """The fills of a result as plain values."""
    return [
        (
            row["bar"],
            1 if row["side"] == "buy" else -1,
            Decimal(row["shares"]),
            row["price"],
            row["commission"],
        )
        for row in result.fills.to_pylist()
    ]


def result_of(
    fills: Sequence[Fill], bars: Bars, contract: Contract, off: Decimal = Decimal(0)
) -> Result:
    """What an engine with these fills gives back; `off` is what it marks too much at the end."""
    cash, held = contract.cash, Decimal(0)
    marks, left = [], list(fills)
    for bar in range(len(bars)):
        while left and left[0][0] == bar:
            _, side, shares, price, commission = left.pop(0)
            cash -= side * shares * price + commission
            held += side * shares
        marks.append(cash + held * int(bars.close[bar]) / 10_000)
    marks[-1] += off
    quantum = Decimal("0.00000001")
    table = pa.table(
        {
            "bar": pa.array([fill[0] for fill in fills], pa.int64()),
            "side": pa.array(["buy" if fill[1] > 0 else "sell" for fill in fills], pa.string()),
            "shares": pa.array([fill[2] for fill in fills], MONEY),
            "price": pa.array([fill[3].quantize(quantum) for fill in fills], MONEY),
            "commission": pa.array([fill[4] for fill in fills], MONEY),
        }
    )
    equity = pa.table(
        {
            "bar": pa.array(range(len(bars)), pa.int64()),
            "at": pa.array(bars.ends).cast(AT),
            "equity": pa.array([mark.quantize(quantum) for mark in marks], MONEY),
        }
    )
    empty = pa.table({"pnl": pa.array([], MONEY)})
    return Result(empty, table, empty, equity)


def same_bar(bars: Bars, targets: Int8s, contract: Contract) -> list[Fill]:
    """Fills at the close of the signal's bar."""
    moved = replace(bars, open=np.concatenate([bars.open[:1], bars.close[:-1]]))
    return [(fill[0] - 1, *fill[1:]) for fill in fills_of(simulate_exact(moved, targets, contract))]


def in_cents(fills: Sequence[Fill]) -> list[Fill]:
    """Commissions rounded up to cents."""
    return [(*fill[:4], fill[4].quantize(CENT, "ROUND_UP")) for fill in fills]


def fractional(fills: Sequence[Fill], more: Decimal) -> list[Fill]:
    """A fraction of a share more in every fill, with its commission."""
    return [
        (
            bar,
            side,
            shares + more,
            price,
            (fee * (shares + more) / shares).quantize(Decimal("1e-8")),
        )
        for bar, side, shares, price, fee in fills
    ]


def wrong_side(fills: Sequence[Fill], bars: Bars) -> list[Fill]:
    """Slippage in the trader's favour."""
    return [
        (bar, side, shares, 2 * Decimal(int(bars.open[bar])) / 10_000 - price, fee)
        for bar, side, shares, price, fee in fills
    ]


def closed_at_the_end(fills: Sequence[Fill], bars: Bars) -> list[Fill]:
    """What is open is sold at the last close, with commission."""
    held = sum((side * shares for _, side, shares, *_ in fills), Decimal(0))
    price = Decimal(int(bars.close[-1])) / 10_000 * Decimal("0.9999")
    return [*fills, (len(bars) - 1, -1, held, price, Decimal("0.75"))]


def late(fills: Sequence[Fill], bars: Bars, slippage: Decimal) -> list[Fill]:
    """The first entry a bar late."""
    bar, side, shares, _, fee = fills[0]
    opened = Decimal(int(bars.open[bar + 1])) / 10_000
    return [(bar + 1, side, shares, opened * (1 + side * slippage), fee), *fills[1:]]


def moved(result: Result, hours: int) -> Result:
    """Equity labelled with other times."""
    shifted = pc.add(result.equity["at"], pa.scalar(timedelta(hours=hours), pa.duration("ns")))
    return replace(result, equity=result.equity.set_column(1, "at", shifted))
