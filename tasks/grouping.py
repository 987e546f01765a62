"""Cutting what a run has to do into few steps.

A step costs the orchestrator as much whatever it does (some 10 ms of CPU, at the server and in the run), and
a server that keeps thousands of them slows down for everybody. So a flow stays at fifty steps however much
there is to do, and a step does more instead.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

_MOST_STEPS: Final = 32  # of a flow's fifty; the rest are those that it always has


def in_groups(items: Sequence[T], *, steps: int = 1) -> tuple[tuple[T, ...], ...]:
    """The items in their order, in so few groups of one size that the flow stays small.

    Args:
        items: what there is to do.
        steps: how many steps each group goes through.
    """
    most = max(1, _MOST_STEPS // steps)
    size = max(1, -(-len(items) // most))
    return tuple(tuple(items[start : start + size]) for start in range(0, len(items), size))
