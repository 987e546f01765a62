"""What a run costs in CPU time, and what share of it was orchestration.

A flow opens a meter for its length (`measuring_cost`), every step adds to the meter of its context, and a
step that reports asks for the sum (`cost_line`). The context hands the meter on to subflows and to steps
that run in other threads, so that a chain of flows has one sum.

A step's work is what the whole process used while a step ran, not only the calling thread: DuckDB, Arrow and
numba compute in threads of their own, and engines in processes. Left out is what Python's other threads used
meanwhile, which are Prefect's (it sends logs, events and heartbeats from them). Steps beside each other are
counted once, from the first's beginning to the last's end.

The process counts from when it was made, imports and all, and until the sum is asked for: publishing that
report and ending the process come after it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from prefect import Flow

from config.loading import load_settings
from config.settings import SettingsError
from fluxhero.night.cpu import RunCost, night_cpu, own_cpu, threads_cpu, used_between

P = ParamSpec("P")
R = TypeVar("R")


class CostMeter:
    """Adds up a run's steps; safe to use from many threads."""

    def __init__(self, data_dir: Path | None = None) -> None:
        """Start measuring.

        Args:
            data_dir: whose night shift keeps the run; None if none does.
        """
        self._data_dir = data_dir
        self._night = night_cpu(data_dir)
        self._lock = threading.Lock()
        self._work = 0.0
        self._stepping: list[int] = []  # threads of the steps that run now
        self._stepped: set[int] = set()  # and of those that ran since none did
        self._began = 0.0
        self._others: dict[int, float] = {}

    @contextmanager
    def step(self) -> Iterator[None]:
        """Within the block, what this process uses is work."""
        thread = threading.get_native_id()
        with self._lock:
            if not self._stepping:
                self._begin()
            self._stepping.append(thread)
            self._stepped.add(thread)
        try:
            yield
        finally:
            with self._lock:
                self._stepping.remove(thread)
                if not self._stepping:
                    self._work += self._since_begin()

    def so_far(self) -> RunCost:
        """The sum up to now, with the steps that run."""
        with self._lock:
            running = self._since_begin() if self._stepping else 0.0
            work = self._work + running
        parts = used_between(self._night, night_cpu(self._data_dir))
        return RunCost(process=own_cpu(), work=work, parts=parts)

    def _begin(self) -> None:
        others = {one.native_id for one in threading.enumerate() if one.native_id is not None}
        self._stepped = set()
        self._others = threads_cpu(others)
        self._began = own_cpu()

    def _since_begin(self) -> float:
        ended = own_cpu()
        beside = threads_cpu(self._others.keys() - self._stepped)
        return ended - self._began - sum(cpu - self._others[one] for one, cpu in beside.items())


_METER: Final[ContextVar[CostMeter | None]] = ContextVar("cost_meter", default=None)


@contextmanager
def measured_cost() -> Iterator[CostMeter]:
    """Measure a flow within the block; a flow that runs within another one adds to the outer's meter."""
    outer = _METER.get()
    if outer is not None:
        yield outer
        return
    meter = CostMeter(_data_dir())
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def measuring_cost(flow: Flow[P, R]) -> Flow[P, R]:
    """A flow that measures what its runs cost."""
    flow.fn = measured_cost()(flow.fn)  # afterwards, so that the flow has the place of its own file
    return flow


def cost_line() -> str | None:
    """What the run has cost so far, in one line; None where nothing measures it."""
    meter = _METER.get()
    return meter.so_far().line if meter is not None else None


def metered(function: Callable[P, R]) -> Callable[P, R]:
    """The function as a step whose CPU time is work."""

    @wraps(function)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        with as_step():
            return function(*args, **kwargs)

    return measured


def as_step() -> AbstractContextManager[None]:
    """The block of a step, in the meter of this context if there is one."""
    meter = _METER.get()
    return nullcontext() if meter is None else meter.step()


def _data_dir() -> Path | None:
    """Where to look for the night shift; settings that cannot be used are the first step's to report."""
    try:
        return load_settings().data_dir
    except SettingsError:
        return None
