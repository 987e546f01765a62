"""What a snapshot says of itself: when it was made, and by which release."""

from datetime import datetime

from fluxhero.metrics.samples import Sample, sample
from fluxhero.release import release


def about_snapshot(now: datetime) -> list[Sample]:
    """The time of the snapshot and the release that made it."""
    return [
        sample("snapshot_timestamp_seconds", now.timestamp()),
        sample("build_info", 1, version=release()),
    ]
