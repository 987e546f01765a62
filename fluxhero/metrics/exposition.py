"""Samples as Prometheus reads them: each family with its meaning and type once, its samples together.

Exact quantiles of a window have a `quantile` label, and only a summary may have one: they are exposed as
summaries. The bounds of buckets are written as Prometheus' own clients do (`5.0`, `+Inf`), so that what is
scraped and what is filled in afterwards are the same series.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from fluxhero.metrics.families import FAMILIES, MEASURED, Family, Kind, family_of
from fluxhero.metrics.samples import Sample, sample
from fluxhero.metrics.snapshots import latest_snapshot, newest_files

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_HELP = "A metric of another release."
_PLACE = {family.name: place for place, family in enumerate(FAMILIES)}
PARTS = ("_bucket", "_count", "_sum")  # in the order they are written
_UNREADABLE = "snapshot_files_unreadable"


def families_of(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Group samples by family, in the order of the list of families; one without samples is absent."""
    groups: dict[str, list[Sample]] = {}
    for one in samples:
        family = family_of(one.name)
        groups.setdefault(family.name if family else one.name, []).append(one)
    for name in sorted(groups, key=lambda name: (_PLACE.get(name, len(_PLACE)), name)):
        metric = _empty(family_of(name), name)
        for one in sorted(groups[name], key=order):
            metric.add_sample(one.name, dict(exposed_labels(one)), one.value)
        yield metric


def _empty(family: Family | None, name: str) -> Metric:
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


def order(one: Sample) -> tuple[object, ...]:
    """Sorts the samples of a family: each series' buckets together and rising, its count and sum behind."""
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


class SnapshotCollector(Collector):
    """The newest snapshot, for a registry of prometheus-client.

    It reads the snapshot once and again when there is a newer one; nothing is measured on a scrape.
    """

    def __init__(self, data_dir: Path, clock: Callable[[], datetime]) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._lock = threading.Lock()
        self._source: object = None
        self._families: tuple[Metric, ...] = ()

    def collect(self) -> Iterable[Metric]:
        """The families of the newest snapshot, and how many newer files cannot be read."""
        now = self._clock()
        with self._lock:
            source = newest_files(self._data_dir, now)
            if source != self._source:
                self._families = self._read(now)
                self._source = source
            return self._families

    def _read(self, now: datetime) -> tuple[Metric, ...]:
        latest = latest_snapshot(self._data_dir, now)
        unreadable = sample(_UNREADABLE, len(latest.unreadable))
        measured = latest.snapshot.samples if latest.snapshot else ()
        return tuple(families_of([*measured, unreadable]))

    def describe(self) -> Iterable[Metric]:
        """The families it may have, without reading anything."""
        names = [*(family.name for family in MEASURED), sample(_UNREADABLE, 0).name]
        return [_empty(family_of(name), name) for name in names]
