"""What the tests of the night shift share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def hangs_up() -> Iterator[None]:
    """SIGHUP ends a process, also where the tests were started with `nohup`, which is respected."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
