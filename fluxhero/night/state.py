"""What is known of a running night shift, in one small file that other processes read.

The supervisor alone writes it, whole, whenever a part changes. Whether it is still true is told by the
supervisor's process: its pid and the moment that process was made, since pids are used again.
"""

from enum import StrEnum
from pathlib import Path
from typing import Literal

import psutil
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from config.night_shift import FOLDER, is_process, night_folder, state_file
from fluxhero.durable import read_bytes, write_atomically

__all__ = [
    "FOLDER",
    "NightState",
    "Part",
    "PartState",
    "Standing",
    "is_process",
    "last_state",
    "night_folder",
    "process_created",
    "read_state",
    "state_file",
    "write_state",
]


class Part(StrEnum):
    """The parts of a night shift, in the order in which they start."""

    SERVER = "server"  # Prefect's API, UI and services
    API = "api"  # the operations API and its page
    WORKER = "worker"  # starts the scheduled runs
    ALERTS = "alerts"  # the courier


class Standing(StrEnum):
    """How a part stands."""

    STARTING = "starting"
    UP = "up"
    WAITING = "waiting to start again"
    STOPPING = "stopping"
    STOPPED = "stopped"


class PartState(BaseModel):
    """One part; `pid` and `url` are None while it has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: Part
    standing: Standing
    since: AwareDatetime
    pid: int | None = None
    url: str | None = None
    restarts: int = 0
    problem: str | None = None  # why it ended last, in one line


class NightState(BaseModel):
    """A night shift.

    Attributes:
        token: marks its processes: each has it in its environment, as `FLUXHERO_NIGHT_SHIFT`.
        pid: of the supervisor.
        created: when that process was made (seconds since 1970, as psutil gives it).
        started_at: when it was started.
        api_url: of the Prefect API that runs are kept by, without a slash at its end.
        ui_url: of the Prefect UI.
        page_url: of the operations page; None where it is not among the parts.
        parts: those it supervises.
        notices: what else somebody should know, a line each: a port that was taken, a step that fails.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    token: str
    pid: int
    created: float
    started_at: AwareDatetime
    api_url: str
    ui_url: str
    page_url: str | None
    parts: tuple[PartState, ...]
    notices: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether its supervisor still runs."""
        return is_process(self.pid, self.created)

    @property
    def all_up(self) -> bool:
        """Whether every part is up."""
        return all(part.standing is Standing.UP for part in self.parts)


def read_state(data_dir: Path) -> NightState | None:
    """The night shift that runs on a data folder; None if none does, or its file cannot be used."""
    state = last_state(data_dir)
    return state if state is not None and state.alive else None


def last_state(data_dir: Path) -> NightState | None:
    """What was last written, whether its supervisor still runs or not."""
    path = state_file(data_dir)
    if not path.is_file():
        return None
    try:
        return NightState.model_validate_json(read_bytes(path))
    except ValidationError:  # of another release; the lock, not this file, keeps two apart
        return None


def write_state(data_dir: Path, state: NightState) -> None:
    """Replace the state, whole.

    Raises:
        StorageIOError: the operating system refuses.
    """
    write_atomically(state_file(data_dir), state.model_dump_json(indent=1).encode() + b"\n")


def process_created(pid: int) -> float:
    """When a running process was made, in seconds since 1970."""
    created: float = psutil.Process(pid).create_time()
    return created
