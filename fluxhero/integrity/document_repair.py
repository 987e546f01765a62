"""Mending the archive's documents: manifests first, for everything else is proven by them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fluxhero.archive.identity import (
    HEAD_FILE,
    ArchiveIdentity,
    Head,
    identity_by_manifests,
    read_identity,
)
from fluxhero.archive.manifest import GENESIS, PURGES, Manifest, is_event
from fluxhero.archive.survey import Survey
from fluxhero.errors import IntegrityError, ManifestError
from fluxhero.integrity.archive_rules import COMPLETE, EVENTS, HEAD, HOLDS, IDENTITY, READABLE
from fluxhero.integrity.chain_scrub import survey_of
from fluxhero.integrity.documents import forget_documents, known_documents
from fluxhero.integrity.proven import Mirror, event_at, manifest_with
from fluxhero.integrity.repair_log import Mender, Repair


def _manifests(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    """One after another, since each that is mended proves the one before it."""
    given_up: set[str] = set()
    while True:
        found, _ = survey_of(mender.scope)
        digest = next((each for each in _wanted(found) if each not in given_up), None)
        if digest is None:
            return
        given_up.add(digest)
        proven = manifest_with(mender.scope, found, mirror, digest)
        if proven is None:
            continue
        batch = Manifest.model_validate_json(proven.content).batch_id
        path = found.layout.manifest(batch)
        rule = COMPLETE if not path.exists() else READABLE
        yield mender.put(rule.name, path, proven.content, digest, source=proven.source)


def _wanted(found: Survey) -> list[str]:
    """Hashes that proven documents name and no sound manifest has."""
    sound = found.sound
    named = {manifest.previous_sha256 for manifest in sound.values()}
    named |= {event.manifest_sha256 for event in found.events.values()}
    if found.head:
        named.add(found.head.manifest_sha256)
    return sorted(named - {manifest.sha256 for manifest in sound.values()} - {GENESIS})


def _added(mender: Mender, _mirror: Mirror) -> Iterator[Repair]:
    found, _ = survey_of(mender.scope)
    for path in found.added:
        yield mender.take_away(
            COMPLETE.name, path, action="taken out of the chain", source="the manifests around it"
        )


def _events(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    for path in _wrong_events(mender, survey_of(mender.scope)[0]):
        found, _ = survey_of(mender.scope)
        proven = event_at(found, mirror, path)
        rule = READABLE if path.exists() else EVENTS
        if proven:
            digest = hashlib.sha256(proven.content).hexdigest()
            yield mender.put(rule.name, path, proven.content, digest, source=proven.source)
        elif _has_twin(found, path):
            action = "taken away: the same event is there under its own name"
            yield mender.take_away(EVENTS.name, path, action=action, source="the event itself")
            forget_documents(mender.scope.home, {path.name})
        elif path in found.damaged and is_purge(path):
            yield mender.take_away(
                rule.name,
                path,
                action="taken away: the purge of its batch is completed and recorded anew",
                source="the batch's file, which every row is compared with before it is purged",
            )
            forget_documents(mender.scope.home, {path.name})


def _has_twin(found: Survey, path: Path) -> bool:
    """Whether another file has the same event."""
    event = found.events.get(path)
    return event is not None and list(found.events.values()).count(event) > 1


def is_purge(path: Path) -> bool:
    """Whether a document is, by its name, the record of a purge, which another purge writes anew."""
    return is_event(path) and any(f".{kind}" in path.name for kind in PURGES)


def _wrong_events(mender: Mender, found: Survey) -> list[Path]:
    gone = {
        result.file
        for result in mender.broken
        if result.rule in {EVENTS, READABLE} and result.file and is_event(result.file)
    }
    wrong = {*(path for path in found.damaged if is_event(path)), *gone}
    return sorted(wrong, key=lambda path: (path.exists(), path))  # what is gone comes back first


def _head(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    """Only where something else knows all batches: the chain itself cannot tell that its end is gone."""
    scope = mender.scope
    found, problem = survey_of(scope)
    path = scope.data_dir / HEAD_FILE
    if not (problem or found.head is None) or not found.manifests:
        return
    if found.damaged or found.untold or found.edited or found.added or found.lost:
        return
    manifests = list(found.manifests.values())
    known = set(known_documents(scope.home, manifests[0].sha256).values())
    held = {manifest.sha256 for manifest in manifests}
    events = {event.sha256 for event in found.events.values()}
    if not (known or mirror.manifests) or (known - held - events) or (mirror.manifests - held):
        return
    head = Head(
        archive=str(found.layout.root),
        batches=len(manifests),
        manifest_sha256=manifests[-1].sha256,
    )
    yield _written(
        mender, HEAD.name, path, head.model_dump_json().encode() + b"\n", "the manifests"
    )


def _identity(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    layout, store = mender.scope.workspace.layout, mender.scope.workspace.store
    if not any(r.rule is IDENTITY and r.file == layout.identity for r in mender.broken):
        return
    try:
        if read_identity(layout):
            return
    except ManifestError:
        pass
    mine = store.identity()
    copy = mirror.content(layout.identity.name)
    if copy and ArchiveIdentity.model_validate_json(copy.content).store_id == mine:
        yield _written(mender, IDENTITY.name, layout.identity, copy.content, copy.source)
        return
    try:
        made = identity_by_manifests(layout, mender.scope.now)
    except IntegrityError:  # reported with the manifests
        return
    if made and made.store_id == mine:
        made = made.model_copy(update={"store_path": str(store.path)})
        content = made.model_dump_json(indent=1).encode() + b"\n"
        source = "the newest manifest, which names this store"
        yield _written(mender, IDENTITY.name, layout.identity, content, source)


def _holds(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    path = mender.scope.workspace.layout.holds
    copy = mirror.content(path.name)
    if copy and any(result.rule is HOLDS for result in mender.broken):
        source = f"{copy.source}; holds put on since it was made are missing"
        yield _written(mender, HOLDS.name, path, copy.content, source)


def _written(mender: Mender, rule: str, path: Path, content: bytes, source: str) -> Repair:
    digest = hashlib.sha256(content).hexdigest()
    return mender.put(rule, path, content, digest, source=source, action="made again")


DOCUMENT_STEPS = (_manifests, _added, _events, _head, _identity, _holds)
