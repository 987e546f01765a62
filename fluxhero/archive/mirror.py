"""A second copy of the archive's files, best on another disk, with hashes of its own.

The mirror has the archive's layout and a list, `mirror.json`, of what it holds, so that it can be proven
without the archive. Only what is proven is copied, each copy is hashed from the mirror's disk, and a file
that the mirror has is never overwritten by another version of it; nothing is ever removed from it. The
data folder remembers the mirror, so that an unmounted disk is not taken for a new and empty one.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxhero.archive.holds import read_holds
from fluxhero.archive.identity import read_identity
from fluxhero.archive.layout import Layout
from fluxhero.archive.manifest import Chain, Sealed, is_event, listed, read_event
from fluxhero.archive.workspace import Workspace
from fluxhero.durable import (
    copy_into_place,
    make_folder,
    read_bytes,
    sha256,
    storage_errors,
    write_atomically,
)
from fluxhero.errors import (
    ConfigurationError,
    DamagedFileError,
    ForeignArchiveError,
    ManifestError,
    MissingArchiveError,
    SchemaVersionError,
    VerificationError,
)

logger = logging.getLogger(__name__)
LIST_FILE = "mirror.json"
MIRROR_HEAD_FILE = "mirror-head.json"


class MirroredFile(BaseModel):
    """What the mirror's copy of a file is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class MirrorList(Sealed):
    """Content of `mirror.json`: which archive this is a copy of, and its files by relative path.

    An archive is known by the hash of its first manifest, which nothing changes.
    """

    first_manifest: str
    files: dict[str, MirroredFile] = Field(default_factory=dict)


class _MirrorHead(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mirror: str


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What keeping the mirror came to.

    Attributes:
        mirror: its folder; empty where there is none.
        copied: files copied.
        files: files that it holds now.
        problems: what could not be copied, and why.
    """

    mirror: str = ""
    copied: int = 0
    files: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Source:
    """A file of the archive: its place relative to it, and the hash it has to have."""

    name: str
    sha256: str


def check_place(layout: Layout, mirror_dir: Path) -> None:
    """Make sure that a mirror is not part of what it mirrors.

    Raises:
        ConfigurationError: one lies in the other.
    """
    root = layout.root
    if mirror_dir.is_relative_to(root) or root.is_relative_to(mirror_dir):
        raise ConfigurationError(
            f"the mirror {mirror_dir} and the archive {root} lie in one another",
            next_step="give FLUXHERO_ARCHIVE_MIRROR_DIR a folder of its own, best on another disk",
        )


def keep_mirror(
    workspace: Workspace, mirror_dir: Path, chain: Chain, *, again: frozenset[str] = frozenset()
) -> Mirrored:
    """Copy whatever the mirror lacks; the caller holds the archive's lock.

    Args:
        workspace: the archive.
        mirror_dir: the mirror.
        chain: the archive's manifests, proven.
        again: files, relative to the archive, whose copies are damaged and are to be replaced.

    Raises:
        ConfigurationError: the mirror lies in the archive, or the archive in it.
        MissingArchiveError: the mirror that the data folder knows is not there.
        ForeignArchiveError: it is another archive's.
        StorageIOError: its disk is full or refuses.
    """
    check_place(workspace.layout, mirror_dir)
    if not len(chain):
        return Mirrored(str(mirror_dir))
    before = _list_of(workspace, mirror_dir, chain)
    files, problems, copied = dict(before.files), [], 0
    for name, source in _sources(workspace.layout, chain):
        if isinstance(source, str):
            problems.append(source)
            continue
        if name not in again and _has(mirror_dir, before, source):
            continue
        try:
            files[name], new = _copy(workspace.layout.root, mirror_dir, source, anew=name in again)
        except (DamagedFileError, VerificationError) as error:
            problems.append(str(error))
        else:
            copied += new
    kept = MirrorList(first_manifest=chain.manifests[0].sha256, files=files).sealed()
    if kept != before:
        write_atomically(mirror_dir / LIST_FILE, kept.to_bytes())
    _remember(workspace.data_dir, mirror_dir)
    for problem in problems:
        logger.error("not mirrored: %s", problem)
    return Mirrored(str(mirror_dir), copied, len(files), tuple(problems))


def read_list(mirror_dir: Path) -> MirrorList:
    """Read what a mirror holds.

    Raises:
        MissingArchiveError: it has no list.
        ManifestError: the list is damaged.
    """
    path = mirror_dir / LIST_FILE
    if not path.is_file():
        raise MissingArchiveError(
            f"{mirror_dir} is no mirror of an archive: it has no {LIST_FILE}",
            next_step="mount its disk, or correct FLUXHERO_ARCHIVE_MIRROR_DIR",
        )
    content = read_bytes(path)
    try:
        found = MirrorList.model_validate_json(content)
    except ValidationError as error:
        raise _damaged_list(path) from error
    if not found.intact:
        raise _damaged_list(path)
    return found


def _damaged_list(path: Path) -> ManifestError:
    return ManifestError(
        f"the mirror's list {path} is damaged",
        next_step="the next `fluxhero archive` makes it again from the copies that are sound",
    )


def _list_of(workspace: Workspace, mirror_dir: Path, chain: Chain) -> MirrorList:
    """What the mirror is known to hold; a damaged list counts as empty, for copies prove themselves."""
    first = chain.manifests[0]
    new = MirrorList(first_manifest=first.sha256)
    if not (mirror_dir / LIST_FILE).exists():
        if _remembered(workspace.data_dir) == str(mirror_dir):
            raise MissingArchiveError(
                f"the mirror {mirror_dir} has no {LIST_FILE} any more",
                next_step="mount its disk; if you removed the mirror on purpose, remove "
                f"{workspace.data_dir / MIRROR_HEAD_FILE} too and a new one is made",
            )
        return new
    try:
        found = read_list(mirror_dir)
    except ManifestError as error:
        logger.warning("%s", error)
        copy = Layout(mirror_dir).manifest(first.batch_id)
        if copy.is_file() and sha256(copy) == first.sha256:
            return new
        raise
    if found.first_manifest != first.sha256:
        raise ForeignArchiveError(
            f"{mirror_dir} is the mirror of another archive than {workspace.layout.root}",
            next_step="give each archive a FLUXHERO_ARCHIVE_MIRROR_DIR of its own",
        )
    return found


def _sources(layout: Layout, chain: Chain) -> Iterator[tuple[str, _Source | str]]:
    """Every file to mirror with the hash that it has to have, or what speaks against copying it."""
    for manifest in chain.manifests:
        yield manifest.file.path, _Source(manifest.file.path, manifest.file.sha256)
        name = layout.manifest(manifest.batch_id).relative_to(layout.root).as_posix()
        yield name, _Source(name, manifest.sha256)
    for path in filter(is_event, listed(layout.manifests)):
        name = path.relative_to(layout.root).as_posix()
        event = read_event(path)
        edited = f"{path} has been edited since it was written"
        yield name, _Source(name, event.sha256) if event.intact else edited
    changing: tuple[tuple[Path, Callable[[], object]], ...] = (
        (layout.identity, lambda: read_identity(layout)),
        (layout.holds, lambda: read_holds(layout.holds)),
    )
    for path, read in changing:
        if not path.exists():
            continue
        try:
            read()
        except (ManifestError, SchemaVersionError) as error:
            yield path.name, error.what
        else:
            yield path.name, _Source(path.name, sha256(path))


def _has(mirror_dir: Path, known: MirrorList, source: _Source) -> bool:
    """Whether the mirror has this version, as far as its list and the file's size tell."""
    entry = known.files.get(source.name)
    copy = mirror_dir / source.name
    return bool(
        entry
        and entry.sha256 == source.sha256
        and copy.is_file()
        and copy.stat().st_size == entry.bytes
    )


def _copy(root: Path, mirror_dir: Path, source: _Source, *, anew: bool) -> tuple[MirroredFile, int]:
    """Copy one file that proves to be what it has to be; nothing to do where its copy already is.

    Raises:
        DamagedFileError: the source is not what was published; the copy stays as it was.
        VerificationError: the copy, read back, is not the source.
    """
    original, copy = root / source.name, mirror_dir / source.name
    if not anew and copy.is_file() and sha256(copy) == source.sha256:
        return MirroredFile(bytes=copy.stat().st_size, sha256=source.sha256), 0
    if not original.is_file() or sha256(original) != source.sha256:
        raise DamagedFileError(
            f"{original} is not the file that was published, and is not mirrored",
            next_step="run `fluxhero check --deep`, which says what can be done",
        )
    with storage_errors("mirror", original):
        make_folder(copy.parent)
        with original.open("rb") as content:
            copy_into_place(content, copy, digest=source.sha256)
    return MirroredFile(bytes=copy.stat().st_size, sha256=source.sha256), 1


def _remembered(data_dir: Path) -> str | None:
    path = data_dir / MIRROR_HEAD_FILE
    if not path.exists():
        return None
    content = read_bytes(path)
    try:
        return _MirrorHead.model_validate_json(content).mirror
    except ValidationError:
        logger.warning("%s is damaged: made again", path)
        return None


def _remember(data_dir: Path, mirror_dir: Path) -> None:
    if _remembered(data_dir) != str(mirror_dir):
        head = _MirrorHead(mirror=str(mirror_dir))
        write_atomically(data_dir / MIRROR_HEAD_FILE, head.model_dump_json().encode() + b"\n")
