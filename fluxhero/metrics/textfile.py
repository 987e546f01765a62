"""Metrics as a file that Prometheus' node exporter collects, where nothing is to listen on a port."""

from collections.abc import Iterable
from pathlib import Path

from fluxhero.durable import write_atomically
from fluxhero.metrics.exposition import render
from fluxhero.metrics.samples import Sample

_FOR_ALL = 0o644  # the exporter runs as a user of its own


def write_textfile(path: Path, samples: Iterable[Sample]) -> None:
    """Replace the file, so that the exporter reads the old numbers or the new ones, never half of them.

    Args:
        path: in the exporter's folder, and ending in `.prom`, or the exporter passes it over.
        samples: the numbers; they get no time, for the exporter refuses a file with times.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    write_atomically(path, render(samples), mode=_FOR_ALL)
