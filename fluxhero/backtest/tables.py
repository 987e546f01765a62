"""Making the tables of a result from whole numbers and reading them back, without a loop over rows.

Money is in units of 0.00000001 USD here, which 64 bits hold up to 92 billion USD. Shares are whole, but for
engines that trade parts of one: then tables hold them as decimals, and arrays in 0.00000001 of a share.
"""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.backtest.bars import Bars, Ints
from fluxhero.backtest.results import AT, EQUITY, FILLS, MONEY, ORDERS, ROUND_TRIPS
from fluxhero.backtest.rules import BASIS, MOST_UNITS
from fluxhero.errors import BadInputError

UNITS_A_DOLLAR = 100_000_000
WHOLE, PARTS = 1, 100_000_000  # what arrays count: shares, or so many to a share
BUY, SELL = "buy", "sell"
LONG, SHORT = "long", "short"

_BYTES = 16  # of a decimal128, least first


def units_of(amount: Decimal) -> int:
    """An amount of USD that is exact to 0.00000001, in units."""
    return int(amount.scaleb(8))


def decimals(units: Ints) -> pa.Array:
    """Units as exact decimals of USD."""
    words = np.empty((len(units), 2), dtype="<i8")
    words[:, 0] = units
    words[:, 1] = units >> 63
    return pa.Array.from_buffers(MONEY, len(units), [None, pa.py_buffer(words)])


def units(column: pa.ChunkedArray) -> Ints:
    """A column of `MONEY` without nulls, in units.

    Raises:
        BadInputError: an amount is beyond 64 bits; its row is named as the bar.
    """
    whole = column.combine_chunks()
    held = whole.buffers()[1] if len(whole) else b""
    words = np.frombuffer(held, dtype="<i8")[2 * whole.offset : 2 * (whole.offset + len(whole))]
    low, high = words[::2], words[1::2]
    beyond = np.flatnonzero(high != low >> 63)
    if len(beyond):
        raise beyond_units(int(beyond[0]))
    return np.ascontiguousarray(low)


def integers(column: pa.ChunkedArray) -> Ints:
    """A column of whole numbers or times without nulls."""
    return np.ascontiguousarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)


def counts(column: pa.ChunkedArray) -> tuple[Ints, int]:
    """A column of shares, and what it counts: `WHOLE` shares or `PARTS`."""
    if pa.types.is_decimal(column.type):
        return units(column.cast(MONEY)), PARTS
    return integers(column), WHOLE


def worth(shares: Ints, price: Ints, kind: int) -> Ints:
    """Shares at a price in units; exact where the shares are whole, else rounded to a unit."""
    if kind == WHOLE:
        return shares * price
    whole, part = np.divmod(shares, kind)
    return whole * price + np.rint(part * (price / kind)).astype(np.int64)


def times(ends: Ints) -> pa.Array:
    """Nanoseconds since 1970 UTC as times."""
    return pa.array(ends).cast(AT)


def words(codes: npt.NDArray[np.integer], names: Sequence[str]) -> pa.Array:
    """A name for each code, which is its place among the names."""
    return pa.array(names, pa.string()).take(pa.array(codes))


def sides(signs: Ints, names: tuple[str, str] = (BUY, SELL)) -> pa.Array:
    """The first name where a sign is above zero, the second elsewhere."""
    return words((signs <= 0).astype(np.int8), names)


def signs(column: pa.ChunkedArray) -> Ints:
    """1 for each buy, -1 for each sell."""
    bought: npt.NDArray[np.bool_] = pc.equal(column, BUY).to_numpy()
    return 2 * bought.astype(np.int64) - 1


def orders_table(
    bars: Bars,
    signal_bar: Ints,
    side: Ints,
    ordered: Ints,
    filled: Ints,
    outcome: Sequence[pa.Array],
    kind: int = WHOLE,
) -> pa.Table:
    """`ORDERS`, numbered as they stand; `outcome` is the columns status and reason."""
    columns = [
        pa.array(np.arange(len(side))),
        pa.array(signal_bar),
        times(bars.ends[signal_bar]),
        sides(side),
        _shares(ordered, kind),
        _shares(filled, kind),
        *outcome,
    ]
    return pa.Table.from_arrays(columns, schema=_schema(ORDERS, kind))


def fills_table(
    bars: Bars,
    order: Ints,
    bar: Ints,
    side: Ints,
    shares: Ints,
    price: Ints,
    commission: Ints,
    kind: int = WHOLE,
) -> pa.Table:
    """`FILLS`, with what slippage cost by the open of each fill's bar.

    Args:
        bars: those of the backtest.
        order: number of the order.
        bar: place of the bar.
        side: 1 to buy, -1 to sell.
        shares: above zero.
        price: units a share.
        commission: units in all.
        kind: whether the shares are `WHOLE` or `PARTS`.
    """
    columns = [
        pa.array(order),
        pa.array(bar),
        times(bars.ends[bar]),
        sides(side),
        _shares(shares, kind),
        decimals(price),
        decimals(commission),
        decimals(worth(shares, np.abs(price - bars.open[bar] * BASIS), kind)),
    ]
    return pa.Table.from_arrays(columns, schema=_schema(FILLS, kind))


def equity_table(bars: Bars, shares: Ints, cash: Ints, equity: Ints, kind: int = WHOLE) -> pa.Table:
    """`EQUITY`, of every bar."""
    columns = [
        pa.array(np.arange(len(bars))),
        times(bars.ends),
        _shares(shares, kind),
        decimals(cash),
        decimals(equity),
    ]
    return pa.Table.from_arrays(columns, schema=_schema(EQUITY, kind))


def round_trips_table(bars: Bars, trips: Ints, kind: int = WHOLE) -> pa.Table:
    """`ROUND_TRIPS`.

    Args:
        bars: those of the backtest.
        trips: a row each: side, shares, entry bar, entry price, exit bar, exit price, commission.
        kind: whether the shares are `WHOLE` or `PARTS`.
    """
    side, shares, entry, entry_price, leave, exit_price, commission = np.ascontiguousarray(trips.T)
    columns = [
        sides(side, (LONG, SHORT)),
        _shares(shares, kind),
        pa.array(entry),
        times(bars.ends[entry]),
        decimals(entry_price),
        pa.array(leave),
        times(bars.ends[leave]),
        decimals(exit_price),
        decimals(commission),
        decimals(side * worth(shares, exit_price - entry_price, kind) - commission),
        pa.array(leave - entry),
    ]
    return pa.Table.from_arrays(columns, schema=_schema(ROUND_TRIPS, kind))


def beyond_units(bar: int) -> BadInputError:
    """The error of an amount that is too large to be counted exactly, at a bar."""
    return BadInputError(
        f"an amount went beyond {MOST_UNITS // UNITS_A_DOLLAR:,} USD at bar {bar:,},"
        " more than a backtest counts exactly",
        next_step="trade a fixed number of shares with --shares, or fewer, so that gains do not compound",
    )


def _shares(shares: Ints, kind: int) -> pa.Array:
    return pa.array(shares) if kind == WHOLE else decimals(shares)


def _schema(schema: pa.Schema, kind: int) -> pa.Schema:
    """The schema of a table whose shares are of this kind."""
    if kind == WHOLE:
        return schema
    counting = {"shares", "ordered", "filled"}
    return pa.schema([pa.field(one.name, MONEY) if one.name in counting else one for one in schema])
