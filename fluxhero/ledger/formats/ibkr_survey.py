"""What must be known of a whole Flex file before its first row is read.

One pass over the file: which sections and fields the query had, which trades it cancels, in which
order its dates have day and month. A query that lacks what the ledger needs is refused here.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats.ibkr_stream import STATEMENT, Element, elements
from fluxhero.ledger.formats.ibkr_values import day_order, given, is_ambiguous, numbered

EXECUTION_LEVELS = ("", "EXECUTION")
_CANCELS = ("TradeCancel", "FracShareCancel")
_DETAIL = ("", "DETAIL")
_DATED = (
    "dateTime", "tradeDate", "reportDate", "settleDate", "settleDateTarget", "date", "orderTime",
    "expiry", "fromDate", "toDate", "whenGenerated", "origTradeDate", "openDateTime",
)  # fmt: skip

_SUMS = {"Trade", "SymbolSummary", "AssetSummary", "Lot"}  # of the section Trades
# What a fill cannot be made without; each alternative of a group will do.
_NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Trade": (
        ("ibExecID",), ("tradeID",), ("symbol",), ("currency",), ("buySell",), ("quantity",),
        ("tradePrice",), ("dateTime", "tradeTime"), ("ibCommission",),
    ),
    "Order": (("ibOrderID", "orderID"), ("symbol",), ("currency",), ("buySell",), ("quantity",)),
    "CashTransaction": (("type",), ("amount",), ("currency",), ("dateTime", "reportDate")),
    "CorporateAction": (("type",), ("symbol",), ("quantity",), ("currency",)),
    "Transfer": (("symbol",), ("quantity",), ("direction",), ("currency",)),
}  # fmt: skip


@dataclass(slots=True)
class Survey:
    """What one pass over a file found.

    Attributes:
        executions: how many executions it has.
        details: how many cash transactions that are no sums.
        counts: how many elements of each name.
        fields: the attributes that any element of a name has.
        cancelled: by account and trade, the transactions that cancel it, in order.
        unnamed: whether an execution can be known by its transaction only.
        accounts: the accounts of its statements.
        day_first: whether its dates with slashes have the day first; None where nothing tells.
        ambiguous: a date with slashes that may be read in two ways.
        contradicted: whether its dates have the day first and the month first.
    """

    executions: int = 0
    details: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    fields: dict[str, set[str]] = field(default_factory=dict)
    cancelled: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    day_first: bool | None = None
    ambiguous: str | None = None
    contradicted: bool = False
    unnamed: bool = False

    def add(self, element: Element) -> None:
        """Take an element into account."""
        tag, attributes = element.tag, element.attributes
        self.counts[tag] += 1
        known = self.fields.setdefault(tag, set())
        if not known.issuperset(attributes):
            known.update(attributes)
        for name in _DATED:
            if (text := attributes.get(name)) and "/" in text:
                self._date(text)
        if tag == STATEMENT:
            self.accounts.add(element.account)
        elif tag == "Trade":
            self._trade(element)
        elif tag == "CashTransaction" and not is_sum(attributes):
            self.details += 1

    def _trade(self, element: Element) -> None:
        attributes = element.attributes
        if attributes.get("levelOfDetail", "") not in EXECUTION_LEVELS:
            return
        self.executions += 1
        cancel = is_cancel(attributes)
        named = given(attributes.get("ibExecID")) or numbered(attributes.get("tradeID"))
        self.unnamed |= cancel or not named
        if cancel and (trade := numbered(attributes.get("origTradeID"))):
            cancels = self.cancelled.setdefault((account_of(element), trade), [])
            cancels.append(transaction_number(attributes))

    def booked_before(self, element: Element, trade: str | None) -> int:
        """How often a trade was booked, and cancelled again, before an element of it was."""
        cancels = self.cancelled.get((account_of(element), trade or ""))
        if cancels is None:
            return 0
        return bisect_left(cancels, transaction_number(element.attributes))

    def _date(self, text: str) -> None:
        order = day_order(text)
        if order is not None:
            self.contradicted |= self.day_first is not None and self.day_first != order
            self.day_first = order
        elif self.ambiguous is None and is_ambiguous(text):
            self.ambiguous = text


def survey(path: Path) -> Survey:
    """Go through a file once.

    Raises:
        BadInputError: it is no whole Flex statement, or its query lacks what the ledger needs.
    """
    found = Survey()
    for element in elements(path):
        found.add(element)
    for cancels in found.cancelled.values():
        cancels.sort()
    _check(path, found)
    return found


def account_of(element: Element) -> str:
    """The account of an element: its own, else its statement's; "" where neither says."""
    return given(element.attributes.get("accountId")) or given(element.account) or ""


def is_cancel(attributes: Mapping[str, str]) -> bool:
    """Whether a trade takes another one back.

    A row that has only the code `Ca` does so when its quantity goes against its side.
    """
    if attributes.get("transactionType") in _CANCELS:
        return True
    side = attributes.get("buySell", "")
    if side.endswith("(Ca.)"):
        return True
    against = (side == "BUY") == attributes.get("quantity", "").startswith("-")
    return "Ca" in codes(attributes.get("notes")) and against


def codes(text: str | None) -> list[str]:
    """IBKR's codes in a list of them."""
    return (text or "").replace(",", ";").split(";")


def transaction_number(attributes: Mapping[str, str]) -> int:
    """The transaction's number, which grows with time; 0 where there is none."""
    text = attributes.get("transactionID", "")
    return int(text) if text.isdecimal() else 0


def is_sum(attributes: Mapping[str, str]) -> bool:
    """Whether a cash transaction is a sum of others in the file."""
    return attributes.get("levelOfDetail", "") not in _DETAIL or (
        attributes.get("accountId") == "-" and not attributes.get("transactionID")
    )


def _check(path: Path, found: Survey) -> None:
    if found.counts["TradeConfirm"] and not found.counts["Trade"]:
        raise BadInputError(
            f"{path} is of a Trade Confirmation Flex Query, which has no final executions",
            next_step="make an Activity Flex Query with the section Trades and export that",
        )
    if found.counts.keys() & _SUMS and not found.executions and not found.counts["Order"]:
        raise BadInputError(
            f"{path} has trades as sums only",
            next_step="tick Executions in the Flex query's section Trades and export it again",
        )
    for tag, groups in _NEEDED.items():
        if tag in found.fields and not (tag == "Order" and found.executions):
            _need(path, tag, found.fields[tag], groups)
    if found.unnamed:
        _need(path, "Trade", found.fields["Trade"], (("transactionID",),))
    if found.counts["CashTransaction"] and not found.details:
        raise BadInputError(
            f"{path} has cash transactions as sums only",
            next_step="tick Detail in the Flex query's section Cash Transactions and export it again",
        )
    if found.contradicted or (found.ambiguous and found.day_first is None):
        raise BadInputError(
            f"{path} has dates such as {found.ambiguous or 'with slashes'}, and nothing in it tells "
            "the day from the month",
            next_step="set the Flex query's date format to yyyy-MM-dd and export it again",
        )


def _need(path: Path, tag: str, has: set[str], groups: tuple[tuple[str, ...], ...]) -> None:
    for group in groups:
        if not has.intersection(group):
            raise BadInputError(
                f"{path}: the Flex query lacks the field {tag}/{group[0]}",
                next_step=f"tick it in the query's section for {tag} and export it again",
            )
