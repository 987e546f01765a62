"""A broker's fills against a bot's trades, mode by mode and symbol by symbol."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from fluxhero.ledger.schema import BASE_CURRENCY
from fluxhero.reconcile.comparing import compare
from fluxhero.reconcile.differences import Difference, Kind
from fluxhero.reconcile.fills import Fill, without_cancelled
from fluxhero.reconcile.leftover import broker_results, missing, unplaced
from fluxhero.reconcile.matching import Matched, match
from fluxhero.reconcile.pairing import Pair, pair
from fluxhero.reconcile.period import Period
from fluxhero.reconcile.round_trips import RoundTrip
from fluxhero.reconcile.symbols import symbol_key
from fluxhero.reconcile.tolerances import Tolerances
from fluxhero.reconcile.trades import Trade
from fluxhero.reconcile.weighing import result_of
from fluxhero.wording import counted

_NONE = Decimal(0)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be compared; None for all there is."""

    account: str | None = None
    mode: str | None = None
    period: Period = field(default_factory=Period)


@dataclass(slots=True)
class Sums:
    """What closed trades whose both legs were found come to, in one account and currency.

    Attributes:
        trades: how many.
        bot_pnl: realised, as the bot says.
        broker_pnl: realised, as the broker's fills come to, after its fees.
        bot_fees: as the bot says, where it does.
        broker_fees: as the broker says, where it does.
    """

    trades: int = 0
    bot_pnl: Decimal = _NONE
    broker_pnl: Decimal = _NONE
    bot_fees: Decimal = _NONE
    broker_fees: Decimal = _NONE


@dataclass(slots=True)
class Compared:
    """What was compared of one mode, and what came of it.

    Attributes:
        mode: of the accounts.
        accounts: the broker's.
        period: that was compared.
        orders: the broker's in it.
        trades: the bot's with a leg in it.
        outside: trades of the bot's before or after it.
        carried_in: round trips of which something was held before the broker's first fill.
        conversions: fills that changed money from one currency into another, and were no trade.
        differences: what is different.
        sums: by account and currency.
    """

    mode: str
    accounts: tuple[str, ...]
    period: Period
    orders: int = 0
    trades: int = 0
    outside: int = 0
    carried_in: int = 0
    conversions: int = 0
    differences: list[Difference] = field(default_factory=list)
    sums: dict[tuple[str, str], Sums] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """All that was compared, by mode, and the round trips of every fill in the ledger.

    Attributes:
        compared: of each mode that has fills of a broker's and trades of a bot's.
        nothing: what could not be compared, and why.
        trips: round trips of all fills, those of the bot's own too.
    """

    compared: tuple[Compared, ...]
    nothing: tuple[str, ...]
    trips: tuple[RoundTrip, ...]


def reconcile(
    fills: Sequence[Fill], trades: Sequence[Trade], asked: Asked, tolerances: Tolerances
) -> Reconciled:
    """Compare what a broker executed with what a bot's ledger says.

    Args:
        fills: all of the ledger's.
        trades: all of the ledger's, without the cancelled ones.
        asked: the account, mode and period wanted. All accounts of a mode are looked at in any case: what
            is another account's is then not missed in this one.
        tolerances: what counts as equal.
    """
    standing = without_cancelled(fills)
    matched = match(standing)
    of_broker = [fill for fill in standing if fill.trade_id is None]
    sources = {fill.source for fill in of_broker if fill.source is not None}
    of_bot = [trade for trade in trades if trade.source not in sources]
    compared: list[Compared] = []
    nothing: list[str] = []
    modes = {fill.mode for fill in of_broker} | {trade.mode for trade in of_bot}
    for mode in sorted(mode for mode in modes if asked.mode in {None, mode}):
        side = _Side(mode, [fill for fill in of_broker if fill.mode == mode], matched)
        theirs = [trade for trade in of_bot if trade.mode == mode]
        if asked.account is not None and asked.account not in side.accounts:
            continue
        if theirs and side.fills:
            compared.append(_compared(side, theirs, asked, tolerances))
        elif theirs:
            nothing.append(
                f"{mode}: {counted(len(theirs), 'trade')} of a bot and no fill of a broker"
            )
        else:
            fills_of = f"{counted(len(side.fills), 'fill')} of {', '.join(side.accounts)}"
            nothing.append(f"{mode}: {fills_of} and no trade of a bot")
    if not compared and not nothing:
        nothing.append(
            "the ledger has neither fills of a broker nor trades of a bot that were asked for"
        )
    return Reconciled(tuple(compared), tuple(nothing), matched.trips)


@dataclass(frozen=True, slots=True)
class _Side:
    """The broker's side of one mode."""

    mode: str
    fills: Sequence[Fill]
    matched: Matched

    @property
    def accounts(self) -> tuple[str, ...]:
        return tuple(sorted({account_of(fill) for fill in self.fills}))

    @property
    def trips(self) -> Iterator[RoundTrip]:
        for trip in self.matched.trips:
            if trip.first.mode == self.mode and trip.first.trade_id is None:
                yield trip


def account_of(fill: Fill) -> str:
    """The account of a fill, or the broker where none is known."""
    return fill.account or fill.broker


def _compared(
    side: _Side, trades: Sequence[Trade], asked: Asked, tolerances: Tolerances
) -> Compared:
    period = covered(side.fills, trades, asked.period, tolerances)
    accounts = side.accounts if asked.account is None else (asked.account,)
    found = Compared(side.mode, accounts, period)
    by_symbol: dict[str, tuple[list[Trade], list[RoundTrip]]] = {}
    for trade in trades:
        by_symbol.setdefault(symbol_key(trade.symbol), ([], []))[0].append(trade)
    for trip in side.trips:
        by_symbol.setdefault(symbol_key(trip.first.symbol), ([], []))[1].append(trip)
    for of_bot, trips in by_symbol.values():
        _compare_symbol(found, of_bot, trips, tolerances)
    wanted = [trip for trip in side.trips if account_of(trip.first) in accounts]
    found.differences += broker_results(wanted, period, tolerances)
    found.differences += unplaced(
        (one for one in side.matched.unplaced if one.fill.mode == side.mode), period
    )
    found.carried_in = sum(trip.carried_in for trip in wanted)
    found.differences = sorted(
        (
            one
            for one in found.differences
            if asked.account in {None, one.account} or not one.account
        ),
        key=lambda one: (list(Kind).index(one.kind), one.at, one.symbol, one.leg),
    )
    return found


def _compare_symbol(
    found: Compared, trades: Sequence[Trade], trips: Sequence[RoundTrip], tolerances: Tolerances
) -> None:
    if not trades and all(trip.first.conversion for trip in trips):
        found.conversions += sum(len(trip.parts) for trip in trips)
        return
    period = found.period
    paired = pair(trades, trips, tolerances)
    for one in paired.pairs:
        legs = (one.trade.entry, one.trade.exit)
        if not any(leg is not None and leg.at in period for leg in legs) and not one.is_found:
            found.outside += 1
            continue
        known = one.entry or one.exit
        found.trades += known is None or account_of(known.sample) in found.accounts
        held = paired.held.get(one.trade.side, _NONE)
        found.differences += compare(one, period, tolerances, held=held)
        _sum(found, one)
    found.differences += missing(paired.left, period)
    found.orders += len(
        {
            (part.fill.account, part.fill.order_id or part.fill.fill_id)
            for trip in trips
            for part in trip.parts
            if part.fill.executed_at in period and account_of(part.fill) in found.accounts
        }
    )


def _sum(found: Compared, one: Pair) -> None:
    result, trade = result_of(one), one.trade
    if result is None or not trade.is_closed or result.exit.last not in found.period:
        return
    fill = result.exit.sample
    if account_of(fill) not in found.accounts:
        return
    sums = found.sums.setdefault((account_of(fill), fill.currency or BASE_CURRENCY), Sums())
    sums.trades += 1
    sums.bot_pnl += trade.realized_pnl or _NONE
    sums.broker_pnl += result.net
    sums.bot_fees += trade.fees or _NONE
    sums.broker_fees += result.fees or _NONE


def covered(
    fills: Sequence[Fill], trades: Sequence[Trade], asked: Period, tolerances: Tolerances
) -> Period:
    """The period that both sides cover, where none was asked for.

    It begins where both have begun: the broker's accounts with their first fills, the bot with its first
    trade. It ends with the broker's last fill: an export is of its day, while a bot's ledger goes on, so that
    its silence until then counts and its trades since then do not.

    Args:
        fills: of the broker's in one mode; at least one.
        trades: of the bot's in this mode; at least one.
        asked: bounds that were asked for, and hold.
        tolerances: by how much the bot's first time may be late.
    """
    first: dict[str, datetime] = {}
    for fill in fills:
        known = first.setdefault(account_of(fill), fill.executed_at)
        first[account_of(fill)] = min(known, fill.executed_at)
    began = max(*first.values(), min(trade.entry_time for trade in trades) - tolerances.time)
    ended = max(fill.executed_at for fill in fills)
    return Period(
        began if asked.start is None else asked.start,
        ended + _MOMENT if asked.end is None else asked.end,
    )
