"""Does a strategy peek? Its targets are worked out anew on bars that end early, and have to be the same.

A strategy that only looks back says the same about a bar whatever comes after it. What is compared here runs in
the process that runs the user's code; `fluxhero.backtest.signals` makes a verdict of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from fluxhero.backtest.bars import Int8s
from fluxhero.errors import StrategyError

_SEED: Final = 20_260_105
_AT_RANDOM: Final = 6
_AT_ENTRIES: Final = 5
_AT_EXITS: Final = 5
_AT_THE_END: Final = 3
_LONGEST_AT_THE_BEGINNING: Final = 512


@dataclass(frozen=True)
class Difference:
    """The first bar about which a strategy says something else when it does not know what follows.

    Attributes:
        bar: its place.
        full: the target with all bars known.
        truncated: the target with only the first bars known.
        known: how many those were.
    """

    bar: int
    full: int
    truncated: int
    known: int


@dataclass(frozen=True)
class Comparison:
    """What came of working out the targets anew.

    Attributes:
        repeatable: whether the same bars gave the same targets again.
        truncations: how often bars were left away at the end.
        raised: on how many of these the strategy raised.
        said: what it raised first.
        differences: at most one a truncation.
    """

    repeatable: bool
    truncations: int
    raised: int
    said: str
    differences: tuple[Difference, ...]


def truncations(full: Int8s) -> list[int]:
    """How many bars to keep, each time.

    Near the beginning (where gaps are filled from behind), near the end, right after entries and exits (where a
    peek by one bar shows), and anywhere.
    """
    bars = len(full)
    if not full[1:].size:
        return []
    chance = np.random.default_rng(_SEED)
    kept = {bars - left for left in range(1, _AT_THE_END + 1)}
    length = 2
    while length <= _LONGEST_AT_THE_BEGINNING:
        kept.add(length)
        length *= 2
    changes = np.flatnonzero(np.diff(full, prepend=np.int8(0))) + 1
    enters = full[changes - 1] != 0
    for places, most in ((changes[enters], _AT_ENTRIES), (changes[~enters], _AT_EXITS)):
        kept.update(chance.choice(places, min(len(places), most), replace=False).tolist())
    kept.update(chance.integers(1, bars, _AT_RANDOM).tolist())
    return sorted(length for length in kept if 0 < length < bars)


def compared(full: Int8s, recompute: Callable[[int], Int8s]) -> Comparison:
    """Work out a strategy's targets anew, the shortest bars first.

    What a strategy keeps from one call to the next then comes from fewer bars, and shows.

    Args:
        full: its targets with all bars known, from another process.
        recompute: its targets for the first so many bars.
    """
    lengths = truncations(full)
    differences = []
    raised, said = 0, ""
    for known in lengths:
        try:
            targets = recompute(known)
        except StrategyError as error:
            raised += 1
            said = said or error.what
            continue
        different = np.flatnonzero(targets != full[:known])
        if len(different):
            bar = int(different[0])
            differences.append(Difference(bar, int(full[bar]), int(targets[bar]), known))
    return Comparison(
        repeatable=_repeatable(full, differences, recompute),
        truncations=len(lengths),
        raised=raised,
        said=said,
        differences=tuple(differences),
    )


def _repeatable(
    full: Int8s, differences: list[Difference], recompute: Callable[[int], Int8s]
) -> bool:
    """Whether the same bars give the same targets: all of them, and the first on which it differed."""
    try:
        if not np.array_equal(recompute(len(full)), full):
            return False
        return all(recompute(one.known)[one.bar] == one.truncated for one in differences[:1])
    except StrategyError:  # it did not raise before
        return False
