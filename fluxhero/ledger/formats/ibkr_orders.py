"""Orders of a Flex file that has no executions.

Where it has them, the ledger makes the orders of their fills, and these rows are sums of what is there.
"""

from collections.abc import Mapping

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
from fluxhero.ledger.formats.ibkr_values import decimal, given, number, numbered

SOURCE = "ibkr-orders"  # of its own, so that such a row never replaces one made of executions
_KEPT = (
    "assetCategory", "conid", "exchange", "expiry", "strike", "putCall", "multiplier",
    "openCloseIndicator", "notes", "orderReference", "ibCommission", "ibCommissionCurrency",
    "fifoPnlRealized", "netCash",
)  # fmt: skip


def order(element: Element, context: Context) -> Row | None:
    """The order of a sum of executions; None where the file has the executions themselves.

    Raises:
        RefusedError: it names no order, or was taken back.
    """
    if context.survey.executions:
        return None
    attributes = element.attributes
    account = context.account_of(element)
    known_by = numbered(attributes.get("ibOrderID")) or numbered(attributes.get("orderID"))
    if known_by is None:
        raise RefusedError("id", "it has no ibOrderID to be known by")
    extra = context.kept(element, _KEPT) | {"account": account}
    if currency := given(attributes.get("currency")):
        extra["currency"] = currency
    row = context.row(element, account)
    row |= {
        "source": SOURCE,
        "order_id": f"ibkr:{account}:{known_by}",
        "broker": BROKER,
        "symbol": given(attributes.get("symbol")),
        "side": _side(attributes),
        "order_type": order_type(attributes.get("orderType")),
        "quantity": unsigned(attributes.get("quantity", "")),
        "filled_quantity": unsigned(attributes.get("quantity", "")),
        "average_fill_price": number(attributes.get("tradePrice") or attributes.get("price")),
        "status": "filled",
        "submitted_at": context.clock.iso(attributes.get("orderTime")),
        "filled_at": context.clock.iso(attributes.get("dateTime")),
        "extra": packed(extra),
    }
    return row


def _side(attributes: Mapping[str, str]) -> str:
    side = {"BUY": "buy", "SELL": "sell"}.get(attributes.get("buySell", ""))
    if side is None:
        raise RefusedError(
            "side",
            f"buySell '{attributes.get('buySell', '')}' is no side of an order that stands; tick "
            "Executions in the Flex query's section Trades, which tell what was taken back",
        )
    if decimal(attributes.get("quantity")) == 0:
        raise RefusedError("zero_quantity", "quantity is zero, so nothing was traded")
    return side
