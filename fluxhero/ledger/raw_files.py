"""Raw exports as their sources wrote them, kept for good under the SHA-256 of their bytes.

A row that was read from one names it by the first digits of that, so that whatever the ledger says of a
broker can be held against what the broker said.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxhero.durable import (
    copy_into_place,
    half_written,
    make_folder,
    remove,
    sha256,
    storage_errors,
)

FOLDER: Final = Path("imports")  # of the data folder
_DIGITS: Final = 16  # of the digest, in the rows
_LONGEST_SUFFIX: Final = 10
_NAME: Final = re.compile(r"[0-9a-f]{64}(\.[0-9a-z]{1,9})?")

Snapshot = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class RawFile:
    """A kept file.

    Attributes:
        path: where it is.
        label: what rows call it.
        new: whether it was not there before.
    """

    path: Path
    label: str
    new: bool


def keep_raw(path: Path, folder: Path, *, work: Path, snapshot: Snapshot | None = None) -> RawFile:
    """Keep a file's bytes; the same bytes are kept once, whatever the file is called.

    Args:
        path: the file.
        folder: where such files are kept.
        work: an empty folder for a snapshot.
        snapshot: how a consistent copy is made of a file that is being written to.

    Raises:
        StorageIOError: the disk is full or refuses.
        VerificationError: what was read back is not what was written, or the file changed meanwhile.
    """
    source = path
    if snapshot is not None:
        source = work / "snapshot"
        snapshot(path, source)
    with storage_errors("read", path):
        digest = sha256(source)
    target = folder / f"{digest}{_suffix(path)}"
    new = not target.exists()
    if new:
        make_folder(folder)
        with storage_errors("read", path), source.open("rb") as content:
            copy_into_place(content, target, digest=digest)
    return RawFile(target, label_of(digest), new)


def label_of(digest: str) -> str:
    """What rows call the file with this SHA-256."""
    return f"sha256:{digest[:_DIGITS]}"


def discard_raw(raw: RawFile) -> None:
    """Remove a kept file that no row names, unless it was there before."""
    if raw.new:
        remove(raw.path)


def kept_files(folder: Path) -> list[Path]:
    """All files that are kept."""
    return sorted(path for path in folder.glob("*") if _NAME.fullmatch(path.name))


def clear_half_kept(folder: Path) -> None:
    """Remove what a killed process did not finish; no other may be at work."""
    for path in half_written(folder, _NAME.pattern, copies=True):
        remove(path)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if suffix[1:].isalnum() and len(suffix) <= _LONGEST_SUFFIX else ""
