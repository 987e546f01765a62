"""The audit's validation tests, made valid, of one result each: does what must come out come out?

Each compares with a reckoning of its own, never with the simulator that is tested. A test that could not be done
has not passed and says why.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from statistics import NormalDist
from typing import Final

import numpy as np

from fluxhero.backtest.agreement import CENT
from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.evaluation import Validation
from fluxhero.backtest.performance import floats
from fluxhero.backtest.results import Result
from fluxhero.backtest.rules import BASIS
from fluxhero.backtest.walk_forward import NEEDED_PERCENT, WalkForward, coin_p_value
from fluxhero.wording import counted

BUY_AND_HOLD: Final = "buy-and-hold"
PERFECT: Final = "perfect-predictor"
RANDOM: Final = "random"
WALK_FORWARD: Final = "walk-forward"
FEWEST_SEEDS: Final = 30
_NEAR: Final = 0.02  # the audit's two percent
_CONFIDENCE: Final = 0.99


def not_done(engine: str, test: str, symbol: str, reason: str) -> Validation:
    """A test that could not be done."""
    return Validation(
        engine=engine, test=test, symbol=symbol, passed=None, value="", wanted="", text=reason
    )


def beside(reference: Validation, tested: Validation) -> Validation:
    """An engine's test with whether it found the very same as the reference."""
    if reference.passed is None or tested.passed is None:
        return tested
    wanted = f"{tested.wanted}; the reference: {reference.value}"
    return tested.model_copy(
        update={"as_reference": reference.value == tested.value, "wanted": wanted}
    )


def buy_and_hold(engine: str, result: Result, bars: Bars, contract: Contract) -> Validation:
    """Whether holding from the first open to the last close gives what a computation by hand gives."""
    wanted = _held_by_hand(bars, contract)
    if wanted is None:
        return not_done(engine, BUY_AND_HOLD, bars.symbol, "the cash does not pay for a share")
    shares, by_hand = wanted
    equity: Decimal = result.equity["equity"][-1].as_py()
    opened, closed = _dollars(bars.open, 1), _dollars(bars.close, -1)
    actual = float(closed / opened - 1)
    found = float((equity - contract.cash) / (shares * opened))
    near = abs(found - actual) <= _NEAR * max(1.0, abs(actual))
    return Validation(
        engine=engine,
        test=BUY_AND_HOLD,
        symbol=bars.symbol,
        passed=near and abs(equity - by_hand) < CENT,
        value=f"{equity:,.2f} USD, {_percent(found)} on what was invested",
        wanted=f"{by_hand:,.2f} USD by hand, within 2 % of {_percent(actual)}",
        text=f"{counted(shares, 'share')} from the open of the second bar, {opened:,.4f} USD,"
        f" to the last close, {closed:,.4f} USD",
    )


def _held_by_hand(bars: Bars, contract: Contract) -> tuple[int, Decimal] | None:
    """Shares and last equity of buying on the first signal, with pencil and paper."""
    fee = contract.commission
    shares = contract.shares
    if contract.sizing is Sizing.ALL_IN:
        at = _dollars(bars.close, 0) * (1 + Decimal(contract.slippage_bp) / BASIS)
        shares = int(contract.cash / (at + fee))
    bp = contract.slippage_bp
    if shares > contract.impact_fraction * int(bars.volume[0]):
        bp += contract.impact_bp
    price = _dollars(bars.open, 1) * (1 + Decimal(bp) / BASIS)
    if shares * (price + fee) > contract.cash and contract.cash_policy is not CashPolicy.ALLOW:
        shrinks = contract.cash_policy is CashPolicy.SHRINK
        shares = int(contract.cash / (price + fee)) if shrinks else 0
    if not shares:
        return None
    return shares, contract.cash + shares * (_dollars(bars.close, -1) - price - fee)


def perfect_predictor(engine: str, result: Result, bars: Bars, contract: Contract) -> Validation:
    """Whether someone who knows the next opens gains, and pays what everybody pays."""
    fills = result.fills.to_pylist()
    if not fills:
        return not_done(engine, PERFECT, bars.symbol, "no open is above the one before it")
    wrong, paid = 0, Decimal(0)
    for fill in fills:
        opened = _dollars(bars.open, fill["bar"])
        slipped = (fill["price"] - opened) * (1 if fill["side"] == "buy" else -1) * fill["shares"]
        due = [
            fill["shares"] * opened * bp / BASIS
            for bp in (contract.slippage_bp, contract.slippage_bp + contract.impact_bp)
        ]
        fee = fill["shares"] * contract.commission
        right = min(abs(slipped - one) for one in due) < CENT
        wrong += not right or abs(fill["commission"] - fee) >= CENT
        paid += slipped + fill["commission"]
    gain: Decimal = result.equity["equity"][-1].as_py() - contract.cash
    return Validation(
        engine=engine,
        test=PERFECT,
        symbol=bars.symbol,
        passed=not wrong and gain + paid > 0,
        value=f"{gain:,.2f} USD after {paid:,.2f} USD of costs in {counted(len(fills), 'fill')}",
        wanted="a gain before costs, and the contract's costs in every fill",
        text=f"commission or slippage is wrong in {counted(wrong, 'fill')}",
    )


def random_entries(engine: str, results: Sequence[Result], bars: Bars) -> Validation:
    """Whether chance earns nothing beyond costs and its share of what holding earned.

    Before costs each run is held against the growth of holding times the share of opens to opens that it was
    invested in; in logarithms, in which both add up. Their mean over the seeds should not differ from zero.
    """
    if len(results) < FEWEST_SEEDS:
        return not_done(
            engine,
            RANDOM,
            bars.symbol,
            f"{counted(len(results), 'seed')} of {FEWEST_SEEDS} were run",
        )
    beyond = np.array([_beyond(result, bars) for result in results])
    mean, error = float(beyond.mean()), float(beyond.std(ddof=1)) / math.sqrt(len(beyond))
    if not error:
        return not_done(engine, RANDOM, bars.symbol, "the seeds do not differ")
    reach = NormalDist().inv_cdf((1 + _CONFIDENCE) / 2) * error
    costs = sum((_costs(result) for result in results), Decimal(0)) / len(results)
    return Validation(
        engine=engine,
        test=RANDOM,
        symbol=bars.symbol,
        passed=abs(mean) <= reach,
        value=f"{_percent(mean)}, 99 % interval {_percent(mean - reach)} to {_percent(mean + reach)}",
        wanted="an interval with 0 in it, which by chance one in a hundred has not",
        text=f"mean of {counted(len(results), 'seed')}, costs of {costs:,.2f} USD and exposure x holding taken out",
    )


def _beyond(result: Result, bars: Bars) -> float:
    """Logarithmic growth of the round trips before costs, less that of holding for as many bars."""
    trips = result.round_trips
    if not trips.num_rows:
        return 0.0
    entry, leave = trips["entry_bar"].to_numpy(), trips["exit_bar"].to_numpy()
    shares = trips["shares"].to_numpy()
    bought, sold = floats(trips["entry_price"]), floats(trips["exit_price"])
    opens = bars.open / TICKS_A_DOLLAR
    slipped = (bought - opens[entry]) + (opens[leave] - sold)
    gained = floats(trips["pnl"]) + floats(trips["commission"]) + shares * slipped
    # An entry that is sold in parts is one holding.
    weight = shares / np.bincount(entry, shares)[entry]
    growth = float((weight * np.log1p(gained / (shares * opens[entry]))).sum())
    exposure = float((weight * (leave - entry)).sum()) / (len(bars) - 2)
    return growth - exposure * math.log(opens[-1] / opens[1])


def _costs(result: Result) -> Decimal:
    paid = (sum(result.fills[name].to_pylist(), Decimal(0)) for name in ("commission", "slippage"))
    return sum(paid, Decimal(0))


def walk_forward_of(engine: str, symbol: str, walked: WalkForward) -> Validation:
    """Whether most of the months were profitable that parameters chosen on the three before were traded in."""
    return walk_validation(engine, symbol, [one.test_return for one in walked.windows], walked)


def walk_validation(
    engine: str, symbol: str, returns: Sequence[float], walked: WalkForward
) -> Validation:
    """The same of the last windows only, by what an engine made in each of them."""
    good = sum(one > 0 for one in returns)
    traded = sum(one != 0 for one in returns)
    chance = f"p = {coin_p_value(good, traded):.3f} for a coin" if traded else "none was traded in"
    total = math.prod(1 + one for one in returns) - 1
    windows = counted(len(walked.windows), "window")
    which = "all" if len(returns) == len(walked.windows) else f"the last {len(returns)} of"
    return Validation(
        engine=engine,
        test=WALK_FORWARD,
        symbol=symbol,
        passed=100 * good > NEEDED_PERCENT * len(returns),
        value=f"{good} of {counted(len(returns), 'window')} profitable, {_percent(total)} in all",
        wanted=f"above {NEEDED_PERCENT} % of the windows profitable",
        text=f"{which} {windows}: {chance}, {len(returns) - traded} without a trade;"
        f" {walked.left_out} left out for gaps",
    )


def _dollars(ticks: np.typing.NDArray[np.int64], bar: int) -> Decimal:
    return Decimal(int(ticks[bar])) / TICKS_A_DOLLAR


def _percent(fraction: float) -> str:
    return f"{100 * fraction:+,.2f} %"
