"""What a backtest gives, whichever engine ran it: orders, fills, round trips and equity as Arrow tables.

Money and prices are exact to 0.00000001 USD; times are when a bar is over, in UTC.
"""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

MONEY = pa.decimal128(20, 8)
AT = pa.timestamp("ns", tz="UTC")

ORDERS = pa.schema(
    [
        ("order", pa.int64()),  # 0, 1, … in the order they were given
        ("signal_bar", pa.int64()),  # place of the bar after whose close it was given
        ("signal_at", AT),
        ("side", pa.string()),  # buy or sell
        ("ordered", pa.int64()),  # shares
        ("filled", pa.int64()),  # shares
        ("status", pa.string()),  # filled, shrunk, rejected, expired (no bar follows)
        ("reason", pa.string()),  # why not filled as ordered; empty where it was
    ]
)
FILLS = pa.schema(
    [
        ("order", pa.int64()),
        ("bar", pa.int64()),  # place of the bar at whose open it was filled
        ("at", AT),  # end of that bar
        ("side", pa.string()),
        ("shares", pa.int64()),
        ("price", MONEY),  # with slippage
        ("commission", MONEY),
        ("slippage", MONEY),  # USD lost to slippage in all: shares * |price - open|
    ]
)
ROUND_TRIPS = pa.schema(
    [
        ("side", pa.string()),  # long or short
        ("shares", pa.int64()),
        ("entry_bar", pa.int64()),
        ("entry_at", AT),
        ("entry_price", MONEY),
        ("exit_bar", pa.int64()),
        ("exit_at", AT),
        ("exit_price", MONEY),
        ("commission", MONEY),  # of both sides
        ("pnl", MONEY),  # after commission
        ("bars_held", pa.int64()),  # exit_bar - entry_bar
    ]
)
EQUITY = pa.schema(
    [
        ("bar", pa.int64()),
        ("at", AT),
        ("shares", pa.int64()),  # held at the close; below zero: short
        ("cash", MONEY),
        ("equity", MONEY),  # cash + shares * close
    ]
)


class Status(StrEnum):
    """What became of an order."""

    FILLED = "filled"
    SHRUNK = "shrunk"  # filled with fewer shares than ordered
    REJECTED = "rejected"
    EXPIRED = "expired"


class Reason(StrEnum):
    """Why an order was not filled as it was given."""

    NONE = ""
    UNAFFORDABLE = "not one share is affordable"  # by the equity at the close of the signal's bar
    NO_CASH = "cash is not enough"  # at the fill
    NO_BAR = "no bar follows"


@dataclass(frozen=True, eq=False)
class Result:
    """One strategy on one symbol's bars by one engine.

    A position still open after the last bar is marked at its close; it is no round trip.
    """

    orders: pa.Table
    fills: pa.Table
    round_trips: pa.Table
    equity: pa.Table
