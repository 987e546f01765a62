"""Running a program that may hang, crash, eat the memory or print without end: it harms only itself.

What belongs here: the boundary around one process and whatever it starts. What is run, and what its
results mean, is the callers' business.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from config.child_environment import child_environment
from fluxhero.durable import make_folder, storage_errors
from fluxhero.wording import printable

OUTPUT_NAME: Final = "output.txt"
WORK_NAME: Final = "work"
MOST_OUTPUT_BYTES: Final = 64 * 1024**2
MOST_FILE_BYTES: Final = 2 * 1024**3
TAIL_CHARACTERS: Final = 4_000
_MEBIBYTE: Final = 1024**2
# Address space that libraries reserve and never touch: thread stacks, allocators' arenas.
_RESERVED_MB: Final = 2_048
_SHORTEST_LOOK_SECONDS: Final = 0.005
_LONGEST_LOOK_SECONDS: Final = 0.05
_SECONDS_BETWEEN_LISTINGS: Final = 0.5  # every listing reads all processes of the machine
_OUT_OF_MEMORY: Final = (
    "MemoryError",
    "Unable to allocate",
    "std::bad_alloc",
    "Cannot allocate memory",
)


@dataclass(frozen=True)
class Bounds:
    """What a process may take, with all that it starts."""

    seconds: float
    memory_mb: int


class Ended(StrEnum):
    """How a process ended."""

    DONE = "done"
    FAILED = "failed"  # exit status other than 0
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    FLOODED = "flooded"  # printed more than anybody reads
    CRASHED = "crashed"  # by a signal that is not ours


@dataclass(frozen=True)
class Outcome:
    """What became of a process.

    Attributes:
        ended: how it ended.
        exit_code: its exit status; below zero the signal that ended it.
        seconds: from start to end.
        cpu_seconds: of it and of the children that it waited for.
        peak_mb: most memory that it and its children were seen to have at once.
        output: the end of what it printed, made safe for a terminal.
        cause: a sentence on why it did not end well; empty where it did.
    """

    ended: Ended
    exit_code: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str
    cause: str


def run_isolated(
    command: Sequence[str],
    *,
    folder: Path,
    bounds: Bounds,
    environment: Mapping[str, str] | None = None,
    advance: Callable[[], None] | None = None,
) -> Outcome:
    """Run a program to its end, or to the end of what it may take.

    It sees none of our settings and no `PYTHONPATH`. It runs in an empty folder of its own, which it may clear;
    that, its home and its temporary folder are in `folder`.
    Whatever it started and left behind is ended with it, also when this call itself is interrupted.

    Args:
        command: program and arguments.
        folder: where it finds its own, and where what it prints is kept; made when missing.
        bounds: what it may take.
        environment: variables that it gets besides.
        advance: called every now and then while it runs.

    Raises:
        OSError: there is no such program, or it cannot be started.
        StorageIOError: the folder cannot be written to.
    """
    output = folder / OUTPUT_NAME
    home, temporary, work = folder / "home", folder / "tmp", folder / WORK_NAME
    with storage_errors("write", output):
        for own in (home, temporary, work):
            _make_anew(own)
        printed = output.open("w+b")
    variables = {
        **child_environment(),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "TZ": "UTC",
        **(environment or {}),
    }
    with printed:
        watch = _Watch(command, work, variables, printed, bounds)
        try:
            watch.wait(advance)
        finally:
            watch.end()
        with storage_errors("read", output):
            return watch.outcome(_tail(printed))


def _make_anew(folder: Path) -> None:
    """An empty folder, whatever is there: an earlier process may have put a link to somewhere else in its place."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    make_folder(folder)


class _Watch:
    """One process under watch, from its start to its end."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        printed: BinaryIO,
        bounds: Bounds,
    ) -> None:
        self._bounds = bounds
        self._printed = printed
        self._cut: Ended | None = None  # why we ended it
        self._cpu_seconds = 0.0
        self._peak = 0
        self._tree: list[psutil.Process] = []
        self._listed = float("-inf")
        self._started = time.monotonic()
        self._seconds = 0.0
        self._process = subprocess.Popen(  # noqa: S603 - what it runs is what this is for
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _limit(self._process.pid, bounds)

    def wait(self, advance: Callable[[], None] | None) -> None:
        """Return when it has ended or has to be."""
        pause = _SHORTEST_LOOK_SECONDS
        while not self._reaped(os.WNOHANG):
            self._cut = self._exceeded()
            if self._cut:
                return
            if advance:
                advance()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_LOOK_SECONDS)

    def end(self) -> None:
        """End it and whatever of it is left."""
        if self._process.returncode is None:
            self._list()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in self._tree:  # a child may have left the group
            with suppress(psutil.Error):
                process.kill()
        if self._process.returncode is None:
            self._reaped(0)

    def outcome(self, output: str) -> Outcome:
        """What became of it."""
        code = self._process.returncode
        ended = self._cut or _verdict(code, output)
        return Outcome(
            ended=ended,
            exit_code=code,
            seconds=self._seconds,
            cpu_seconds=self._cpu_seconds,
            peak_mb=self._peak / _MEBIBYTE,
            output=output,
            cause=_cause(ended, code, self._bounds),
        )

    def _reaped(self, options: int) -> bool:
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid == 0:
            return False
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._cpu_seconds = usage.ru_utime + usage.ru_stime
        self._seconds = time.monotonic() - self._started
        return True

    def _exceeded(self) -> Ended | None:
        if self._memory() > self._bounds.memory_mb * _MEBIBYTE:
            return Ended.OUT_OF_MEMORY
        if time.monotonic() - self._started > self._bounds.seconds:
            return Ended.TIMED_OUT
        if os.fstat(self._printed.fileno()).st_size > MOST_OUTPUT_BYTES:
            return Ended.FLOODED
        return None

    def _memory(self) -> int:
        if time.monotonic() - self._listed > _SECONDS_BETWEEN_LISTINGS:
            self._list()
        total = 0
        for process in self._tree:
            with suppress(psutil.Error):
                total += process.memory_info().rss
        self._peak = max(self._peak, total)
        return total

    def _list(self) -> None:
        with suppress(psutil.Error):
            own = psutil.Process(self._process.pid)
            self._tree = [own, *own.children(recursive=True)]
        self._listed = time.monotonic()


def _limit(pid: int, bounds: Bounds) -> None:
    """Let the operating system refuse what a look every now and then would see too late."""
    if sys.platform != "linux":  # pragma: no cover - elsewhere the looks are all there is
        return
    data = (bounds.memory_mb + _RESERVED_MB) * _MEBIBYTE
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_DATA, (data, data))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _verdict(code: int, output: str) -> Ended:
    if code == 0:
        return Ended.DONE
    last = output.rstrip().rpartition("\n")[2]
    if any(sign in last for sign in _OUT_OF_MEMORY):
        return Ended.OUT_OF_MEMORY
    return Ended.CRASHED if code < 0 else Ended.FAILED


def _cause(ended: Ended, code: int, bounds: Bounds) -> str:
    match ended:
        case Ended.DONE:
            return ""
        case Ended.FAILED:
            return f"ended with exit status {code}"
        case Ended.TIMED_OUT:
            return f"took longer than {bounds.seconds:g} seconds"
        case Ended.OUT_OF_MEMORY:
            return f"took more than {bounds.memory_mb:,} MiB of memory"
        case Ended.FLOODED:
            return f"printed more than {MOST_OUTPUT_BYTES // _MEBIBYTE} MiB"
        case Ended.CRASHED:
            return f"was ended by {_signal_name(-code)}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(printed: BinaryIO) -> str:
    """From the open file: what it ran may have removed it from its folder."""
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(0, size - 4 * TAIL_CHARACTERS))
    text = printed.read().decode("utf-8", errors="replace")
    return printable(text, keep="\n\t")[-TAIL_CHARACTERS:]
