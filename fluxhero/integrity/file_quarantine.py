"""Copies of damaged files, kept with what is known about them; whatever is mended later can be undone."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from fluxhero.durable import copy_into_place, make_folder, sha256, storage_errors, write_atomically
from fluxhero.errors import StorageIOError, VerificationError
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope

logger = logging.getLogger(__name__)
NOTE_SUFFIX = ".json"
# Files whose content is what is wrong; the others are merely in the wrong place or unknown.
_DAMAGE = frozenset(
    {
        "files.size",
        "files.sha256",
        "files.structure",
        "files.schema",
        "files.rows",
        "files.key-range",
        "files.outdated",
        "chain.readable",
        "chain.head",
        "archive.identity",
        "holds.readable",
        "mirror.sha256",
        "recorded.record",
        "recorded.sha256",
        "recorded.structure",
        "recorded.columns",
    }
)


def quarantine_files(scope: Scope, results: Sequence[Result]) -> list[Path]:
    """Copy every damaged file to the quarantine, each content once; nothing is moved or removed.

    Raises:
        StorageIOError: the quarantine cannot be written.
    """
    rules: dict[Path, list[Result]] = {}
    for result in results:
        damaged = result.rule.name in _DAMAGE and result.outcome is Outcome.FAILED
        if damaged and result.file and result.file.is_file():
            rules.setdefault(result.file, []).append(result)
    copies = []
    for path, broken in sorted(rules.items()):
        try:
            copies.append(keep(scope, path, broken))
        except VerificationError as error:  # it changes from one reading to the next
            logger.error("%s cannot be copied to the quarantine: %s", path, error)  # noqa: TRY400
    return copies


def keep(scope: Scope, path: Path, broken: Sequence[Result]) -> Path:
    """Copy one file to the quarantine with a note of what is wrong with it; returns the copy.

    Raises:
        StorageIOError: it cannot be read, or the quarantine cannot be written.
    """
    digest = sha256(path)
    copy = kept_path(scope, path, digest)
    if not (_is_file(copy) and sha256(copy) == digest):
        with storage_errors("copy", path), path.open("rb") as content:
            make_folder(copy.parent)
            copy_into_place(content, copy, digest=digest)
    note = copy.with_name(copy.name + NOTE_SUFFIX)
    if not note.exists():
        about = {
            "path": str(path),
            "sha256": digest,
            "at": scope.now.isoformat(),
            "run": f"check of {scope.now:%Y-%m-%d %H:%M:%S} UTC",
            "broken": [
                {"rule": r.rule.name, "object": r.object, "observed": r.observed} for r in broken
            ],
        }
        write_atomically(note, json.dumps(about, indent=1, ensure_ascii=False).encode() + b"\n")
    return copy


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where it may not be looked at


def kept_path(scope: Scope, path: Path, digest: str) -> Path:
    """Where the copy of a file with this content lies."""
    return scope.workspace.quarantined_files / f"{path.stem}.{digest[:16]}{path.suffix}"


def readable(path: Path) -> str | None:
    """SHA-256 of a file that may be one a repair needs; None if it cannot be read."""
    try:
        return sha256(path) if path.is_file() else None
    except StorageIOError as error:
        logger.warning("%s", error)
        return None
