"""Fills and trades written by hand, and what reconciling makes of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fluxhero.reconcile.differences import Difference
from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.reconciling import Asked, reconcile
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import Trade

D = Decimal
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def fill(name: str, side: str, quantity: str, price: str, at: timedelta, **others: Any) -> Fill:
    base = Fill(
        fill_id=name,
        mode="live",
        broker="alpaca",
        account="U1",
        symbol="SPY",
        currency="USD",
        side=side,
        quantity=D(quantity),
        price=D(price),
        executed_at=START + at,
        order_id=f"alpaca:{name}",
        source="alpaca",
    )
    return replace(base, **others)


def trade(
    name: str,
    side: str,
    quantity: str,
    entry: tuple[str, timedelta],
    leaving: tuple[str, timedelta] | None = None,
    **others: Any,
) -> Trade:
    made = Trade(
        trade_id=name,
        mode="live",
        symbol="SPY",
        side=side,
        quantity=D(quantity),
        entry_price=D(entry[0]),
        entry_time=START + entry[1],
        source="fluxhero",
    )
    if leaving is not None:
        sign = 1 if side == "long" else -1
        made = replace(
            made,
            exit_price=D(leaving[0]),
            exit_time=START + leaving[1],
            realized_pnl=sign * (D(leaving[0]) - D(entry[0])) * D(quantity),
            status="closed",
        )
    return replace(made, **others)


def differences(
    fills: Sequence[Fill], trades: Sequence[Trade], asked: Asked | None = None
) -> list[Difference]:
    found = reconcile(fills, trades, asked or Asked(), Tolerances())
    assert not found.nothing
    return [one for compared in found.compared for one in compared.differences]


def kinds(*given: Any) -> list[tuple[str, str | None, str]]:
    return [(str(one.kind), one.trade_id, one.leg) for one in differences(*given)]
