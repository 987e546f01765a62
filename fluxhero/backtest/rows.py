"""From what engines gave back to the rows of an evaluation: figures, agreement, conduct."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np

from fluxhero.backtest.agreement import CENT, compare
from fluxhero.backtest.bars import TICKS_A_DOLLAR, Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import Conduct, Curve, Row
from fluxhero.backtest.performance import day_ends, performance
from fluxhero.backtest.replay import Fill, fills_of, match, orders_of
from fluxhero.backtest.results import Result
from fluxhero.backtest.rules import BASIS
from fluxhero.backtest.runs import JobOutcome
from fluxhero.backtest.strategy import Named
from fluxhero.backtest.trials import REFERENCE

_NEAR = Decimal("0.1")  # of a basis point, within which slippage counts as right


def reference_row(
    strategy: Named,
    result: Result,
    bars: Bars,
    contract: Contract,
    risk_free: float,
    zone: ZoneInfo,
    seconds: float,
) -> Row:
    """The row of the reference simulator, which took so many seconds."""
    return Row(
        engine=REFERENCE,
        mode="reference",
        strategy=strategy.name,
        label=strategy.label,
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        bars=len(bars),
        ending="ok",
        run_seconds=seconds,
        performance=performance(result, bars, contract, risk_free, zone),
    )


def row_of(
    engine: str,
    outcome: JobOutcome,
    reference: Result,
    contract: Contract,
    risk_free: float,
    zone: ZoneInfo,
) -> Row:
    """The row of one job of an engine.

    Args:
        engine: its short name.
        outcome: of the job.
        reference: the reference's result of the same strategy on the same bars.
        contract: the rules of both.
        risk_free: yearly rate.
        zone: of the exchange.
    """
    job, result = outcome.job, outcome.result
    bars = job.bars
    row = Row(
        engine=engine,
        mode=job.mode.value,
        strategy=job.strategy.name,
        label=job.strategy.label,
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        bars=len(bars),
        ending=outcome.kind,
        error=outcome.error,
    )
    if result is None:
        return row
    targets = job.targets if outcome.targets is None else outcome.targets
    return row.model_copy(
        update={
            "load_seconds": outcome.load_seconds,
            "run_seconds": outcome.run_seconds,
            "own": outcome.own,
            "performance": performance(result, bars, contract, risk_free, zone),
            "agreement": compare(reference, result, bars, contract, job.targets, targets),
            "conduct": conduct_of(result, bars, contract, targets),
        }
    )


def conduct_of(result: Result, bars: Bars, contract: Contract, targets: Int8s) -> Conduct:
    """How the fills of an engine behave: when they come and what they cost.

    Slippage is right within a tenth of a basis point, whether of the open or of the close; a commission within a
    cent, and none is not.
    """
    fills = fills_of(result.fills)
    matched = match(orders_of(targets), fills, bars, contract)
    asked = [
        (order.signal_bar, fill)
        for order, pieces in zip(matched.orders, matched.fills, strict=True)
        for fill in pieces
    ]
    alone = [*matched.extra, *matched.closing]
    every = [*(fill for _, fill in asked), *alone]
    return Conduct(
        fills=len(every),
        next_bar=sum(fill.bar == bar + 1 and not fill.at_close for bar, fill in asked),
        commission=sum(_pays(fill, contract) for fill in every),
        slippage=sum(_slips(fill, bars, contract) for fill in every),
    )


def _pays(fill: Fill, contract: Contract) -> bool:
    due = fill.shares * contract.commission
    return abs(fill.commission - due) < CENT and (fill.commission > 0 or due == 0)


def _slips(fill: Fill, bars: Bars, contract: Contract) -> bool:
    base = Decimal(int((bars.close if fill.at_close else bars.open)[fill.bar])) / TICKS_A_DOLLAR
    slipped = fill.side * (fill.price / base - 1) * BASIS
    due = (contract.slippage_bp, contract.slippage_bp + contract.impact_bp)
    return any(abs(slipped - one) <= _NEAR for one in due)


def curve_of(row: Row, result: Result, bars: Bars, zone: ZoneInfo, points: int = 120) -> Curve:
    """Equity of a row at the end of exchange days, thinned to so many points."""
    last = day_ends(bars.ends, zone)
    kept = last[np.unique(np.linspace(0, len(last) - 1, min(points, len(last))).astype(np.int64))]
    taken = result.equity.take(kept)
    return Curve(
        engine=row.engine,
        mode=row.mode,
        strategy=row.strategy,
        symbol=row.symbol,
        days=tuple(at.astimezone(zone).date() for at in taken["at"].to_pylist()),
        equity=tuple(round(float(mark), 2) for mark in taken["equity"].to_pylist()),
    )
