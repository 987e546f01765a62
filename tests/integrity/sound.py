"""A store in which everything is as it should be, for planting one fault at a time.

A bot trades on every session of spring 2025: AAPL long, MSFT short every second day, in at 15:00 and out
at 19:00 UTC, with stops, fees, orders, a deposit, and an equity point each evening; one trade is open.
Half of it is older than the retention at `samples.AS_OF`, the moment of every check.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from fluxhero.market import cache
from tests import samples
from tests.house import House

FIRST, LAST = date(2025, 3, 3), date(2025, 5, 30)
HOLIDAYS = {date(2025, 4, 18), date(2025, 5, 26)}
CAPITAL = Decimal(100_000)
FEE = Decimal("0.10")
BARS_WRITTEN = datetime(2025, 5, 31, 12, tzinfo=UTC)


def sessions() -> list[date]:
    """Days on which the exchange was open."""
    days = ((FIRST + timedelta(days=n)) for n in range((LAST - FIRST).days + 1))
    return [day for day in days if day.weekday() < 5 and day not in HOLIDAYS]


def price(symbol: str, number: int) -> Decimal:
    """The open of a session, by its number."""
    base = {"AAPL": 100, "MSFT": 300}[symbol]
    return Decimal(base) + Decimal(number * 7 % 11) / 4


def at(day: date, hour: int, number: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC) + timedelta(microseconds=number)


@dataclass(frozen=True)
class Deal:
    """A trade as the bot made it."""

    number: int
    session: int
    day: date
    symbol: str
    side: str
    open: bool = False

    @property
    def sign(self) -> int:
        return 1 if self.side == "long" else -1

    @property
    def entry(self) -> Decimal:
        return price(self.symbol, self.session)

    @property
    def exit(self) -> Decimal:
        return self.entry + Decimal(self.number % 5 - 1) / 2

    @property
    def stop(self) -> Decimal:
        return self.entry * (100 - 5 * self.sign) / 100

    @property
    def pnl(self) -> Decimal:
        return (self.exit - self.entry) * self.sign * 10 - 2 * FEE


def deals() -> list[Deal]:
    """All trades, oldest first; the last one is open."""
    found: list[Deal] = []
    for session, day in enumerate(sessions()):
        found.append(Deal(len(found) + 1, session, day, "AAPL", "long", open=day == LAST))
        if session % 2 and day != LAST:
            found.append(Deal(len(found) + 1, session, day, "MSFT", "short"))
    return found


def ledger_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row) of everything in the DuckDB store."""
    realised = CAPITAL
    by_day: dict[date, list[Deal]] = {}
    for deal in deals():
        by_day.setdefault(deal.day, []).append(deal)
    yield "cash_flows", _deposit()
    for day, made in by_day.items():
        for deal in made:
            yield "trades", _trade(deal)
            yield "orders", _order(deal, "in")
            if deal.open:
                yield "positions", _position(deal)
            else:
                yield "orders", _order(deal, "out")
                realised += deal.pnl
        flows = Decimal(5_000) if day >= date(2025, 4, 1) else Decimal(0)
        unrealized = Decimal(5) if day == LAST else Decimal(0)
        yield (
            "equity",
            {
                "mode": "live",
                "at": at(day, 21),
                "equity": realised + flows + unrealized,
                "unrealized_pnl": unrealized,
            },
        )


def _deposit() -> dict[str, Any]:
    return {
        "flow_id": "f-1",
        "mode": "live",
        "at": at(date(2025, 4, 1), 12),
        "kind": "deposit",
        "amount": Decimal(5_000),
        "source": "bot",
        "source_id": "1",
    }


def _trade(deal: Deal) -> dict[str, Any]:
    enter, leave = at(deal.day, 15, deal.number), at(deal.day, 19, deal.number)
    row: dict[str, Any] = {
        "trade_id": f"t-{deal.number:05d}",
        "mode": "live",
        "symbol": deal.symbol,
        "side": deal.side,
        "quantity": Decimal(10),
        "entry_price": deal.entry,
        "entry_time": enter,
        "stop_loss": deal.stop,
        "fees": FEE if deal.open else 2 * FEE,
        "status": "open" if deal.open else "closed",
        "strategy": "trend",
        "source": "bot",
        "source_id": str(deal.number),
        "created_at": enter,
        "updated_at": enter if deal.open else leave,
    }
    if not deal.open:
        row |= {"exit_price": deal.exit, "exit_time": leave, "realized_pnl": deal.pnl}
    return row


def _order(deal: Deal, way: str) -> dict[str, Any]:
    entering = way == "in"
    done = at(deal.day, 15 if entering else 19, deal.number)
    return {
        "order_id": f"o-{deal.number:05d}-{way}",
        "mode": "live",
        "broker": "alpaca",
        "symbol": deal.symbol,
        "side": "buy" if entering == (deal.side == "long") else "sell",
        "order_type": "market",
        "quantity": Decimal(10),
        "filled_quantity": Decimal(10),
        "average_fill_price": deal.entry if entering else deal.exit,
        "status": "filled",
        "submitted_at": done - timedelta(milliseconds=900),
        "acknowledged_at": done - timedelta(milliseconds=850),
        "filled_at": done,
        "trade_id": f"t-{deal.number:05d}",
        "source": "bot",
        "source_id": f"{deal.number}-{way}",
    }


def _position(deal: Deal) -> dict[str, Any]:
    return {
        "mode": "live",
        "symbol": deal.symbol,
        "side": deal.side,
        "quantity": Decimal(10),
        "entry_price": deal.entry,
        "current_price": deal.entry + Decimal("0.5"),
        "stop_loss": deal.stop,
        "entry_time": at(deal.day, 15, deal.number),
        "updated_at": at(deal.day, 20),
    }


def fluxhero_rows() -> Iterator[dict[str, Any]]:
    """The same trades as a FluxHero bot stores them in `live_trades`, fees left out."""
    for deal in deals():
        enter, leave = at(deal.day, 15, deal.number), at(deal.day, 19, deal.number)
        yield {
            "id": deal.number,
            "symbol": deal.symbol,
            "side": deal.sign,
            "entry_price": float(deal.entry),
            "entry_time": _naive(enter),
            "exit_price": None if deal.open else float(deal.exit),
            "exit_time": None if deal.open else _naive(leave),
            "shares": 10,
            "stop_loss": float(deal.stop),
            "take_profit": None,
            "realized_pnl": None if deal.open else float(deal.pnl + 2 * FEE),
            "status": 0 if deal.open else 1,
            "strategy": "trend",
            "regime": "bull",
            "signal_reason": f"reason {deal.number}",
            "created_at": _naive(enter),
            "updated_at": _naive(enter if deal.open else leave),
        }


def _naive(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat()


def midnight(day: date) -> datetime:
    """When a day begins in New York, in UTC without a zone, as daily bars are dated."""
    begin = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("America/New_York"))
    return begin.astimezone(UTC).replace(tzinfo=None)


def bars(symbol: str, days: list[date] | None = None) -> pa.Table:
    """Daily bars of the sessions, each with room for every price of its day's trades."""
    rows = []
    for session, day in enumerate(days or sessions()):
        opened = float(price(symbol, session))
        rows.append(
            {
                "timestamp": midnight(day),
                "open": opened,
                "high": opened + 3,
                "low": opened - 3,
                "close": opened + 1,
                "volume": 1e6,
            }
        )
    return pa.Table.from_pylist(rows, schema=cache.BARS)


def write_bars(
    house: House,
    symbol: str,
    table: pa.Table,
    at: datetime = BARS_WRITTEN,
    adjustment: str = "raw",
) -> None:
    """Put bars into the cache as the product does."""
    origin = cache.Origin(symbol=symbol, timeframe="1d", provider="test", adjustment=adjustment)
    cache.write(house.settings.cache_dir, table, origin, at)


def fill(house: House) -> None:
    """Put the rows into an empty store, and bars beside it."""
    for symbol in ("AAPL", "MSFT"):
        write_bars(house, symbol, bars(symbol))
    if house.kind == "sqlite":
        samples.insert_sqlite(house.store, "live_trades", *fluxhero_rows())
        return
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, row in ledger_rows():
        tables.setdefault(table, []).append(row)
    for table, rows in tables.items():
        samples.insert_duckdb(house.store, table, *rows)


def sound_house(house: House) -> House:
    """Fill the store and archive what is due."""
    fill(house)
    report = house.archive()
    assert report.ok
    assert report.rows > 20
    return house
