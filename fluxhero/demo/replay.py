"""Simulated trades: a moving-average rule replayed over real daily bars, and its orders.

The bars are the public-domain ones of `bokeh_sampledata.stocks` (AAPL, FB, GOOG, IBM, MSFT, 2000
to 2013). The rule, in full:

- When the 20-day average of closes crosses above the 50-day average, buy at the next day's open;
  when it crosses below, sell at the next day's open. Long only, one position a symbol.
- About 10,000 $ a trade, whole shares, 0.005 $ a share commission on each side. The stop at 8 %
  below entry is recorded but never acted on: this rule exits on the crossing only.
- Open and close are scaled by adjusted close / close. Unadjusted, a position held over a split
  would show a loss that nobody had. So prices are not those quoted on the day.

Orders go in the evening before and fill at the open. Their delays in milliseconds are made up, and
the same every time.
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from fluxhero.demo.packages import load
from fluxhero.demo.records import Row

SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
SOURCE = "bokeh-replay"
STRATEGY = "ma_cross_20_50"
LABEL = "simulated rule on real daily bars, prices adjusted for splits and dividends"
FAST, SLOW = 20, 50
BUDGET = Decimal(10_000)
COMMISSION = Decimal("0.005")
STOP = Decimal("0.92")
_NEW_YORK = ZoneInfo("America/New_York")
_OPEN, _EVENING = time(9, 30), time(16, 5)
_PRICE, _CENT = Decimal("0.0001"), Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade: decided on `signal_day`, filled at the open of `day`."""

    signal_day: date
    day: date
    price: Decimal
    fast: Decimal
    slow: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    """A round trip, or a position still open at the last bar."""

    trade_id: str
    symbol: str
    quantity: int
    entry: Fill
    exit: Fill | None

    @property
    def fees(self) -> Decimal:
        """Commission paid so far."""
        return COMMISSION * self.quantity * (1 if self.exit is None else 2)

    @property
    def realized_pnl(self) -> Decimal | None:
        """Result after commission; None while the position is open."""
        if self.exit is None:
            return None
        return (self.exit.price - self.entry.price) * self.quantity - self.fees


def trades() -> Iterator[Row]:
    """Yield the simulated trades in the ledger's columns.

    Raises:
        ConfigurationError: the data package is not installed.
    """
    for trade in _replayed():
        yield _trade_row(trade)


def orders() -> Iterator[Row]:
    """Yield the simulated orders that made the trades, in the ledger's columns."""
    for trade in _replayed():
        yield _order_row(trade, "buy", trade.entry)
        if trade.exit is not None:
            yield _order_row(trade, "sell", trade.exit)


@functools.cache
def _replayed() -> tuple[Trade, ...]:
    stocks = load("bokeh_sampledata.stocks")
    return tuple(_replay_all({symbol: getattr(stocks, symbol) for symbol in SYMBOLS}))


def _replay_all(stocks: dict[str, dict[str, list[Any]]]) -> Iterator[Trade]:
    for symbol, bars in stocks.items():
        fills = list(_fills(bars))
        for number, entry in enumerate(fills[::2]):
            leaving = fills[2 * number + 1] if 2 * number + 1 < len(fills) else None
            quantity = max(1, int(BUDGET // entry.price))
            yield Trade(f"{SOURCE}:{symbol}:{number + 1:04d}", symbol, quantity, entry, leaving)


def _fills(bars: dict[str, list[Any]]) -> Iterator[Fill]:
    """Yield buys and sells in turn, beginning with a buy."""
    closes = [Decimal(repr(close)) for close in bars["adj_close"]]
    above = False
    for today in range(SLOW, len(closes) - 1):
        fast, slow = _average(closes, today, FAST), _average(closes, today, SLOW)
        was_above = _average(closes, today - 1, FAST) > _average(closes, today - 1, SLOW)
        crossed = fast > slow and not was_above if not above else fast < slow
        if crossed:
            above = not above
            yield Fill(
                signal_day=date.fromisoformat(bars["date"][today]),
                day=date.fromisoformat(bars["date"][today + 1]),
                price=_adjusted_open(bars, today + 1),
                fast=fast.quantize(_PRICE),
                slow=slow.quantize(_PRICE),
            )


def _average(closes: list[Decimal], last: int, days: int) -> Decimal:
    return sum(closes[last - days + 1 : last + 1], Decimal(0)) / days


def _adjusted_open(bars: dict[str, list[Any]], at: int) -> Decimal:
    opened, close, adjusted = (
        Decimal(repr(bars[name][at])) for name in ("open", "close", "adj_close")
    )
    return (opened * adjusted / close).quantize(_PRICE, ROUND_HALF_EVEN)


def _trade_row(trade: Trade) -> Row:
    entry_time = _at(trade.entry.day, _OPEN)
    exit_time = None if trade.exit is None else _at(trade.exit.day, _OPEN)
    return {
        "trade_id": trade.trade_id,
        "mode": "paper",
        "symbol": trade.symbol,
        "side": "long",
        "quantity": trade.quantity,
        "entry_price": trade.entry.price,
        "entry_time": entry_time,
        "exit_price": None if trade.exit is None else trade.exit.price,
        "exit_time": exit_time,
        "stop_loss": (trade.entry.price * STOP).quantize(_CENT, ROUND_HALF_EVEN),
        "fees": trade.fees,
        "realized_pnl": trade.realized_pnl,
        "status": "open" if trade.exit is None else "closed",
        "strategy": STRATEGY,
        "signal_reason": f"{FAST}-day average crossed above {SLOW}-day average",
        "signal_explanation": {
            "signal_day": trade.entry.signal_day.isoformat(),
            "fast_average": trade.entry.fast,
            "slow_average": trade.entry.slow,
        },
        "source": SOURCE,
        "source_id": trade.trade_id.removeprefix(f"{SOURCE}:"),
        "created_at": entry_time,
        "updated_at": exit_time or entry_time,
        "extra": {"label": LABEL},
    }


def _order_row(trade: Trade, side: str, fill: Fill) -> Row:
    order_id = f"{trade.trade_id}:{side}"
    submitted = _at(fill.signal_day, _EVENING)
    return {
        "order_id": order_id,
        "mode": "paper",
        "broker": "simulated",
        "symbol": trade.symbol,
        "side": side,
        "order_type": "market",
        "quantity": trade.quantity,
        "filled_quantity": trade.quantity,
        "average_fill_price": fill.price,
        "status": "filled",
        "submitted_at": submitted,
        "acknowledged_at": submitted + _delay(f"{order_id}:acknowledged", 3, 45),
        "filled_at": _at(fill.day, _OPEN) + _delay(f"{order_id}:filled", 20, 480),
        "trade_id": trade.trade_id,
        "source": SOURCE,
        "source_id": order_id.removeprefix(f"{SOURCE}:"),
        "extra": {"label": LABEL},
    }


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, _NEW_YORK).astimezone(UTC)


def _delay(name: str, shortest: int, longest: int) -> timedelta:
    """A made-up delay, always the same for the same name."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return timedelta(milliseconds=shortest + drawn % (longest - shortest + 1))
