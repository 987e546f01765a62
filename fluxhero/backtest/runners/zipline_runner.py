"""Runs strategies in zipline-reloaded; loaded by the harness in that engine's environment, never imported by FluxHero.

Bars are read from memory, over a calendar whose sessions are the days that have bars: no bundle, and nothing is
written. Bars that are each on a day of their own are zipline's daily bars; others are its minute bars, and a minute
without a bar is one in which nobody traded.

_Given signals: orders go through zipline's blotter and ledger. Its own slippage models fill at the close and its
ledger never looks at the cash, so both are done by a slippage model of ours: it fills at the open and applies the
cash policy; what is left of a shrunk or rejected order is cancelled at that bar's close. Equity is zipline's own
portfolio value at each close. It is asked for only after the bar's fills: asked before them, zipline would mark the
shares of that fill at its price and not at the close.

_Native: what zipline's documentation shows: `data.history` for the indicator, `order_target_percent` to be all-in,
and its own slippage in basis points, which fills at the close of the next bar, at most a tenth of its volume a bar.
Its history is of days or minutes: bars of any other length have no native run. Win or loss of trades it does not
count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import empyrical  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
from exchange_calendars import ExchangeCalendar
from sqlalchemy import create_engine
from zipline import api
from zipline.algorithm import TradingAlgorithm
from zipline.assets import AssetDBWriter, AssetFinder
from zipline.data.bar_reader import BarReader, NoDataOnDate
from zipline.data.data_portal import DataPortal
from zipline.finance.commission import PerShare
from zipline.finance.metrics.metric import Returns
from zipline.finance.slippage import FixedBasisPointsSlippage, SlippageModel
from zipline.finance.trading import SimulationParameters

from fluxhero.backtest.runners.job import Job, Output

if TYPE_CHECKING:
    from fluxhero.backtest.runners.job import Floats, Int8s, Ints

MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE
FIELDS = ("open", "high", "low", "close", "volume")


class _BarCalendar(ExchangeCalendar):
    """Sessions are the days with bars, from a minute before the end of the day's first bar to that of its last."""

    name = "BARS"
    tz = ZoneInfo("UTC")
    open_times = close_times = ((None, pd.Timestamp(0).time()),)
    weekmask = "1111111"

    def __init__(self, ends: Ints) -> None:
        days, first = np.unique(ends // DAY, return_index=True)
        last = np.append(first[1:], len(ends)) - 1
        # zipline asks for the midnight that the first session begins with, which must not be before the calendar
        # begins; so there is a session before those of the bars, and one after them.
        self._days = pd.DatetimeIndex(_with_neighbours(days, 1) * DAY)
        super().__init__(self._days[0], self._days[-1], side="right")
        self.opens_nanos = _with_neighbours(ends[first] - MINUTE, DAY)
        self.closes_nanos = _with_neighbours(ends[last], DAY)
        self._opens = pd.DatetimeIndex(self.opens_nanos, tz="UTC")
        self._closes = pd.DatetimeIndex(self.closes_nanos, tz="UTC")
        self.schedule["open"], self.schedule["close"] = self._opens, self._closes

    @property
    def adhoc_holidays(self) -> list[pd.Timestamp]:
        return list(pd.date_range(self._days[0], self._days[-1]).difference(self._days))


def _with_neighbours(at: Ints, step: int) -> Ints:
    return np.concatenate(([at[0] - step], at, [at[-1] + step]))


class _Reader(BarReader):
    """The bars, by the session of a daily bar or by the end of a minute bar."""

    def __init__(self, job: Job, calendar: _BarCalendar, data_frequency: str) -> None:
        self._calendar, self._frequency = calendar, data_frequency
        self._keys = job.ends // DAY * DAY if data_frequency == "session" else job.ends
        self._place = {key: place for place, key in enumerate(self._keys.tolist())}
        self._values = {field: getattr(job, field) for field in FIELDS}

    @property
    def data_frequency(self) -> str:
        return self._frequency

    @property
    def trading_calendar(self) -> _BarCalendar:
        return self._calendar

    @property
    def last_available_dt(self) -> pd.Timestamp:
        zone = None if self._frequency == "session" else "UTC"
        return pd.Timestamp(self._keys[-1], tz=zone)

    @property
    def first_trading_day(self) -> Any:
        return self._calendar.sessions[1]

    def get_value(self, _asset: Any, dt: pd.Timestamp, field: str) -> float:
        place = self._place.get(dt.value)
        if place is None:
            raise NoDataOnDate(dt)
        return float(self._values[field][place])

    def get_last_traded_dt(self, _asset: Any, dt: pd.Timestamp) -> Any:
        place = int(np.searchsorted(self._keys, dt.value, side="right")) - 1
        return pd.NaT if place < 0 else pd.Timestamp(self._keys[place], tz=dt.tz)

    def load_raw_arrays(
        self, columns: Any, start_date: pd.Timestamp, end_date: pd.Timestamp, _assets: Any
    ) -> list[Floats]:
        of = self._calendar
        within = of.sessions_in_range if self._frequency == "session" else of.minutes_in_range
        wanted = within(start_date, end_date).asi8
        places = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        there = self._keys[places] == wanted
        nothing = {"volume": 0.0}
        return [
            np.where(there, self._values[one][places], nothing.get(one, np.nan))[:, None]
            for one in columns
        ]


class _Fees(PerShare):
    """zipline's commission a share; keeps each fill as zipline made it."""

    def __init__(self, algorithm: _Algorithm) -> None:
        super().__init__(cost=algorithm.rules.commission, min_trade_cost=0.0)
        self._algorithm = algorithm

    def calculate(self, order: Any, transaction: Any) -> float:
        commission = float(super().calculate(order, transaction))
        side = 1 if transaction.amount > 0 else -1
        fill = (side, abs(transaction.amount), float(transaction.price), commission)
        self._algorithm.fills.append((self._algorithm.bar + 1, *fill))
        return commission


class _Algorithm:
    """What both ways of running have in common: the place of the bar and the equity at its close."""

    def __init__(self, job: Job, targets: Int8s, asset: Any) -> None:
        self.job, self.rules, self.asset, self.targets = job, job.rules, asset, targets
        self.bar = -1
        self.fills: list[tuple[int, int, int, float, float]] = []
        self.equity = np.zeros(len(job.ends))

    def initialize(self, context: Any) -> None:
        context.set_slippage(us_equities=self.slippage())
        context.set_commission(us_equities=_Fees(self))

    def handle_data(self, context: Any, data: Any) -> None:
        if np.isnan(data.current(self.asset, "close")):
            return  # a minute without a bar
        self.bar += 1
        self.equity[self.bar] = context.portfolio.portfolio_value
        self.decide(context.portfolio, data)

    def slippage(self) -> SlippageModel:
        raise NotImplementedError

    def decide(self, portfolio: Any, data: Any) -> None:
        raise NotImplementedError


class _AtOpen(SlippageModel):
    """Fills at the open as the contract says, with the cash policy that zipline's ledger does not have."""

    def __init__(self, algorithm: _Given) -> None:
        super().__init__()
        self._algorithm = algorithm

    def process_order(self, data: Any, order: Any) -> tuple[float | None, int | None]:
        opened = data.current(order.asset, "open")
        return self._algorithm.fill(order, opened)


class _Given(_Algorithm):
    """Orders what the signals say."""

    def __init__(self, job: Job, targets: Int8s, asset: Any) -> None:
        super().__init__(job, targets, asset)
        self._entries: set[str] = set()
        self._cash = job.rules.cash

    def slippage(self) -> SlippageModel:
        return _AtOpen(self)

    def fill(self, order: Any, opened: float) -> tuple[float | None, int | None]:
        side, shares = (1 if order.amount > 0 else -1), abs(int(order.amount))
        price = self.rules.fill_price(opened, side, shares, self.bar + 1)
        if order.id in self._entries:
            shares = self.rules.filled(self._cash, price, shares)
        if not shares:
            return None, None
        # zipline books the fills of a bar when it has them all, so a reversal's proceeds are reckoned here.
        self._cash -= side * shares * price + shares * self.rules.commission
        return price, side * shares

    def decide(self, portfolio: Any, _data: Any) -> None:
        for order in api.get_open_orders(self.asset):
            api.cancel_order(order)
        self._cash = portfolio.cash
        target = int(self.targets[self.bar])
        if target == (int(self.targets[self.bar - 1]) if self.bar else 0):
            return
        held = portfolio.positions[self.asset].amount
        if held:
            api.order(self.asset, -held)
        shares = self.rules.entry_shares(self.equity[self.bar], self.job.close[self.bar])
        if target and shares:
            self._entries.add(api.order(self.asset, target * shares))


class _Native(_Algorithm):
    """Trades as zipline's own examples do."""

    def initialize(self, context: Any) -> None:
        super().initialize(context)
        self._every = "1d" if context.data_frequency == "daily" else "1m"

    def slippage(self) -> SlippageModel:
        return FixedBasisPointsSlippage(basis_points=float(self.rules.slippage_bp))

    def decide(self, _portfolio: Any, data: Any) -> None:
        before = int(self.targets[self.bar - 1]) if self.bar else 0
        target = self.targets[self.bar] = self._wanted(data, before)
        if target == before:
            return
        if self.rules.sizing == "fixed":
            api.order_target(self.asset, target * self.rules.shares)
        else:
            api.order_target_percent(self.asset, float(target))

    def _wanted(self, data: Any, before: int) -> int:
        given: dict[str, Any] = {**self.job.parameters}
        if self.job.strategy == "buy-and-hold":
            return 1
        if self.job.strategy == "moving-average-cross":
            if self.bar + 1 < given["slow"]:
                return 0
            closes = self._closes(data, given["slow"])
            return int(closes.iloc[-given["fast"] :].mean() > closes.mean())
        if self.bar + 1 < given["window"]:
            return 0
        closes = self._closes(data, given["window"])
        spread = closes.std(ddof=0)
        score = (closes.iloc[-1] - closes.mean()) / spread if spread > 0 else 0.0
        return int(score <= -given["exit"] if before else score < -given["entry"])

    def _closes(self, data: Any, bars: int) -> Any:
        return data.history(self.asset, "price", bars, self._every)


def run(job: Job) -> Output:
    """Run a job.

    Raises:
        ValueError: bars that do not end with a minute, or a native run on bars that are neither days nor minutes.
    """
    frequency = _frequency(job)
    calendar = _BarCalendar(job.ends)
    finder = _finder(calendar)
    stock = finder.retrieve_asset(0)
    targets = np.zeros(len(job), np.int8) if job.targets is None else job.targets
    algorithm = (_Native if job.targets is None else _Given)(job, targets, stock)
    reader = _Reader(job, calendar, "session" if frequency == "daily" else frequency)
    trading = TradingAlgorithm(
        sim_params=SimulationParameters(
            start_session=calendar.sessions[1],
            end_session=calendar.sessions[-2],
            trading_calendar=calendar,
            capital_base=job.rules.cash,
            data_frequency=frequency,
        ),
        data_portal=DataPortal(
            finder,
            trading_calendar=calendar,
            first_trading_day=calendar.sessions[1],
            **{f"equity_{frequency}_reader": reader},
        ),
        trading_calendar=calendar,
        metrics_set={Returns()},
        benchmark_returns=pd.Series(0.0, index=calendar.sessions),
        initialize=algorithm.initialize,
        handle_data=algorithm.handle_data,
    )
    own = _own(trading.run())
    wanted = targets if job.targets is None else None
    return Output(algorithm.fills, algorithm.equity, wanted, own)


def _frequency(job: Job) -> str:
    if len(np.unique(job.ends // DAY)) == len(job):
        return "daily"
    if (job.ends % MINUTE).any():
        raise ValueError("zipline has no bars that are shorter than a minute or end within one")
    if job.targets is None and np.diff(job.ends).min() > MINUTE:
        raise ValueError("zipline's history is of days and of minutes; these bars are neither")
    return "minute"


def _finder(calendar: _BarCalendar) -> AssetFinder:
    """One stock, in a data base in memory."""
    first, last = calendar.first_session, calendar.last_session
    stock = {"symbol": "STOCK", "asset_name": "STOCK", "exchange": "BARS"}
    lifetime = {"start_date": first, "end_date": last, "first_traded": first}
    exchange = {"exchange": "BARS", "canonical_name": "BARS", "country_code": "US"}
    engine = create_engine("sqlite://")
    AssetDBWriter(engine).write(
        equities=pd.DataFrame([stock | lifetime], index=[0]), exchanges=pd.DataFrame([exchange])
    )
    return AssetFinder(engine)


def _own(performance: pd.DataFrame) -> dict[str, float]:
    """What zipline's own metrics say at the end: empyrical, on its daily returns."""
    returns = performance["returns"]
    own = {
        "sharpe": empyrical.sharpe_ratio(returns),
        "total_return": performance["algorithm_period_return"].iloc[-1],
        "max_drawdown": -empyrical.max_drawdown(returns),
    }
    return {name: float(value) for name, value in own.items() if np.isfinite(value)}
