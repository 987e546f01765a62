"""Cross-validation: against ffn and by brute force, on noise, on skill and on what is overfitted on purpose."""

from itertools import combinations

import ffn  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress, rankdata  # type: ignore[import-untyped]

from fluxhero.backtest.bars import Floats
from fluxhero.backtest.overfitting import BlockSums, block_sums, probability_of_overfitting
from fluxhero.errors import BadInputError


def noise(seed: int, days: int = 800, trials: int = 60) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.01, (days, trials))


@pytest.mark.parametrize(("blocks", "trials"), [(4, 2), (6, 7), (8, 30)])
def test_as_ffn_finds_it(blocks: int, trials: int) -> None:
    returns = noise(1, days=blocks * 25, trials=trials)
    theirs = ffn.core.calc_prob_backtest_overfitting(
        pd.DataFrame(returns), n_blocks=blocks, full_output=True
    )
    ours = probability_of_overfitting(block_sums(returns, blocks), 0.0)
    assert ours.pbo == theirs["pbo"]
    assert ours.combinations == len(theirs["logits"])
    assert ours.logits == pytest.approx(
        np.quantile(theirs["logits"], [0.05, 0.25, 0.5, 0.75, 0.95])
    )
    rank = (theirs["mean_oos_rank"] * (trials + 1) - 1) / (trials - 1)
    assert ours.mean_rank == pytest.approx(rank)


def test_by_brute_force_with_blocks_of_unequal_length() -> None:
    returns, risk_free = noise(2, days=50, trials=5), 0.0002
    parts = np.split(returns, [8, 17, 25, 33, 42])
    sums = block_sums(returns, 6)
    assert sums.count.tolist() == [len(part) for part in parts]
    chosen, other, below = [], [], []
    for half in combinations(range(6), 3):
        here = np.concatenate([parts[place] for place in half]) - risk_free
        there = (
            np.concatenate([parts[place] for place in range(6) if place not in half]) - risk_free
        )
        inside, outside = (
            days.mean(axis=0) / days.std(axis=0, ddof=1) * 252**0.5 for days in (here, there)
        )
        best = inside.argmax()
        chosen.append(inside[best])
        other.append(outside[best])
        below.append(rankdata(outside)[best] <= 3)
    found = probability_of_overfitting(sums, risk_free)
    assert found.pbo == np.mean(below)
    assert found.slope == pytest.approx(linregress(chosen, other).slope)
    assert found.loss_probability == np.mean(np.array(other) < 0)
    assert (found.trials, found.blocks, found.undecided) == (5, 6, 0)


def test_noise_is_a_coin() -> None:
    """One set of trials may fall almost anywhere, as its halves make up a whole; 40 have a mean of 0.5 ± 0.1."""
    found = [probability_of_overfitting(block_sums(noise(seed), 8), 0.0).pbo for seed in range(40)]
    assert 0.4 < np.mean(found) < 0.6
    assert 0.02 < min(found) < max(found) < 0.98


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_skill_is_found(seed: int) -> None:
    returns = noise(seed)
    returns[:, 17] += 0.004
    found = probability_of_overfitting(block_sums(returns), 0.0)
    assert found.pbo < 0.01
    assert found.loss_probability < 0.01
    assert found.mean_rank > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_what_is_overfitted_on_purpose_is_found_out(seed: int) -> None:
    """No trial gains anything in all: what is best in one half is worst in the other."""
    returns = noise(seed)
    found = probability_of_overfitting(block_sums(returns - returns.mean(axis=0)), 0.0)
    assert found.pbo > 0.9
    assert found.slope is not None
    assert found.slope < -0.8
    assert found.loss_probability > 0.9


def test_trials_of_several_chunks_are_as_those_of_one() -> None:
    returns = noise(4, days=100, trials=9)
    parts = [block_sums(returns[:, :2]), block_sums(returns[:, 2:])]
    joined = BlockSums.joined(parts)
    assert joined.trials == 9
    whole = block_sums(returns)
    assert probability_of_overfitting(joined, 0) == probability_of_overfitting(whole, 0)
    with pytest.raises(BadInputError, match="different days"):
        BlockSums.joined([parts[0], block_sums(returns[1:, 2:])])
    with pytest.raises(BadInputError, match="different days"):
        BlockSums.joined([])


def test_a_trial_that_does_nothing_is_never_chosen_and_counts_as_zero() -> None:
    """One loses a little each day: next to it, doing nothing is better, but there is nothing to choose."""
    returns = noise(5, days=80, trials=2) - 0.005
    returns[:, 1] = 0
    found = probability_of_overfitting(block_sums(returns, 4), 0.0)
    assert (found.pbo, found.mean_rank, found.loss_probability) == (1, 0, 1)


def test_a_trial_that_lost_everything_comes_last() -> None:
    returns = noise(6, days=80, trials=3)
    ruined = np.column_stack([returns, np.where(np.arange(80) > 70, np.nan, 0.05)])
    found = probability_of_overfitting(block_sums(ruined, 4), 0.0)
    without = probability_of_overfitting(block_sums(returns, 4), 0.0)
    assert found.slope == without.slope  # the same ones are chosen
    assert found.mean_rank == pytest.approx((1 + 2 * without.mean_rank) / 3)


def test_days_without_anything_to_choose_are_told() -> None:
    returns = noise(7, days=80, trials=3)
    returns[:40] = 0
    found = probability_of_overfitting(block_sums(returns, 4), 0.0)
    assert (found.combinations, found.undecided) == (6, 1)
    with pytest.raises(BadInputError, match="none of 3 trials did anything"):
        probability_of_overfitting(block_sums(np.zeros((80, 3)), 4), 0.0)


def test_choices_that_never_differ_have_no_slope() -> None:
    """Two days a block, all blocks alike: every half is the same half."""
    returns = np.tile([[0.01, 0.02], [-0.005, -0.015]], (4, 1))
    assert probability_of_overfitting(block_sums(returns, 4), 0.0).slope is None


@pytest.mark.parametrize(
    ("days", "trials", "blocks"), [(100, 1, 16), (31, 5, 16), (100, 5, 5), (100, 5, 22), (0, 5, 2)]
)
def test_too_little_is_refused(days: int, trials: int, blocks: int) -> None:
    sums = block_sums(np.ones((days, trials)), blocks)
    with pytest.raises(BadInputError, match=f"{trials} trials? on {days} days"):
        probability_of_overfitting(sums, 0.0)
