"""Signals are kept until somebody looks, and handlers are as before afterwards."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fluxhero.night.signals import StopSignals


def test_signals_come_one_by_one_in_their_order() -> None:
    before = [signal.getsignal(number) for number in (1, 2, 15, 17)]
    with StopSignals() as signals:
        assert not signals.wait(0)
        assert signals.take() is None
        for number in (signal.SIGHUP, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert signals.wait(60)
        assert [signals.take(), signals.take(), signals.take()] == ["SIGHUP", "SIGINT", None]
    assert [signal.getsignal(number) for number in (1, 2, 15, 17)] == before


def test_the_end_of_a_child_wakes_who_waits() -> None:
    with StopSignals() as signals, subprocess.Popen([sys.executable, "-c", ""]) as child:
        began = time.monotonic()
        while child.poll() is None:
            assert not signals.wait(3600)
        assert time.monotonic() - began < 3600


def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.wait(60)
            assert [signals.take(), signals.take()] == ["SIGTERM", None]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
