"""What the drawdown breaker remembers: `metrics/breaker.jsonl`, a line a change, only ever added to.

A mode's state is what its last line says. Each line has a digest of itself: a file that is damaged
anywhere reads as critical for every mode, since nobody knows what it said. A line that a killed process
left half-written is no damage: it stands for a change that was told to nobody, and the next observation
makes it again. If as much of it is there as says critical, it counts.

Beside it lies `breaker-seen.json`: what the last observation measured, changed or not. It is written after
the record, so a mode that it names has a line; where the record has none any more, something removed it,
and the mode is critical.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from fluxhero.durable import append_line, link_into_place, storage_errors, write_atomically
from fluxhero.ledger.schema import MODES
from fluxhero.metrics.exact import loss_percent
from fluxhero.metrics.facts import Basis

logger = logging.getLogger(__name__)

FOLDER = "metrics"
FILE = "breaker.jsonl"
SEEN_FILE = "breaker-seen.json"
DAMAGED_FOLDER = "damaged"
RESET_COMMAND = 'fluxhero breaker reset --reason "…"'
_DIGITS = 16  # of the digest
_LINE = re.compile(rb'(\{.*),"sha256":"([0-9a-f]{16})"\}', re.DOTALL)
_TORN = re.compile(rb"\{[^}\0]*")
_TORN_CRITICAL = re.compile(rb'\{"mode":"([a-z]+)","after":"c')
_TRADES_NOTHING = "Nothing is closed or cancelled for you."


class Level(StrEnum):
    """How far down an account is, best first."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Level).index(self)


class Change(BaseModel):
    """A line of the record. What names the state comes first: half a line may still say it.

    Attributes:
        mode: live, paper or legacy.
        after: the level from now on.
        before: the level until now.
        at: when.
        basis: which value of the account it comes from.
        equity: that value.
        peak: its high-water mark.
        run: of the snapshot that measured it; None of a reset.
        reason: why; of a reset, in the words of who did it.
        seen: of a reset, the level that the last snapshot measured.
    """

    model_config = ConfigDict(frozen=True)

    mode: str
    after: Level
    before: Level
    at: AwareDatetime
    basis: Basis | None = None
    equity: Decimal | None = None
    peak: Decimal | None = None
    run: str | None = None
    reason: str
    seen: Level | None = None

    @property
    def text(self) -> str:
        """What happened, and what to do about it."""
        what = f"{self.mode}: drawdown breaker {self.before} → {self.after}: {self.reason}"
        if self.after is Level.CRITICAL:
            return (
                f"{what} Open no new position, find out what happened, and decide how to go on; then "
                f"{RESET_COMMAND}. {_TRADES_NOTHING}"
            )
        if self.after is Level.WARNING:
            return f"{what} Look at open positions and their stops before it gets critical. {_TRADES_NOTHING}"
        return what

    @property
    def trips_again(self) -> str:
        """Of a reset, that the next snapshot will undo it, if the account is as it was; else empty."""
        if self.seen is not Level.CRITICAL or self.equity is None or self.peak is None:
            return ""
        return (
            f"The last snapshot found {self.mode} {loss_percent(self.equity, self.peak)} below its peak, which is "
            "still critical: unless it recovers, the next snapshot trips the breaker again."
        )


class Seen(BaseModel):
    """What one account was at the last observation."""

    model_config = ConfigDict(frozen=True)

    mode: str
    basis: Basis
    at: AwareDatetime
    equity: Decimal
    peak: Decimal
    level: Level


_SEEN = TypeAdapter(list[Seen])


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What the breaker of one mode says now.

    Attributes:
        mode: live, paper or legacy.
        level: ok, warning or critical.
        since: when it came to that; None where the record does not tell.
        reason: why, as a sentence.
        basis: which value of the account it came from.
        equity: value at that moment.
        peak: high-water mark at that moment.
    """

    mode: str
    level: Level
    since: datetime | None
    reason: str
    basis: Basis | None = None
    equity: Decimal | None = None
    peak: Decimal | None = None


@dataclass(slots=True)
class Record:
    """What the file says: the last change and state of each mode, and what is wrong with it."""

    changes: dict[str, Change] = field(default_factory=dict)
    states: dict[str, BreakerState] = field(default_factory=dict)
    damage: str = ""

    @property
    def safe(self) -> dict[str, BreakerState]:
        """The states; where the file is damaged, critical for every mode there may be."""
        if not self.damage:
            return dict(self.states)
        modes = (*MODES, *(mode for mode in self.states if mode not in MODES))
        return {mode: BreakerState(mode, Level.CRITICAL, None, self.damage) for mode in modes}


def path_of(data_dir: Path) -> Path:
    """Where the record is."""
    return data_dir / FOLDER / FILE


def read(data_dir: Path) -> Record:
    """Read the record; what is damaged is said in it.

    Raises:
        StorageIOError: the operating system refuses.
    """
    path = path_of(data_dir)
    record = Record()
    observed = {
        seen.mode for seen in read_seen(data_dir)
    }  # before the record, which is written first
    for number, line in enumerate(_content(path).split(b"\n"), start=1):
        change = _parsed(line)
        if change:
            record.changes[change.mode] = change
            record.states[change.mode] = _after(change, record.states.get(change.mode))
        elif critical := _TORN_CRITICAL.match(line) if _TORN.fullmatch(line) else None:
            mode = critical[1].decode()
            record.states[mode] = BreakerState(
                mode, Level.CRITICAL, None, f"line {number} of {path}, half-written, says so."
            )
        elif line and not _TORN.fullmatch(line):
            record.damage = record.damage or (
                f"line {number} of {path} is damaged, so nobody knows what the breaker was; it counts as "
                "critical until it is reset."
            )
    for mode in sorted(observed - record.states.keys()):
        lost = f"{path} has lost what it said of {mode}; it counts as critical until it is reset."
        record.states[mode] = BreakerState(mode, Level.CRITICAL, None, lost)
    return record


def _content(path: Path) -> bytes:
    """A file's bytes; none if there is no file, which is all that may pass for a breaker never used."""
    with storage_errors("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""


def _parsed(line: bytes) -> Change | None:
    match = _LINE.fullmatch(line)
    if match is None or _digest(match[1]) != match[2]:
        return None
    try:
        return Change.model_validate_json(match[1] + b"}")
    except ValidationError:
        return None


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_DIGITS].encode()


def _after(change: Change, before: BreakerState | None) -> BreakerState:
    same = before is not None and before.level is change.after
    return BreakerState(
        mode=change.mode,
        level=change.after,
        since=before.since if before and same else change.at,
        reason=change.reason,
        basis=change.basis,
        equity=change.equity,
        peak=change.peak,
    )


def _line(change: Change) -> bytes:
    """A change as a line whose only closing brace is its last byte: without it, a line is torn."""
    body = change.model_dump_json().encode().removesuffix(b"}").replace(b"}", b"\\u007d")
    return body + b',"sha256":"' + _digest(body) + b'"}'


def append(data_dir: Path, change: Change) -> None:
    """Add a change durably; the caller holds the lock."""
    append_line(path_of(data_dir), _line(change))


def replace(data_dir: Path, changes: Sequence[Change], at: datetime) -> None:
    """Begin a new record in place of a damaged one, which is kept; the caller holds the lock."""
    path = path_of(data_dir)
    kept = path.parent / DAMAGED_FOLDER / f"{path.stem}-{at:%Y%m%dT%H%M%S%f}{path.suffix}"
    link_into_place(path, kept)
    write_atomically(path, b"".join(_line(change) + b"\n" for change in changes))
    logger.warning("%s was damaged: it is kept as %s, and a new one begun", path, kept)


def read_seen(data_dir: Path) -> list[Seen]:
    """What the last observation measured; of a damaged file nothing, as the next one writes it anew."""
    path = data_dir / FOLDER / SEEN_FILE
    content = _content(path)
    try:
        return _SEEN.validate_json(content) if content else []
    except ValidationError:
        logger.warning("%s is damaged; the next snapshot writes it anew", path)
        return []


def write_seen(data_dir: Path, seen: Sequence[Seen]) -> None:
    """Keep what was measured, and of modes that were not, what was before; the caller holds the lock."""
    modes = {one.mode for one in seen}
    kept = [one for one in read_seen(data_dir) if one.mode not in modes]
    write_atomically(data_dir / FOLDER / SEEN_FILE, _SEEN.dump_json([*kept, *seen], indent=1))
