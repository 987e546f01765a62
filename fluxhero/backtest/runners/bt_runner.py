"""bt: runs in the engine's own environment, given signals or in the engine's own idiom.

Given signals, each bar is two rows of data, its open and its close: an order is decided in the row of the
close and filled by `Security.transact` in the next row, the open of the bar that follows, at a price of its
own (for which bt wants a bid-offer spread to be declared; it is 0). bt holds the shares and the cash; it never
asks whether there is enough, so the policies shrink and reject are the runner's, and allow is bt's own. Once
the equity is below zero bt sells everything and stops; such a job is run again with a loan, which is taken off.

Native is what its documentation shows: weights of everything or nothing at the close of the signal's bar,
brought back to the whole every day; there is no fixed number of shares. It looks through all the data up to
each bar, so it is one for daily data.
"""

import math
from typing import Any

import bt
import numpy as np
import pandas as pd

from fluxhero.backtest.runners.job import Job, Output

NAME = "bars"
LOANS = (0.0, 2.0**10, 2.0**20)  # times what one order needs

Fill = tuple[int, int, int, float, float]  # bar, side, shares, price, commission


def run(job: Job) -> Output:
    """Run one strategy over the bars."""
    return _given(job) if job.mode == "given" else _native(job)


def _backtest(
    strategy: bt.Strategy, data: pd.DataFrame, spread: pd.DataFrame, job: Job, loan: float = 0.0
) -> Any:
    rules = job.rules
    backtest = bt.Backtest(
        strategy,
        data,
        initial_capital=rules.cash + loan,
        commissions=lambda shares, price: abs(shares) * rules.commission,  # noqa: ARG005
        additional_data={"bidoffer": spread},
    )
    return backtest, bt.run(backtest)


def _own(backtest: Any, result: Any) -> dict[str, float]:
    stats = result.stats[backtest.name]
    own = {
        "sharpe": stats["daily_sharpe"],
        "total_return": stats["total_return"],
        "max_drawdown": -stats["max_drawdown"],
    }
    return {name: float(value) for name, value in own.items() if math.isfinite(value)}


# ------------------------------------------------------------------------------------ given signals


class _Contract(bt.Algo):
    """Decides in the row of a close, fills in the row of the open after it."""

    def __init__(self, job: Job, loan: float) -> None:
        super().__init__()
        self.job = job
        self.loan = loan
        self.fills: list[Fill] = []
        self._targets, self._closes = np.asarray(job.targets).tolist(), job.close.tolist()
        self._opens = job.open.tolist()
        self._row = 0
        self._leaves = False
        self._enters = (0, 0)  # side, shares

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Contract":
        return self  # bt copies a strategy before it runs; the fills are wanted here

    def __call__(self, target: Any) -> bool:
        bar, at_close = divmod(self._row, 2)
        self._row += 1
        if at_close:
            self._decide(target, bar)
        else:
            self._fill(target, bar)
        return True

    def _decide(self, target: Any, bar: int) -> None:
        wanted = self._targets[bar]
        if wanted == (self._targets[bar - 1] if bar else 0):
            return
        self._leaves = bool(target[NAME].position)
        shares = (
            self.job.rules.entry_shares(target.value - self.loan, self._closes[bar])
            if wanted
            else 0
        )
        self._enters = (wanted, shares)

    def _fill(self, target: Any, bar: int) -> None:
        held = int(target[NAME].position)
        if self._leaves and held:
            self._transact(target, bar, -1 if held > 0 else 1, abs(held), abs(held))
        side, shares = self._enters
        if shares:
            rules = self.job.rules
            price = rules.fill_price(self._opens[bar], side, shares, bar)
            self._transact(
                target, bar, side, shares, rules.filled(target.capital - self.loan, price, shares)
            )
        self._leaves, self._enters = False, (0, 0)

    def _transact(self, target: Any, bar: int, side: int, ordered: int, shares: int) -> None:
        if not shares:
            return
        price = self.job.rules.fill_price(self._opens[bar], side, ordered, bar)
        target[NAME].transact(side * shares, price=price)
        self.fills.append((bar, side, shares, price, shares * self.job.rules.commission))


def _given(job: Job) -> Output:
    ends = job.ends
    before = np.concatenate([[ends[0] - 2], ends[:-1]])
    index = np.stack([before + (ends - before) // 2, ends], axis=1).ravel()
    rows = np.stack([job.open, job.close], axis=1).ravel()
    data = pd.DataFrame({NAME: rows}, index=pd.DatetimeIndex(index.view("M8[ns]")))
    needed = max(job.rules.cash, job.rules.shares * float(job.open.max()))
    for loan in (times * needed for times in LOANS):
        algo = _Contract(job, loan)
        strategy = bt.Strategy("given", [algo], [bt.Security(NAME)])
        backtest, result = _backtest(strategy, data, data * 0.0, job, loan)
        if not backtest.strategy.bankrupt:
            equity = backtest.strategy.values.to_numpy()[2::2] - loan
            own = {} if loan else _own(backtest, result)  # they would count the loan
            return Output(algo.fills, equity, job.targets, own)
    raise ValueError("the equity falls further below zero than bt can be lent")


# ------------------------------------------------------------------------------------------- native


def _cross(close: pd.DataFrame, fast: Any, slow: Any) -> pd.DataFrame:
    return close.rolling(fast).mean() > close.rolling(slow).mean()


def _reversion(close: pd.DataFrame, window: Any, entry: Any, leave: Any) -> pd.DataFrame:
    score = (close - close.rolling(window).mean()) / close.rolling(window).std(ddof=0)
    wanted = pd.DataFrame(np.nan, index=close.index, columns=close.columns)
    wanted = wanted.mask(score < -entry, 1.0).mask(score > -leave, 0.0)
    return wanted.ffill().fillna(0.0).astype(bool)


def _native(job: Job) -> Output:
    close = pd.DataFrame({NAME: job.close}, index=pd.DatetimeIndex(job.ends.view("M8[ns]")))
    given = job.parameters
    if job.strategy == "buy-and-hold":
        signal = close > 0
        choose = [bt.algos.RunOnce(), bt.algos.SelectAll()]
    else:
        if job.strategy == "moving-average-cross":
            signal = _cross(close, given["fast"], given["slow"])
        else:
            signal = _reversion(close, given["window"], given["entry"], given["exit"])
        choose = [bt.algos.SelectWhere(signal)]
    strategy = bt.Strategy("native", [*choose, bt.algos.WeighEqually(), bt.algos.Rebalance()])
    spread = close * (2 * job.rules.slippage_bp / 10_000)  # half of it is paid on each side
    backtest, result = _backtest(strategy, close, spread, job)
    equity = backtest.strategy.values.to_numpy()[1:].copy()
    targets = signal[NAME].to_numpy(np.int8)
    return Output(_transactions(job, backtest, close), equity, targets, _own(backtest, result))


def _transactions(job: Job, backtest: Any, close: pd.DataFrame) -> list[Fill]:
    made = backtest.strategy.get_transactions().reset_index()
    bars = close.index.get_indexer(made["Date"])
    commission = job.rules.commission
    return [
        (
            int(bar),
            1 if shares > 0 else -1,
            int(abs(shares)),
            float(price),
            abs(shares) * commission,
        )
        for bar, shares, price in zip(bars, made["quantity"], made["price"], strict=True)
    ]
