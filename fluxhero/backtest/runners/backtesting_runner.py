"""backtesting.py: runs in the engine's own environment, given signals or in the engine's own idiom.

Given signals, the contract is kept by the engine's own orders, trades and cash, with these detours:

- Its `spread` makes the entry alone worse, so it is 0 and slippage is charged inside the commission.
- It calls a strategy from the second bar on; what bar 0 says is ordered while the strategy is set up.
- It cancels an order that costs more than there is (the policy reject); the policy shrink makes the order
  smaller as the bar opens, and allow gives a margin that never binds. Its own test adds slippage to what a
  short sale needs, so where shorts are allowed the runner tests instead.
- It ends the run once the equity is zero or less; such a job is run again with a loan, which is taken off.

Native is what its documentation shows: entries with all there is, at the next open; a trade still open at the
end is no trade in its statistics.
"""

import math
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.backtesting import Order, Trade, _Broker
from backtesting.lib import crossover

from fluxhero.backtest.runners.job import Job, Output, Rules

NOISE = 1e-14  # relative; what cash is off by in floats must not cancel an order that it pays for exactly
UNBOUND = 1e-9  # margin
LOANS = (0.0, 2.0**10, 2.0**20)  # times what one order needs

Fill = tuple[int, int, int, float, float]  # bar, side, shares, price, commission


def run(job: Job) -> Output:
    """Run one strategy over the bars."""
    return _given(job) if job.mode == "given" else _native(job)


def _bars(job: Job) -> pd.DataFrame:
    prices = {"Open": job.open, "High": job.high, "Low": job.low, "Close": job.close}
    return pd.DataFrame({**prices, "Volume": job.volume}, index=job.ends.view("M8[ns]"))


def _output(cash: float, stats: Any, fills: list[Fill], targets: Any) -> Output:
    broker = stats["_strategy"]._broker
    equity = broker._equity
    quiet = np.isnan(equity)  # before the first call nothing is held
    equity[quiet] = cash
    own = {
        "sharpe": stats["Sharpe Ratio"],
        "total_return": stats["Return [%]"] / 100,
        "max_drawdown": -stats["Max. Drawdown [%]"] / 100,
        "trades": stats["# Trades"],
    }
    finite = {name: float(value) for name, value in own.items() if math.isfinite(value)}
    return Output(fills, equity, targets, finite)


def _run(backtest: Backtest) -> Any:
    with warnings.catch_warnings():
        # Cancelled orders and trades left open are part of the contract.
        warnings.simplefilter("ignore", UserWarning)
        return backtest.run()


# ------------------------------------------------------------------------------------ given signals


class _ContractBroker(_Broker):
    """The engine's broker, told what an order was for before it was made smaller, and noting each fill."""

    def __init__(self, *, rules: Rules, fills: list[Fill], loan: float, **options: Any) -> None:
        super().__init__(commission=self._cost, **options)
        self._rules = rules
        self._fills = fills
        self._loan = loan
        self._entry = 0  # shares ordered to enter at this bar's open, below zero: short

    def _slippage(self, size: float, price: float) -> float:
        """A share's, at this bar's open; an exit is the one order of its sign in a bar."""
        ordered = self._entry if self._entry * size > 0 else size
        worse = self._rules.fill_price(price, 1, int(abs(ordered)), self._i)
        return float(worse - price)

    def _cost(self, size: float, price: float) -> float:
        return abs(size) * (self._slippage(size, price) + self._rules.commission)

    def _process_orders(self) -> None:
        self._entry = 0
        for order in [one for one in self.orders if not one.is_contingent and not _closes(one)]:
            self._entry = int(order.size)
            self._fit(order)
        super()._process_orders()

    def _fit(self, order: Order) -> None:
        rules, opened, side = self._rules, float(self._data.Open[-1]), 1 if order.is_long else -1
        if rules.cash_policy == "allow":
            return
        shares = int(abs(order.size))
        price = rules.fill_price(opened, side, shares, self._i)
        cash = (
            self._cash
            - self._loan
            + sum(
                trade.size * (opened - trade.entry_price) - self._cost(trade.size, opened)
                for trade in self.trades
            )
        )
        filled = rules.filled(cash, price, shares)
        if filled:
            order._replace(size=float(side * filled))
        elif rules.allow_short or self._loan or rules.cash_policy == "shrink":
            order.cancel()

    def _open_trade(self, price: float, size: int, *rest: Any) -> None:
        super()._open_trade(price, size, *rest)
        self._note(1 if size > 0 else -1, size, price)

    def _close_trade(self, trade: Trade, price: float, time_index: int) -> None:
        self._note(-1 if trade.size > 0 else 1, trade.size, price)
        super()._close_trade(trade, price, time_index)

    def _note(self, side: int, size: float, price: float) -> None:
        shares = int(abs(size))
        fill = price + side * self._slippage(size, price)
        self._fills.append((self._i, side, shares, fill, shares * self._rules.commission))


def _closes(order: Order) -> bool:
    return order._Order__parent_trade is not None


def _given(job: Job) -> Output:
    rules = job.rules
    needed = max(rules.cash, rules.shares * float(job.open.max()))
    for loan in (times * needed for times in LOANS):
        fills: list[Fill] = []
        stats = _run(_contract_backtest(job, fills, loan))
        output = _output(rules.cash + loan, stats, fills, job.targets)
        if output.equity[-1] > 0:
            return replace(output, equity=output.equity - loan, own={}) if loan else output
    raise ValueError("the equity falls further below zero than backtesting.py can be lent")


def _contract_backtest(job: Job, fills: list[Fill], loan: float) -> Backtest:
    rules, closes = job.rules, job.close.tolist()
    targets = np.asarray(job.targets).tolist()

    class Given(Strategy):
        def init(self) -> None:
            self._give(0)

        def next(self) -> None:
            self._give(len(self.data) - 1)

        def _give(self, bar: int) -> None:
            target = targets[bar]
            if target == (targets[bar - 1] if bar else 0):
                return
            self.position.close()
            shares = rules.entry_shares(self.equity - loan, closes[bar]) if target else 0
            if shares:
                (self.buy if target > 0 else self.sell)(size=shares)

    backtest = Backtest(_bars(job), Given, cash=rules.cash + loan)
    binds = 0.5 if rules.allow_short else 1 - NOISE
    options = {**backtest._broker.keywords, "rules": rules, "fills": fills, "loan": loan}
    options["margin"] = UNBOUND if rules.cash_policy == "allow" else binds
    del options["commission"]  # the broker's own
    backtest._broker = partial(_ContractBroker, **options)
    return backtest


# ------------------------------------------------------------------------------------------- native


def _average(values: Any, bars: int) -> pd.Series:
    return pd.Series(values).rolling(bars).mean()


def _score(values: Any, bars: int) -> pd.Series:
    window = pd.Series(values).rolling(bars)
    return (pd.Series(values) - window.mean()) / window.std(ddof=0)


class _Native(Strategy):
    """Notes after each bar which way it wants to be."""

    parameters: dict[str, Any]
    shares: int  # 0: all there is
    wanted: dict[int, int]

    def _enter(self) -> None:
        self.buy(size=self.shares) if self.shares else self.buy()
        self.wanted[len(self.data) - 1] = 1

    def _leave(self) -> None:
        self.position.close()
        self.wanted[len(self.data) - 1] = 0


class _SmaCross(_Native):
    def init(self) -> None:
        self.fast = self.I(_average, self.data.Close, self.parameters["fast"])
        self.slow = self.I(_average, self.data.Close, self.parameters["slow"])

    def next(self) -> None:
        if crossover(self.fast, self.slow):
            self._enter()
        elif crossover(self.slow, self.fast):
            self._leave()


class _MeanReversion(_Native):
    def init(self) -> None:
        self.score = self.I(_score, self.data.Close, self.parameters["window"])

    def next(self) -> None:
        if not self.position and self.score[-1] < -self.parameters["entry"]:
            self._enter()
        elif self.position and self.score[-1] > -self.parameters["exit"]:
            self._leave()


class _BuyAndHold(_Native):
    def init(self) -> None:
        pass

    def next(self) -> None:
        if not self.wanted:
            self._enter()


NATIVE = {
    "moving-average-cross": _SmaCross,
    "mean-reversion": _MeanReversion,
    "buy-and-hold": _BuyAndHold,
}


def _native(job: Job) -> Output:
    rules, wanted = job.rules, dict[int, int]()
    shares = rules.shares if rules.sizing == "fixed" else 0
    given = {"parameters": job.parameters, "shares": shares, "wanted": wanted}
    strategy = type("Native", (NATIVE[job.strategy],), given)
    backtest = Backtest(
        _bars(job),
        strategy,
        cash=rules.cash,
        spread=rules.slippage_bp / 10_000,
        commission=lambda size, price: abs(size) * rules.commission,  # noqa: ARG005
    )
    stats = _run(backtest)
    broker = stats["_strategy"]._broker
    fills = []
    for trade in [*broker.closed_trades, *broker.trades]:
        shares, side = int(abs(trade.size)), 1 if trade.is_long else -1
        commission = shares * rules.commission
        fills.append((int(trade.entry_bar), side, shares, float(trade.entry_price), commission))
        if trade.exit_bar is not None:
            fills.append((int(trade.exit_bar), -side, shares, float(trade.exit_price), commission))
    targets = pd.Series(wanted, dtype=float).reindex(range(len(job.ends))).ffill().fillna(0)
    return _output(
        rules.cash, stats, sorted(fills, key=lambda fill: fill[0]), targets.to_numpy(np.int8)
    )
