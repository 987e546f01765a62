"""The archive's second copy, against its own list and against what the archive has."""

from collections.abc import Iterator
from pathlib import Path

from fluxhero.archive.manifest import GENESIS, is_event
from fluxhero.archive.mirror import LIST_FILE, MirrorList, read_list
from fluxhero.archive.survey import Survey
from fluxhero.durable import sha256
from fluxhero.errors import ManifestError, MissingArchiveError, StorageIOError
from fluxhero.integrity.archive_rules import MIRROR_COMPLETE, MIRROR_SHA256
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reading import Whole, hash_all
from fluxhero.integrity.results import Result, errored, failed, object_of, passed
from fluxhero.integrity.schedule import BYTES, due
from fluxhero.integrity.scope import Scope


def scrub_mirror(scope: Scope, found: Survey, memory: Passed) -> list[Result]:
    """Check the mirror, where there is one and the archive has something to mirror."""
    mirror = scope.mirror_dir
    if mirror is None or not found.paths:
        return []
    about = object_of(mirror / LIST_FILE, scope.data_dir)
    try:
        held = read_list(mirror)
    except (MissingArchiveError, ManifestError) as error:
        return [failed(MIRROR_COMPLETE, about, error.what, file=mirror / LIST_FILE)]
    except StorageIOError as error:
        return [errored(MIRROR_COMPLETE, about, error.what)]
    first = [m for m in found.sound.values() if m.previous_sha256 == GENESIS]
    if first and first[0].sha256 != held.first_manifest:
        what = f"{mirror} is the mirror of another archive than {found.layout.root}"
        return [failed(MIRROR_COMPLETE, about, what, file=mirror / LIST_FILE)]
    return [*_complete(scope, found, mirror, held), *_bytes(scope, found, mirror, held, memory)]


def _complete(scope: Scope, found: Survey, mirror: Path, held: MirrorList) -> Iterator[Result]:
    missing = [
        name for name in sorted({*_names(found), *held.files}) if not _there(mirror, held, name)
    ]
    for name in missing:
        path = mirror / name
        yield failed(
            MIRROR_COMPLETE,
            object_of(path, scope.data_dir),
            f"the mirror has no whole copy of {name}",
            file=path,
        )
    if not missing:
        yield passed(MIRROR_COMPLETE, object_of(mirror, scope.data_dir), len(held.files))


def _names(found: Survey) -> Iterator[str]:
    """Files that the archive has and the mirror should have, relative to both."""
    root = found.layout.root
    for path, manifest in found.sound.items():
        yield path.relative_to(root).as_posix()
        yield manifest.file.path
    for path in found.events:
        yield path.relative_to(root).as_posix()
    yield from (path.name for path in (found.layout.identity, found.layout.holds) if path.exists())


def _there(mirror: Path, held: MirrorList, name: str) -> bool:
    entry, path = held.files.get(name), mirror / name
    return bool(entry and path.is_file() and path.stat().st_size == entry.bytes)


def _bytes(
    scope: Scope, found: Survey, mirror: Path, held: MirrorList, memory: Passed
) -> Iterator[Result]:
    names = {mirror / name: name for name in held.files if _there(mirror, held, name)}
    chosen = due(scope, memory, names)
    wrong = 0
    for path, whole in zip(chosen, hash_all(chosen), strict=True):
        result = _judge(scope, found, path, held.files[names[path]].sha256, whole)
        if result is None:
            memory.record(BYTES, path, whole.stamp, scope.now)
        else:
            wrong += 1
            memory.forget(path)
            yield result
    if not wrong:
        yield passed(MIRROR_SHA256, object_of(mirror, scope.data_dir), len(chosen))


def _judge(scope: Scope, found: Survey, path: Path, expected: str, whole: Whole) -> Result | None:
    about = object_of(path, scope.data_dir)
    if whole.error:
        return errored(MIRROR_SHA256, about, whole.error)
    if whole.sha256 == expected:
        return None
    original = found.layout.root / path.name
    if original.is_file() and not is_event(original) and sha256(original) == whole.sha256:
        return None  # a list of holds copied by a run that was killed before it wrote that down
    what = f"the bytes of {path} have another SHA-256 than the mirror's list says"
    return failed(MIRROR_SHA256, about, what, file=path)
