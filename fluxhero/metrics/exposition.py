"""Samples as Prometheus reads them: each family with its meaning and type once, its samples together.

Exact quantiles of a window have a `quantile` label, and only a summary may have one: they are exposed as
summaries. The bounds of buckets are written as Prometheus' own clients do (`5.0`, `+Inf`), so that what is
scraped and what is filled in afterwards are the same series.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fluxhero.metrics.families import FAMILIES, Family, Kind, family_of
from fluxhero.metrics.samples import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_HELP = "A metric of another release."
_PLACE = {family.name: place for place, family in enumerate(FAMILIES)}
PARTS = ("_bucket", "_count", "_sum")  # in the order they are written


def families_of(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Group samples by family, in the order of the list of families; one without samples is absent."""
    groups: dict[str, list[Sample]] = {}
    for one in samples:
        family = family_of(one.name)
        groups.setdefault(family.name if family else one.name, []).append(one)
    for name in sorted(groups, key=lambda name: (_PLACE.get(name, len(_PLACE)), name)):
        metric = described(name)
        for one in sorted(groups[name], key=_order):
            metric.add_sample(one.name, dict(exposed_labels(one)), one.value)
        yield metric


def described(name: str) -> Metric:
    """A family as Prometheus knows it, without samples."""
    family = family_of(name)
    kind = exposed_type(family)
    help_text = family.help if family else UNKNOWN_HELP
    return Metric(name.removesuffix("_total") if kind == "counter" else name, help_text, kind)


def exposed_type(family: Family | None) -> str:
    """The type that Prometheus is told."""
    if family is None:
        return "unknown"
    return "summary" if "quantile" in family.labels else str(family.kind)


def exposed_labels(one: Sample) -> tuple[tuple[str, str], ...]:
    """Labels with the bound of a bucket as Prometheus' clients write it."""
    return tuple((name, _bound(value) if name == "le" else value) for name, value in one.labels)


def _bound(value: str) -> str:
    return str(floatToGoString(float(value)))  # type: ignore[no-untyped-call]


def _order(one: Sample) -> tuple[object, ...]:
    """Each series' buckets together and rising, its count and sum behind them."""
    family = family_of(one.name)
    if family is None or family.kind is not Kind.HISTOGRAM:
        return (one.labels, 0, 0.0)
    labels = tuple(pair for pair in one.labels if pair[0] != "le")
    part = PARTS.index(one.name.removeprefix(family.name))
    return (labels, part, float(dict(one.labels).get("le", "inf")))


def render(samples: Iterable[Sample]) -> bytes:
    """The samples in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Given(samples))
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        return families_of(self._samples)

    def describe(self) -> Iterable[Metric]:
        return []
