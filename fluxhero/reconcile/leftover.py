"""What the broker has and no trade of the bot's accounts for, and what it says of its own round trips."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from fluxhero.reconcile.differences import Difference, Kind
from fluxhero.reconcile.executed import Executed, number, orders_of
from fluxhero.reconcile.fills import BUY, SELL, SPLIT
from fluxhero.reconcile.matching import Unplaced, match
from fluxhero.reconcile.period import Period
from fluxhero.reconcile.round_trips import LONG, RoundTrip
from fluxhero.reconcile.tolerances import Tolerances

# The premium of an option goes into the cost of its shares at the broker: neither side is first in first out.
_MOVED_COST: Final = frozenset({"assignment", "exercise"})
_HALF_A_CENT: Final = Decimal("0.005")
_Position = tuple[str | None, str]


def missing(left: Sequence[Executed], period: Period) -> Iterator[Difference]:
    """What the broker executed in a period and the bot's ledger does not have, a round trip each.

    What closes something that was opened before the period, and was not the bot's then, is not the bot's
    now.

    Args:
        left: orders of one mode and symbol that belong to no trade, in order of time.
        period: what is compared.
    """
    before = [one for one in left if period.start is not None and one.first < period.start]
    within = [one for one in left if one.first in period]
    fills = [fill for one in _not_closing(before, within) for fill in one.fills()]
    for trip in match(fills).trips:
        orders = orders_of(trip.parts)
        fill = trip.first
        yield Difference(
            kind=Kind.MISSING,
            mode=fill.mode,
            account=fill.account,
            symbol=fill.symbol,
            currency=fill.currency,
            side=trip.side if trip.exit_time else fill.side,
            at=trip.entry_time,
            orders=tuple(dict.fromkeys(name for one in orders for name in one.orders)),
            bot="nothing",
            broker=" and ".join(str(one) for one in orders),
            difference=trip.quantity,
            pnl_effect=trip.realized_pnl if trip.exit_time else None,
        )


def _not_closing(before: Iterable[Executed], within: Iterable[Executed]) -> Iterator[Executed]:
    """Orders of a period but for those that close what was left open before it."""
    carried: dict[_Position, dict[str, Decimal]] = {}
    for trip in match(fill for one in before for fill in one.fills()).trips:
        closing = SELL if trip.side == LONG else BUY
        carried.setdefault(_position(trip.first.account, trip.first.symbol), {})[closing] = (
            trip.open_quantity
        )
    for one in within:
        closable = carried.get(_position(one.sample.account, one.sample.symbol), {})
        if one.size <= closable.get(one.side, Decimal(0)):
            closable[one.side] -= one.size
        else:
            yield one


def _position(account: str | None, symbol: str) -> _Position:
    return account, symbol


def broker_results(
    trips: Iterable[RoundTrip], period: Period, tolerances: Tolerances
) -> Iterator[Difference]:
    """Round trips of which the source says another result than their fills come to.

    Not those of which something was held before the first fill, or that came from an option.
    """
    for trip in trips:
        said, ours = trip.source_pnl, trip.realized_pnl
        if said is None or ours is None or trip.last_time not in period or is_doubtful(trip):
            continue
        closing = sum(not part.opening for part in trip.parts)
        if abs(said - ours) <= max(tolerances.money, _HALF_A_CENT * closing):
            continue
        fill = trip.first
        yield Difference(
            kind=Kind.BROKER_PNL,
            mode=fill.mode,
            account=fill.account,
            symbol=fill.symbol,
            currency=fill.currency,
            side=trip.side,
            at=trip.last_time,
            orders=tuple(
                dict.fromkeys(part.fill.order_id or part.fill.fill_id for part in trip.parts)
            ),
            bot=f"first in, first out: {number(ours)}",
            broker=number(said),
            difference=said - ours,
        )


def is_doubtful(trip: RoundTrip) -> bool:
    """Whether the source's result of it cannot be held against its fills."""
    return trip.carried_in or any(part.fill.kind in _MOVED_COST for part in trip.parts)


def unplaced(several: Iterable[Unplaced], period: Period) -> Iterator[Difference]:
    """Splits of nothing."""
    for one in several:
        fill = one.fill
        if fill.kind == SPLIT and fill.executed_at in period:
            yield Difference(
                kind=Kind.UNPLACED,
                mode=fill.mode,
                account=fill.account,
                symbol=fill.symbol,
                currency=fill.currency,
                side=fill.side,
                at=fill.executed_at,
                orders=(fill.fill_id,),
                broker=f"{one.why}: {fill.side} {number(fill.quantity)}",
                difference=fill.quantity,
            )
