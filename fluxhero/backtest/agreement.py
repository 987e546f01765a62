"""Whether an engine agrees with the reference to the cent, and which dollars of a difference come from what."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal, localcontext
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from fluxhero.backtest import differences
from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars
from fluxhero.backtest.contract import UNIT, Contract
from fluxhero.backtest.replay import Done, Fill, Let, Matched, Replay, fills_of, match, orders_of
from fluxhero.backtest.results import Result

CENT: Final = Decimal("0.01")


class Kind(StrEnum):
    """What a difference comes from; `MEANINGS` says what each is."""

    SIGNAL = "signal"
    CALENDAR = "calendar"
    TIMING = "timing"
    ORDERS = "orders"
    CLOSING = "closing"
    PRICE = "price"
    FEES = "fees"
    SIZING = "sizing"
    MARKING = "marking"
    FLOAT = "float"


MEANINGS: Final = {
    Kind.SIGNAL: "its own indicator says something else",
    Kind.CALENDAR: "bars are missing, or have other times",
    Kind.TIMING: "filled at another bar, or at the close",
    Kind.ORDERS: "a fill that only one of the two has",
    Kind.CLOSING: "what is open after the last bar is closed by force",
    Kind.PRICE: "another slippage",
    Kind.FEES: "another commission",
    Kind.SIZING: "another number of shares, where prices and commissions do not explain it",
    Kind.MARKING: "its equity is not what its own fills are worth",
    Kind.FLOAT: "below a cent in every fill and in all",
}


class Cause(BaseModel):
    """One kind of difference.

    Attributes:
        kind: what it comes from.
        dollars: what it adds to the engine's last equity; those of all causes add up to the whole.
        fills: how many fills (or bars, of signals and marks) differ in this way.
        example: the first of them, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    dollars: Decimal
    fills: int
    example: str


class Agreement(BaseModel):
    """One result of an engine beside the reference's.

    Attributes:
        to_the_cent: every fill is the same and every bar's equity within a cent.
        fills_reference: how many fills the reference has.
        fills_engine: how many fills the engine has.
        fills_equal: how many of them are the same: bar, side, shares, price and commission.
        round_trips_reference: how many round trips the reference has.
        round_trips_engine: how many round trips the engine has.
        signals_differ: after how many bars the engine wanted something else.
        largest_difference: USD by which the equity of any bar differs at most, above zero.
        final_difference: USD that the engine has more after the last bar.
        first_bar: place of the first bar at which they differ by a cent or in a fill; None: nowhere.
        causes: what the final difference comes from; their dollars add up to it exactly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to_the_cent: bool
    fills_reference: int
    fills_engine: int
    fills_equal: int
    round_trips_reference: int
    round_trips_engine: int
    signals_differ: int
    largest_difference: Decimal
    final_difference: Decimal
    first_bar: int | None
    causes: tuple[Cause, ...]


def compare(
    reference: Result,
    engine: Result,
    bars: Bars,
    contract: Contract,
    reference_targets: npt.NDArray[np.int8],
    engine_targets: npt.NDArray[np.int8],
) -> Agreement:
    """Lay an engine's result beside the reference's and say what every dollar of the difference comes from.

    Args:
        reference: of the reference simulator, with the targets of the strategy.
        engine: of the engine; shares may be decimals.
        bars: what both traded.
        contract: the rules.
        reference_targets: what the reference was given.
        engine_targets: what the engine's own indicators said; in given mode the same.
    """
    with localcontext(Context(prec=60)):  # fractional shares times a price: 16 decimals
        expected, actual = fills_of(reference.fills), fills_of(engine.fills)
        equal, odd_bar = _equal_fills(expected, actual)
        marks = _Marks(reference.equity, engine.equity)
        firsts = [bar for bar in (odd_bar, marks.first) if bar is not None]
        causes = (
            *_causes_of_trading(
                marks.reference_last, actual, bars, contract, reference_targets, engine_targets
            ),
            *_causes_of_marks(marks, actual, bars, contract),
        )
        same = equal == len(expected) == len(actual) and marks.largest < CENT and not marks.odd
        return Agreement(
            to_the_cent=same,
            fills_reference=len(expected),
            fills_engine=len(actual),
            fills_equal=equal,
            round_trips_reference=reference.round_trips.num_rows,
            round_trips_engine=engine.round_trips.num_rows,
            signals_differ=int(np.count_nonzero(reference_targets != engine_targets)),
            largest_difference=marks.largest,
            final_difference=marks.engine_last - marks.reference_last,
            first_bar=min(firsts, default=None),
            causes=_with_float(causes),
        )


def _equal_fills(expected: Sequence[Fill], actual: Sequence[Fill]) -> tuple[int, int | None]:
    """How many fills are the same, and the bar of the first that is not."""
    waiting: dict[tuple[int, int], list[Fill]] = {}
    for fill in expected:
        waiting.setdefault((fill.bar, fill.side), []).append(fill)
    equal, odd = 0, []
    for fill in actual:
        there = waiting.get((fill.bar, fill.side), [])
        if there and _same(there[0], fill):
            equal += 1
            del there[0]
        else:
            odd.append(fill.bar)
    odd += [fill.bar for left in waiting.values() for fill in left]
    return equal, min(odd, default=None)


def _same(one: Fill, other: Fill) -> bool:
    return (
        one.shares == other.shares
        and abs(one.price - other.price) * one.shares < CENT
        and abs(one.commission - other.commission) < CENT
    )


class _Marks:
    """The equity of both at the bars that both have."""

    def __init__(self, reference: pa.Table, engine: pa.Table) -> None:
        ours = reference["bar"].to_numpy()
        theirs = engine["bar"].to_numpy()
        _, at, there = np.intersect1d(ours, theirs, return_indices=True)
        left, right = reference.take(pa.array(at)), engine.take(pa.array(there))
        apart = pc.abs(pc.subtract(right["equity"], left["equity"]))
        moved = pc.not_equal(left["at"], right["at"]).to_numpy()
        by_a_cent = np.flatnonzero(pc.greater_equal(apart, pa.scalar(CENT)).to_numpy())
        self.largest: Decimal = (pc.max(apart).as_py() or Decimal(0)).quantize(UNIT)
        self.first: int | None = int(ours[at[by_a_cent[0]]]) if len(by_a_cent) else None
        self.missing = np.setdiff1d(ours, theirs).tolist()
        self.moved = ours[at[np.flatnonzero(moved)]].tolist()
        self.reference_last: Decimal = reference["equity"][-1].as_py()
        self.engine_last: Decimal = engine["equity"][-1].as_py()
        self.engine_last_bar = int(theirs[-1])
        if self.odd:
            self.first = min(
                [*self.missing, *self.moved, *([] if self.first is None else [self.first])]
            )

    @property
    def odd(self) -> bool:
        """Whether bars are missing or labelled otherwise."""
        return bool(self.missing or self.moved)


def _causes_of_trading(
    reference_last: Decimal,
    fills: Sequence[Fill],
    bars: Bars,
    contract: Contract,
    reference_targets: npt.NDArray[np.int8],
    engine_targets: npt.NDArray[np.int8],
) -> list[Cause]:
    matched = match(orders_of(engine_targets), fills, bars, contract)
    replay = Replay(matched, bars, contract)
    let: list[Let] = []
    worth, done = replay.run(let)
    before = worth * UNIT
    causes = [
        _cause(
            Kind.SIGNAL,
            before - reference_last,
            differences.signals(reference_targets, engine_targets),
        )
    ]
    steps: tuple[tuple[Let, Kind, Callable[[Matched, list[Done], Decimal], list[str]]], ...] = (
        (Let.ORDERS, Kind.ORDERS, differences.orders),
        (Let.CLOSING, Kind.CLOSING, differences.closing),
        (Let.TIMING, Kind.TIMING, differences.timing),
        (Let.PRICE, Kind.PRICE, differences.prices),
        (Let.FEES, Kind.FEES, differences.fees),
    )
    for one, kind, described in steps:
        let.append(one)
        worth, after = replay.run(let)
        dollars = worth * UNIT - before
        # Many small ones may come to something together.
        found = described(matched, done, CENT)
        if not found and abs(dollars) >= CENT:
            found = described(matched, done, UNIT)
        causes.append(_cause(kind, dollars, found))
        before, done = worth * UNIT, after
    own = _worth(fills, bars, contract, len(bars) - 1)
    causes.append(_cause(Kind.SIZING, own - before, differences.sizes(matched, done, CENT)))
    return causes


def _causes_of_marks(
    marks: _Marks, fills: Sequence[Fill], bars: Bars, contract: Contract
) -> list[Cause]:
    at_the_end = _worth(fills, bars, contract, len(bars) - 1)
    at_its_end = _worth(fills, bars, contract, marks.engine_last_bar)
    odd = [f"there is no bar {bar}" for bar in marks.missing]
    odd += [f"bar {bar} has another time" for bar in marks.moved]
    marked = marks.engine_last - at_its_end
    wrong = [f"{_money(marked)} at bar {marks.engine_last_bar}"] if abs(marked) >= CENT else []
    return [
        _cause(Kind.CALENDAR, at_its_end - at_the_end, odd),
        _cause(Kind.MARKING, marked, wrong),
    ]


def _cause(kind: Kind, dollars: Decimal, found: Sequence[str]) -> Cause:
    return Cause(kind=kind, dollars=dollars, fills=len(found), example=found[0] if found else "")


def _with_float(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The causes that amount to something, the largest first, and the rest as one."""
    kept, small = [], Decimal(0)
    for cause in causes:
        if cause.fills or abs(cause.dollars) >= CENT:
            kept.append(cause)
        else:
            small += cause.dollars
    kept.sort(key=lambda cause: -abs(cause.dollars))
    if small:
        kept.append(Cause(kind=Kind.FLOAT, dollars=small, fills=0, example=""))
    return tuple(kept)


def _worth(fills: Sequence[Fill], bars: Bars, contract: Contract, bar: int) -> Decimal:
    """What the engine's own fills up to a bar come to at its close, exactly."""
    close = Decimal(int(bars.close[bar])) / TICKS_A_DOLLAR
    cash, held = contract.cash, Decimal(0)
    for fill in fills:
        if fill.bar <= bar:
            cash -= fill.side * fill.shares * fill.price + fill.commission
            held += fill.side * fill.shares
    return cash + held * close


def _money(dollars: Decimal) -> str:
    return f"{dollars:+,.2f} USD"
