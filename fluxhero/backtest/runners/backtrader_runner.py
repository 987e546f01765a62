"""backtrader's runner.

Given targets, backtrader's own broker keeps the books; what it is taught by its documented hooks is the
price (`slip_out`'s cap at the bar's range, and one rate for every order, are not the contract), how many
shares of an order are filled (a filler), and, where cash may go below zero, a loan for the moment of the fill.

Native is what its documentation shows: its indicators, `AllInSizerInt` or a fixed stake, its commission and
slippage settings as they come. Orders that the open makes too dear are then refused ("Margin"), all of them.
"""

from __future__ import annotations

from typing import Any

import backtrader as bt
import pandas as pd

from fluxhero.backtest.runners.job import Job, Output, Rules

Fill = tuple[int, int, int, float, float]


def run(job: Job) -> Output:
    """Run a job."""
    given = job.targets is not None
    strategy = Given if given else NATIVE_STRATEGIES[job.strategy]
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=_frame(job)))
    cerebro.broker = ContractBroker(job.rules) if given else _plain_broker(job.rules)
    cerebro.broker.setcash(job.rules.cash)
    cerebro.broker.setcommission(
        commission=job.rules.commission, commtype=bt.CommInfoBase.COMM_FIXED, stocklike=True
    )
    if job.rules.sizing == "fixed":
        cerebro.addsizer(bt.sizers.FixedSize, stake=job.rules.shares)
    else:
        cerebro.addsizer(bt.sizers.AllInSizerInt)
    cerebro.addstrategy(strategy, job=job)
    _analyse(cerebro)
    done = cerebro.run()[0]
    own = _own(done)
    return Output(done.fills, done.equity, None if given else done.wanted, own)


def _frame(job: Job) -> pd.DataFrame:
    columns = {name: getattr(job, name) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(job.ends.view("M8[ns]")))


def _plain_broker(rules: Rules) -> Any:
    broker = bt.brokers.BackBroker()
    broker.set_slippage_perc(rules.slippage_bp / 10_000)
    return broker


def _analyse(cerebro: Any) -> None:
    whole = bt.TimeFrame.NoTimeFrame
    cerebro.addanalyzer(bt.analyzers.SharpeRatio, _name="sharpe")
    cerebro.addanalyzer(bt.analyzers.TimeReturn, _name="total", timeframe=whole)
    cerebro.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")


def _own(done: Any) -> dict[str, float]:
    analyses = done.analyzers
    own = {
        "total_return": next(iter(analyses.total.get_analysis().values())),
        "max_drawdown": analyses.drawdown.get_analysis()["max"]["drawdown"] / 100,
        "trades": analyses.trades.get_analysis()["total"].get("closed", 0),
    }
    sharpe = analyses.sharpe.get_analysis()["sharperatio"]
    if sharpe is not None:  # it is by calendar year, and there may be too few
        own["sharpe"] = sharpe
    return own


class Recording(bt.Strategy):
    """Notes fills, and after each bar the equity and which way the strategy wants to be."""

    params = (("job", None),)

    def __init__(self) -> None:
        self.fills: list[Fill] = []
        self.equity: list[float] = []
        self.wanted: list[int] = []
        self.want = 0

    def prenext(self) -> None:
        """A bar on which an indicator has no value yet."""
        self._note()

    def next(self) -> None:
        """A bar is over."""
        self.decide()
        self._note()

    def decide(self) -> None:
        """Give the orders that this bar calls for."""
        raise NotImplementedError

    def notify_order(self, order: Any) -> None:
        """An order was filled, in part or whole; what the cash was not enough for is given up."""
        for bit in order.executed.iterpending():
            side = 1 if bit.size > 0 else -1
            commission = bit.openedcomm + bit.closedcomm
            self.fills.append((len(self) - 1, side, abs(int(bit.size)), bit.price, commission))
        if order.status == order.Partial:
            self.cancel(order)

    def _note(self) -> None:
        self.equity.append(self.broker.getvalue())
        self.wanted.append(self.want)


class Given(Recording):
    """Follows the targets that it is given."""

    def decide(self) -> None:
        """An order when the target changes, two where it changes sides."""
        target = int(self.p.job.targets[len(self) - 1])
        if target == self.want:
            return
        self.want = target
        if self.position:
            self.close()
        rules: Rules = self.p.job.rules
        shares = rules.entry_shares(self.broker.getvalue(), self.data.close[0]) if target else 0
        if shares:
            (self.buy if target > 0 else self.sell)(size=shares)


class ContractBroker(bt.brokers.BackBroker):
    """backtrader's broker with the prices of the contract, and its policy for orders beyond the cash."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules
        self.set_checksubmit(False)  # the contract decides at the fill
        self.set_filler(self._filled)

    def _filled(self, order: Any, price: float, ago: int) -> int:  # noqa: ARG002 - backtrader's form
        ordered = abs(order.executed.remsize)
        if self.getposition(order.data).size * order.executed.remsize < 0:  # an exit
            return int(ordered)
        return self._rules.filled(self.cash, price, ordered)

    def _try_exec_market(self, order: Any, popen: float, phigh: float, plow: float) -> None:  # noqa: ARG002
        side, bar = (1 if order.isbuy() else -1), len(order.data) - 1
        ordered = abs(order.executed.remsize)
        price = self._rules.fill_price(popen, side, ordered, bar)
        shares = self._filled(order, price, 0)
        if not shares:
            order.reject(self)
            self.notify(order)
            return
        loan = 0.0
        if self._rules.cash_policy == "allow":
            loan = 2 * shares * (price + self._rules.commission) + max(0.0, -self.cash)
        self.cash += loan
        self._execute(order, ago=0, price=price)
        self.cash -= loan


class MovingAverageCross(Recording):
    """The cross of two of backtrader's averages, as in its quick start."""

    def __init__(self) -> None:
        super().__init__()
        fast, slow = self.p.job.parameters["fast"], self.p.job.parameters["slow"]
        averages = (bt.ind.SMA(self.data.close, period=length) for length in (fast, slow))
        self.cross = bt.ind.CrossOver(*averages)

    def decide(self) -> None:
        """In when the fast one crosses above, out when it crosses below."""
        if self.cross > 0:
            self.want = 1
            if not self.position:
                self.buy()
        elif self.cross < 0:
            self.want = 0
            if self.position:
                self.close()


class MeanReversion(Recording):
    """In when the close is far below its average, out when it is back."""

    def __init__(self) -> None:
        super().__init__()
        window = self.p.job.parameters["window"]
        average = bt.ind.SMA(self.data.close, period=window)
        deviation = bt.ind.StandardDeviation(self.data.close, period=window)
        self.score = bt.DivByZero(self.data.close - average, deviation)

    def decide(self) -> None:
        """By how many deviations the close is off."""
        if not self.want and self.score[0] < -self.p.job.parameters["entry"]:
            self.want = 1
            self.buy()
        elif self.want and self.score[0] > -self.p.job.parameters["exit"]:
            self.want = 0
            if self.position:
                self.close()


class BuyAndHold(Recording):
    """In for good; asked for again as long as it is refused."""

    def decide(self) -> None:
        """Buy, unless it holds already."""
        self.want = 1
        if not self.position:
            self.buy()


NATIVE_STRATEGIES: dict[str, type[Recording]] = {
    "moving-average-cross": MovingAverageCross,
    "mean-reversion": MeanReversion,
    "buy-and-hold": BuyAndHold,
}
