"""Samples of every metric, and snapshots of them, for tests that do not care about the numbers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fluxhero.metrics.families import MEASURED, Family, Kind
from fluxhero.metrics.samples import Sample
from fluxhero.metrics.snapshots import Snapshot, write_snapshot

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
_VALUES = {"quantile": "0.5", "window": "7d"}


def one_of_each(value: float = 1.5) -> list[Sample]:
    """A sample of every metric that is measured; of histograms, all parts."""
    return [sample for family in MEASURED for sample in _samples(family, value)]


def _samples(family: Family, value: float) -> Iterator[Sample]:
    labels = tuple((name, _VALUES.get(name, f"a {name}")) for name in family.labels)
    if family.kind is not Kind.HISTOGRAM:
        yield Sample(family.name, labels, value, 120 if "quantile" in family.labels else None)
        return
    # Neither sorted nor as Prometheus writes them.
    for bound, count in (("+Inf", 4), ("5", 1), ("60", 3), ("2592000", 4)):
        yield Sample(f"{family.name}_bucket", (*labels, ("le", bound)), count)
    yield Sample(f"{family.name}_sum", labels, value)
    yield Sample(f"{family.name}_count", labels, 4)


def equity(value: float, mode: str = "live", basis: str = "closed") -> Sample:
    return Sample("trading_equity_usd", (("mode", mode), ("basis", basis)), value)


def snapshot(at: datetime, *samples: Sample, mark: str = "0000") -> Snapshot:
    return Snapshot(f"{at:%Y%m%dT%H%M%SZ}-{mark}", at, samples or (equity(at.timestamp()),))


def write_several(data_dir: Path, first: datetime, every: timedelta, count: int) -> list[Path]:
    """Snapshots at equal intervals, each with its time as the equity."""
    return [write_snapshot(data_dir, snapshot(first + every * n)) for n in range(count)]
