"""Samples of a histogram: what is counted in bands becomes Prometheus' cumulative buckets."""

import math
from collections.abc import Sequence
from itertools import accumulate

from fluxhero.metrics.samples import Sample, sample


def histogram_samples(
    name: str, bounds: Sequence[float], counts: Sequence[int], total: float, **labels: str
) -> list[Sample]:
    """A histogram's buckets, sum and count.

    Args:
        name: of the family, without the prefix.
        bounds: upper end of each band, which belongs to it; ascending, without infinity.
        counts: how many values are in each band, and last how many are beyond all of them.
        total: sum of the values.
        labels: in the order of the family's.
    """
    buckets = [
        sample(f"{name}_bucket", below, None, **labels, le=_text(bound))
        for bound, below in zip((*bounds, math.inf), accumulate(counts), strict=True)
    ]
    return [
        *buckets,
        sample(f"{name}_sum", total, None, **labels),
        sample(f"{name}_count", sum(counts), None, **labels),
    ]


def _text(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else str(float(bound))
