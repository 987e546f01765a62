"""Corporate actions and transfers of a Flex file as fills: holdings that change without a trade."""

from collections.abc import Mapping

from fluxhero.ledger.formats.ibkr_rows import (
    BROKER,
    Context,
    RefusedError,
    Row,
    packed,
    side_and_quantity,
)
from fluxhero.ledger.formats.ibkr_stream import Element
from fluxhero.ledger.formats.ibkr_values import decimal, given, is_date, number, numbered

_KEPT = (
    "type", "assetCategory", "conid", "description", "actionID", "actionDescription",
    "transactionID", "reportDate", "code", "direction", "company", "positionAmount", "value",
    "fifoPnlRealized",
)  # fmt: skip
_SPLITS = ("FS", "FI", "RS", "SD")  # splits, and dividends in shares, which are no less
_OLD = ".OLD"  # what IBKR appends to a symbol whose CUSIP a split replaced
_SUMMARY = "SUMMARY"


def corporate_action(element: Element, context: Context) -> Row | None:
    """The fill of a split; None for a sum of others.

    Raises:
        RefusedError: it is another kind of action, or brought cash.
    """
    attributes = element.attributes
    if attributes.get("levelOfDetail") == _SUMMARY:
        return None
    kind = attributes.get("type", "")
    if kind not in _SPLITS:
        raise RefusedError(
            "corporate_action",
            f"corporate actions of type {_called(kind)} have no place in the ledger: it knows splits; "
            "bring in what came of it as rows of your own",
        )
    if decimal(attributes.get("proceeds")):
        raise RefusedError(
            "corporate_action", "a split that brought cash, which no fill of the ledger can tell"
        )
    row = _fill(element, context, "action", "split")
    symbol = row["symbol"]
    if symbol and symbol.endswith(_OLD):
        row["symbol"] = symbol.removesuffix(_OLD)
    row["side"], row["quantity"] = side_and_quantity(attributes)
    row["price"] = "0"
    return row


def transfer(element: Element, context: Context) -> Row | None:
    """The fill of shares that came from another broker or account, or went there.

    Raises:
        RefusedError: it moves cash, or its direction is not clear.
    """
    attributes = element.attributes
    if attributes.get("levelOfDetail") == _SUMMARY:
        return None
    if decimal(attributes.get("cashTransfer")) or attributes.get("assetCategory") == "CASH":
        raise RefusedError(
            "cash_transfer",
            "a transfer of cash, which IBKR may list among the cash transactions too: see whether it "
            "is there, and bring it in as a row of your own if it is not",
        )
    row = _fill(element, context, "transfer", "transfer")
    row["side"], row["quantity"] = _moved(attributes)
    price = decimal(attributes.get("transferPrice"))
    row["price"] = number(attributes.get("transferPrice")) if price else "0"
    return row


def _fill(element: Element, context: Context, word: str, kind: str) -> Row:
    attributes = element.attributes
    account = context.account_of(element)
    extra = context.kept(element, _KEPT)
    dates = (attributes.get(name) for name in ("dateTime", "date", "reportDate"))
    moment = context.clock.iso(next((text for text in dates if given(text)), None))
    if is_date(moment):
        extra["date_only"] = True
    transaction = numbered(attributes.get("transactionID"))
    row = context.row(element, account)
    row |= {
        "fill_id": f"ibkr:{account}:{word}:{transaction}"
        if transaction
        else context.own_name(word, account, attributes),
        "broker": BROKER,
        "account": account,
        "symbol": given(attributes.get("symbol")),
        "currency": given(attributes.get("currency")),
        "executed_at": moment,
        "multiplier": number(attributes.get("multiplier")),
        "kind": kind,
        "extra": packed(extra),
    }
    return row


def _moved(attributes: Mapping[str, str]) -> tuple[str, str]:
    """Side and quantity of a transfer: a short position comes in, or shares go out, as less."""
    side, quantity = side_and_quantity(attributes)
    direction = attributes.get("direction", "")
    if direction not in {"IN", "OUT"} or (direction == "OUT" and side == "buy"):
        raise RefusedError(
            "direction",
            f"direction '{direction}' and quantity '{attributes['quantity']}' do not tell whether "
            "the shares came or went",
        )
    return side, quantity


def _called(kind: str) -> str:
    """IBKR's code for an action and what it means, where ibflex knows it."""
    from ibflex.enums import Reorg

    known = {member.value: member.name.lower() for member in Reorg}
    return f"{kind} ({known[kind]})" if kind in known else f"'{kind}'"
