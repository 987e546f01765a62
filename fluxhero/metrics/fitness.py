"""What samples must be before they are written: a scrape takes all of them or none."""

import math
from collections.abc import Iterable, Sequence

from fluxhero.errors import FluxHeroError
from fluxhero.metrics.families import Family, Kind, family_of
from fluxhero.metrics.samples import Sample

Labels = tuple[tuple[str, str], ...]


def refuse_unfit(samples: Sequence[Sample]) -> None:
    """Make sure that Prometheus will take every sample.

    Raises:
        FluxHeroError: there is none, one is not a number, belongs to no metric, has other labels than its metric or is
            there twice, or the buckets of a histogram contradict each other.
    """
    for why in _faults(samples):
        raise FluxHeroError(
            f"{why}: these numbers are not kept",
            next_step="report this fault of the program; earlier snapshots stay as they are",
        )


def _faults(samples: Sequence[Sample]) -> Iterable[str]:
    if not samples:
        yield "nothing was measured"
    seen: set[tuple[str, Labels]] = set()
    for sample in samples:
        family = family_of(sample.name)
        if family is None:
            yield f"{sample.name} is no metric of ours"
        elif not math.isfinite(sample.value):
            yield f"{told(sample)} is {sample.value}"
        elif why := _label_fault(sample, family):
            yield f"{told(sample)} {why}"
        if (sample.name, sample.labels) in seen:
            yield f"{told(sample)} is there twice"
        seen.add((sample.name, sample.labels))
    yield from _histogram_faults(samples)


def told(sample: Sample) -> str:
    """A sample's name and labels in Prometheus' notation."""
    labels = ",".join(f"{name}={value!r}" for name, value in sample.labels)
    return f"{sample.name}{{{labels}}}"


def _label_fault(sample: Sample, family: Family) -> str:
    expected = family.labels
    if family.kind is Kind.HISTOGRAM:
        if sample.name == family.name:
            return "is a histogram without saying which part of it"
        expected += ("le",) if sample.name.endswith("_bucket") else ()
    if tuple(name for name, _ in sample.labels) != expected:
        return f"should have the labels {', '.join(expected) or 'of no name'}"
    if not all(isinstance(value, str) and value for _, value in sample.labels):
        return "has a label that is empty or no text"
    return ""


def _histogram_faults(samples: Sequence[Sample]) -> Iterable[str]:
    counts = {(sample.name, sample.labels): sample.value for sample in samples}
    buckets: dict[tuple[str, Labels], list[tuple[float, float]]] = {}
    for sample in samples:
        family = family_of(sample.name)
        if family is None or family.kind is not Kind.HISTOGRAM:
            continue
        bounds = dict(sample.labels)
        bound = bounds.pop("le", None)
        key = family.name, tuple(bounds.items())
        group = buckets.setdefault(key, [])
        if bound is not None:
            group.append((float(bound), sample.value))
    for (name, labels), group in buckets.items():
        values = [value for _, value in sorted(group)]
        total = counts.get((f"{name}_count", labels))
        if not group or math.inf not in dict(group) or total != values[-1]:
            yield f"{name} has no bucket le='+Inf' that holds its count"
        elif values != sorted(values) or (f"{name}_sum", labels) not in counts:
            yield f"{name} has buckets that fall, or no sum"
