"""Which files a check reads from their first byte to their last, so that all are within some days.

Bits rot without a trace in a file's size or time, so a file is due again some time after it was last
read, whatever it looks like. Every run takes its share of the oldest ones beside: daily checks read about
the same amount each day, and a check after a long absence catches up.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from pathlib import Path

from fluxhero.integrity.passed import Passed
from fluxhero.integrity.scope import Scope

BYTES = "bytes"  # what the memory calls a file whose every byte was read
_DAY = timedelta(days=1)


def due(
    scope: Scope, memory: Passed, files: Iterable[Path], suspicious: Collection[Path] = ()
) -> list[Path]:
    """The files to read whole now, in order of their names.

    Args:
        scope: the check.
        memory: when each file was last read whole and found sound.
        files: all files of one kind, each of them there.
        suspicious: files that are read in any case.
    """
    every = sorted(files)
    if scope.deep:
        return every
    # What was read in time to come was read by a clock that was wrong: nobody knows when.
    read = {path: at for path in every if (at := memory.at(BYTES, path)) and at <= scope.now}
    chosen = {path for path in every if path not in read or path in suspicious}
    period = timedelta(days=scope.scrub_days)
    latest = period - min(_DAY, period / 2)  # a daily run may come a little late
    overdue = {path for path, at in read.items() if scope.now - at >= latest}
    chosen |= overdue | _share(scope.now, period, read, overdue)
    return [path for path in every if path in chosen]


def _share(
    now: datetime, period: timedelta, read: dict[Path, datetime], overdue: set[Path]
) -> set[Path]:
    """The oldest files, as many bytes of all as time has passed of the period since the last run."""
    if not read:
        return set()
    sizes = {path: path.stat().st_size for path in read}
    passed = max(timedelta(0), now - max(read.values()))
    left = sum(sizes.values()) * min(1.0, passed / period) - sum(sizes[path] for path in overdue)
    chosen: set[Path] = set()
    for path in sorted(read.keys() - overdue, key=lambda path: (read[path], path)):
        if left <= (0 if chosen else sizes[path] / 2):
            break
        left -= sizes[path]
        chosen.add(path)
    return chosen
