"""What a trade's differences change in its result, and what of the result none of them explains.

What the bot's result should be is explained before it is called wrong: a price, a quantity or fees found to
differ carry their share in it, and only what they leave is a difference of the result. A result is right
when it follows from the broker's prices, or from the bot's own, to the cent and to what prices kept in
cents leave open. A bot that keeps no fees may state results before or after them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from fluxhero.ledger.schema import BASE_CURRENCY
from fluxhero.reconcile.differences import Difference, Kind
from fluxhero.reconcile.executed import Executed, number, together
from fluxhero.reconcile.pairing import Pair
from fluxhero.reconcile.tolerances import Tolerances

_ONE, _NONE = Decimal(1), Decimal(0)


@dataclass(frozen=True, slots=True)
class Result:
    """What the broker's fills of a closed trade come to; fees are None where it states none."""

    entry: Executed
    exit: Executed
    sign: int

    @property
    def multiplier(self) -> Decimal:
        """Of the instrument."""
        return self.entry.sample.multiplier or _ONE

    @property
    def quantity(self) -> Decimal:
        """How much was both opened and closed."""
        return min(self.entry.size, self.exit.size)

    @property
    def gross(self) -> Decimal:
        """Before fees."""
        if self.entry.size == self.exit.size:
            return self.sign * (self.exit.amount - self.entry.amount)
        gain = self.exit.price - self.entry.price
        return self.sign * gain * self.quantity * self.multiplier

    @property
    def fees(self) -> Decimal | None:
        """Of both legs."""
        both = together([self.entry, self.exit])
        return both.cost

    @property
    def net(self) -> Decimal:
        """After fees, as far as they are stated."""
        return self.gross - (self.fees or _NONE)


def result_of(pair: Pair) -> Result | None:
    """What the broker's fills of a trade come to; None while one of its legs is not known."""
    if pair.entry is None or pair.exit is None:
        return None
    return Result(pair.entry, pair.exit, pair.trade.sign)


def about(pair: Pair) -> Difference:
    """A difference of a trade, with nothing in it yet but what it is about."""
    trade = pair.trade
    executed = [one for one in (pair.entry, pair.exit) if one is not None]
    fill = executed[0].sample if executed else None
    return Difference(
        kind=Kind.EXTRA,
        mode=trade.mode,
        account=trade.account if fill is None else fill.account,
        symbol=trade.symbol,
        currency=(trade.currency or BASE_CURRENCY) if fill is None else fill.currency,
        side=trade.side,
        at=trade.entry_time,
        trade_id=trade.trade_id,
        orders=tuple(dict.fromkeys(name for one in executed for name in one.orders)),
    )


def fee_differences(pair: Pair, result: Result, tolerances: Tolerances) -> Iterator[Difference]:
    """Fees that the bot keeps and that are not the broker's; a bot that keeps none says nothing."""
    charged, kept = result.fees, pair.trade.fees
    if charged is None or not kept or abs(charged - kept) <= tolerances.money:
        return
    yield replace(
        about(pair),
        kind=Kind.FEES,
        at=result.exit.last,
        bot=number(kept),
        broker=number(charged),
        difference=charged - kept,
        pnl_effect=kept - charged,
    )


def weighed(
    pair: Pair, result: Result, differing: list[Difference], tolerances: Tolerances
) -> list[Difference]:
    """The differences with what each changes in the bot's result, and what none of them explains."""
    trade = pair.trade
    stated = trade.realized_pnl
    if stated is None or trade.exit_price is None:
        return differing
    slack = tolerances.money + _imprecision(pair, result, tolerances)
    charged = result.fees or _NONE
    # a bot that keeps no fees may state its results before or after them
    fees = {charged if result.fees is not None else trade.fees} if trade.fees else {_NONE, charged}
    right = [result.gross - (paid or _NONE) for paid in fees]
    if any(abs(stated - one) <= slack for one in right):
        return [replace(one, pnl_effect=_NONE) for one in differing]
    gain = trade.sign * (trade.exit_price - trade.entry_price)
    own_gross = gain * trade.quantity * result.multiplier
    own_fees = {trade.fees} if trade.fees else {_NONE, charged}
    if any(abs(stated - (own_gross - paid)) <= slack for paid in own_fees):
        return differing
    wanted = min(right, key=lambda one: abs(stated - one))
    explained = sum((one.pnl_effect or _NONE for one in differing), start=_NONE)
    return [
        *differing,
        replace(
            about(pair),
            kind=Kind.PNL,
            at=result.exit.last,
            bot=number(stated),
            broker=number(wanted),
            difference=wanted - stated,
            pnl_effect=wanted - stated - explained,
        ),
    ]


def _imprecision(pair: Pair, result: Result, tolerances: Tolerances) -> Decimal:
    """What the result may be off by since prices are kept in cents.

    Of a price that counts as equal, as far as it is from the broker's; of another, the tolerance.
    """
    legs = ((pair.trade.entry, result.entry), (pair.trade.exit, result.exit))
    apart = (
        min(abs(leg.price - executed.price), tolerances.of_price(executed.price))
        for leg, executed in legs
        if leg is not None and leg.price is not None
    )
    return sum(apart, start=_NONE) * pair.trade.quantity * result.multiplier
