"""How likely choosing the best of many trials is to have chosen noise: combinatorially symmetric cross-validation.

Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest Overfitting" (2015). The days are cut into
blocks; half of the blocks choose the best trial, the other half say how it does among all, and that for every
choice of half the blocks. A Sharpe ratio needs only the sums of a block, so no return is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.bars import Floats, Ints
from fluxhero.backtest.performance import DAYS_A_YEAR
from fluxhero.errors import BadInputError
from fluxhero.wording import counted

BLOCKS: Final = 16
_FEWEST: Final = 2  # trials, blocks, days of a block
_MOST_BLOCKS: Final = 20  # 184,756 combinations
_AT_A_TIME: Final = 64  # combinations, so that memory stays flat
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_NOISE: Final = 1e-12  # of the mean square: what floating point leaves of a variance that is none


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Of the daily returns of N trials on the same days, cut into S blocks of days.

    Attributes:
        count: days of each block, S.
        total: sums of the returns, S by N.
        squares: sums of their squares, S by N.
    """

    count: Ints
    total: Floats
    squares: Floats

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return int(self.total.shape[1])

    @classmethod
    def joined(cls, parts: Sequence["BlockSums"]) -> "BlockSums":
        """The trials of several, which are of the same days, one after the other.

        Raises:
            BadInputError: they are not of the same days, or there are none.
        """
        if not parts or any(not np.array_equal(one.count, parts[0].count) for one in parts):
            raise BadInputError(
                "block sums of different days cannot be joined",
                next_step="join those of one sweep, which are of one symbol's bars",
            )
        return cls(
            parts[0].count,
            np.concatenate([one.total for one in parts], axis=1),
            np.concatenate([one.squares for one in parts], axis=1),
        )


class Overfitting(BaseModel):
    """What the cross-validation found.

    Attributes:
        pbo: share of the combinations whose best trial came out in the lower half of the other days.
        trials, blocks, combinations: how many.
        undecided: combinations left out, as no trial had a Sharpe ratio on the days to choose by.
        slope: by how much a Sharpe ratio on the other days rises with one on the days chosen by; None
            where the latter never differ.
        loss_probability: share of the combinations whose best trial has a Sharpe ratio below zero on the other days.
        logits: the 5, 25, 50, 75 and 95 % quantiles of the logit of the best trial's rank on the other days.
        mean_rank: of the best trial on the other days; 1 is the best, 0 the worst, 0.5 that of a coin.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pbo: float
    trials: int
    blocks: int
    combinations: int
    undecided: int
    slope: float | None
    loss_probability: float
    logits: tuple[float, float, float, float, float]
    mean_rank: float


def block_sums(returns: Floats, blocks: int = BLOCKS) -> BlockSums:
    """Sum up daily returns by blocks of days, which differ by at most one day.

    Args:
        returns: days by trials.
        blocks: how many.
    """
    edges = np.linspace(0, len(returns), blocks + 1).round().astype(np.int64)
    if len(returns) >= blocks:  # no block is empty
        sums = (np.add.reduceat(one, edges[:-1]) for one in (returns, np.square(returns)))
        return BlockSums(np.diff(edges), *sums)
    spans = [slice(first, last) for first, last in pairwise(edges)]
    return BlockSums(
        np.diff(edges),
        np.stack([returns[span].sum(axis=0) for span in spans]),
        np.stack([np.square(returns[span]).sum(axis=0) for span in spans]),
    )


def probability_of_overfitting(sums: BlockSums, risk_free_daily: float) -> Overfitting:
    """Choose by one half of the blocks and look at the other, for every choice of half of them.

    A trial without a Sharpe ratio (it did nothing on those days) is never chosen; on the other days it counts
    as one of 0. A trial that lost everything (its returns are no numbers any more) is last. Ties share their
    ranks; the first of several best is chosen.

    Args:
        sums: of at least two trials, and two days a block.
        risk_free_daily: a day's risk-free return.

    Raises:
        BadInputError: too few trials or days, an odd number of blocks, or no trial that did anything.
    """
    _check(sums)
    found = list(_halves(sums, risk_free_daily))
    chosen, other, ranks = (np.concatenate(parts) for parts in zip(*found, strict=True))
    decided = np.isfinite(chosen)
    if not decided.any():
        raise BadInputError(
            f"none of {counted(sums.trials, 'trial')} did anything",
            next_step="give trials that trade",
        )
    chosen, other, ranks = chosen[decided], other[decided], ranks[decided]
    omega = ranks / (sums.trials + 1)
    logits = np.log(omega / (1 - omega))
    low, quarter, median, three_quarters, high = map(float, np.quantile(logits, _QUANTILES))
    return Overfitting(
        pbo=float((logits <= 0).mean()),
        trials=sums.trials,
        blocks=len(sums.count),
        combinations=len(decided),
        undecided=int((~decided).sum()),
        slope=_slope(chosen, other),
        loss_probability=float((other < 0).mean()),
        logits=(low, quarter, median, three_quarters, high),
        mean_rank=float((ranks - 1).mean() / (sums.trials - 1)),
    )


def _check(sums: BlockSums) -> None:
    blocks, trials = sums.total.shape
    even = blocks % 2 == 0 and _FEWEST <= blocks <= _MOST_BLOCKS
    if not even or trials < _FEWEST or sums.count.min() < _FEWEST:
        raise BadInputError(
            f"{counted(trials, 'trial')} on {counted(int(sums.count.sum()), 'day')} in {counted(blocks, 'block')}"
            " cannot be cross-validated",
            next_step=f"give 2 trials or more, an even number of blocks up to {_MOST_BLOCKS}, and 2 days a block",
        )


class _Subsets:
    """Sums over any of the blocks, put together of those over the subsets of either half of them.

    A matrix product would do the same; its threads fight with whatever else runs, at many times the cost.
    """

    def __init__(self, rows: Floats) -> None:
        self._low_bits = len(rows) // 2
        self._low = _sums_of_subsets(rows[: self._low_bits])
        self._high = _sums_of_subsets(rows[self._low_bits :])

    def over(self, masks: Ints) -> Floats:
        """A row for each mask, in which bit n stands for block n."""
        low: Floats = self._low[masks & ((1 << self._low_bits) - 1)]
        low += self._high[masks >> self._low_bits]
        return low


def _sums_of_subsets(rows: Floats) -> Floats:
    sums = np.zeros((1, rows.shape[1]))
    for row in rows:
        sums = np.concatenate([sums, sums + row])
    return sums


def _halves(sums: BlockSums, risk_free_daily: float) -> Iterator[tuple[Floats, Floats, Floats]]:
    """For some combinations at a time: the best trial's Sharpe ratio here and there, and its rank there."""
    blocks = len(sums.count)
    everything = (1 << blocks) - 1
    days = sums.count[:, np.newaxis].astype(np.float64)
    parts = [_Subsets(one) for one in (days, sums.total, sums.squares)]
    ruined = np.isnan(sums.total).any(axis=0)
    choices = np.array(
        [sum(1 << block for block in half) for half in combinations(range(blocks), blocks // 2)]
    )
    for first in range(0, len(choices), _AT_A_TIME):
        masks = choices[first : first + _AT_A_TIME]
        here = _sharpes(masks, parts, risk_free_daily)
        there = np.nan_to_num(_sharpes(everything ^ masks, parts, risk_free_daily), copy=False)
        here[:, ruined], there[:, ruined] = np.nan, -np.inf
        best = np.argmax(np.where(np.isnan(here), -np.inf, here), axis=1)[:, np.newaxis]
        chosen = np.take_along_axis(here, best, axis=1)
        other = np.take_along_axis(there, best, axis=1)
        ranks = (there < other).sum(axis=1) + ((there == other).sum(axis=1) + 1) / 2
        yield chosen[:, 0], other[:, 0], ranks


def _sharpes(masks: Ints, parts: Sequence[_Subsets], risk_free_daily: float) -> Floats:
    """Yearly Sharpe ratios, combinations by trials, over the blocks of the masks; NaN where undefined."""
    days, mean, square = (part.over(masks) for part in parts)
    mean /= days
    square /= days
    variance = square - mean**2
    variance[variance <= _NOISE * square] = np.nan
    mean -= risk_free_daily
    ratio: Floats = mean / np.sqrt(variance * days / (days - 1)) * DAYS_A_YEAR**0.5
    return ratio


def _slope(chosen: Floats, other: Floats) -> float | None:
    centred = chosen - chosen.mean()
    spread = float(centred @ centred)
    return float(centred @ other) / spread if spread > 0 else None
