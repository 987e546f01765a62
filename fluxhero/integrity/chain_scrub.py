"""The archive's documents: manifests, events, whose archive it is, and what must stay hot."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxhero.archive.holds import read_holds
from fluxhero.archive.identity import HEAD_FILE, Head, read_head, read_identity
from fluxhero.archive.manifest import GENESIS, PURGES, Event, is_event
from fluxhero.archive.mirror import read_list
from fluxhero.archive.survey import Survey, survey
from fluxhero.errors import (
    ConfigurationError,
    IntegrityError,
    ManifestError,
    MissingArchiveError,
    SchemaVersionError,
    StorageIOError,
)
from fluxhero.integrity.archive_rules import COMPLETE, EVENTS, HEAD, HOLDS, IDENTITY, READABLE
from fluxhero.integrity.documents import known_documents, remember_documents
from fluxhero.integrity.results import Result, errored, failed, object_of, passed
from fluxhero.integrity.scope import Scope
from fluxhero.wording import counted


def survey_of(scope: Scope) -> tuple[Survey, str]:
    """Read the archive leniently; and what is wrong with `archive-head.json`, if anything is."""
    problem = ""
    head: Head | None = None
    try:
        head = read_head(scope.data_dir)
    except (ManifestError, SchemaVersionError, StorageIOError) as error:
        problem = error.what
    return survey(scope.workspace.layout, head), problem


def scrub_chain(scope: Scope, found: Survey, head_problem: str) -> list[Result]:
    """Check every document of the archive."""
    before = _compare_with_before(scope, found)
    return [
        *_readable(scope, found, before.exchanged),
        *_complete(scope, found, {path for path in before.gone if not is_event(path)}),
        *_head(scope, found, head_problem),
        *_events(scope, found, {path for path in before.gone if is_event(path)}),
        *_identity(scope, found),
        *_holds(scope, found),
    ]


def _about(scope: Scope, path: Path) -> str:
    return object_of(path, scope.data_dir)


def _readable(scope: Scope, found: Survey, exchanged: Collection[Path]) -> Iterator[Result]:
    for path in found.paths:
        about = _about(scope, path)
        if path in found.untold:
            yield errored(READABLE, about, found.untold[path])
        elif problem := found.damaged.get(path) or found.edited.get(path):
            yield failed(READABLE, about, problem, file=path)
        elif path in exchanged:
            what = f"{path} is not the document that an earlier check saw, or that the mirror has"
            yield failed(READABLE, about, what, file=path)
        else:
            yield passed(READABLE, about)


def _complete(scope: Scope, found: Survey, gone: set[Path]) -> Iterator[Result]:
    layout = found.layout
    reported = set()
    for lost in found.lost:
        if lost.named_by == Path(HEAD_FILE) and not lost.batch_id:
            continue  # the end of the chain: the head's rule says so
        path = layout.manifest(lost.batch_id) if lost.batch_id else lost.named_by
        reported.add(path)
        who = f"the manifest of batch {lost.batch_id}" if lost.batch_id else "a manifest"
        yield failed(
            COMPLETE,
            _about(scope, path),
            f"{who} is missing: {lost.named_by.name} names its hash {lost.sha256[:16]}…",
            file=path,
        )
    for path in sorted(gone - reported):
        what = f"{path} was there before: an earlier check, or the mirror, has it"
        yield failed(COMPLETE, _about(scope, path), what, file=path)
    for path, why in found.added.items():
        yield failed(COMPLETE, _about(scope, path), why, file=path)
    if not (reported or gone or found.added):
        yield passed(COMPLETE, _about(scope, layout.manifests), max(1, len(found.manifests)))


def _head(scope: Scope, found: Survey, problem: str) -> Iterator[Result]:
    path = scope.data_dir / HEAD_FILE
    about = _about(scope, path)
    manifests = [each for each in found.paths if not is_event(each)]
    if problem:
        yield failed(HEAD, about, problem, file=path)
    elif found.head is None:
        if manifests:
            what = f"{path} is gone: nobody could tell if the newest batches were"
            yield failed(HEAD, about, what, file=path)
        else:
            yield passed(HEAD, about)
    elif any(lost.sha256 == found.head.manifest_sha256 for lost in found.lost):
        yield failed(
            HEAD,
            about,
            f"the archive {found.layout.root} held {counted(found.head.batches, 'batch')} and now "
            f"holds {len(manifests)}; the newest is gone",
            file=path,
        )
    else:
        yield passed(HEAD, about, len(manifests))


def _events(scope: Scope, found: Survey, gone: set[Path]) -> Iterator[Result]:
    sound = {manifest.batch_id: manifest for manifest in found.sound.values()}
    purged: defaultdict[str, int] = defaultdict(int)
    for event in found.events.values():
        sign = 1 if event.kind in PURGES else -1
        purged[event.batch_id] += sign * event.rows
    copies = _copies(found)
    for path, event in found.events.items():
        manifest = sound.get(event.batch_id)
        problem = _misnamed(path, event) or copies.get(path, "")
        if manifest and not problem and event.manifest_sha256 != manifest.sha256:
            problem = f"{path} does not name its manifest's hash"
        if manifest and not problem and purged[event.batch_id] > manifest.file.rows:
            problem = (
                f"the events of batch {event.batch_id} have {purged[event.batch_id]:,} more rows purged "
                f"than restored, of {manifest.file.rows:,}"
            )
        if problem:
            yield failed(EVENTS, _about(scope, path), problem, file=path)
        else:
            yield passed(EVENTS, _about(scope, path))
    for path in sorted(gone):
        what = f"{path} was there before: an earlier check, or the mirror, has it"
        yield failed(EVENTS, _about(scope, path), what, file=path)
    if not found.events and not gone:
        yield passed(EVENTS, _about(scope, found.layout.manifests))


def _copies(found: Survey) -> dict[Path, str]:
    """Events that are there twice: of each the one under the shortest name is the event."""
    first: dict[str, Path] = {}
    copies = {}
    for path in sorted(found.events, key=lambda path: (len(path.name), path.name)):
        original = first.setdefault(found.events[path].sha256, path)
        if original != path:
            copies[path] = f"{path} is a copy of {original.name}"
    return copies


def _misnamed(path: Path, event: Event) -> str:
    if path.name.startswith(f"{event.batch_id}.{event.kind}"):
        return ""
    return f"{path} is an event of another kind or batch: {event.kind} of {event.batch_id}"


@dataclass(frozen=True, slots=True)
class _Before:
    """Documents that differ from what earlier checks saw."""

    gone: frozenset[Path] = frozenset()
    exchanged: frozenset[Path] = frozenset()


def _compare_with_before(scope: Scope, found: Survey) -> _Before:
    """Hold the documents against those that earlier checks saw, and those that the mirror has.

    Sound ones that are new are remembered.
    """
    manifests = [path for path in found.paths if not is_event(path)]
    first = found.manifests.get(manifests[0]) if manifests else None
    if first is None or first.previous_sha256 != GENESIS:
        return _Before()
    known = known_documents(scope.home, first.sha256)
    digests = {path.name: document.sha256 for path, document in found.sound.items()}
    digests |= {path.name: event.sha256 for path, event in found.events.items()}
    remember_documents(scope.home, first.sha256, {**digests, **known})
    folder = found.layout.manifests
    mirrored = {Path(name): digest for name, digest in _mirrored(scope, found).items()}
    documents = {p.name: digest for p, digest in mirrored.items() if p.parent.name == folder.name}
    known = {**documents, **known}
    exchanged = [name for name, digest in digests.items() if known.get(name, digest) != digest]
    return _Before(
        frozenset({folder / name for name in known} - set(found.paths)),
        frozenset(folder / name for name in exchanged),
    )


def _mirrored(scope: Scope, found: Survey) -> dict[str, str]:
    """Name → SHA-256 of the files that the mirror of this very archive has, by their place in it."""
    try:
        held = read_list(scope.mirror_dir) if scope.mirror_dir else None
    except (MissingArchiveError, ManifestError, StorageIOError):  # the mirror has rules of its own
        return {}
    first = {m.sha256 for m in found.manifests.values() if m.previous_sha256 == GENESIS}
    if held is None or held.first_manifest not in first:
        return {}
    return {name: entry.sha256 for name, entry in held.files.items()}


def _identity(scope: Scope, found: Survey) -> Iterator[Result]:
    layout, store = found.layout, scope.workspace.store
    about = _about(scope, layout.identity)
    try:
        identity = read_identity(layout)
    except ManifestError as error:
        yield failed(IDENTITY, about, error.what, file=layout.identity)
        return
    except (SchemaVersionError, StorageIOError) as error:
        yield errored(IDENTITY, about, error.what)
        return
    if identity is None:
        if found.manifests:
            yield failed(IDENTITY, about, f"{layout.identity} is gone", file=layout.identity)
        else:
            yield passed(IDENTITY, about)
        return
    strange = [
        path.name
        for path, manifest in found.sound.items()
        if manifest.store_id not in {identity.store_id, *identity.formerly}
    ]
    try:
        mine = store.identity()
    except (ConfigurationError, IntegrityError) as error:  # the store's own fault: it has a rule
        yield errored(IDENTITY, about, error.what)
        return
    if identity.store_id != mine:
        what = f"the archive belongs to {identity.store_kind} store {identity.store_path}, not to {store.path}"
        yield failed(IDENTITY, about, what, file=layout.identity)
    elif strange:
        what = (
            f"{counted(len(strange), 'manifest')} of another store, the first of them {strange[0]}"
        )
        yield failed(IDENTITY, about, what, count=len(strange), keys=tuple(strange))
    else:
        yield passed(IDENTITY, about)


def _holds(scope: Scope, found: Survey) -> Iterator[Result]:
    path = scope.workspace.layout.holds
    try:
        holds = read_holds(path)
    except ManifestError as error:
        yield failed(HOLDS, _about(scope, path), error.what, file=path)
    except StorageIOError as error:
        yield errored(HOLDS, _about(scope, path), error.what)
    else:
        if not path.exists() and path.name in _mirrored(scope, found):
            yield failed(
                HOLDS, _about(scope, path), f"{path} is gone; the mirror has it", file=path
            )
        else:
            yield passed(HOLDS, _about(scope, path), len(holds))
