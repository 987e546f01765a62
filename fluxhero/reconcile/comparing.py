"""A trade of the bot's held against what the broker executed of it: every difference, with what it costs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fluxhero.reconcile.differences import Difference, Kind
from fluxhero.reconcile.exact import UNIT
from fluxhero.reconcile.executed import Executed, number
from fluxhero.reconcile.pairing import Pair
from fluxhero.reconcile.period import Period
from fluxhero.reconcile.pool import price_agrees
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import ENTRY, EXIT, Leg
from fluxhero.reconcile.weighing import about, fee_differences, result_of, weighed

_ONE, _NONE = Decimal(1), Decimal(0)
_MICRO = _ONE / UNIT


def compare(
    pair: Pair, period: Period, tolerances: Tolerances, *, held: Decimal
) -> Iterator[Difference]:
    """Every difference of one trade, as far as its legs are in the period.

    Args:
        pair: the trade and what was found of it.
        period: what is compared.
        tolerances: what counts as equal.
        held: how much the broker still holds of its symbol, on its side.
    """
    if not pair.is_found:
        yield from _extra(pair, period)
        return
    yield from _unfound(pair, period, held)
    found = [
        (leg, executed)
        for leg, executed in ((pair.trade.entry, pair.entry), (pair.trade.exit, pair.exit))
        if leg is not None and executed is not None
    ]
    differing = [*_quantities(pair, found), *_prices(pair, found, tolerances)]
    result = result_of(pair)
    if result is not None and len(found) == len((ENTRY, EXIT)):
        differing += fee_differences(pair, result, tolerances)
        differing = weighed(pair, result, differing, tolerances)
    differing += [
        _time(pair, leg, executed)
        for leg, executed in found
        if executed.distance(leg.at) > tolerances.time and executed.is_timed
    ]
    # a leg outside the period explains a result within it, and is no difference of it
    touched = {leg.role for leg, executed in found if _touches(period, leg, executed)}
    of_whole = {"", EXIT} if EXIT in touched else {""} if len(found) == 1 else set()
    yield from (one for one in differing if one.leg in touched | of_whole)


def _extra(pair: Pair, period: Period) -> Iterator[Difference]:
    legs = [leg for leg in pair.missing_legs if leg.at in period]
    if not legs:
        return
    trade = pair.trade
    effect = None if trade.realized_pnl is None else -trade.realized_pnl
    yield replace(
        about(pair),
        leg="" if len(legs) == len(pair.missing_legs) else legs[0].role,
        at=legs[0].at,
        bot=" and ".join(map(told, legs)),
        broker="no such order",
        difference=-trade.quantity,
        pnl_effect=effect if legs[-1].role == EXIT else None,
    )


def _unfound(pair: Pair, period: Period, held: Decimal) -> Iterator[Difference]:
    """What one side has of a trade and the other has not, where something of it was found."""
    trade = pair.trade
    if not trade.is_closed and pair.exit is not None and pair.exit.last in period:
        result = result_of(pair)
        yield replace(
            about(pair),
            kind=Kind.STATUS,
            at=pair.exit.last,
            bot=trade.status,
            broker=f"closed: {pair.exit}",
            pnl_effect=None if result is None else result.net,
        )
    for leg in pair.missing_legs:
        if leg.at not in period:
            continue
        effect = None if trade.realized_pnl is None else -trade.realized_pnl
        still = leg.role == EXIT and held > 0
        yield replace(
            about(pair),
            kind=Kind.STATUS if still else Kind.EXTRA,
            leg=leg.role,
            at=leg.at,
            bot=f"closed: {told(leg)}" if still else told(leg),
            broker="still held" if still else "no such order",
            pnl_effect=effect if leg.role == EXIT else None,
        )


def _quantities(pair: Pair, found: Sequence[tuple[Leg, Executed]]) -> Iterator[Difference]:
    wrong = [
        (leg, executed)
        for leg, executed in found
        if abs(executed.size - leg.quantity) > _MICRO * (len(executed.parts) - 1)
    ]
    result = result_of(pair)
    sizes = {executed.size for _, executed in wrong}
    effect = None
    if result is not None:
        gain = pair.trade.sign * (result.exit.price - result.entry.price)
        effect = gain * (result.quantity - pair.trade.quantity) * result.multiplier
    for leg, executed in wrong[: len(sizes)]:
        yield replace(
            about(pair),
            kind=Kind.QUANTITY,
            leg=leg.role if len(sizes) == len(wrong) else "",
            at=executed.first,
            bot=number(leg.quantity),
            broker=number(executed.size),
            difference=executed.size - leg.quantity,
            pnl_effect=effect,
        )
        effect = None if effect is None else _NONE  # it is the trade's, and said once


def _prices(
    pair: Pair, found: Sequence[tuple[Leg, Executed]], tolerances: Tolerances
) -> Iterator[Difference]:
    for leg, executed in found:
        if leg.price is None or price_agrees(leg, executed.price, tolerances):
            continue
        apart = executed.price - leg.price
        towards = pair.trade.sign * (-1 if leg.role == ENTRY else 1)
        multiplier = executed.sample.multiplier or _ONE
        yield replace(
            about(pair),
            kind=Kind.PRICE,
            leg=leg.role,
            at=executed.first,
            orders=executed.orders,
            bot=number(leg.price),
            broker=number(executed.price),
            difference=apart,
            pnl_effect=towards * apart * pair.trade.quantity * multiplier
            if pair.trade.is_closed
            else _NONE,
        )


def _time(pair: Pair, leg: Leg, executed: Executed) -> Difference:
    nearest = min(
        (moment for span in executed.spans for moment in span),
        key=lambda moment: abs(moment - leg.at),
    )
    return replace(
        about(pair),
        kind=Kind.TIME,
        leg=leg.role,
        at=nearest,
        orders=executed.orders,
        bot=leg.at.isoformat(),
        broker=nearest.isoformat(),
        difference=Decimal((nearest - leg.at) // timedelta(microseconds=1)) / 1_000_000,
        pnl_effect=_NONE,
    )


def _touches(period: Period, leg: Leg, executed: Executed) -> bool:
    return leg.at in period or executed.first in period or executed.last in period


def told(leg: Leg) -> str:
    """A leg in words."""
    price = "" if leg.price is None else f" at {number(leg.price)}"
    return f"{leg.side} {number(leg.quantity)}{price} on {leg.at:%Y-%m-%d %H:%M:%S} UTC"
