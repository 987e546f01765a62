"""A sample: one number of one metric at one moment, as measured, stored and exposed.

What a metric means is stated in `families`; the functions that measure return samples of it.
"""

from dataclasses import dataclass

PREFIX = "trading_"
OTHER = "other"  # the label value of all that is beyond a label's bound


@dataclass(frozen=True, slots=True)
class Sample:
    """One number.

    Attributes:
        name: as exposed, so with `_bucket`, `_sum` or `_count` where it is part of a histogram.
        labels: (name, value) in the order of the family's labels; a window and a bucket's `le` too.
        value: in the unit of the name.
        count: of an exact quantile, from how many values it was taken.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    count: int | None = None

    @property
    def window(self) -> str | None:
        """The span of time the number covers, as "7d"; None where it is not one of a window."""
        return dict(self.labels).get("window")


def sample(name: str, value: float, count: int | None = None, **labels: str) -> Sample:
    """A sample of `trading_{name}`."""
    return Sample(PREFIX + name, tuple(labels.items()), value, count)
