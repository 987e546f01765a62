"""A trade of the bot's ledger as reconciling needs it, and its two legs."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fluxhero.reconcile.fills import BUY, SELL
from fluxhero.reconcile.round_trips import LONG

ENTRY: Final = "entry"
EXIT: Final = "exit"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class Trade:
    """A row of the ledger's `trades`; `account`, `currency` and the broker's `order_id` are of its `extra`."""

    trade_id: str
    mode: str
    symbol: str
    side: str
    quantity: Decimal
    entry_price: Decimal
    entry_time: datetime
    exit_price: Decimal | None = None
    exit_time: datetime | None = None
    fees: Decimal | None = None
    realized_pnl: Decimal | None = None
    status: str = "open"
    source: str | None = None
    account: str | None = None
    currency: str | None = None
    order_id: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the bot says so."""
        return self.status == CLOSED

    @property
    def sign(self) -> int:
        """1 long, -1 short."""
        return 1 if self.side == LONG else -1

    @property
    def entry(self) -> "Leg":
        """What opened it."""
        side = BUY if self.side == LONG else SELL
        return Leg(self, ENTRY, side, self.entry_price, self.entry_time)

    @property
    def exit(self) -> "Leg | None":
        """What closed it; None while it is open, or where nobody says when it was closed."""
        if not self.is_closed or self.exit_time is None:
            return None
        return Leg(self, EXIT, self.exit_side, self.exit_price, self.exit_time)

    @property
    def exit_side(self) -> str:
        """The side of what closes it."""
        return SELL if self.side == LONG else BUY


@dataclass(frozen=True, slots=True)
class Leg:
    """One deal that the bot's ledger says it made; `side` is buy or sell."""

    trade: Trade
    role: str
    side: str
    price: Decimal | None
    at: datetime

    @property
    def quantity(self) -> Decimal:
        """Its size: the trade's."""
        return self.trade.quantity
