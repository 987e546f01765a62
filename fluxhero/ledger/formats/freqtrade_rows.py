"""What the rows of freqtrade's database mean in the ledger's columns.

freqtrade reckons fees at a rate of what was bought and sold, and keeps what it calls a profit net of them.
It reckons in floating point: each number is taken as the shortest decimal that is the same one, and what is
made of several is made of those.

A fee that was taken in the coin itself (`ft_fee_base`) is taken off what was filled, as freqtrade does, so
that what was bought is what can be sold, in orders, fills and trades alike.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

SOURCE = "freqtrade"
Row = dict[str, str | None]
Source = Mapping[str, Any]

# What ccxt calls an order's state → the ledger; what an open one is, its filled part says.
_STATUSES = {
    "closed": "filled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
}
_OPEN = "open"
_TRADE_COLUMNS = frozenset({
    "id", "pair", "is_open", "amount", "open_rate", "open_date", "close_rate", "close_date", "stop_loss",
    "close_profit_abs", "strategy", "enter_tag", "stake_currency",
})  # fmt: skip
_ORDER_COLUMNS = frozenset({
    "ft_trade_id", "ft_pair", "order_id", "status", "order_type", "side", "amount", "filled", "stop_price",
    "average", "order_date",
})  # fmt: skip


class UnknownStatusError(ValueError):
    """An order whose state is none that ccxt knows."""


def trade(row: Source, orders: Iterable[Source], account: str | None) -> Row:
    """The ledger's row of a trade.

    A trade in several steps is what its filled orders sum to: `amount` is only what is left of it, and
    `close_rate` only the last exit's.
    """
    done = [each for each in orders if _amount(each) > 0 and not _is_true(each["ft_is_open"])]
    closed = not _is_true(row["is_open"])
    entries = [each for each in done if _is_entry(each, row)]
    exits = [each for each in done if not _is_entry(each, row)]
    quantity, entry, exit_price = row["amount"], row["open_rate"], row.get("close_rate")
    in_steps = len(entries) > 1 or len(exits) > 1
    summed = closed and entries and exits and in_steps
    if summed:
        quantity, entry = sum(map(_amount, entries)), _average(entries)
        exit_price = _average(exits)
    never = closed and exit_price is None and not done
    columns = {
        "trade_id": _trade_key(row),
        "symbol": _text(row["pair"]),
        "side": "short" if _is_true(row.get("is_short")) else "long",
        "quantity": _text(quantity),
        "entry_price": _text(entry),
        "entry_time": _text(row["open_date"]),
        "status": "cancelled" if never else "closed" if closed else "open",
        "stop_loss": _text(row.get("stop_loss") or None),
        "strategy": _text(row.get("strategy") or None),
        "signal_reason": _text(row.get("enter_tag") or None),
        "created_at": _text(row["open_date"]),
        "updated_at": _text(_last_change(row, orders)),
    }
    if closed and not never:
        columns |= {
            "exit_price": _text(exit_price),
            "exit_time": _text(row.get("close_date")),
            "realized_pnl": _text(row.get("close_profit_abs")),
            "fees": _text(_fees(row, quantity, entry, exit_price)),
        }
    rest = {name: value for name, value in row.items() if name not in _TRADE_COLUMNS}
    if summed:
        rest |= {name: row.get(name) for name in ("amount", "open_rate", "close_rate")}
    return columns | {"extra": _extra(rest, row, account)}


def order(row: Source, of_trade: Source, account: str | None) -> Row:
    """The ledger's row of an order.

    Raises:
        UnknownStatusError: its state is none that ccxt knows.
    """
    kind, status = row.get("order_type"), _status(row)
    limit = isinstance(kind, str) and "limit" in kind
    ordered, filled = _first(row, "amount", "ft_amount"), row.get("filled")
    rest = {name: value for name, value in row.items() if name not in _ORDER_COLUMNS}
    if limit:
        rest["price"] = None
    if filled and row.get("ft_fee_base"):
        rest |= {"amount": ordered, "filled": filled}
        filled = _amount(row)
        ordered = filled if status == "filled" else ordered
    if updated := row.get("order_update_date"):
        rest["updated_at"] = f"{str(updated).replace(' ', 'T')}Z"
    return {
        "order_id": _order_key(row, of_trade),
        "broker": _text(of_trade["exchange"]),
        "symbol": _text(row["ft_pair"]),
        "side": _side(row, of_trade),
        "order_type": _text(kind),
        "quantity": _text(ordered),
        "filled_quantity": _text(filled),
        "limit_price": _text(row.get("price")) if limit else None,
        "stop_price": _text(row.get("stop_price")),
        "average_fill_price": _text(_told_price(row)) if filled else None,
        "status": status,
        "submitted_at": _text(row.get("order_date")),
        "filled_at": _text(row.get("order_filled_date")) if status == "filled" else None,
        "trade_id": _trade_key(of_trade),
        "extra": _extra(rest, of_trade, account),
    }


def fill(row: Source, of_trade: Source, account: str | None) -> Row | None:
    """The ledger's row of what an order bought or sold; None while it goes on, or if that is nothing."""
    quantity, price = _amount(row), _price(row)
    if _is_true(row["ft_is_open"]) or quantity <= 0:
        return None
    rate = _number(of_trade.get("fee_open" if _is_entry(row, of_trade) else "fee_close"))
    told = ("filled", "ft_fee_base", "funding_fee", "ft_order_tag", "order_update_date")
    return {
        "fill_id": _order_key(row, of_trade),
        "broker": _text(of_trade["exchange"]),
        "account": account,
        "symbol": _text(row["ft_pair"]),
        "currency": _currency(of_trade),
        "side": _side(row, of_trade),
        "quantity": _text(quantity),
        "price": _text(_told_price(row)),
        "executed_at": _text(_first(row, "order_filled_date", "order_update_date")),
        "fees": None if rate is None or price is None else _text(quantity * price * rate),
        "kind": "trade",
        "order_id": _order_key(row, of_trade),
        "trade_id": _trade_key(of_trade),
        "extra": _packed(
            {"fee_rate": rate and float(rate), **{name: row.get(name) for name in told}}
        ),
    }


def _fees(row: Source, quantity: Any, entry: Any, exit_price: Any) -> Decimal | None:
    """What the rates make of both values, less what funding brought in."""
    opened, closed = _number(row.get("fee_open")), _number(row.get("fee_close"))
    amount, bought, sold = _number(quantity), _number(entry), _number(exit_price)
    if opened is None or closed is None or amount is None or bought is None or sold is None:
        return None
    return amount * (bought * opened + sold * closed) - (_number(row.get("funding_fees")) or 0)


def _status(row: Source) -> str:
    told = row["status"]
    if told in _STATUSES:
        return _STATUSES[told]
    if told == _OPEN or (told is None and _is_true(row["ft_is_open"])):
        return "partially_filled" if row.get("filled") else "new"
    raise UnknownStatusError(f"status '{str(told)[:60]}' is none that ccxt knows")


def _side(row: Source, of_trade: Source) -> str | None:
    """Which way an order goes; a stop-loss goes the way out."""
    told = row.get("side") or row["ft_order_side"]
    if told == "stoploss":
        return "buy" if _is_true(of_trade.get("is_short")) else "sell"
    side: str | None = _text(told)
    return side


def _is_entry(row: Source, of_trade: Source) -> bool:
    return bool(row["ft_order_side"] == ("sell" if _is_true(of_trade.get("is_short")) else "buy"))


def _amount(row: Source) -> Decimal:
    return (_number(row.get("filled")) or Decimal(0)) - (_number(row.get("ft_fee_base")) or 0)


def _told_price(row: Source) -> Any:
    """What was paid for one, as freqtrade takes it."""
    names = ("average", "price", "stop_price", "ft_price")
    return next((row[name] for name in names if row.get(name)), None)


def _price(row: Source) -> Decimal | None:
    return _number(_told_price(row))


def _average(orders: Iterable[Source]) -> Decimal | None:
    """What was paid for one in all of several orders."""
    amounts = [(_amount(each), _price(each)) for each in orders]
    whole = sum(amount for amount, _ in amounts)
    return sum(amount * (price or 0) for amount, price in amounts) / whole if whole else None


def _number(value: Any) -> Decimal | None:
    """A number; None for what is none, which the rules name where it is a column of the ledger."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _is_true(value: Any) -> bool:
    """Whether SQLite's number for a truth value is that; it comes as text beside a text."""
    return str(value) not in ("0", "0.0", "None", "")


def _last_change(row: Source, orders: Iterable[Source]) -> str | None:
    """When the database last learnt something of a trade, as far as it tells."""
    times = [str(time) for each in orders if (time := each.get("order_update_date"))]
    return max([*times, str(row.get("close_date") or row["open_date"])])


def _first(row: Source, *names: str) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _trade_key(row: Source) -> str:
    """Numbers begin at one again in a new database: when a trade was opened tells it from another."""
    digits = "".join(sign for sign in str(row["open_date"]) if sign.isdigit())
    return f"{SOURCE}:{row['id']}:{digits[:14]}"


def _order_key(row: Source, of_trade: Source) -> str:
    return f"{_trade_key(of_trade)}:{row['order_id']}"


def _currency(of_trade: Source) -> str | None:
    """What a trade is paid in; an older database has it in the pair only, as in ETH/USDT:USDT."""
    quoted = str(of_trade["pair"]).partition("/")[2].partition(":")[0]
    currency: str | None = _text(of_trade.get("stake_currency")) or quoted or None
    return currency


def _extra(rest: Source, of_trade: Source, account: str | None) -> str:
    return _packed({**rest, "currency": _currency(of_trade), "account": account})


def _packed(members: Source) -> str:
    """JSON with its names in order; bytes, which stand for text that is none, are refused elsewhere."""
    given = {
        name: value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in members.items()
        if value is not None
    }
    return orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode()


def _text(value: Any) -> Any:
    """A value as text: the shortest decimal of a float; bytes are left, to be refused."""
    if value is None or isinstance(value, str | bytes):
        return value
    return f"{value:f}" if isinstance(value, Decimal) else repr(value)
