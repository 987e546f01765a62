"""Cash transactions of a Flex file as cash flows."""

from collections.abc import Mapping

from fluxhero.ledger.formats.ibkr_rows import Context, RefusedError, Row, packed
from fluxhero.ledger.formats.ibkr_stream import Element
from fluxhero.ledger.formats.ibkr_survey import is_sum
from fluxhero.ledger.formats.ibkr_values import decimal, given, is_date, number, numbered

_KEPT = (
    "type", "assetCategory", "symbol", "conid", "isin", "description", "settleDate", "reportDate",
    "tradeID", "transactionID", "actionID", "code", "clientReference", "fxRateToBase",
)  # fmt: skip
_BY_SIGN = {"deposit": ("deposit", "withdrawal"), "fee": ("rebate", "fee")}  # in, out
_KINDS = {
    "Deposits/Withdrawals": "deposit",
    "Deposits & Withdrawals": "deposit",
    "Dividends": "dividend",
    "Payment In Lieu Of Dividends": "dividend",
    "Withholding Tax": "tax",
    "871(m) Withholding": "tax",
    "Broker Interest Paid": "interest",
    "Broker Interest Received": "interest",
    "Bond Interest Paid": "interest",
    "Bond Interest Received": "interest",
    "Other Fees": "fee",
    "Advisor Fees": "fee",
    "Broker Fees": "fee",
    "Commission Adjustments": "fee",
    "Price Adjustments": "fee",
}
_TOTALS = "BASE_SUMMARY"  # the currency of sums over all currencies


def cash_flow(element: Element, context: Context) -> Row | None:
    """The cash flow of a transaction; None for a sum of others.

    Raises:
        RefusedError: its type is not known, or it names no account.
    """
    attributes = element.attributes
    if is_sum(attributes) or attributes.get("currency") == _TOTALS:
        return None
    account = context.account_of(element)
    extra = context.kept(element, _KEPT)
    at = context.clock.iso(attributes.get("dateTime") or attributes.get("reportDate"))
    if is_date(at):
        extra["date_only"] = True
    row = context.row(element, account)
    row |= {
        "flow_id": _name(attributes, account, context),
        "at": at,
        "kind": _kind(attributes),
        "amount": number(attributes.get("amount")),
        "account": account,
        "currency": given(attributes.get("currency")),
        "extra": packed(extra),
    }
    return row


def _kind(attributes: Mapping[str, str]) -> str:
    kind = _KINDS.get(attributes.get("type", ""))
    if kind is None:
        raise RefusedError(
            "cash_type", f"cash transactions of type '{attributes.get('type', '')}' are not known"
        )
    amount = decimal(attributes.get("amount"))
    if kind in _BY_SIGN:
        into, out = _BY_SIGN[kind]
        return out if amount is not None and amount < 0 else into
    return kind


def _name(attributes: Mapping[str, str], account: str, context: Context) -> str:
    if transaction := numbered(attributes.get("transactionID")):
        return f"ibkr:{account}:{transaction}"
    if "levelOfDetail" not in attributes and "transactionID" in context.survey.fields.get(
        "CashTransaction", ()
    ):
        raise RefusedError(
            "id",
            "it has no transactionID, so it may be a sum of others; tick Level of Detail in the Flex "
            "query's section Cash Transactions, and export it again",
        )
    return context.own_name("cash", account, attributes)
