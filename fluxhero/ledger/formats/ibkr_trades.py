"""Executions of a Flex file as fills.

A cancelled execution stays in the file. Another row takes it back: side `BUY (Ca.)`, the opposite
quantity, no execution of its own, and of the original only the trade's number. Where IBKR corrected it,
a third row books the execution anew under the same trade, mostly with a new revision of its execution
id. IBKR books the latter two at once, so that no file has one without the other. Each is a fill, so
that their sums are what the account has; nothing is removed.
"""

import re
from collections.abc import Mapping
from decimal import Decimal

from fluxhero.ledger.formats.ibkr_rows import (
    BROKER,
    Context,
    RefusedError,
    Row,
    order_type,
    packed,
    unsigned,
)
from fluxhero.ledger.formats.ibkr_stream import Element
from fluxhero.ledger.formats.ibkr_survey import (
    EXECUTION_LEVELS,
    account_of,
    codes,
    is_cancel,
)
from fluxhero.ledger.formats.ibkr_values import (
    decimal,
    given,
    is_date,
    number,
    numbered,
    plain,
    total,
)
from fluxhero.ledger.schema import CANCELLED_AS, CANCELS

_KEPT = (
    "assetCategory", "conid", "exchange", "strike", "putCall", "underlyingSymbol",
    "openCloseIndicator", "notes", "transactionType", "tradeID", "transactionID", "ibExecID",
    "ibOrderID", "orderReference", "origTradeID", "origTransactionID", "fxRateToBase", "netCash",
    "accruedInt",
)  # fmt: skip
_KINDS = {
    "Ep": "expiry",
    "A": "assignment",
    "Ex": "exercise",
    "AEx": "exercise",
    "MEx": "exercise",
}
_FIRST_REVISION = 1
_EXECUTION = re.compile(r"[0-9a-f]{8}\.[0-9a-f]{8}\.[0-9a-f]{2}\.[0-9]{2}")
_IN_PERCENT = ("BOND", "BILL")  # priced in percent of their face value
_NO_ORDER = ("BookTrade", "DvpTrade")


def fill(element: Element, context: Context) -> Row | None:
    """The fill of an execution; None for a row that sums up others.

    Raises:
        RefusedError: it contradicts itself, or lacks what a fill needs.
    """
    attributes = element.attributes
    if attributes.get("levelOfDetail", "") not in EXECUTION_LEVELS:
        return None
    account = context.account_of(element)
    cancel = is_cancel(attributes)
    currency = given(attributes.get("currency"))
    trade = numbered(attributes.get("tradeID"))
    again = context.survey.booked_before(element, trade) > 0
    extra = context.kept(element, _KEPT)
    extra |= _links(element, account, context, cancel=cancel)
    moment, date_only = _moment(attributes, context)
    if date_only:
        extra["date_only"] = True
    if expiry := context.clock.date(attributes.get("expiry")):
        extra["expiry"] = expiry
    if told := order_type(attributes.get("orderType")):
        extra["order_type"] = told
    if submitted := context.clock.utc(attributes.get("orderTime")):
        extra["submitted_at"] = submitted
    foreign_exchange = attributes.get("assetCategory") == "CASH"
    realized = number(attributes.get("fifoPnlRealized"))
    if foreign_exchange and realized is not None:
        extra["fifoPnlRealized"], realized = realized, None
    row = context.row(element, account)
    row |= {
        "fill_id": _name(attributes, account, trade, cancel=cancel, again=again),
        "broker": BROKER,
        "account": account,
        "symbol": given(attributes.get("symbol")),
        "currency": currency,
        "side": _side(attributes, cancel=cancel),
        "quantity": unsigned(attributes.get("quantity", "")),
        "price": number(attributes.get("tradePrice")),
        "executed_at": moment,
        "fees": _fees(attributes, currency, extra),
        "realized_pnl": realized,
        "multiplier": _multiplier(attributes),
        "kind": _kind(attributes),
        "order_id": _order(attributes, account),
        "extra": packed(extra),
    }
    return row


def _links(element: Element, account: str, context: Context, *, cancel: bool) -> dict[str, str]:
    """Which other fill this one takes back or corrects, and by what name it is taken back itself."""
    attributes, survey = element.attributes, context.survey
    trade = numbered(attributes.get("tradeID"))
    original = numbered(attributes.get("origTradeID"))
    if cancel:
        if original:
            before = survey.booked_before(element, original)
            return {CANCELS: _booking(account, original, before)}
        transaction = numbered(attributes.get("origTransactionID"))
        return {CANCELS: f"ibkr:{account}:transaction:{transaction}"} if transaction else {}
    links = {}
    notes = codes(attributes.get("notes"))
    if attributes.get("transactionType") == "TradeCorrect" or "Co" in notes:
        raw = account_of(element)
        if not {(raw, original), (raw, trade)} & survey.cancelled.keys():
            raise RefusedError(
                "correction",
                f"corrects trade {original or trade or ''}, which no row of the file cancels, so that "
                "both would count: set Include Canceled Trades (or Include Offsetting Trade/Cancel "
                "Pairs) to Yes in the Flex query, and export it again",
            )
        links["corrects"] = f"ibkr:{account}:trade:{original or trade}"
    if trade:
        links[CANCELLED_AS] = _booking(account, trade, survey.booked_before(element, trade))
    return links


def _booking(account: str, trade: str, before: int) -> str:
    """What a booking of a trade is called by what cancels it: of several, which one is meant."""
    return f"ibkr:{account}:trade:{trade}" + (f"#{before}" if before else "")


def _name(
    attributes: Mapping[str, str], account: str, trade: str | None, *, cancel: bool, again: bool
) -> str:
    """The fill's key: its execution, else its trade, else its transaction.

    What is booked anew under the execution's old id is told from that by its transaction. A revised
    execution whose original the file does not cancel goes by the original's id: where the ledger has
    that, it contradicts it, and does not count beside it.
    """
    execution = given(attributes.get("ibExecID"))
    transaction = numbered(attributes.get("transactionID"))
    if execution and not cancel:
        base, revision = _revision(execution)
        if again and revision == _FIRST_REVISION:
            return f"ibkr:{account}:{execution}:{transaction}"
        return f"ibkr:{account}:{execution if again else base}"
    if trade and not cancel and not again:
        return f"ibkr:{account}:trade:{trade}"
    if transaction is None:
        raise RefusedError("id", "it has neither an ibExecID nor a transactionID to be known by")
    return f"ibkr:{account}:transaction:{transaction}"


def _revision(execution: str) -> tuple[str, int]:
    """The id an execution had at first, and its revision."""
    if not _EXECUTION.fullmatch(execution):
        return execution, _FIRST_REVISION
    base, _, revision = execution.rpartition(".")
    return f"{base}.{_FIRST_REVISION:02}", int(revision)


def _side(attributes: Mapping[str, str], *, cancel: bool) -> str:
    """Which way the holding changed: by the word, confirmed by the sign of quantity or of proceeds."""
    word = attributes.get("buySell", "").removesuffix("(Ca.)").strip()
    if word not in {"BUY", "SELL"}:
        raise RefusedError("side", f"buySell '{attributes.get('buySell', '')}' is no known side")
    buys = (word == "BUY") != cancel
    quantity = decimal(attributes.get("quantity"))
    if quantity is not None and not quantity:
        raise RefusedError("zero_quantity", "quantity is zero, so nothing was traded")
    if quantity is not None and (quantity > 0) != buys:
        proceeds = decimal(attributes.get("proceeds"))
        paid = (proceeds < 0) == buys if proceeds else quantity > 0
        if not paid:
            raise RefusedError(
                "direction",
                f"buySell '{attributes['buySell']}' and quantity '{attributes['quantity']}' "
                "contradict each other",
            )
    return "buy" if buys else "sell"


def _moment(attributes: Mapping[str, str], context: Context) -> tuple[str | None, bool]:
    """When it was executed, and whether only the day is known."""
    text = given(attributes.get("dateTime"))
    if text is None and (day := given(attributes.get("tradeDate"))):
        time = given(attributes.get("tradeTime"))
        text = f"{day};{time}" if time else day
    moment = context.clock.iso(text)
    return moment, is_date(moment)


def _fees(
    attributes: Mapping[str, str], currency: str | None, extra: dict[str, object]
) -> str | None:
    """What the fill cost: commission and taxes with the sign turned; None where it cannot be said.

    A commission in another currency than the trade's is never added to it.
    """
    text = given(attributes.get("ibCommission"))
    commission, taxes = decimal(text), decimal(attributes.get("taxes")) or Decimal(0)
    if text is not None and commission is None:
        return text  # no number: for the rules to refuse
    unit = given(attributes.get("ibCommissionCurrency"))
    if unit is None and attributes.get("assetCategory") != "CASH":
        unit = currency
    if commission is None or (commission and unit != currency):
        for name in ("ibCommission", "ibCommissionCurrency", "taxes"):
            if told := given(attributes.get(name)):
                extra[name] = told
        return None
    cost = -total([commission, taxes])
    return plain(cost) if cost else "0"


def _multiplier(attributes: Mapping[str, str]) -> str | None:
    """What one unit is worth at price 1; a bond's price is in percent of its face value."""
    text = number(attributes.get("multiplier"))
    if attributes.get("assetCategory") in _IN_PERCENT and decimal(text) in {None, Decimal(1)}:
        return "0.01"
    return text


def _kind(attributes: Mapping[str, str]) -> str:
    found = (_KINDS[code] for code in codes(attributes.get("notes")) if code in _KINDS)
    return next(found, "trade")


def _order(attributes: Mapping[str, str], account: str) -> str | None:
    """The order's key; what IBKR booked by itself has none, though it gives it a number."""
    order = numbered(attributes.get("ibOrderID"))
    if order in {None, attributes.get("transactionID")}:
        return None
    return None if attributes.get("transactionType") in _NO_ORDER else f"ibkr:{account}:{order}"
