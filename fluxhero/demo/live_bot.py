"""Real trades: 308 closed trades of a live bot on a prediction market.

From the package `cross-signal-data` (MIT): a bot bought shares of Polymarket outcomes whose price
had just crashed, and sold on recovery or after a time. Prices, sizes and results are as its author
recorded them, 11 results included that do not follow from the recorded prices. Nothing is made up
here. Exit times come without an offset; they are UTC, as the recorded holding hours show.
"""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

from fluxhero.demo.packages import read_text
from fluxhero.demo.records import Row

SOURCE = "cross-signal-data"
STRATEGY = "crash_recovery"
LABEL = "real trades of a live bot on a prediction market, as recorded by its author"
_EXTRA_NUMBERS = ("pre_crash_high", "drop_pct", "size_usd", "hold_hours")


def trades() -> Iterator[Row]:
    """Yield the trades in the ledger's columns.

    Raises:
        ConfigurationError: the data package is not installed.
    """
    lines = read_text("cross_signal_data", "data", "crashes_v1.csv").splitlines()
    for record in csv.DictReader(lines):
        yield _trade(record)


def _trade(record: dict[str, str]) -> Row:
    exit_time = _utc(record["exit_time"])
    return {
        "trade_id": f"{SOURCE}:{record['trade_id']}",
        "mode": "live",
        "symbol": f"PM:{record['market_id']}/{record['outcome_label']}",
        "side": "long",
        "quantity": Decimal(record["shares"]),
        "entry_price": Decimal(record["entry_price"]),
        "entry_time": _utc(record["entry_time"]),
        "exit_price": Decimal(record["exit_price"]),
        "exit_time": exit_time,
        "realized_pnl": Decimal(record["pnl_usd"]),
        "status": "closed",
        "strategy": STRATEGY,
        "signal_reason": f"price fell {record['drop_pct']} % from {record['pre_crash_high']}",
        "source": SOURCE,
        "source_id": record["trade_id"],
        "created_at": _utc(record["entry_time"]),
        "updated_at": exit_time,
        "extra": {
            "label": LABEL,
            "question": record["question"],
            "outcome": record["outcome_label"],
            "exit_reason": record["exit_reason"],
            **{name: Decimal(record[name]) for name in _EXTRA_NUMBERS},
        },
    }


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
