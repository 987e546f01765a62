"""What each type of Alpaca's account activities means to the ledger, stated once.

The types are those of Alpaca's documentation (2026) and of alpaca-py. A type that is not here is not
guessed at: its activities are refused, and the quarantine keeps them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """Where an activity goes."""

    CASH = "cash"  # money only
    SHARES = "shares"  # shares only, for no money
    TRADE = "trade"  # shares for money
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a type of activity means.

    Attributes:
        place: where it goes.
        kind: the ledger's kind, where the amount is above zero or there is but one.
        negative: the kind of an amount below zero, where that is another one.
        closing: whether it counts at the end of its day, after what was traded on it.
        why: why it has no place in the ledger.
    """

    place: Place
    kind: str = ""
    negative: str = ""
    closing: bool = False
    why: str = ""

    def kind_of(self, *, below_zero: bool) -> str:
        """The ledger's kind of an amount."""
        return self.negative if below_zero and self.negative else self.kind


def _cash(kind: str, negative: str = "") -> Meaning:
    return Meaning(Place.CASH, kind, negative)


def _shares(kind: str, *, closing: bool = False) -> Meaning:
    return Meaning(Place.SHARES, kind, closing=closing)


def _nowhere(why: str) -> Meaning:
    return Meaning(Place.NOWHERE, why=why)


_PAID = _cash("deposit", "withdrawal")
_DIVIDEND, _TAX, _INTEREST = _cash("dividend"), _cash("tax"), _cash("interest")
_FEE = _cash("rebate", "fee")  # a fee that is above zero was paid back
_MOVED, _SPLIT = _shares("transfer"), _shares("split")
_EXERCISE = _shares("exercise", closing=True)

MEANINGS = {
    "CSD": _PAID,
    "CSW": _PAID,
    "JNLC": _PAID,
    "JNL": _PAID,
    "ACATC": _PAID,
    "TRANS": _PAID,
    "DIV": _DIVIDEND,
    "DIVCGL": _DIVIDEND,
    "DIVCGS": _DIVIDEND,
    "DIVROC": _DIVIDEND,
    "DIVTXEX": _DIVIDEND,
    "CIL": _DIVIDEND,  # money for a fraction of a share, which its issuer pays out as it does a dividend
    "DIVNRA": _TAX,
    "DIVFT": _TAX,
    "DIVTW": _TAX,
    "DIVWH": _TAX,
    "INTNRA": _TAX,
    "INTTW": _TAX,
    "WH": _TAX,
    "FEE": _FEE,
    "DIVFEE": _FEE,
    "PTC": _FEE,
    "PTR": _FEE,
    "CFEE": _FEE,  # taken in the coin itself where no money moves
    "INT": _INTEREST,
    "ACATS": _MOVED,
    "JNLS": _MOVED,
    "SPIN": _MOVED,
    "SSO": _MOVED,
    "MA": _MOVED,
    "REORG": _MOVED,
    "NC": _MOVED,
    "SC": _MOVED,
    "SPLIT": _SPLIT,
    "SSP": _SPLIT,
    "OPEXP": _shares("expiry", closing=True),
    "OPASN": _shares("assignment", closing=True),
    "OPEXC": _EXERCISE,
    "OPXRC": _EXERCISE,
    "OPTRD": Meaning(Place.TRADE, "trade", closing=True),
    "OPCSH": _nowhere("what an adjusted option delivers in cash is booked beside its exercise"),
    "OPCA": _nowhere("an option that was adjusted becomes another contract"),
    "EXTRD": _nowhere("a trade that was made elsewhere does not say what it cost here"),
    "FXTRD": _nowhere("an exchange of currencies names one of the two amounts"),
    "INTPNL": _nowhere("a profit that Alpaca books internally belongs to no trade"),
    "MEM": _nowhere("a memorandum moves nothing"),
    "OCT": _nowhere("Alpaca does not document it"),
    "SWP": _nowhere("a sweep to a bank leaves the money with its owner"),
    "VOF": _nowhere("a voluntary offer says nothing of what came of it"),
}
# What moves shares where it moves no money.
SHARES_INSTEAD = {"CFEE": _shares("transfer", closing=True), "JNL": _MOVED}
