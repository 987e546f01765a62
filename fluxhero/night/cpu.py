"""What a night shift's processes have used of the CPU, and how a run's share of it is put into words.

What belongs here: reading processor times, and the sum. What a run's own steps took is measured by
`tasks.cost`. All times are CPU seconds, user plus system.
"""

import os
import resource
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from fluxhero.night.state import Part, read_state

Process = tuple[int, float]  # its pid and when it was made, since pids are used again
Used = Mapping[Part, Mapping[Process, float]]

_ORCHESTRATING: Final = (Part.SERVER, Part.WORKER)


@dataclass(frozen=True)
class RunCost:
    """CPU seconds of one run.

    Attributes:
        process: the run's own process since it was made, with what it started and has ended.
        work: thereof inside the steps.
        parts: what each part of the night shift used meanwhile; empty where none runs on this machine.
    """

    process: float
    work: float
    parts: Mapping[Part, float]

    @property
    def orchestration(self) -> float:
        """All that was not a step."""
        return max(self.process - self.work, 0.0) + sum(self.parts.values())

    @property
    def total(self) -> float:
        """Everything."""
        return self.work + self.orchestration

    @property
    def share(self) -> float:
        """What part of everything the orchestration was, 0 to 1."""
        return self.orchestration / self.total if self.total else 0.0

    @property
    def line(self) -> str:
        """The answer in one line."""
        own = max(self.process - self.work, 0.0)
        where = [f"this process {own:.1f}", *(f"{p} {used:.1f}" for p, used in self.parts.items())]
        return (
            f"CPU {self.total:.1f} s: work {self.work:.1f} s, orchestration {self.orchestration:.1f} s "
            f"({100 * self.share:.0f} %: {', '.join(where)})"
        )


def own_cpu() -> float:
    """This process since it was made, all threads, with the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def threads_cpu(threads: Iterable[int]) -> dict[int, float]:
    """What these threads of this process have used, by the system's number; of those that still run."""
    wanted = set(threads)
    return {
        found.id: found.user_time + found.system_time
        for found in psutil.Process().threads()
        if found.id in wanted
    }


def night_cpu(data_dir: Path | None) -> Used:
    """What server and worker of the running night shift have used so far, process by process.

    The server counts with its children. The worker counts alone: its children are the runs, and one of
    them may be asking.
    """
    state = read_state(data_dir) if data_dir is not None else None
    if state is None:
        return {}
    pids = {one.part: one.pid for one in state.parts if one.pid is not None}
    return {
        part: _tree_cpu(pids[part], children=part is Part.SERVER)
        for part in _ORCHESTRATING
        if part in pids
    }


def used_between(before: Used, after: Used) -> dict[Part, float]:
    """What each part used; a process that was not there before counts from its start."""
    return {
        part: sum(used - before.get(part, {}).get(process, 0.0) for process, used in found.items())
        for part, found in after.items()
    }


def _tree_cpu(pid: int, *, children: bool) -> dict[Process, float]:
    try:
        head = psutil.Process(pid)
        processes = [head, *(head.children(recursive=True) if children else [])]
    except psutil.Error:
        return {}
    found = (_cpu(process) for process in processes if process.pid != os.getpid())
    return dict(one for one in found if one is not None)


def _cpu(process: psutil.Process) -> tuple[Process, float] | None:
    try:
        with process.oneshot():
            times = process.cpu_times()
            created: float = process.create_time()
    except psutil.Error:
        return None  # it has ended meanwhile
    return (process.pid, created), float(times.user + times.system)
