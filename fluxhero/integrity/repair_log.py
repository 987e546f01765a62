"""What was repaired, and how to take it back: one line a repair in `repairs.jsonl`, written before it is done.

A line says which bytes a file had and which it gets. So a run that is killed in between leaves a line
whose repair did not happen, which the file's bytes show, and never a repair without a line.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.durable import (
    append_line,
    copy_into_place,
    make_folder,
    read_bytes,
    remove,
    replace_durably,
    sha256,
    storage_errors,
    write_atomically,
)
from fluxhero.errors import BadInputError, VerificationError
from fluxhero.integrity.file_quarantine import keep
from fluxhero.integrity.results import Result, object_of
from fluxhero.integrity.scope import Scope

logger = logging.getLogger(__name__)
LOG_FILE = "repairs.jsonl"


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was mended, or why it was not.

    Attributes:
        rule: name of the rule that was broken.
        object: what it was broken by, as in the check's results.
        action: what was done; where nothing could be, what to do.
        source: what proves the mended bytes.
        ok: whether it is mended now.
        kept: where the damaged original is.
        number: by which it can be undone; None where nothing was replaced.
    """

    rule: str
    object: str
    action: str
    source: str = ""
    ok: bool = True
    kept: Path | None = None
    number: int | None = None

    @property
    def undo(self) -> str:
        """How to take it back."""
        return "" if self.number is None else f"undo repair {self.number}"


class LoggedRepair(BaseModel):
    """A line of the log; a hash that is None stands for no file."""

    model_config = ConfigDict(frozen=True)

    number: int
    at: AwareDatetime
    rule: str
    object: str
    action: str
    source: str
    path: Path
    sha256_before: str | None
    sha256_after: str | None
    kept: Path | None


def read_log(home: Path) -> list[LoggedRepair]:
    """Every repair, oldest first; a line that was not finished is left out."""
    path = home / LOG_FILE
    if not path.exists():
        return []
    lines = read_bytes(path).splitlines()
    found = []
    for line in filter(None, lines):
        try:
            found.append(LoggedRepair.model_validate_json(line))
        except ValidationError:
            logger.warning("%s has a line that was not finished", path)
    return found


class Mender:
    """Replaces files by proven ones: the original is kept first, the log written next, then it is done."""

    def __init__(self, scope: Scope, broken: Sequence[Result]) -> None:
        """Take what the check found, for the notes beside what is kept."""
        self.scope = scope
        self.broken = broken

    def about(self, path: Path) -> str:
        """A file as results name it."""
        return object_of(path, self.scope.data_dir)

    def rules_of(self, path: Path) -> list[str]:
        """Names of the rules that a file breaks."""
        return [result.rule.name for result in self.broken if result.file == path]

    def put(
        self,
        rule: str,
        path: Path,
        new: bytes | Path,
        digest: str,
        *,
        source: str,
        action: str = "put back",
    ) -> Repair:
        """Make a file have these bytes; one that has them already is left alone.

        Args:
            rule: name of the rule that it breaks.
            path: the file, there or not.
            new: the bytes, or a file that has them.
            digest: their SHA-256.
            source: what proves them.
            action: what is being done.

        Raises:
            VerificationError: the bytes written, read back, are others; the original is still there.
            StorageIOError: a disk refuses.
        """
        if path.is_dir():
            what = "not mended: a folder lies in its place; move it elsewhere and run again"
            return Repair(rule, self.about(path), what, source, ok=False)
        before = sha256(path) if path.is_file() else None
        if before == digest:
            return Repair(rule, self.about(path), "was mended already", source)
        kept = self.keep(path) if before else None
        logged = self._log(rule, path, action, source, before, digest, kept)
        self._write(path, new, digest)
        return Repair(rule, logged.object, action, source, kept=kept, number=logged.number)

    def take_away(self, rule: str, path: Path, *, action: str, source: str) -> Repair:
        """Take a file out of the archive; it is kept in the quarantine."""
        kept = self.keep(path)
        logged = self._log(rule, path, action, source, sha256(path), None, kept)
        remove(path)
        return Repair(rule, logged.object, action, source, kept=kept, number=logged.number)

    def undo(self, number: int) -> Repair:
        """Give a file back the bytes that it had before a repair.

        Raises:
            BadInputError: there is no such repair, or the file has changed since.
        """
        logged = next((r for r in read_log(self.scope.home) if r.number == number), None)
        if logged is None:
            raise BadInputError(
                f"there is no repair {number}",
                next_step="`fluxhero repairs list` has their numbers",
            )
        if self.about(logged.path) != logged.object:
            raise BadInputError(
                f"repair {number} was done in another folder, on {logged.path}",
                next_step="this data folder is a copy or was moved; put the file back by hand: the original "
                f"is in its quarantine/files as {logged.kept and logged.kept.name}",
            )
        current = sha256(logged.path) if logged.path.is_file() else None
        if current == logged.sha256_before:
            return Repair(logged.rule, logged.object, f"repair {number} is undone already")
        if current != logged.sha256_after:
            raise BadInputError(
                f"{logged.path} has changed since repair {number}",
                next_step="undo the later repairs of that file first, or put the kept original "
                f"{logged.kept or ''} back by hand",
            )
        action = f"undid repair {number}"
        if logged.sha256_before is None or logged.kept is None:
            return self.take_away(logged.rule, logged.path, action=action, source="the repair log")
        return self.put(
            logged.rule,
            logged.path,
            logged.kept,
            logged.sha256_before,
            source=f"the original kept as {logged.kept}",
            action=action,
        )

    def keep(self, path: Path) -> Path:
        """Copy a damaged original to the quarantine."""
        return keep(self.scope, path, [r for r in self.broken if r.file == path])

    def _log(
        self,
        rule: str,
        path: Path,
        action: str,
        source: str,
        before: str | None,
        after: str | None,
        kept: Path | None,
    ) -> LoggedRepair:
        home = self.scope.home
        logged = LoggedRepair(
            number=max((line.number for line in read_log(home)), default=0) + 1,
            at=self.scope.now,
            rule=rule,
            object=self.about(path),
            action=action,
            source=source,
            path=path,
            sha256_before=before,
            sha256_after=after,
            kept=kept,
        )
        append_line(home / LOG_FILE, logged.model_dump_json().encode())
        logger.warning("repair %d: %s %s, from %s", logged.number, action, path, source)
        return logged

    def _write(self, path: Path, new: bytes | Path, digest: str) -> None:
        if isinstance(new, Path) and path.suffix != ".parquet":
            new = read_bytes(new)
        if isinstance(new, bytes):
            write_atomically(path, new)
        else:  # through the staging folder, which is swept when a run is killed
            staged = self.scope.workspace.layout.staging / path.name
            with storage_errors("read", new), new.open("rb") as content:
                make_folder(staged.parent)
                copy_into_place(content, staged, digest=digest)
            replace_durably(staged, path)
        if sha256(path) != digest:
            raise VerificationError(
                f"{path} read back is not what was written to mend it",
                next_step="check the disk; the damaged original is in the quarantine",
            )
