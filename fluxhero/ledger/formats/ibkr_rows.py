"""What the readers of Flex elements share: how rows are named, dated and refused."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fluxhero.ledger.formats.ibkr_stream import Element
from fluxhero.ledger.formats.ibkr_survey import Survey, account_of
from fluxhero.ledger.formats.ibkr_values import Clock, decimal, given, number

SOURCE, BROKER = "ibkr", "ibkr"
Row = dict[str, str | None]

_NUMBERED = re.compile(r"[A-Z]{1,3}[0-9]+.*")
_PAPER = re.compile(r"D[UF][0-9].*")
_SIGNS = "+-"
_as_json = json.JSONEncoder(ensure_ascii=False).encode
_ZERO_IS_NOTHING = frozenset({"origTradeID", "origTransactionID", "accruedInt"})
_ORDER_TYPES = {
    "MKT": "market",
    "LMT": "limit",
    "STP": "stop",
    "STPLMT": "stop_limit",
    "STP LMT": "stop_limit",
    "TRAIL": "trailing_stop",
}


def mode_of(account: str) -> str | None:
    """The mode an account's number tells; None for what is no number, such as an alias."""
    if not _NUMBERED.fullmatch(account):
        return None
    return "paper" if _PAPER.fullmatch(account) else "live"


class RefusedError(ValueError):
    """An element that is understood, or partly, and has no place in the ledger."""

    def __init__(self, rule: str, reason: str) -> None:
        """Say which rule it breaks, in one word, and why, in a sentence."""
        super().__init__(reason)
        self.rule = rule


@dataclass(slots=True)
class Context:
    """What the readers know of the file they read.

    Attributes:
        survey: what one pass over it found.
        clock: how its times are read.
        mode: the mode of all accounts, where the user gave one.
        account: the account of elements that name none, where the user gave one.
        unknown: by element name, the attributes that ibflex does not know.
        repeats: how often a row without a number of its own was met, by what it says.
    """

    survey: Survey
    clock: Clock
    mode: str | None = None
    account: str | None = None
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)

    def account_of(self, element: Element) -> str:
        """The account of an element.

        Raises:
            RefusedError: neither it nor its statement nor the user names one.
        """
        account = account_of(element) or self.account
        if not account:
            raise RefusedError("account", f"the {element.tag} names no accountId")
        return account

    def mode_of(self, account: str) -> str:
        """The mode the user gave, else by IBKR's numbering: DU… and DF… are paper, others live.

        Raises:
            RefusedError: the account is called by another name than its number.
        """
        mode = self.mode or mode_of(account)
        if mode is None:
            raise RefusedError(
                "mode", f"'{account}' is no account number, which would tell paper from live"
            )
        return mode

    def row(self, element: Element, account: str) -> Row:
        """The columns that rows of all tables have in common."""
        return {"mode": self.mode_of(account), "source": SOURCE, "_position": element.position}

    def own_name(self, kind: str, account: str, attributes: Mapping[str, str]) -> str:
        """A key for a row without a number: a digest of what it says, and its place among equals."""
        said = [
            self.clock.iso(attributes.get("dateTime") or attributes.get("date")),
            *(_normal(attributes.get(name)) for name in ("amount", "quantity")),
            *(given(attributes.get(n)) for n in ("type", "currency", "conid", "description")),
        ]
        text = json.dumps([kind, account, *said])
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        self.repeats[digest] += 1
        place = self.repeats[digest]
        return f"ibkr:{account}:{kind}:{digest}" + (f"#{place}" if place > 1 else "")

    def kept(self, element: Element, names: Iterable[str]) -> dict[str, object]:
        """The attributes of these names that say something, and those ibflex does not know."""
        attributes = element.attributes
        found: dict[str, object] = {}
        for name in (*names, *self.unknown.get(element.tag, ())):
            text = given(attributes.get(name))
            if text and not (text == "0" and name in _ZERO_IS_NOTHING):
                found[name] = text
        return found


def side_and_quantity(attributes: Mapping[str, str]) -> tuple[str, str]:
    """Side and unsigned quantity of a row whose quantity is by how much the holding changed.

    Raises:
        RefusedError: the quantity is missing, no number, or zero.
    """
    value = decimal(attributes.get("quantity"))
    if value is None:
        raise RefusedError("quantity", f"quantity '{attributes.get('quantity', '')}' is no number")
    if not value:
        raise RefusedError("zero_quantity", "quantity is zero, so no holding changed")
    return ("buy" if value > 0 else "sell"), unsigned(attributes["quantity"])


def unsigned(text: str) -> str:
    """A number's text without its sign."""
    return (number(text) or "").strip().lstrip(_SIGNS)


def order_type(text: str | None) -> str | None:
    """IBKR's order type in the words of the ledger; in lower case where it has none."""
    text = given(text)
    if text is None:
        return None
    return "multiple" if ";" in text else _ORDER_TYPES.get(text, text.lower())


def packed(extra: Mapping[str, object]) -> str | None:
    """The extra column's text; None for nothing."""
    return _as_json(extra) if extra else None


def _normal(text: str | None) -> str | None:
    value = decimal(text)
    return given(text) if value is None else f"{value.normalize():f}"
