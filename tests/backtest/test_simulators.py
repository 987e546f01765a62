"""Whatever the bars, the targets and the rules: both simulators agree, and nothing is made of nothing."""

import hashlib
import inspect
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from fluxhero.backtest import kernel, rules
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.fast import equity_units, simulate, swept
from fluxhero.backtest.results import Result
from fluxhero.backtest.round_trips import equity_from_fills, orders_from_fills, round_trips
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.tables import units
from fluxhero.errors import BadInputError
from tests.backtest.made import Backtest, assert_same, backtests, digest_of_walks, rows_of

pytestmark = pytest.mark.measured

ROOT = Path(__file__).parents[2]


@given(backtests())
@settings(max_examples=150, deadline=None)
def test_the_fast_one_gives_what_the_exact_one_gives(backtest: Backtest) -> None:
    try:
        result = simulate(*backtest)
    except (
        BadInputError
    ) as beyond:  # a fortune that 64 bits do not hold: both say so, of the same bar
        with pytest.raises(BadInputError, match=re.escape(str(beyond))):
            simulate_exact(*backtest)
        return
    assert_same(result, simulate_exact(*backtest))
    alone = swept(*backtest)
    assert (alone.equity == units(result.equity["equity"])).all()
    assert (alone.equity == equity_units(*backtest)).all()
    assert alone.trades == result.round_trips.num_rows


def test_both_agree_on_a_long_walk() -> None:
    bars = random_walk(12_000)
    closes = np.cumsum(bars.close)
    averages = (closes[20:] - closes[:-20]) / 20
    targets = np.concatenate([np.zeros(20), np.sign(bars.close[20:] - averages)])
    contract = Contract(allow_short=True)
    result = simulate(bars, targets, contract)
    assert_same(result, simulate_exact(bars, targets, contract))
    assert set(result.orders["status"].to_pylist()) == {"filled", "shrunk"}
    worse = {
        slippage / shares / Decimal(int(bars.open[bar]))
        for bar, shares, slippage in rows_of(result.fills, "bar", "shares", "slippage")
    }
    assert worse == {Decimal("1e-8"), Decimal("6e-8")}  # 1 and 6 basis points of ticks


@given(backtests())
@settings(max_examples=100, deadline=None)
def test_cash_and_shares_are_kept(backtest: Backtest) -> None:
    bars, _targets, contract = backtest
    result = _countable(*backtest)
    cash, held, last = contract.cash, 0, 0
    spent: dict[int, tuple[int, Decimal]] = {}
    for bar, side, shares, price, commission in rows_of(
        result.fills, "bar", "side", "shares", "price", "commission"
    ):
        sign = 1 if side == "buy" else -1
        cash -= sign * shares * price + commission
        held += sign * shares
        assert commission == shares * contract.commission
        assert bar >= last
        last = bar
        spent[bar] = (held, cash)
    state = (0, contract.cash)
    for bar, shares, left, equity in rows_of(result.equity, "bar", "shares", "cash", "equity"):
        state = spent.get(bar, state)
        assert (shares, left) == state
        assert equity == left + shares * Decimal(int(bars.close[bar])) / 10_000
    if held == 0:  # then all that was earned or lost is in the round trips
        assert sum(result.round_trips["pnl"].to_pylist(), contract.cash) == cash
    assert equity_from_fills(result.fills, bars, contract.cash).equals(result.equity)
    assert round_trips(result.fills, bars).equals(result.round_trips)
    of_fills = orders_from_fills(result.fills, bars)
    assert of_fills["filled"].equals(result.fills["shares"])
    assert of_fills["signal_bar"].to_pylist() == [
        bar - 1 for bar in result.fills["bar"].to_pylist()
    ]


@given(backtests(), st.data())
@settings(max_examples=100, deadline=None)
def test_another_future_changes_nothing_that_is_past(
    backtest: Backtest, data: st.DataObject
) -> None:
    bars, targets, contract = backtest
    now = data.draw(st.integers(0, len(bars) - 1))
    order = np.array(
        [*range(now + 1), *data.draw(st.permutations(range(now + 1, len(bars))))], dtype=int
    )
    moved = (one[order] for one in (bars.open, bars.high, bars.low, bars.close, bars.volume))
    other = Bars(bars.symbol, bars.timeframe, bars.ends, *moved)
    assert _past(_countable(*backtest), now) == _past(
        _countable(other, targets[order], contract), now
    )


def _countable(bars: Bars, targets: Int8s, contract: Contract) -> Result:
    """What the fast simulator makes of it; examples with fortunes beyond 64 bits are for another test."""
    try:
        return simulate(bars, targets, contract)
    except BadInputError:
        reject()


def _past(result: Result, now: int) -> list[object]:
    """What is known once bar `now` is over: the orders given on it, but not what became of them."""
    given_then = [row for row in result.orders.to_pylist() if row["signal_bar"] == now]
    return [
        [row for row in result.orders.to_pylist() if row["signal_bar"] < now],
        [(row["order"], row["side"], row["ordered"]) for row in given_then],
        [row for row in result.fills.to_pylist() if row["bar"] <= now],
        [row for row in result.round_trips.to_pylist() if row["exit_bar"] <= now],
        result.equity.slice(0, now + 1).to_pylist(),
    ]


def test_what_is_compiled_is_what_is_written() -> None:
    """The kernel as Python runs it, which would also warn of a number that wraps around.

    And numba is loaded when something is simulated, not before: commands that simulate nothing stay quick.
    """
    code = (
        "import sys\nfrom tests.backtest.made import digest_of_walks\nimport fluxhero.backtest.sources\n"
        "assert 'numba' not in sys.modules\nprint(digest_of_walks())"
    )
    written = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert written.stdout.strip() == digest_of_walks()


def test_the_kernel_names_the_rules_it_was_compiled_from() -> None:
    digest = hashlib.sha256(Path(rules.__file__).read_bytes()).hexdigest()
    assert digest == kernel.RULES, f"rules.py has changed: set RULES in kernel.py to {digest}"


def test_the_rules_are_python_alone() -> None:
    """They are loaded by their path where nothing of the product is installed."""
    assert "import" not in inspect.getsource(rules).replace("no imports", "")
    given_rules = [name for name in vars(rules) if not name.startswith("_")]
    assert given_rules == [
        "BASIS",
        "MOST_UNITS",
        "entry_shares",
        "fill_bp",
        "fill_price",
        "affordable",
    ]
    # 10,000 USD at 10.006 a share, at 10 USD with 1 basis point and 0.005 USD of commission.
    assert rules.entry_shares(10**12, 100_000, 1, 500_000) == 999
    assert rules.entry_shares(-1, 100_000, 1, 0) == rules.affordable(-1, 1, 0) == 0
    assert rules.affordable(10**12, rules.fill_price(100_000, -1, 10), 0) == 1_001


def test_compiled_code_without_a_place_to_be_kept() -> None:
    namespace: dict[str, object] = {}
    exec(compile("def twice(count): return 2 * count", "/nowhere/made.py", "exec"), namespace)
    twice = namespace["twice"]
    assert callable(twice)
    assert kernel.entry("int64(int64)")(twice)(21) == 42
