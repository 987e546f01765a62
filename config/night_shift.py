"""Where a night shift says that it runs, for whoever needs no more than to find its Prefect server.

What belongs here: the place of that file, and the least that can be read from it. What is in it
altogether, and who writes it, is in `fluxhero/night/state.py`.
"""

import json
from pathlib import Path
from typing import Final

import psutil

FOLDER: Final = "night"
_SAME_PROCESS_SECONDS: Final = 1.0  # the kernel's clock ticks 100 times a second, and drifts


def night_folder(data_dir: Path) -> Path:
    """Where everything of a night shift lies: state, logs, Prefect's home, alerts."""
    return data_dir / FOLDER


def state_file(data_dir: Path) -> Path:
    """Where its state lies."""
    return night_folder(data_dir) / "night.json"


def running_api_url(data_dir: Path) -> str | None:
    """URL of the Prefect API of the night shift that runs on a data folder; None if none does."""
    try:
        state = json.loads(state_file(data_dir).read_bytes())
        pid, created, api_url = int(state["pid"]), float(state["created"]), str(state["api_url"])
    except (OSError, ValueError, KeyError, TypeError):  # missing, or of another release
        return None
    return api_url if is_process(pid, created) else None


def is_process(pid: int, created: float) -> bool:
    """Whether a process of this pid runs that was made at this moment (seconds since 1970)."""
    try:
        process = psutil.Process(pid)
        drift: float = abs(process.create_time() - created)
        status: str = process.status()
    except (psutil.Error, ValueError):  # psutil refuses a pid that can be none
        return False
    return drift < _SAME_PROCESS_SECONDS and status != psutil.STATUS_ZOMBIE
