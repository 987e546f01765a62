"""Putting bytes on disk so that they survive a power cut, and only ever whole.

The one place that fsyncs, renames and links. No Parquet writer fsyncs, and a rename is durable only
once the folder that holds the name has been fsynced too.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fluxhero.errors import FluxHeroError, StorageIOError, VerificationError

_BLOCK = 1 << 20
# What a file is called until it is whole; a killed process leaves it under that name.
_WRITTEN = re.compile(r"\.(?P<name>.+)\.\d+\.partial")
_COPIED = re.compile(r"(?P<name>.+)\.partial")


def _before_written(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def before_copied(path: Path) -> Path:
    """What a copy that is to have this path is called until it is whole."""
    return path.with_name(f"{path.name}.partial")


def half_written(folder: Path, names: str, *, copies: bool = False) -> list[Path]:
    """Files that a killed process did not finish, to be removed once no writer can be at work.

    Only what would have got one of our own names: a user's file may end in `.partial` too.

    Args:
        folder: where to look, not below it.
        names: regular expression of the names that the whole files have.
        copies: look for copies instead of `write_atomically`'s files.
    """
    form = _COPIED if copies else _WRITTEN
    found = []
    for path in sorted(folder.glob("*.partial")):
        match = form.fullmatch(path.name)
        if match and re.fullmatch(names, match["name"]) and path.is_file():
            found.append(path)
    return found


@contextmanager
def storage_errors(verb: str, path: Path) -> Iterator[None]:
    """Turn what the operating system says into an error that names the file and the next step."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, verb, path) from error


def storage_error(error: OSError, verb: str, path: Path) -> FluxHeroError:
    """Describe a failed file operation."""
    steps = {
        errno.ENOSPC: "make room on that disk and run again; nothing was purged",
        errno.EDQUOT: "raise the quota or make room and run again; nothing was purged",
        errno.EROFS: "mount it writable and run again; nothing was purged",
        errno.EACCES: "give this user write permission there and run again; nothing was purged",
        errno.EPERM: "give this user write permission there and run again; nothing was purged",
    }
    return StorageIOError(
        f"could not {verb} {path}: {error.strerror or error}",
        next_step=steps.get(error.errno or 0, "check the disk, then run again; nothing was lost"),
    )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make a file's bytes durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each name durable."""
    missing = [folder, *folder.parents]
    missing = [path for path in missing if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a whole file or nothing: temporary name, fsync, rename, fsync of the folder.

    Args:
        path: the file.
        content: its bytes.
        mode: its permissions, before a byte is in it; by default those that the user's umask gives.
    """
    with storage_errors("write", path):
        make_folder(path.parent)
        temporary = _before_written(path)
        try:
            with temporary.open("wb") as file:
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def copy_into_place(content: BinaryIO, target: Path, *, digest: str | None = None) -> None:
    """Copy an open file, its permissions too, as a whole or not at all, replacing an earlier copy.

    Args:
        content: the file.
        target: where the copy goes.
        digest: SHA-256 that the copy must have when it is read back, before it gets its name.

    Raises:
        VerificationError: it has another one; what had the name before still has it.
        StorageIOError: the disk is full or refuses.
    """
    with storage_errors("write", target):
        partial = before_copied(target)
        try:
            with partial.open("wb") as file:
                os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(content.fileno()).st_mode))
                shutil.copyfileobj(content, file, _BLOCK)
                file.flush()
                os.fsync(file.fileno())
            if digest and sha256(partial) != digest:
                raise VerificationError(
                    f"the copy {target} read back is not what was written",
                    next_step="check that disk, then run again; nothing was replaced",
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(target.parent)


def link_into_place(source: Path, target: Path) -> None:
    """Give a finished file its final name; a link, unlike a rename, never overwrites.

    Where the file system knows no links, an exclusive copy does the same. Doing it again is fine.

    Raises:
        StorageIOError: another file has that name, or the operating system refuses.
    """
    with storage_errors("publish", target):
        make_folder(target.parent)
        if not (target.exists() and target.samefile(source)):
            _link_or_copy(source, target)
        sync_folder(target.parent)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP}:
            raise
        _copy_exclusively(source, target)


def _copy_exclusively(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        try:
            while block := reader.read(_BLOCK):
                writer.write(block)
            writer.flush()
            os.fsync(writer.fileno())
        except OSError:
            target.unlink()  # ours, and not whole: the next attempt needs the name
            raise


def replace_durably(source: Path, target: Path) -> None:
    """Give a finished file the name of another, which it replaces at once; both on one file system."""
    with storage_errors("replace", target):
        make_folder(target.parent)
        source.replace(target)
        sync_folder(target.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file durably; a line that a killed process left half-written is ended first."""
    with storage_errors("write", path):
        make_folder(path.parent)
        new = not path.exists()
        with path.open("ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file durably; a file that is already gone is fine."""
    with storage_errors("remove", path):
        path.unlink(missing_ok=True)
        if path.parent.exists():
            sync_folder(path.parent)


def move_aside(path: Path, folder: Path) -> Path:
    """Move a file into another folder under a name that is free, and return where it went."""
    with storage_errors("move", path):
        make_folder(folder)
        target = folder / path.name
        attempt = 0
        while target.exists():
            attempt += 1
            target = folder / f"{path.stem}.{attempt}{path.suffix}"
        _link_or_copy(path, target)
        sync_folder(folder)
        path.unlink()
        sync_folder(path.parent)
        return target


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        StorageIOError: the operating system refuses.
    """
    with storage_errors("read", path):
        return path.read_bytes()


def sha256(path: Path) -> str:
    """SHA-256 of the bytes on disk, in hexadecimal."""
    with storage_errors("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
