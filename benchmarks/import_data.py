"""Large exports of Alpaca, as it writes them, made anew for each run: the same bytes for the same numbers."""

import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

_SYMBOLS = ("SPY", "QQQ", "AAPL", "MSFT", "NVDA", "T")
_ASSET = "b28f4066-5c6d-479b-a2af-85dc1a8f16fb"
_FIRST = datetime(2026, 1, 5, 14, 30, tzinfo=UTC)


def _orders(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    for number in range(count):
        began = _FIRST + timedelta(seconds=60 * number)
        sent = f"{began:%Y-%m-%dT%H:%M:%S}.{chance.randrange(1, 10**9):09}Z"
        done = f"{began:%Y-%m-%dT%H:%M:%S}.{chance.randrange(1, 10**9):09}Z"
        status = chance.choices(("filled", "canceled", "new"), (8, 1, 1))[0]
        quantity = str(chance.randrange(1, 500))
        price = f"{chance.randrange(20_000, 600_000) / 1000:.3f}"
        yield {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "client_order_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "created_at": sent,
            "updated_at": done,
            "submitted_at": sent,
            "filled_at": done if status == "filled" else None,
            "expired_at": None,
            "expires_at": f"{began:%Y-%m-%d}T21:00:00Z",
            "canceled_at": done if status == "canceled" else None,
            "failed_at": None,
            "replaced_at": None,
            "replaced_by": None,
            "replaces": None,
            "asset_id": _ASSET,
            "symbol": chance.choice(_SYMBOLS),
            "asset_class": "us_equity",
            "notional": None,
            "qty": quantity,
            "filled_qty": quantity if status == "filled" else "0",
            "filled_avg_price": price if status == "filled" else None,
            "order_class": "",
            "order_type": "limit",
            "type": "limit",
            "side": chance.choice(("buy", "sell")),
            "position_intent": "buy_to_open",
            "time_in_force": "day",
            "limit_price": price,
            "stop_price": None,
            "status": status,
            "extended_hours": False,
            "legs": None,
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "subtag": None,
            "source": None,
        }


def write_orders(path: Path, count: int) -> None:
    """Write Alpaca's orders: JSON lines for `.jsonl`, else one array."""
    lines = path.suffix == ".jsonl"
    with path.open("wb") as file:
        for number, order in enumerate(_orders(count)):
            if not lines:
                file.write(b"," if number else b"[")
            file.write(orjson.dumps(order))
            if lines:
                file.write(b"\n")
        if not lines:
            file.write(b"]")
