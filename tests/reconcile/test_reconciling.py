"""Reconciling: a clean pair of ledgers has no difference, and planted ones are found, and no others."""

import functools
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.reconciling import Asked, Reconciled, reconcile
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import Trade
from tests.reconcile import ledgers
from tests.reconcile.ledgers import Deal, Maker

D = Decimal
HOUR = timedelta(hours=1)


def both_accounts(maker: Maker, count: int) -> list[Deal]:
    """Half of the deals live, half on paper, each a mode of its own."""
    live = maker.deals(count // 2, mode="live", account="U1", every=HOUR)
    return [*live, *maker.deals(count // 2, mode="paper", account="DU1", every=HOUR)]


def reconciled(
    fills: list[Fill], trades: list[Trade], asked: Asked | None = None, seed: int = 0
) -> Reconciled:
    """Whatever the order in which they are listed."""
    chance = random.Random(seed)
    chance.shuffle(fills)
    chance.shuffle(trades)
    return reconcile(fills, trades, asked or Asked(), Tolerances())


def found(result: Reconciled) -> Counter[tuple[str, str]]:
    return Counter(
        (str(one.kind), one.trade_id or one.orders[0])
        for compared in result.compared
        for one in compared.differences
    )


@pytest.mark.parametrize("keeps_fees", [False, True])
@pytest.mark.parametrize("names_orders", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_clean_pair_has_no_difference(*, seed: int, keeps_fees: bool, names_orders: bool) -> None:
    maker = Maker(random.Random(seed), keeps_fees=keeps_fees, names_orders=names_orders)
    deals = both_accounts(maker, 300)
    fills = [fill for deal in deals for fill in deal.fills]
    result = reconciled(fills, [deal.trade for deal in deals], seed=seed)
    assert not found(result)
    assert [compared.mode for compared in result.compared] == ["live", "paper"]
    for compared in result.compared:
        (sums,) = compared.sums.values()
        assert (compared.trades, compared.outside, sums.trades) == (150, 0, 150)
        of_mode = [fill for fill in fills if fill.mode == compared.mode]
        assert sums.broker_fees == ledgers.fees(of_mode)
        assert compared.orders == len({fill.order_id for fill in of_mode})


ONE_SIDED: dict[str, Callable[[Deal], Deal]] = {
    "price entry": ledgers.entry_price,
    "price exit": ledgers.exit_price,
    "quantity": ledgers.quantity,
    "pnl": ledgers.pnl,
    "time entry": ledgers.entry_time,
    "time exit": ledgers.exit_time,
    "status": ledgers.left_open,
    "broker_pnl": ledgers.broker_says,
}


TOGETHER = {
    name: ONE_SIDED[name]
    for name in ("pnl", "price entry", "price exit", "quantity", "time entry", "time exit")
}


@pytest.mark.parametrize("symbols", [("SPY",), ("SPY", "QQQ")], ids=["one", "two"])
@pytest.mark.parametrize("seed", range(3))
def test_positions_of_one_symbol_that_overlap_are_told_apart(
    seed: int, symbols: tuple[str, ...]
) -> None:
    """Long and short at once, at the broker one netted position, in orders that lie between each other."""
    maker = Maker(random.Random(seed), symbols=symbols)
    made = maker.deals(60, mode="live", account="U1", every=HOUR)
    fills = [fill for deal in made for fill in deal.fills]
    assert not found(reconciled(fills, [deal.trade for deal in made], seed=seed))


@pytest.mark.parametrize("keeps_fees", [False, True])
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed > 3)) for seed in range(40)]
)
def test_what_was_planted_is_found_and_nothing_else(*, seed: int, keeps_fees: bool) -> None:
    chance = random.Random(seed)
    maker = Maker(chance, keeps_fees=keeps_fees, names_orders=seed % 3 == 0)
    deals = both_accounts(maker, 300)
    planted: Counter[tuple[str, str]] = Counter()
    fills: list[Fill] = []
    trades: list[Trade] = []
    # neither the first nor the last of a mode: they bound what is compared
    places = set(chance.sample([n for n in range(300) if 5 < n % 150 < 144], 24))
    for place, deal in enumerate(deals):
        if place not in places:
            fills += deal.fills
            trades.append(deal.trade)
            continue
        what = chance.choice(["missing", "extra", "several", "several", *ONE_SIDED])
        if what == "missing":
            fills += deal.fills
            planted["missing", str(deal.entry[0].order_id)] += 1
        elif what == "extra":
            trades.append(deal.trade)
            planted["extra", deal.trade.trade_id] += 1
        elif what == "several":
            names = chance.sample(sorted(TOGETHER), chance.randint(2, len(TOGETHER)))
            changed = functools.reduce(lambda made, name: TOGETHER[name](made), names, deal)
            fills += changed.fills
            trades.append(changed.trade)
            planted.update((name.split()[0], deal.trade.trade_id) for name in names)
        else:
            changed = ONE_SIDED[what](deal)
            fills += changed.fills
            trades.append(changed.trade)
            about = deal.entry[0].order_id if what == "broker_pnl" else deal.trade.trade_id
            planted[what.split()[0], str(about)] += 1
    assert found(reconciled(fills, trades, seed=seed)) == planted
