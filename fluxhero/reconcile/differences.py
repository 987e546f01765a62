"""A difference between a broker's records and a bot's ledger: its kinds, what each means, what to do."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Kind(StrEnum):
    """What is different; in the order in which a reader should look at them."""

    MISSING = "missing"
    EXTRA = "extra"
    STATUS = "status"
    QUANTITY = "quantity"
    PRICE = "price"
    FEES = "fees"
    PNL = "pnl"
    BROKER_PNL = "broker_pnl"
    TIME = "time"
    UNPLACED = "unplaced"

    @property
    def means(self) -> str:
        """What it means, in one sentence."""
        return _MEANS[self][0]

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _MEANS[self][1]


_MEANS = {
    Kind.MISSING: (
        "The broker executed it and the bot's ledger does not have it.",
        (
            "Look in the bot's log for that time: a trade that could not be written is lost to every figure; "
            "one that you made by hand belongs into the ledger too."
        ),
    ),
    Kind.EXTRA: (
        "The bot's ledger has it and the broker never executed it.",
        (
            "Look whether the order was rejected or cancelled; if so, set the trade to cancelled in the bot's "
            "database. If it is of another account or an older export, name the account or import that."
        ),
    ),
    Kind.STATUS: (
        "One says that it is open, the other that it is closed.",
        (
            "Close what the broker no longer holds in the bot's database, before the bot trades on it; what "
            "it still holds needs its stop looked at now."
        ),
    ),
    Kind.QUANTITY: (
        "The bot's quantity is not what was executed.",
        "A partial fill was taken for a whole one, or a later fill was not noticed: correct the quantity.",
    ),
    Kind.PRICE: (
        "The bot's price is not the average that was executed.",
        "The bot kept the price it asked for, or of a quote: have it keep the price of the fills.",
    ),
    Kind.FEES: (
        "The bot's fees are not those that the broker charged.",
        "Set the bot's rate of fees to what the account pays.",
    ),
    Kind.PNL: (
        "The bot's result follows neither from its own prices nor from the broker's.",
        "The bot computed it from something else; correct the result in its database.",
    ),
    Kind.BROKER_PNL: (
        "The broker's own result of a round trip is not what its fills come to, first in first out.",
        (
            "Import what was bought before the export begins. Else the broker reckons otherwise (another way of "
            "matching lots, a wash sale, a dividend in the cost): its statement is what counts for tax."
        ),
    ),
    Kind.TIME: (
        "The bot's time is not when it was executed.",
        (
            "By whole hours: set FLUXHERO_SOURCE_TIMEZONE, or --timezone at ingest, to the bot's zone, and "
            "ingest anew. Else the bot's clock is wrong, or it notes when it decided."
        ),
    ),
    Kind.UNPLACED: (
        "The broker's records have a split of something that was not held by its fills.",
        "Import what was bought before the export begins, so that the split has something to multiply.",
    ),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        kind: what is different.
        mode: of the account.
        account: the broker's account; None where only the bot has it and does not say.
        symbol: as the side that has it spells it.
        currency: of the money in it.
        side: long or short; of an order by itself buy or sell.
        leg: entry or exit; empty where it is the whole.
        trade_id: the bot's trade; None where there is none.
        orders: the broker's orders, by their keys in the ledger.
        bot: what the bot says.
        broker: what the broker says.
        difference: the broker's number less the bot's, of a time in seconds; None where there are none.
        pnl_effect: what the bot's realised P&L changes by when this is put right; None where that is
            not known.
        at: when it happened.
    """

    kind: Kind
    mode: str
    account: str | None
    symbol: str
    currency: str
    side: str
    at: datetime
    leg: str = ""
    trade_id: str | None = None
    orders: tuple[str, ...] = ()
    bot: str = ""
    broker: str = ""
    difference: Decimal | None = None
    pnl_effect: Decimal | None = None
