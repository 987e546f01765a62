"""A broker's fills and the bot's trades that they were, made together, and differences planted in them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.trades import Trade

D = Decimal
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
CENT = D("0.01")
FEE = D("0.35")  # a fill
SYMBOLS = ("SPY", "BRK.B", "QQQ", "BTC/USD", "TSLA")
AT_BROKER = {"BRK.B": "BRK B", "BTC/USD": "BTCUSD"}


@dataclass
class Deal:
    """One trade and the fills it was made of."""

    trade: Trade
    entry: list[Fill]
    exit: list[Fill]

    @property
    def fills(self) -> list[Fill]:
        return [*self.entry, *self.exit]


@dataclass
class Ledgers:
    """Both sides, deal by deal; what belongs to one side only is beside them."""

    deals: list[Deal] = field(default_factory=list)

    @property
    def fills(self) -> list[Fill]:
        return [fill for deal in self.deals for fill in deal.fills]

    @property
    def trades(self) -> list[Trade]:
        return [deal.trade for deal in self.deals]


def amount(fills: Sequence[Fill]) -> Decimal:
    return sum((fill.quantity * fill.price * (fill.multiplier or 1) for fill in fills), D(0))


def average(fills: Sequence[Fill]) -> Decimal:
    return sum((f.quantity * f.price for f in fills), D(0)) / sum((f.quantity for f in fills), D(0))


def fees(fills: Sequence[Fill]) -> Decimal:
    return sum((fill.fees or D(0) for fill in fills), D(0))


class Maker:
    """Makes deals by chance, the same ones for the same seed.

    Args:
        chance: what decides.
        keeps_fees: whether the bot writes fees, and its results after them.
        names_orders: whether the bot writes the id of its first order.
        symbols: traded in turn; with few of them deals overlap in one symbol.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        keeps_fees: bool = False,
        names_orders: bool = False,
        symbols: Sequence[str] = SYMBOLS,
    ) -> None:
        self.chance = chance
        self.keeps_fees = keeps_fees
        self.names_orders = names_orders
        self.symbols = symbols
        self.count = 0

    def deals(self, count: int, *, mode: str, account: str, every: timedelta) -> list[Deal]:
        """Deals one after the other in time, each symbol in turn, so that some overlap in time."""
        made = []
        for number in range(count):
            symbol = self.symbols[number % len(self.symbols)]
            made.append(self.deal(START + number * every, symbol, mode, account, every))
        return made

    def deal(self, at: datetime, symbol: str, mode: str, account: str, every: timedelta) -> Deal:
        """A deal of one to three orders in, one or two out, each in one to three fills."""
        chance = self.chance
        self.count += 1
        side = chance.choice(["long", "short"])
        quantity = D(chance.randint(3, 400))
        price = D(chance.randint(2_000, 60_000)) / 100
        into, out = ("buy", "sell") if side == "long" else ("sell", "buy")
        base = Fill(
            fill_id="",
            mode=mode,
            broker="ibkr",
            account=account,
            symbol=AT_BROKER.get(symbol, symbol),
            currency="USD",
            side=into,
            quantity=quantity,
            price=price,
            executed_at=at,
            fees=FEE,
            source="ibkr",
        )
        entry = self._orders(base, chance.choice([1, 1, 2, 3]), every)
        leaving = replace(
            base,
            side=out,
            price=price * D(chance.randint(90, 110)) / 100,
            executed_at=at + 3 * every,
        )
        exits = self._orders(leaving, chance.choice([1, 1, 2]), every)
        return Deal(self._trade(side, quantity, symbol, entry, exits), entry, exits)

    def _orders(self, base: Fill, count: int, every: timedelta) -> list[Fill]:
        """Fills of several orders, some minutes apart, that make the quantity of `base`."""
        fills = []
        for place, quantity in enumerate(self._parts(base.quantity, count)):
            order = f"ibkr:{base.account}:{self.count}-{base.side}-{place}"
            at = base.executed_at + place * every / 10
            for part, share in enumerate(self._parts(quantity, self.chance.choice([1, 1, 2, 3]))):
                fills.append(
                    replace(
                        base,
                        fill_id=f"{order}:{part}",
                        order_id=order,
                        quantity=share,
                        price=base.price + CENT * self.chance.randint(-3, 3),
                        executed_at=at + timedelta(seconds=part),
                    )
                )
        return fills

    def _parts(self, quantity: Decimal, count: int) -> list[Decimal]:
        if count > quantity:
            return [quantity]
        cuts = sorted(self.chance.sample(range(1, int(quantity)), count - 1))
        ends = [*cuts, int(quantity)]
        return [D(end - start) for start, end in zip([0, *cuts], ends, strict=True)]

    def _trade(
        self, side: str, quantity: Decimal, symbol: str, entry: list[Fill], exits: list[Fill]
    ) -> Trade:
        sign = 1 if side == "long" else -1
        paid = fees([*entry, *exits])
        gross = sign * (amount(exits) - amount(entry))
        return Trade(
            trade_id=f"t{self.count:04}",
            mode=entry[0].mode,
            symbol=symbol,
            side=side,
            quantity=quantity,
            entry_price=average(entry).quantize(CENT),
            entry_time=entry[0].executed_at + timedelta(seconds=self.chance.randint(0, 20)),
            exit_price=average(exits).quantize(CENT),
            exit_time=exits[-1].executed_at + timedelta(seconds=self.chance.randint(0, 20)),
            fees=paid if self.keeps_fees else None,
            realized_pnl=gross - paid if self.keeps_fees else gross,
            status="closed",
            source="fluxhero",
            order_id=(entry[0].order_id or "").rpartition(":")[2] if self.names_orders else None,
        )


def own_result(trade: Trade) -> Decimal:
    """What a trade comes to by its own prices."""
    assert trade.exit_price is not None
    sign = 1 if trade.side == "long" else -1
    return sign * (trade.exit_price - trade.entry_price) * trade.quantity - (trade.fees or D(0))


def otherwise(trade: Trade, **changes: Decimal) -> Trade:
    """Other prices or another quantity, and the result that follows from them."""
    changed = replace(trade, **changes)  # type: ignore[arg-type]
    assert trade.realized_pnl is not None
    moved = own_result(changed) - own_result(trade)
    return replace(changed, realized_pnl=trade.realized_pnl + moved)


def entry_price(deal: Deal) -> Deal:
    wrong = otherwise(deal.trade, entry_price=deal.trade.entry_price + D("0.37"))
    return replace(deal, trade=wrong)


def exit_price(deal: Deal) -> Deal:
    assert deal.trade.exit_price is not None
    wrong = otherwise(deal.trade, exit_price=deal.trade.exit_price - D("0.37"))
    return replace(deal, trade=wrong)


def quantity(deal: Deal) -> Deal:
    return replace(deal, trade=otherwise(deal.trade, quantity=deal.trade.quantity + 7))


def pnl(deal: Deal) -> Deal:
    stated = deal.trade.realized_pnl
    assert stated is not None
    return replace(deal, trade=replace(deal.trade, realized_pnl=stated + D("12345.67")))


def entry_time(deal: Deal) -> Deal:
    moved = deal.trade.entry_time - timedelta(seconds=100)
    return replace(deal, trade=replace(deal.trade, entry_time=moved))


def exit_time(deal: Deal) -> Deal:
    assert deal.trade.exit_time is not None
    moved = deal.trade.exit_time + timedelta(hours=2)
    return replace(deal, trade=replace(deal.trade, exit_time=moved))


def left_open(deal: Deal) -> Deal:
    return replace(
        deal,
        trade=replace(
            deal.trade, status="open", exit_price=None, exit_time=None, realized_pnl=None
        ),
    )


def broker_says(deal: Deal) -> Deal:
    """The broker states results of closing fills, one of them wrong."""
    each = [replace(fill, realized_pnl=D(0)) for fill in deal.exit]
    return replace(deal, exit=each)
