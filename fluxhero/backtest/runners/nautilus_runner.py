"""Runs strategies in nautilus_trader; loaded by the harness in that engine's environment, never imported by FluxHero.

Given signals: each bar becomes two trade ticks, its open a nanosecond after the bar before is over and its close
at its end. What nautilus is told to buy at a close it buys at that close, so an order waits in the strategy for
the tick of the next open, where the cash policy is applied to the cash of nautilus's own account, and a fill model
of ours quotes the contract's price. The account is in a currency of ours with 8 decimals: nautilus rounds every
amount to the decimals of its currency, a commission of half a cent in USD to a whole one. It is a cash account;
where short selling is allowed a margin account that asks for no margin, as nautilus sells nothing short on a cash
account. Its risk engine is passed by, as that reckons an order's cost at the last price and not at the fill's.
Equity is nautilus's own at the tick of each close. Its record of trades is kept empty: it copies all of them at
every trade, which takes longer than the backtest from some thousand trades on.

Native: what nautilus's examples do. Bars; its `SimpleMovingAverage`, and its `BollingerBands` fed with closes (left
to itself it takes the mean of high, low and close); market orders in `on_bar`, filled at the close of that very
bar; a cash account in USD, so that half a cent a share is charged as a whole one; and its only slippage, a tick
of one cent at every fill (none where the contract has none). All-in is what the balance pays for.

Its own total return is that of the balance: shares still held at the end count as money spent.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from nautilus_trader.accounting.factory import AccountFactory
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel, PerContractFeeModel
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.indicators import BollingerBands, SimpleMovingAverage
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType, BookOrder, TradeTick
from nautilus_trader.model.enums import (
    AccountType,
    AggressorSide,
    BookType,
    CurrencyType,
    OmsType,
    OrderSide,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TradeId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.risk.config import RiskEngineConfig
from nautilus_trader.trading.strategy import Strategy

from fluxhero.backtest.runners.job import Job, Output

if TYPE_CHECKING:
    from fluxhero.backtest.runners.job import Int8s

VENUE = Venue("SIM")
STOCK = InstrumentId(Symbol("STOCK"), VENUE)
FINE_USD = Currency("USDF", 8, 0, "US dollar to 8 decimals", CurrencyType.FIAT)
FINE, COARSE = 8, 4  # decimals of prices: of fills by the contract, of bars
CENT = 0.01
MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE


class _Trading(Strategy):
    """What both ways of running have in common: fills as they come, and the equity at each close."""

    currency = USD

    def __init__(self, job: Job, targets: Int8s) -> None:
        super().__init__()
        self.job, self.rules, self.targets = job, job.rules, targets
        self.bar = -1
        self.fills: list[tuple[int, int, int, float, float]] = []
        self.equity = np.zeros(len(job))

    def on_order_filled(self, event: Any) -> None:
        side = 1 if event.order_side == OrderSide.BUY else -1
        fill = (side, int(event.last_qty), float(event.last_px), float(event.commission))
        self.fills.append((self.bar, *fill))

    def mark(self) -> None:
        self.equity[self.bar] = float(self.portfolio.equity(VENUE)[self.currency])

    def cash(self) -> float:
        return float(self.portfolio.account(VENUE).balance_total(self.currency))

    def held(self) -> int:
        return int(self.portfolio.net_position(STOCK))

    def before(self) -> int:
        return int(self.targets[self.bar - 1]) if self.bar else 0

    def trade(self, side: int, shares: int) -> Any:
        order = self.order_factory.market(
            STOCK, OrderSide.BUY if side > 0 else OrderSide.SELL, Quantity.from_int(shares)
        )
        self.submit_order(order)
        return order


class _Given(_Trading):
    """Orders what the signals say, at the tick of the open."""

    currency = FINE_USD

    def __init__(self, job: Job, targets: Int8s) -> None:
        super().__init__(job, targets)
        self.price = 0.0  # of the order that is about to be filled
        self._entry = (0, 0)  # side and shares
        self._exit = False
        self._at_open = True

    def on_start(self) -> None:
        self.subscribe_trade_ticks(STOCK)

    def on_trade_tick(self, tick: TradeTick) -> None:
        if self._at_open:
            self.bar += 1
            if self._exit:
                held = self.held()
                self._order(-1 if held > 0 else 1, abs(held))
            elif self._entry[1]:
                self._enter()
        else:
            self._mark_at(tick.price)
            self._decide()
        self._at_open = not self._at_open

    def on_order_filled(self, event: Any) -> None:
        super().on_order_filled(event)
        if self._exit:
            self._exit = False
            if self._entry[1]:
                self._enter()

    def _mark_at(self, close: Price) -> None:
        if self.rules.allow_short:
            # The equity of a margin account stays as it is from one trade tick to the next, as what is unrealised
            # is kept until there is a quote or a bar.
            profit = self.portfolio.unrealized_pnl(STOCK, close)
            self.equity[self.bar] = self.cash() + float(profit)
        else:
            self.mark()

    def _decide(self) -> None:
        side = int(self.targets[self.bar])
        if side == self.before():
            return
        self._exit = bool(self.held())
        if side:
            shares = self.rules.entry_shares(self.equity[self.bar], self.job.close[self.bar])
            self._entry = (side, shares)

    def _enter(self) -> None:
        side, ordered = self._entry
        self._entry = (0, 0)
        price = self._price(side, ordered)
        shares = self.rules.filled(self.cash(), price, ordered)
        if shares:
            self._order(side, shares, price)

    def _price(self, side: int, ordered: int) -> float:
        return self.rules.fill_price(self.job.open[self.bar], side, ordered, self.bar)

    def _order(self, side: int, shares: int, price: float | None = None) -> None:
        self.price = self._price(side, shares) if price is None else price
        self.trade(side, shares)


class _AtOpen(FillModel):
    """Quotes the price that the contract says for the order at hand."""

    def __init__(self, trading: _Given) -> None:
        super().__init__()
        self._trading = trading

    def get_orderbook_for_fill_simulation(
        self, instrument: Any, order: Any, _best_bid: Price, _best_ask: Price
    ) -> OrderBook:
        book = OrderBook(instrument.id, BookType.L2_MBP)
        side = OrderSide.SELL if order.side == OrderSide.BUY else OrderSide.BUY
        book.add(BookOrder(side, Price(self._trading.price, FINE), order.quantity, 1), 0, 0)
        return book


class _Native(_Trading):
    """Trades as nautilus's own examples do."""

    def on_start(self) -> None:
        given = self.job.parameters
        kind = _bar_type(self.job)
        if self.job.strategy == "moving-average-cross":
            self._fast, self._slow = (SimpleMovingAverage(given[one]) for one in ("fast", "slow"))
            for indicator in (self._fast, self._slow):
                self.register_indicator_for_bars(kind, indicator)
        elif self.job.strategy == "mean-reversion":
            # Bands of one deviation: thresholds that are negative or zero are no bands to nautilus.
            self._bands = BollingerBands(given["window"], 1.0)
        self.subscribe_bars(kind)

    def on_bar(self, bar: Bar) -> None:
        self.bar += 1
        self.mark()
        close, before = float(bar.close), self.before()
        target = self.targets[self.bar] = self._wanted(close, before)
        if target > before:
            shares = self._affordable(close)
            if shares:
                self.trade(1, shares)
        elif target < before:
            self.close_all_positions(STOCK)

    def on_position_event(self, _event: Any) -> None:
        self.mark()  # filled after `on_bar`, at the close of the same bar

    def _affordable(self, close: float) -> int:
        if self.rules.sizing == "fixed":
            return self.rules.shares
        # What is beyond a quarter of the bar's volume is filled a tick worse than the rest.
        slip = 2 * CENT if self.rules.slippage_bp else CENT
        fee = float(Money(self.rules.commission, USD))
        return int(max(self.cash(), 0.0) // (close + slip + fee))

    def _wanted(self, close: float, before: int) -> int:
        if self.job.strategy == "buy-and-hold":
            return 1
        if self.job.strategy == "moving-average-cross":
            return int(self._slow.initialized and self._fast.value > self._slow.value)
        bands = self._bands
        bands.update_raw(close, close, close)
        deviation = bands.upper - bands.middle
        if not bands.initialized or not deviation:
            return 0
        score = (close - bands.middle) / deviation
        given: dict[str, Any] = {**self.job.parameters}
        return int(score <= -given["exit"] if before else score < -given["entry"])


def run(job: Job) -> Output:
    """Run a job."""
    given = job.targets is not None
    money = FINE_USD if given else USD
    targets = np.zeros(len(job), np.int8) if job.targets is None else job.targets
    trading = (_Given if given else _Native)(job, targets)
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=given),
            run_analysis=not given,
        )
    )
    slips = FillModel(prob_slippage=float(job.rules.slippage_bp > 0))
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.MARGIN if given and job.rules.allow_short else AccountType.CASH,
        [Money(job.rules.cash, money)],
        base_currency=money,
        default_leverage=Decimal(1),
        fill_model=_AtOpen(trading) if given else slips,
        fee_model=PerContractFeeModel(Money(job.rules.commission, money)),
        allow_cash_borrowing=job.rules.cash_policy == "allow",
    )
    engine.add_instrument(_stock(money))
    engine.add_data(_ticks(job) if given else _bars(job))
    engine.add_strategy(trading)
    try:
        own = _ran(engine, trading, given=given)
    finally:
        engine.dispose()
        # Kept for as long as the process lives, and telling it twice is an error.
        AccountFactory.deregister_cash_borrowing(VENUE.value)
    return Output(trading.fills, trading.equity, None if given else targets, own)


def _ran(engine: BacktestEngine, trading: _Trading, *, given: bool) -> dict[str, float]:
    """Run it, and return what nautilus's own analysis says.

    Raises:
        RuntimeError: nautilus ended early; it only logs that.
    """
    analyzer = engine.portfolio.analyzer
    if given:
        analyzer.record_trade = _forget
    engine.run()
    if trading.bar + 1 < len(trading.job):
        raise RuntimeError(
            f"nautilus ended after bar {trading.bar} of {len(trading.job)}, as it does when a cash account's"
            " balance falls below zero"
        )
    if given:
        analyzer.calculate_statistics(engine.cache.account_for_venue(VENUE), [])
    result = engine.get_result()
    own = {
        "sharpe": result.stats_returns.get("Sharpe Ratio (252 days)", math.nan),
        "total_return": result.stats_pnls[trading.currency.code]["PnL% (total)"] / 100,
        "trades": result.total_positions,
    }
    return {name: float(value) for name, value in own.items() if math.isfinite(value)}


def _forget(*_trade: Any) -> None:
    """Take a trade, and keep no record of it."""


def _stock(money: Currency) -> Equity:
    digits, tick = (FINE, 1e-8) if money == FINE_USD else (COARSE, CENT)
    return Equity(
        STOCK,
        STOCK.symbol,
        money,
        digits,
        Price(tick, digits),
        Quantity.from_int(1),
        0,
        0,
        margin_init=Decimal(0),
        margin_maint=Decimal(0),
    )


def _ticks(job: Job) -> list[TradeTick]:
    one, number = Quantity.from_int(1), TradeId("1")
    starts = np.append(job.ends[0] - 1, job.ends[:-1] + 1)
    prices = np.column_stack((job.open, job.close)).ravel().tolist()
    times = np.column_stack((starts, job.ends)).ravel().tolist()
    return [
        TradeTick(STOCK, Price(price, FINE), one, AggressorSide.NO_AGGRESSOR, number, at, at)
        for price, at in zip(prices, times, strict=True)
    ]


def _bars(job: Job) -> list[Bar]:
    kind = _bar_type(job)
    columns = (job.open, job.high, job.low, job.close, job.volume.astype(np.int64), job.ends)
    return [
        Bar(kind, *(Price(one, COARSE) for one in prices), Quantity.from_int(volume), end, end)
        for *prices, volume, end in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _bar_type(job: Job) -> BarType:
    """What nautilus calls such bars; it takes bars from outside as they come."""
    shortest = int(np.diff(job.ends).min())
    minutes = max(shortest // MINUTE, 1)
    step = "1-DAY" if shortest > DAY // 2 else f"{minutes if 60 % minutes == 0 else 1}-MINUTE"
    return BarType.from_str(f"{STOCK}-{step}-LAST-EXTERNAL")
