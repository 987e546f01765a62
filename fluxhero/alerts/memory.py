"""What the courier remembers between two looks and across restarts, in one small file.

How far it has looked, and what is not well: so that there is one alert for a change of level, however
long the level lasts. It is written after the alerts of a look are queued, so a courier that dies between
the two makes the same incidents, with the same keys, again.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.durable import move_aside, read_bytes, write_atomically
from fluxhero.night.state import night_folder

logger = logging.getLogger(__name__)

FILE: Final = "courier.json"


class Raised(BaseModel):
    """Something that is not well.

    Attributes:
        key: of the incident that told of it.
        at: since when.
        level: how it stands, where there are several ways; else empty.
        count: how often it was seen again since, and once for the first time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    at: AwareDatetime
    level: str = ""
    count: int = 1


class Memory(BaseModel):
    """All of it.

    Attributes:
        since: when the first courier of this data folder started; nothing before is told of.
        runs_until: up to when ended runs were looked at.
        seen: runs that ended shortly before, and when, since runs are told of out of order.
        fired_until: up to when firings of automations were looked at.
        levels: what is not well, by a name of its subject.
        known: how subjects stand that need no alert, such as the account of a breaker at ok.
        ended: when a run of each flow last ended.
        away_since: since when the server has not answered; None while it does.
        disabled: names of our automations that were switched off when last asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    since: AwareDatetime
    runs_until: AwareDatetime
    fired_until: AwareDatetime
    seen: Mapping[str, AwareDatetime] = {}
    levels: Mapping[str, Raised] = {}
    known: Mapping[str, str] = {}
    ended: Mapping[str, AwareDatetime] = {}
    away_since: AwareDatetime | None = None
    disabled: tuple[str, ...] = ()

    @classmethod
    def fresh(cls, now: datetime) -> Self:
        """Of a courier that starts for the first time."""
        return cls(since=now, runs_until=now, fired_until=now)

    def with_level(self, subject: str, raised: Raised) -> Self:
        """The same, with something that is not well."""
        return self.model_copy(update={"levels": {**self.levels, subject: raised}})

    def without_level(self, subject: str) -> Self:
        """The same, with something well again."""
        kept = {name: one for name, one in self.levels.items() if name != subject}
        return self.model_copy(update={"levels": kept})

    def knowing(self, subject: str, level: str) -> Self:
        """The same, knowing how a subject stands."""
        return self.model_copy(update={"known": {**self.known, subject: level}})


def memory_file(data_dir: Path) -> Path:
    """Where it lies."""
    return night_folder(data_dir) / FILE


def read_memory(data_dir: Path, now: datetime) -> Memory:
    """What is remembered; of a first start, or a damaged file, which is kept aside, nothing.

    Raises:
        StorageIOError: the operating system refuses.
    """
    path = memory_file(data_dir)
    if not path.exists():
        return Memory.fresh(now)
    try:
        return Memory.model_validate_json(read_bytes(path))
    except ValidationError as error:
        kept = move_aside(path, data_dir / "quarantine" / "files")
        why = error.errors()[0]["msg"]
        logger.warning(
            "%s is damaged (%s): it is kept as %s, and alerts begin anew from now on",
            path,
            why,
            kept,
        )
        return Memory.fresh(now)


def write_memory(data_dir: Path, memory: Memory) -> None:
    """Replace the file, whole.

    Raises:
        StorageIOError: the operating system refuses.
    """
    write_atomically(memory_file(data_dir), memory.model_dump_json(indent=1).encode() + b"\n")
