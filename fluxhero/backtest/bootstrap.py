"""How far results could have been other ones by chance: intervals by the stationary bootstrap.

Politis and Romano, "The Stationary Bootstrap" (1994): days are drawn in runs of random length, so that what
hangs together from day to day stays together; the mean length is that of Politis and White (2004).
"""

import math
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.bars import Floats
from fluxhero.backtest.performance import DAYS_A_YEAR, max_drawdown, sharpe_of
from fluxhero.errors import BadInputError
from fluxhero.wording import counted

SAMPLES: Final = 1_000
CONFIDENCE: Final = 0.90
FEWEST_DAYS: Final = 20


class Interval(BaseModel):
    """Where a number lies in the middle 90 % of the samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float


class Bootstrap(BaseModel):
    """What other orders of the same days would have given.

    Attributes:
        samples: how many were drawn.
        block_days: mean length of the runs of days drawn.
        sharpe, annual_return, max_drawdown: intervals of them; the drawdown goes by the ends of days.
        loss_probability: share of the samples that lost money.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    block_days: int
    sharpe: Interval
    annual_return: Interval
    max_drawdown: Interval
    loss_probability: float


def bootstrap(
    returns: Floats, risk_free: float, *, samples: int = SAMPLES, seed: int = 1
) -> Bootstrap:
    """Draw the days anew, many times, and measure each time.

    Args:
        returns: daily.
        risk_free: yearly rate.
        samples: how often.
        seed: the same one gives the same intervals.

    Raises:
        BadInputError: too few days, or none on which anything happened.
    """
    if len(returns) < FEWEST_DAYS or not np.isfinite(sharpe_of(returns, risk_free)):
        raise BadInputError(
            f"{counted(len(returns), 'daily return')} cannot be drawn anew to any purpose",
            next_step=f"give {FEWEST_DAYS} days or more, on some of which money was made or lost",
        )
    from arch.bootstrap import StationaryBootstrap, optimal_block_length

    block = _block_days(optimal_block_length(returns)["stationary"].iloc[0], len(returns))
    drawn = StationaryBootstrap(block, returns, seed=seed)
    found = np.array(
        [_measured(np.asarray(sample[0]), risk_free) for sample, _ in drawn.bootstrap(samples)]
    )
    sharpe, annual, drawdown = (_interval(column) for column in found.T)
    return Bootstrap(
        samples=samples,
        block_days=block,
        sharpe=sharpe,
        annual_return=annual,
        max_drawdown=drawdown,
        loss_probability=float((found[:, 1] < 0).mean()),
    )


def _block_days(optimal: float, days: int) -> int:
    return min(max(math.ceil(optimal), 1), days) if math.isfinite(optimal) else 1


def _measured(returns: Floats, risk_free: float) -> tuple[float, float, float]:
    growth = np.asarray(np.cumprod(1 + returns), np.float64)
    annual = max(float(growth[-1]), 0.0) ** (DAYS_A_YEAR / len(returns)) - 1
    return float(sharpe_of(returns, risk_free)), annual, max_drawdown(growth, 1.0)


def _interval(values: Floats) -> Interval:
    """NaN samples (every day drawn was the same one) say nothing and are left out."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, (outside, 1 - outside))
    return Interval(low=float(low), high=float(high))
