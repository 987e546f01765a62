"""One of Alpaca's account activities: the columns of the ledger that it fills.

When each counts is said in `alpaca_activities`, what each type means in `alpaca_meanings`.
"""

import functools
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from fluxhero.ledger.formats import alpaca_rows as alpaca
from fluxhero.ledger.formats.alpaca_meanings import MEANINGS, SHARES_INSTEAD, Meaning, Place
from fluxhero.ledger.formats.json_text import text_of

Columns = dict[str, str | None]

_TRADE = "FILL"
_TRADE_TYPES = ("fill", "partial_fill")
_SIDES = {"buy": "buy", "sell": "sell", "sell_short": "sell"}
_COUNTS = (None, "executed", "correct")
_NEW_YORK = ZoneInfo("America/New_York")
_LAST = time(23, 59, 59)
_SHARES_OF_AN_OPTION = "100"
_CENT = Decimal("0.01")


class ActivityRefusedError(Exception):
    """An activity that has no place in the ledger, or whose meaning is not known."""

    def __init__(self, rule: str, reason: str) -> None:
        """Say which rule it breaks, in a word, and what is wrong with it."""
        super().__init__(reason)
        self.rule = rule


class Activity:
    """One activity; each method that gives columns raises when they cannot be told.

    Raises:
        ActivityRefusedError: it is understood and has no place, or it is not understood.
        ValueError: a field holds no text.
    """

    def __init__(self, row: dict[str, Any]) -> None:
        """Take it as `json_rows` parsed it."""
        self._row = row
        self._told = {"id"}

    def text(self, name: str) -> str | None:
        """A field's text, which then is no part of the rest; None where it is empty."""
        self._told.add(name)
        return self._peek(name)

    def _peek(self, name: str) -> str | None:
        return text_of(name, self._row.get(name)) or None

    def rest(self) -> dict[str, Any]:
        """All that it says and no column holds; its type is always in it."""
        return {n: v for n, v in self._row.items() if v is not None and n not in self._told}

    @property
    def is_trade(self) -> bool:
        """Whether an order was filled, wholly or partly."""
        return self._row.get("activity_type") == _TRADE

    def meaning(self) -> Meaning:
        """What an activity that fills no order means."""
        name = self._peek("activity_type") or ""
        found = MEANINGS.get(name)
        if found is None:
            raise ActivityRefusedError(
                "allowed", f"activity_type '{name[:60]}' is none that the ledger knows"
            )
        if found.place is Place.NOWHERE:
            raise ActivityRefusedError("place", f"{name} has no place in the ledger: {found.why}")
        status = self._peek("status")
        if status in ("canceled", "cancelled"):
            raise ActivityRefusedError(
                "cancelled",
                f"Alpaca has cancelled this {name}: if the ledger has it from before, it is wrong there",
            )
        if status not in _COUNTS:
            raise ActivityRefusedError(
                "allowed", f"status '{status[:60]}' is none that Alpaca documents"
            )
        if found.place is Place.CASH and _is_zero(self._peek("net_amount")):
            if name not in SHARES_INSTEAD or _is_zero(self._peek("qty") or "0"):
                raise ActivityRefusedError("amount", f"this {name} moves no money")
            return SHARES_INSTEAD[name]
        return found

    def fill(self) -> Columns:
        """Columns of an order's fill."""
        kind = self._peek("type")
        if kind not in _TRADE_TYPES:
            raise ActivityRefusedError(
                "allowed",
                f"type '{(kind or '')[:60]}' of a FILL is not one of {', '.join(_TRADE_TYPES)}",
            )
        side = self._peek("side")
        if side in _SIDES.values():
            self._told.add("side")
        quantity = self.text("qty")
        if _is_zero(quantity):
            raise ActivityRefusedError("quantity", "a fill of nothing is no fill")
        return self._shares(_SIDES.get(side or "", side), quantity) | {
            "price": self.text("price"),
            "executed_at": self.text("transaction_time"),
            "kind": "trade",
            "order_id": alpaca.ledger_key(self.text("order_id")),
        }

    def flow(self, meaning: Meaning) -> Columns:
        """Columns of money that came or went."""
        amount = self.text("net_amount")
        return {
            "flow_id": alpaca.ledger_key(self.text("id")),
            "at": self._at(closing=meaning.closing),
            "kind": meaning.kind_of(below_zero=(amount or "").lstrip().startswith("-")),
            "amount": amount,
            "currency": self._currency(),
        }

    def movement(self, meaning: Meaning) -> Columns:
        """Columns of shares that came or went without an order."""
        signed = self.text("qty")
        name = self._peek("activity_type")
        if signed is None or _is_zero(signed):
            raise ActivityRefusedError("quantity", f"this {name} says no quantity")
        out = signed.lstrip().startswith("-")
        return self._shares("sell" if out else "buy", signed.strip().lstrip("+-")) | {
            "price": self._price(meaning, signed),
            "executed_at": self._at(closing=meaning.closing),
            "kind": meaning.kind,
        }

    def _shares(self, side: str | None, quantity: str | None) -> Columns:
        currency = self._currency()
        symbol = self.text("symbol")
        return {
            "fill_id": alpaca.ledger_key(self.text("id")),
            "broker": alpaca.SOURCE,
            "symbol": symbol,
            "currency": currency,
            "side": side,
            "quantity": quantity,
            "multiplier": _SHARES_OF_AN_OPTION if alpaca.is_option(symbol) else None,
        }

    def _currency(self) -> str | None:
        self._told.add("currency")
        return text_of("currency", alpaca.currency_of(self._row))

    def _price(self, meaning: Meaning, quantity: str) -> str | None:
        """What a share cost: nothing where no money moved, but for what is said of its worth."""
        money = self._peek("net_amount")
        if meaning.place is Place.TRADE:
            return self._paid(money, quantity)
        if money is not None and not _is_zero(money):
            name = self._peek("activity_type")
            raise ActivityRefusedError(
                "both",
                f"this {name} moves shares and money ({money}), and the ledger has no place for both",
            )
        return (self.text("price") or "0") if meaning.kind == "transfer" else "0"

    def _paid(self, money: str | None, quantity: str) -> str | None:
        """The price that the money says, where the price that is given is another one.

        Of shares that an option delivered, Alpaca's own example gives a price that was not paid.
        """
        price = self._peek("price")
        if money is None or _is_zero(money):
            return self.text("price")
        try:
            paid = abs(Decimal(money) / Decimal(quantity))
            if price is not None and abs(Decimal(price) - paid) * abs(Decimal(quantity)) < _CENT:
                return self.text("price")
        except InvalidOperation:  # one of them is no number, which the rules say
            return self.text("price")
        return f"{paid:f}"

    def _at(self, *, closing: bool) -> str | None:
        day = self._peek("date")
        return None if day is None else _moment(day, closing=closing)


@functools.lru_cache(maxsize=4096)
def _moment(day: str, *, closing: bool) -> str:
    """When a day begins or ends in New York; what is no date is left as it is."""
    try:
        of_day = _LAST if closing else time.min
        return datetime.combine(date.fromisoformat(day), of_day, _NEW_YORK).isoformat()
    except ValueError:
        return day


def _is_zero(number: str | None) -> bool:
    """Whether a text is the number zero."""
    return number is not None and "0" in number and not number.strip().strip("+-0.")
