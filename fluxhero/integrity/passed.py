"""What passed before: which file passed which check, in which version of it, and when.

A file that is as it was (size and time of change) need not be checked again by the same version. This
is a memory and no proof: when it is lost or damaged everything is checked again.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.durable import read_bytes, storage_errors, write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file that was touched from one that was not."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file as it is now; take it before the file is read.

        Raises:
            StorageIOError: the file cannot be looked at.
        """
        with storage_errors("look at", path):
            status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)

    size: int
    changed_ns: int
    version: str
    at: AwareDatetime


class _Memory(BaseModel):
    checks: dict[str, dict[str, _Entry]] = {}


class Passed:
    """The memory, read once and written once by a run."""

    def __init__(self, path: Path) -> None:
        """Read it; without a readable one it is empty."""
        self._path = path
        self._memory = _read(path)

    def at(self, check: str, path: Path, version: str = "") -> datetime | None:
        """When the file as it is now last passed this version of the check; None if it never did."""
        entry = self._memory.checks.get(check, {}).get(str(path))
        if entry is None or entry.version != version or not _is_there(path):
            return None
        return entry.at if Stamp.of(path) == Stamp(entry.size, entry.changed_ns) else None

    def record(self, check: str, path: Path, stamp: Stamp, at: datetime, version: str = "") -> None:
        """Remember that the file with this stamp passed."""
        self._memory.checks.setdefault(check, {})[str(path)] = _Entry(
            size=stamp.size, changed_ns=stamp.changed_ns, version=version, at=at
        )

    def forget(self, path: Path) -> None:
        """Check the file again next time, whatever it passed."""
        for entries in self._memory.checks.values():
            entries.pop(str(path), None)

    def save(self) -> None:
        """Write it, without files that are gone."""
        kept: Mapping[str, dict[str, _Entry]] = {
            check: {name: entry for name, entry in entries.items() if _is_there(Path(name))}
            for check, entries in self._memory.checks.items()
        }
        memory = _Memory(checks=dict(kept))
        write_atomically(self._path, memory.model_dump_json(indent=1).encode() + b"\n")


def _is_there(path: Path) -> bool:
    """Whether it is known to be there; a file that may not be looked at is not."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises then


def _read(path: Path) -> _Memory:
    if not path.exists():
        return _Memory()
    content = read_bytes(path)
    try:
        return _Memory.model_validate_json(content)
    except ValidationError as error:
        logger.warning(
            "%s is damaged (%s): everything is checked again", path, error.errors()[0]["msg"]
        )
        return _Memory()
