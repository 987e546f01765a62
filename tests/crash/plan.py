"""Which kills are tried: where, when, and how many in a row."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One scenario to play: a boundary's number, or seconds until SIGKILL arrives; one a run."""

    kind: str
    kills: tuple[int | float, ...]


def plan(
    labels: Sequence[str], seconds: float, kills: int, rng: random.Random, *, every: bool
) -> list[Planned]:
    """Choose scenarios with about this many kills in all: half at boundaries, a third at random instants,
    the rest in chains of three.

    Args:
        labels: the boundaries that an undisturbed run crosses.
        seconds: how long it takes.
        kills: about how many.
        rng: where chance comes from.
        every: as many more as it takes to strike a boundary of every name.
    """
    at_boundaries = max(1, kills // 2)
    chains = kills // 5 // 3
    at_instants = kills - at_boundaries - 3 * chains
    places: dict[str, list[int]] = {}
    for number, label in enumerate(labels, start=1):
        places.setdefault(label, []).append(number)
    struck = [rng.choice(numbers) for numbers in places.values()]
    rng.shuffle(struck)
    while len(struck) < at_boundaries:
        struck.append(rng.randint(1, len(labels)))
    if not every:
        struck = struck[:at_boundaries]
    scenarios = [Planned("boundary", (number,)) for number in struck]
    scenarios += [Planned("instant", (rng.uniform(0, seconds),)) for _ in range(at_instants)]
    for _ in range(chains):
        first = rng.randint(len(labels) // 4, len(labels))
        more = (rng.randint(1, len(labels) // 2), rng.uniform(0, seconds / 2))
        scenarios.append(Planned("chain", (first, *more)))
    rng.shuffle(scenarios)
    return scenarios
