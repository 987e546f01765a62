"""The logs of a night shift's parts: a file each, of bounded size, that anybody may read any time."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Final

from config.night_shift import night_folder
from fluxhero.durable import make_folder, storage_errors
from fluxhero.wording import printable

LARGEST: Final = 10 * 2**20  # bytes of a log before it becomes the previous one
_TAIL: Final = 16_384  # bytes that are looked at for the last lines
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def log_folder(data_dir: Path) -> Path:
    """Where they lie."""
    return night_folder(data_dir) / "logs"


def log_file(data_dir: Path, name: str) -> Path:
    """The log of a part, or of a step."""
    return log_folder(data_dir) / f"{name}.log"


def open_log(path: Path) -> int:
    """A descriptor that appends to a log; its folder is made when missing.

    Raises:
        StorageIOError: the operating system refuses.
    """
    with storage_errors("write", path):
        make_folder(path.parent)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def bound(path: Path, largest: int = LARGEST) -> bool:
    """Begin a log anew once it is too large; what was in it is kept as `….log.1`.

    It is copied and cut, since whoever writes it has it open. A line written in between is lost.

    Raises:
        StorageIOError: the operating system refuses.
    """
    with storage_errors("write", path):
        if not path.exists() or path.stat().st_size <= largest:
            return False
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    return True


def last_lines(path: Path, count: int, *, since: int = 0) -> list[str]:
    """The last lines that say something, without colours, safe to show.

    Args:
        path: the log.
        count: how many at most.
        since: bytes at its beginning that do not count.
    """
    try:
        with path.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(since if since <= end else 0, end - _TAIL))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [printable(_message(_COLOURS.sub("", line).strip())) for line in text.splitlines()]
    return [line for line in lines if any(map(str.isalnum, line))][-count:]


def _message(line: str) -> str:
    """What a line of ours says, without the rest of its JSON."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line
