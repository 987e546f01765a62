"""Waivers: findings that somebody has looked at and accepts for a while, with a reason and an end.

A waiver is of a rule as a whole or of one row or file under it. A waived fault stays on record and is
found again by every check; it just no longer makes a run end badly. What could not be checked at all
cannot be waived. Past waivers stay in the file as history.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import AlreadyRunningError, BadInputError, DamagedFileError
from fluxhero.integrity.results import Result
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.locks import locked

_FILE = "waivers.json"
READABLE = Rule(
    "waivers.readable",
    Severity.ERROR,
    "The list of waivers can be read.",
    "It is damaged. Until it is mended no finding is waived, and none can be.",
    "Restore `integrity/waivers.json` from a backup, or move it aside and waive again what is still to be waived.",
)
_WAIT_SECONDS = 10.0


class Waiver(BaseModel):
    """One waiver; without a key it is of the whole rule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    key: str | None = None
    reason: str
    since: AwareDatetime
    until: AwareDatetime
    withdrawn_at: AwareDatetime | None = None

    def active(self, at: datetime) -> bool:
        """Whether it counts at this moment."""
        return self.withdrawn_at is None and at < self.until


_WAIVERS = TypeAdapter(list[Waiver])


def waivers_file(data_dir: Path) -> Path:
    """Where the waivers of checks and limits are kept."""
    return data_dir / "integrity" / _FILE


def read_waivers(path: Path) -> list[Waiver]:
    """Read all waivers, past ones too.

    Raises:
        DamagedFileError: the file is damaged.
    """
    if not path.exists():
        return []
    content = read_bytes(path)
    try:
        return _WAIVERS.validate_json(content)
    except ValidationError as error:
        raise DamagedFileError(
            f"the list of waivers {path} is damaged: {error.errors()[0]['msg']}",
            next_step="restore it from a backup, or move it aside: its findings then count again",
        ) from error


def add_waivers(
    path: Path, rule: str, keys: Sequence[str], *, reason: str, at: datetime, until: datetime
) -> list[Waiver]:
    """Waive a rule for these keys, or as a whole without any; an active waiver of the same is replaced.

    Raises:
        BadInputError: there is no reason, or the end has passed.
    """
    if not reason.strip():
        raise BadInputError(
            "a waiver needs a reason",
            next_step="say why the fault is acceptable, for whoever looks later",
        )
    if until <= at:
        raise BadInputError(
            f"a waiver until {until.isoformat()} would never count",
            next_step="give a time that is still to come",
        )
    wanted: list[str | None] = [*dict.fromkeys(keys)] or [None]
    added = [Waiver(rule=rule, key=key, reason=reason, since=at, until=until) for key in wanted]
    with _locked(path):
        _write(path, [*_ended(read_waivers(path), rule, [w.key for w in added], at), *added])
    return added


def withdraw_waivers(path: Path, rule: str, keys: Sequence[str], *, at: datetime) -> list[Waiver]:
    """End the active waivers of a rule, of these keys or all of them; returns those that ended."""
    with _locked(path):
        known = read_waivers(path)
        chosen: list[str | None] = [*keys] or [w.key for w in known if w.rule == rule]
        after = _ended(known, rule, chosen, at)
        ended = [waiver for waiver, before in zip(after, known, strict=True) if waiver != before]
        if ended:
            _write(path, after)
    return ended


def waived_count(result: Result, waivers: Sequence[Waiver], at: datetime) -> int:
    """How much of a failed result is waived: all of it, or as many as its keys that are.

    A result without keys is about its object, and a waiver names that as its key.
    """
    mine = [waiver for waiver in waivers if waiver.rule == result.rule.name and waiver.active(at)]
    keys = {waiver.key for waiver in mine}
    if None in keys or result.object in keys:
        return result.count
    return len(keys.intersection(result.keys))


def _ended(
    waivers: Sequence[Waiver], rule: str, keys: Sequence[str | None], at: datetime
) -> list[Waiver]:
    return [
        waiver.model_copy(update={"withdrawn_at": at})
        if waiver.rule == rule and waiver.key in keys and waiver.active(at)
        else waiver
        for waiver in waivers
    ]


def _locked(path: Path) -> AbstractContextManager[None]:
    busy = AlreadyRunningError(
        f"another command is changing {path}", next_step="try again when it has ended"
    )
    return locked(path.with_suffix(".lock"), lambda: busy, wait_seconds=_WAIT_SECONDS)


def _write(path: Path, waivers: Sequence[Waiver]) -> None:
    rows = [waiver.model_dump(mode="json") for waiver in waivers]
    write_atomically(path, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
