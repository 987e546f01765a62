"""An engine whose every strategy is a way to go wrong; run by the harness, never imported."""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fluxhero.backtest.runners.job import Job, Output, SweepJob

FILL = (1, 1, 5, 10.0, 0.025)


def run(job: Job) -> Any:
    what: Any = job.parameters["does"]
    if what in ENDINGS:
        ENDINGS[what]()
    flat = np.full(len(job), job.rules.cash)
    match what:
        case "fine":
            fills: Any = [FILL, (2, -1, np.int64(5), np.float64(11.0), 0.025)]
            own = {"sharpe": 0.5, "trades": float("nan"), "skill": 9.0}
            return Output(fills, flat, job.targets, own)
        case "parts":
            return Output([(1, 1, 0.25, 10.0, 0.0)], flat)
        case "closes":  # so that it can be seen which bars and rules it was given
            given = (job.ends / 1e9, job.open, job.high, job.low, job.close, job.volume)
            return Output([], sum(given) + job.rules.cash + job.rules.commission)
        case "none":
            return None
        case "short equity":
            return Output([], flat[1:])
        case "equity of text":
            return Output([], ["a"] * len(job))
        case "equity not a number":
            return Output([], flat * np.nan)
        case "equity beyond":
            return Output([], flat * 1e9)
        case "fill of two values":
            return Output([(1, 1)], flat)  # type: ignore[list-item]
        case "fills of different lengths":
            return Output([(1, 1), FILL], flat)  # type: ignore[list-item]
        case "targets of fractions":
            return Output([], flat, flat / 3)
        case "targets beyond":
            return Output([], flat, np.full(len(job), 7))
        case "too few targets":
            return Output([], flat, np.zeros(1, np.int8))
        case "own of text":
            return Output([], flat, own={"sharpe": "good"})  # type: ignore[dict-item]
        case "a huge holding":
            return Output([(1, 1, 5 * 10**9, 10.0, 0.0)] * 2, flat)
    place, _, value = str(what).partition("=")
    fill = list(FILL)
    fill[int(place)] = float(value) if "." in value or value == "nan" else int(value)
    return Output([FILL, tuple(fill)], flat)  # type: ignore[list-item]


def sweep(job: SweepJob) -> Any:
    if job.rules.shares == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.rules.shares == 3:
        return np.full(job.targets.shape, np.inf)
    return job.targets * 1.0 + job.close[:, np.newaxis] + len(job)


def _hang() -> None:
    ctypes.CDLL(None).sleep(600)  # in C, where no Python code is run


def _print() -> None:
    while True:
        print("x" * 100_000)  # noqa: T201


def _grow() -> None:
    grown = []
    while True:
        grown.append(bytearray(b"x") * (16 << 20))
        time.sleep(0.03)  # or it is refused memory before it is seen to have so much


def _connect() -> None:
    with socket.socket() as here, socket.socket() as there:
        here.bind(("127.0.0.1", 0))
        here.listen()
        there.connect(here.getsockname())
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("unix")
    for attempt in (
        lambda: socket.getaddrinfo(b"example.com", 80),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 9)),
    ):
        try:
            attempt()
        except PermissionError as error:
            print(error)  # noqa: T201
    socket.socket().connect(("192.0.2.1", 80))


def _raise() -> None:
    raise KeyError("fast")


def _exit() -> None:
    raise SystemExit("enough")


def _exhaust() -> None:
    bytearray(20 << 30)


ENDINGS: dict[object, Callable[[], object]] = {
    "hang": _hang,
    "print": _print,
    "grow": _grow,
    "exhaust": _exhaust,
    "connect": _connect,
    "raise": _raise,
    "exit": _exit,
    "leave": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}
