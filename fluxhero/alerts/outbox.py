"""The outbox: every alert that was ever told, one file each, kept until long after its delivery.

What belongs here: the files. A file's name is made of the incident's key and comes to be by a link,
which only one process can make: so an alert is told once, whoever sees the incident, how often, and
whichever process is killed meanwhile.
"""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from fluxhero.alerts.entries import Entry
from fluxhero.alerts.incidents import Incident
from fluxhero.durable import (
    half_written,
    link_into_place,
    move_aside,
    read_bytes,
    remove,
    storage_errors,
    write_atomically,
)
from fluxhero.errors import StorageIOError
from fluxhero.night.state import night_folder

FOLDER: Final = "alerts"
DAMAGED: Final = "damaged"
KEPT_DAYS: Final = 90
_NAME: Final = re.compile(r"[0-9a-f]{24}\.json")
_ABANDONED_SECONDS: Final = 3600.0  # no writer takes that long
_logger = logging.getLogger(__name__)

_Seen = tuple[int, int, int]  # what changes when a file is replaced


class Outbox:
    """The outbox of a data folder; cheap to ask again and again, since only changed files are read."""

    def __init__(self, data_dir: Path, *, read_only: bool = False) -> None:
        """Touches nothing yet.

        Args:
            data_dir: the data folder.
            read_only: whether damaged files are passed over instead of moved aside.
        """
        self._read_only = read_only
        self.folder = night_folder(data_dir) / FOLDER
        self._read: dict[str, tuple[_Seen, Entry]] = {}

    def tell(self, incident: Incident, *, now: datetime | None = None) -> bool:
        """Queue an alert durably; False if its key was told before.

        Raises:
            StorageIOError: the operating system refuses; nothing was queued then.
        """
        path = self._path(incident)
        if path.exists():
            return False
        entry = Entry(incident=incident, told_at=now or datetime.now(UTC))
        # By its process and moment: no two writers have one name, and what is left behind is known.
        writer = f"{os.getpid()}{time.monotonic_ns()}"
        whole = self.folder / f".{path.name}.{writer}.partial"
        try:
            write_atomically(whole, _content(entry))
            link_into_place(whole, path)
        except StorageIOError as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        finally:
            remove(whole)
        return True

    def entries(self) -> list[Entry]:
        """All of them, as they were told; a file that is damaged is moved aside, and that is logged.

        Raises:
            StorageIOError: the folder cannot be read.
        """
        found = dict(self._found())
        self._read = {
            name: known for name, seen in found.items() if (known := self._known(name, seen))
        }
        return sorted((entry for _, entry in self._read.values()), key=lambda one: one.told_at)

    def read(self, incident: Incident) -> Entry | None:
        """One of them as it is on disk; None if it is not there, or damaged."""
        path = self._path(incident)
        return self._parsed(path) if path.exists() else None

    def replace(self, entry: Entry) -> None:
        """Write down what became of one of them.

        Raises:
            StorageIOError: the operating system refuses; what it was before is still there.
        """
        write_atomically(self._path(entry.incident), _content(entry))

    def prune(self, now: datetime, *, kept_days: int = KEPT_DAYS) -> int:
        """Forget those settled for long, and what killed writers left; how many were forgotten.

        Raises:
            StorageIOError: the operating system refuses.
        """
        before = now - timedelta(days=kept_days)
        old = [entry for entry in self.entries() if entry.last_change < before]
        for entry in old:
            remove(self._path(entry.incident))
        for path in half_written(self.folder, _NAME.pattern) if self.folder.is_dir() else ():
            if _age_seconds(path) > _ABANDONED_SECONDS:
                remove(path)
        return len(old)

    def damaged(self) -> list[Path]:
        """Files that were moved aside."""
        return sorted((self.folder / DAMAGED).glob("*.json"))

    def _path(self, incident: Incident) -> Path:
        return self.folder / f"{incident.digest}.json"

    def _found(self) -> Iterator[tuple[str, _Seen]]:
        if not self.folder.is_dir():
            return
        with storage_errors("read", self.folder), os.scandir(self.folder) as files:
            for file in files:
                with suppress(FileNotFoundError):  # pruned meanwhile
                    if not _NAME.fullmatch(file.name):
                        continue
                    facts = file.stat()
                    yield file.name, (facts.st_mtime_ns, facts.st_size, facts.st_ino)

    def _known(self, name: str, seen: _Seen) -> tuple[_Seen, Entry] | None:
        before = self._read.get(name)
        if before is not None and before[0] == seen:
            return before
        entry = self._parsed(self.folder / name)
        return None if entry is None else (seen, entry)

    def _parsed(self, path: Path) -> Entry | None:
        try:
            entry = Entry.model_validate_json(read_bytes(path))
            if self._path(entry.incident) == path:
                return entry
        except ValidationError:
            pass
        except StorageIOError as error:  # pruned meanwhile, or unreadable: the others still count
            if path.exists():
                _logger.warning("an alert cannot be read: %s", error)
            return None
        if not self._read_only:
            self._move_aside(path)
        return None

    def _move_aside(self, path: Path) -> None:
        try:
            target = move_aside(path, self.folder / DAMAGED)
        except StorageIOError as error:
            if path.exists():  # else another process was quicker
                _logger.warning("a damaged alert cannot be moved aside: %s", error)
            return
        _logger.warning("a damaged alert was moved to %s: see what it says, then remove it", target)


def _content(entry: Entry) -> bytes:
    return entry.model_dump_json(indent=1).encode() + b"\n"


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # its writer ended it
        return 0.0
