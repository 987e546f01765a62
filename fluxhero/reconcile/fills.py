"""A fill as matching needs it, and which fills never were: those that the broker took back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

TRADE: Final = "trade"
SPLIT: Final = "split"
TRANSFER: Final = "transfer"
BUY: Final = "buy"
SELL: Final = "sell"

Group = tuple[str, str | None, str, str, str | None]


@dataclass(frozen=True, slots=True)
class Fill:
    """A row of the ledger's `fills`. `fees` are a cost where positive; without `multiplier` it is 1.

    `cancels` names another fill that this one takes back, by its key or by what that one is
    `cancelled_as`. A `conversion` is of currencies. Of one that `closes` the broker says that something was
    held.
    """

    fill_id: str
    mode: str
    broker: str
    symbol: str
    currency: str
    side: str
    quantity: Decimal
    price: Decimal
    executed_at: datetime
    kind: str = TRADE
    account: str | None = None
    fees: Decimal | None = None
    realized_pnl: Decimal | None = None
    multiplier: Decimal | None = None
    order_id: str | None = None
    trade_id: str | None = None
    source: str | None = None
    cancels: str | None = None
    cancelled_as: str | None = None
    conversion: bool = False
    closes: bool = False

    @property
    def group(self) -> Group:
        """What holds a position of its own: mode, account, symbol, currency and the bot's trade."""
        return (self.mode, self.account, self.symbol, self.currency, self.trade_id)

    @property
    def is_order(self) -> bool:
        """Whether it is a deal, which a bot's ledger should have, and no split or transfer."""
        return self.kind not in {SPLIT, TRANSFER}


def in_order(fills: Iterable[Fill]) -> list[Fill]:
    """By the time they were executed, those of one instant by their key, wherever they were listed."""
    return sorted(fills, key=lambda fill: (fill.executed_at, fill.fill_id))


def without_cancelled(fills: Sequence[Fill]) -> list[Fill]:
    """The fills that stand: one that was taken back goes, and what took it back with it.

    What takes back a fill that is not there stays: it is as good as a deal the other way.
    """
    names = {fill.cancelled_as or fill.fill_id for fill in fills}
    gone = {fill.cancels for fill in fills if fill.cancels in names}
    return [
        fill
        for fill in fills
        if fill.cancels not in gone and (fill.cancelled_as or fill.fill_id) not in gone
    ]


def with_splits_netted(fills: Iterable[Fill]) -> list[Fill]:
    """Splits of one position at one time as one: with a new number of a share come old out and new in."""
    kept: list[Fill] = []
    changes: dict[tuple[Group, datetime], list[Fill]] = {}
    for fill in fills:
        if fill.kind == SPLIT:
            changes.setdefault((fill.group, fill.executed_at), []).append(fill)
        else:
            kept.append(fill)
    for several in changes.values():
        change = sum(fill.quantity if fill.side == BUY else -fill.quantity for fill in several)
        if change or len(several) == 1:
            side = BUY if change > 0 else SELL
            kept.append(replace(several[0], side=side, quantity=abs(Decimal(change))))
    return kept
