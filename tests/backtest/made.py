"""Bars, contracts and whole backtests that Hypothesis makes up, and small ones written out."""

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.fast import simulate
from fluxhero.backtest.results import Result
from fluxhero.backtest.round_trips import round_trips
from fluxhero.errors import BadInputError

Backtest = tuple[Bars, Int8s, Contract]

MINUTE = 60 * 10**9
PARTS = ("orders", "fills", "round_trips", "equity")


def bars_of(*rows: tuple[float, float, int]) -> Bars:
    """Minute bars of open, close and volume; high and low are the outer ones of open and close."""
    opened, closed, volume = (np.array(column) for column in zip(*rows, strict=True))
    opened, closed = (np.rint(one * 10_000).astype(np.int64) for one in (opened, closed))
    ends = MINUTE * np.arange(1, len(rows) + 1)
    high, low = np.maximum(opened, closed), np.minimum(opened, closed)
    return Bars("MADE", "1m", ends, opened, high, low, closed, volume.astype(np.int64))


def targets_of(*targets: int) -> Int8s:
    """Targets as the simulators want them."""
    return np.array(targets, np.int8)


def rows_of(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of a table, row by row."""
    return [tuple(row[name] for name in columns) for row in table.to_pylist()]


def equity_of(result: Result) -> list[Decimal]:
    """The equity at each close."""
    values: list[Decimal] = result.equity["equity"].to_pylist()
    return values


def assert_same(one: Result, other: Result) -> None:
    """Every table is the same, to the last digit and in the types of its columns."""
    for part in PARTS:
        first, second = getattr(one, part), getattr(other, part)
        assert first.schema == second.schema
        assert first.to_pylist() == second.to_pylist(), part


def digest_of_walks() -> str:
    """One digest of what the fast simulator makes of walks under every policy, sizing and direction."""
    whole = hashlib.sha256()
    for number, (policy, sizing, cash) in enumerate(
        product(CashPolicy, Sizing, ("1000", "40000", "1e10"))
    ):
        chance = np.random.default_rng(number)
        closes = np.abs(1_000_000 + np.cumsum(chance.integers(-90_000, 90_001, 200))) + 1
        bars = _bars(closes.tolist(), chance.integers(-9, 10, 200).tolist(), [4_000] * 200)
        contract = Contract(
            cash=Decimal(cash), cash_policy=policy, sizing=sizing, allow_short=True, volume_window=5
        )
        result = simulate(bars, chance.integers(-1, 2, 200), contract)
        for part in PARTS:
            whole.update(repr(getattr(result, part).to_pylist()).encode())
        whole.update(repr(round_trips(result.fills.slice(1), bars).to_pylist()).encode())
    for backtest in fortunes():
        try:
            simulate(*backtest)
        except BadInputError as error:
            whole.update(str(error).encode())
    return whole.hexdigest()


def fortunes() -> Iterator[Backtest]:
    """Backtests in which something goes beyond what 64 bits hold: what is held, an entry, an exit, the cash."""
    plain = {"cash": 10**6, "commission": 0, "slippage_bp": 0, "impact_bp": 0, "allow_short": True}
    fixed = {"sizing": "fixed", "shares": 10**7, "cash_policy": "allow"}
    for rows, targets, changes in (
        ([(1, 1, 9), (1, 1, 9), (10**6, 10**6, 9)], (1, 1, 1), {}),
        ([(1, 1, 9), (10**5, 10**5, 9)], (1, 1), {"cash_policy": "allow"}),
        ([(1, 1, 9), (1, 1, 9), (10**5, 10**5, 9)], (-1, 0, 0), {}),
        ([(1, 1, 9), (1, 1, 9), (9_000, 9_000, 9)] * 2, (1, 0, -1) * 2, fixed),
        ([(1, 1, 9), (1, 1, 9), (9_150, 1, 9)], (1, 0, 0), fixed | {"commission": 100}),
    ):
        yield bars_of(*rows), targets_of(*targets), Contract.model_validate(plain | changes)


def _bars(closes: Sequence[int], gaps: Sequence[int], volumes: Sequence[int]) -> Bars:
    """Bars whose opens lie a gap away from their closes."""
    rows = zip(closes, gaps, volumes, strict=True)
    return bars_of(*((max(1, c + gap) / 10_000, c / 10_000, v) for c, gap, v in rows))


@st.composite
def backtests(draw: st.DrawFn, *, most: int = 30) -> Backtest:
    """Bars with jumps, thin enough that orders move the price, with targets and rules of every kind."""
    count = draw(st.integers(2, most))

    def each(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=count, max_size=count))

    price = st.one_of(st.integers(1, 30), st.integers(9_000, 11_000), st.integers(1, 3_000_000))
    gap = st.sampled_from([0, 0, 1, -1, 40, -300, 9_000])
    bars = _bars(each(price), each(gap), each(st.integers(1, 2_000)))
    contract = Contract(
        cash=draw(st.decimals("0.01", 50_000, places=8)),
        commission=draw(st.sampled_from([Decimal(0), Decimal("0.005"), Decimal("0.12345678")])),
        slippage_bp=draw(st.integers(0, 50)),
        impact_bp=draw(st.integers(0, 50)),
        impact_fraction=draw(st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("1.2345")])),
        volume_window=draw(st.integers(1, 12)),
        sizing=draw(st.sampled_from(Sizing)),
        shares=draw(st.integers(1, 300)),
        cash_policy=draw(st.sampled_from(CashPolicy)),
        allow_short=True,
    )
    return bars, targets_of(*each(st.integers(-1, 1))), contract
