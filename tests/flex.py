"""Flex XML as Interactive Brokers writes it, made of the documented field lists.

Every element has all the fields of its section, in IBKR's order, empty where it has nothing to say, one
element a line. Used by the tests of the reader and by the benchmark of imports.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

ACCOUNT = "U1234567"

_HEAD = {"accountId": ACCOUNT, "acctAlias": "", "model": "", "currency": "USD", "fxRateToBase": "1"}
_INSTRUMENT = {
    "assetCategory": "STK",
    "subCategory": "COMMON",
    "symbol": "ACME",
    "description": "ACME INC",
    "conid": "265598",
    "securityID": "US0000000001",
    "securityIDType": "ISIN",
    "cusip": "",
    "isin": "US0000000001",
    "figi": "",
    "listingExchange": "NASDAQ",
    "underlyingConid": "",
    "underlyingSymbol": "",
    "underlyingSecurityID": "",
    "underlyingListingExchange": "",
    "issuer": "",
    "issuerCountryCode": "US",
    "multiplier": "1",
    "strike": "",
    "expiry": "",
    "putCall": "",
    "principalAdjustFactor": "",
}
_TRADE = {
    **_HEAD,
    **_INSTRUMENT,
    "tradeID": "700000001",
    "relatedTradeID": "",
    "reportDate": "20260105",
    "dateTime": "20260105;093105",
    "tradeDate": "20260105",
    "settleDateTarget": "20260106",
    "transactionType": "ExchTrade",
    "exchange": "ARCA",
    "quantity": "100",
    "tradePrice": "50.25",
    "tradeMoney": "5025",
    "proceeds": "-5025",
    "taxes": "0",
    "ibCommission": "-1.0035",
    "ibCommissionCurrency": "USD",
    "netCash": "-5026.0035",
    "closePrice": "50.5",
    "openCloseIndicator": "O",
    "notes": "P",
    "cost": "5026.0035",
    "fifoPnlRealized": "0",
    "capitalGainsPnl": "0",
    "fxPnl": "0",
    "mtmPnl": "25",
    "origTradePrice": "0",
    "origTradeDate": "",
    "origTradeID": "",
    "origOrderID": "0",
    "origTransactionID": "0",
    "clearingFirmID": "",
    "transactionID": "9000000001",
    "relatedTransactionID": "",
    "buySell": "BUY",
    "ibOrderID": "500000001",
    "ibExecID": "0000e0d5.6a5a0001.01.01",
    "rtn": "",
    "brokerageOrderID": "002ce642.000137bb.6a59e3d5.0001",
    "orderReference": "",
    "volatilityOrderLink": "",
    "exchOrderId": "N/A",
    "extExecID": "ABC123",
    "orderTime": "20260105;093001",
    "openDateTime": "",
    "holdingPeriodDateTime": "",
    "whenRealized": "",
    "whenReopened": "",
    "levelOfDetail": "EXECUTION",
    "changeInPrice": "0",
    "changeInQuantity": "0",
    "orderType": "LMT",
    "traderID": "",
    "isAPIOrder": "Y",
    "accruedInt": "0",
    "initialInvestment": "",
    "serialNumber": "",
    "deliveryType": "",
    "commodityType": "",
    "fineness": "0.0",
    "weight": "0.0",
}
_CASH = {
    **_HEAD,
    **_INSTRUMENT,
    "dateTime": "20260110;202000",
    "settleDate": "20260110",
    "availableForTradingDate": "",
    "exDate": "",
    "amount": "24.00",
    "type": "Dividends",
    "tradeID": "",
    "code": "",
    "transactionID": "9100000001",
    "reportDate": "20260110",
    "clientReference": "",
    "actionID": "",
    "levelOfDetail": "DETAIL",
}
_ACTION = {
    **_HEAD,
    **_INSTRUMENT,
    "actionID": "130000001",
    "actionDescription": "ACME(US0000000001) SPLIT 2 FOR 1",
    "reportDate": "20260120",
    "dateTime": "20260119;202500",
    "amount": "0",
    "proceeds": "0",
    "value": "0",
    "quantity": "100",
    "costBasis": "",
    "fifoPnlRealized": "0",
    "capitalGainsPnl": "0",
    "fxPnl": "0",
    "mtmPnl": "0",
    "code": "",
    "type": "FS",
    "transactionID": "9200000001",
    "levelOfDetail": "DETAIL",
}
_TRANSFER = {
    **_HEAD,
    **_INSTRUMENT,
    "reportDate": "20260108",
    "date": "20260108",
    "dateTime": "20260108",
    "settleDate": "20260108",
    "type": "ACATS",
    "direction": "IN",
    "company": "--",
    "account": "12345678",
    "accountName": "",
    "deliveringBroker": "",
    "quantity": "40",
    "transferPrice": "0",
    "positionAmount": "2010",
    "positionAmountInBase": "2010",
    "pnlAmount": "0",
    "pnlAmountInBase": "0",
    "fxPnl": "0",
    "cashTransfer": "0",
    "code": "",
    "clientReference": "",
    "transactionID": "9300000001",
    "levelOfDetail": "TRANSFER",
}
_FIELDS = {
    "Trade": _TRADE,
    "Order": {**_TRADE, "levelOfDetail": "ORDER", "ibExecID": "", "tradeID": "", "notes": ""},
    "CashTransaction": _CASH,
    "CorporateAction": _ACTION,
    "Transfer": _TRANSFER,
}
_SECTIONS = {
    "Trade": "Trades",
    "Order": "Trades",
    "SymbolSummary": "Trades",
    "CashTransaction": "CashTransactions",
    "CorporateAction": "CorporateActions",
    "Transfer": "Transfers",
    "OpenPosition": "OpenPositions",
}


def element(tag: str, /, **changes: str | None) -> str:
    """One element of a section; a field that is None is not in the query."""
    fields = {**_FIELDS.get(tag, _HEAD), **changes}
    texts = (f"{name}={quoteattr(text)}" for name, text in fields.items() if text is not None)
    return f"<{tag} {' '.join(texts)} />"


def trade(**changes: str | None) -> str:
    """One execution: buys 100 ACME at 50.25 unless changed."""
    return element("Trade", **changes)


def statement(*found: str, account: str | None = ACCOUNT, **changes: str) -> str:
    """A statement with these elements, each in the container of its section."""
    fields = {
        "accountId": account,
        "fromDate": "20260105",
        "toDate": "20260131",
        "period": "",
        "whenGenerated": "20260201;061500",
        **changes,
    }
    texts = (f"{name}={quoteattr(text)}" for name, text in fields.items() if text is not None)
    return "\n".join([f"<FlexStatement {' '.join(texts)}>", *_contained(found), "</FlexStatement>"])


def _contained(found: Iterable[str]) -> Iterator[str]:
    section = ""
    for text in found:
        own = _SECTIONS.get(text[1:].split(None, 1)[0], "Others")
        if own != section:
            if section:
                yield f"</{section}>"
            yield f"<{own}>"
            section = own
        yield text
    if section:
        yield f"</{section}>"


def response(*statements: str, count: int | None = None) -> str:
    """The whole file."""
    number = len(statements) if count is None else count
    return "\n".join(
        [
            '<FlexQueryResponse queryName="fluxhero" type="AF">',
            f'<FlexStatements count="{number}">',
            *statements,
            "</FlexStatements>",
            "</FlexQueryResponse>",
            "",
        ]
    )


def write(path: Path, *found: str, account: str = ACCOUNT) -> Path:
    """Write a file of one statement with these elements."""
    path.write_text(response(statement(*found, account=account)), encoding="utf-8")
    return path


def write_executions(path: Path, executions: int) -> Path:
    """Write a file with so many executions, one after another, so that memory stays flat.

    Two executions make an order; orders alternate between opening and closing.
    """
    with path.open("w", encoding="utf-8") as file:
        head, tail = response(statement(trade())).split(trade())
        file.write(head)
        for at in range(executions):
            order, opens = at // 2, (at // 2) % 2 == 0
            seconds = 34_200 + order % 23_400
            time = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
            file.write(
                trade(
                    tradeID=str(700_000_000 + at),
                    transactionID=str(9_000_000_000 + at),
                    ibExecID=f"0000e0d5.{at:08x}.01.01",
                    ibOrderID=str(500_000_000 + order),
                    dateTime=f"202601{5 + order % 5:02};{time}",
                    orderTime=f"202601{5 + order % 5:02};{time}",
                    symbol=f"SYM{order // 2 % 50}",
                    quantity="100" if opens else "-100",
                    proceeds="-5025" if opens else "5025",
                    buySell="BUY" if opens else "SELL",
                    openCloseIndicator="O" if opens else "C",
                    fifoPnlRealized="0" if opens else "-2.007",
                )
                + "\n"
            )
        file.write(tail)
    return path
