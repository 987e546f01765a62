"""Where the proven bytes of a lost or damaged document can come from.

A manifest is proven by its hash, which another document names; an event by its own checksum. So it does
not matter where the bytes come from: a mirror, the damaged document with the one bit turned back that
was flipped, or the data file, whose metadata has what its rows do not tell.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import ValidationError

from fluxhero.archive.batches import described
from fluxhero.archive.files import METADATA_PREFIX, read_back
from fluxhero.archive.layout import partition_of, sequence_of
from fluxhero.archive.manifest import GENESIS, Event, Manifest
from fluxhero.archive.mirror import MirrorList, read_list
from fluxhero.archive.survey import Survey
from fluxhero.archive.workspace import Workspace
from fluxhero.durable import read_bytes, storage_errors
from fluxhero.errors import IntegrityError, MissingArchiveError, StorageIOError
from fluxhero.integrity.file_quarantine import readable
from fluxhero.integrity.scope import Scope
from fluxhero.parquet import DAMAGE

_NOTES = ("batch", "schema_version", "store", "store_kind", "correction", "cutoff", "created_at")


@dataclass(frozen=True, slots=True)
class Found:
    """Proven bytes, and where they come from."""

    content: bytes
    source: str


class Mirror:
    """A mirror as a source: it has what it lists, if the bytes still are what it lists."""

    def __init__(self, scope: Scope) -> None:
        """Read its list; without a mirror, or a readable list, it has nothing."""
        self.folder = scope.mirror_dir
        self._list = MirrorList(first_manifest="")
        self._unlisted: Path | None = None
        if self.folder:
            try:
                self._list = read_list(self.folder)
            except (MissingArchiveError, IntegrityError, StorageIOError):
                self._unlisted, self.folder = self.folder, None

    def named(self, name: str) -> Path | None:
        """Its sound copy of a file, by the file's place in the archive."""
        entry = self._list.files.get(name)
        if self.folder is None or entry is None:
            return None
        path = self.folder / name
        return path if readable(path) == entry.sha256 else None

    def content(self, name: str) -> Found | None:
        """The bytes of its sound copy of a file."""
        path = self.named(name)
        return Found(read_bytes(path), f"the mirror's copy {path}") if path else None

    def hashed(self, digest: str) -> Path | None:
        """Its sound copy of the file with this SHA-256."""
        names = [name for name, entry in self._list.files.items() if entry.sha256 == digest]
        return next(filter(None, map(self.named, names)), None)

    def unlisted_manifest(self, digest: str) -> Path | None:
        """Its copy of the manifest with this SHA-256, where its list cannot be read."""
        copies = sorted(self._unlisted.glob("manifests/*.json")) if self._unlisted else []
        return next((path for path in copies if readable(path) == digest), None)

    @property
    def manifests(self) -> set[str]:
        """Hashes of the manifests that it lists."""
        return {
            entry.sha256
            for name, entry in self._list.files.items()
            if name.startswith("manifests/") and name.count(".") == 1
        }


def manifest_with(scope: Scope, found: Survey, mirror: Mirror, digest: str) -> Found | None:
    """The bytes of the manifest with this hash, from wherever they can be had."""
    if copy := mirror.hashed(digest) or mirror.unlisted_manifest(digest):
        return Found(read_bytes(copy), f"the mirror's copy {copy}")
    for path in (*found.damaged, *found.edited):
        for content in _one_bit_other(read_bytes(path)):
            if hashlib.sha256(content).hexdigest() == digest:
                return Found(content, "its own bytes with the one flipped bit turned back")
    previous = {GENESIS, *(manifest.sha256 for manifest in found.manifests.values())}
    named = {found.layout.root / manifest.file.path for manifest in found.sound.values()}
    for path in found.layout.data_files():
        if path in named:
            continue
        for manifest in _made_again(scope.workspace, path, (*sorted(previous), *_wanted(found))):
            if manifest.sha256 == digest:
                return Found(manifest.to_bytes(), f"the metadata and rows of {path}")
    return None


def _wanted(found: Survey) -> set[str]:
    return {lost.sha256 for lost in found.lost} | {
        event.manifest_sha256 for event in found.events.values()
    }


def event_at(found: Survey, mirror: Mirror, path: Path) -> Found | None:
    """The bytes of the event with this name; its manifest is proven already."""
    copy = mirror.content(path.relative_to(found.layout.root).as_posix())
    if copy and _is_event(found, path, copy.content):
        return copy
    if path.is_file():
        for content in _one_bit_other(read_bytes(path)):
            if b'"checksum"' in content and _is_event(found, path, content):
                return Found(content, "its own bytes with the one flipped bit turned back")
    return None


def _is_event(found: Survey, path: Path, content: bytes) -> bool:
    try:
        event = Event.model_validate_json(content)
    except ValidationError:
        return False
    batches = {manifest.batch_id: manifest.sha256 for manifest in found.sound.values()}
    return (
        event.to_bytes() == content
        and event.intact
        and path.name.startswith(f"{event.batch_id}.{event.kind}")
        and batches.get(event.batch_id) == event.manifest_sha256
    )


def _one_bit_other(content: bytes) -> Iterator[bytes]:
    """The same bytes with one bit turned, each in its turn."""
    changed = bytearray(content)
    for place in range(len(changed)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            yield bytes(changed)
            changed[place] ^= 1 << bit


def _made_again(workspace: Workspace, path: Path, previous: Iterable[str]) -> Iterator[Manifest]:
    """What the manifest of a data file would be, after each of these manifests.

    Files of early releases do not carry what is needed; there is none then.
    """
    notes = _notes(path)
    if any(name not in notes for name in (*_NOTES, "software_version")):
        return
    store, batch = workspace.store, notes["batch"]
    try:
        partition = partition_of(batch)
        facts = read_back(
            path, store.own_schema(partition.table), store.key_range_sql(partition.table)
        )
    except (IntegrityError, StorageIOError, ValueError, KeyError):
        return
    for digest in previous:
        yield Manifest.model_validate(
            {
                "batch_id": batch,
                "sequence": sequence_of(batch),
                "store_id": notes["store"],
                "store_kind": notes["store_kind"],
                "schema_version": int(notes["schema_version"]),
                "table": partition.table,
                "mode": partition.mode,
                "correction": notes["correction"] == "true",
                "cutoff": notes["cutoff"],
                "created_at": notes["created_at"],
                "software_version": notes["software_version"],
                "file": described(workspace.layout, batch, facts),
                "previous_sha256": digest,
            }
        )


def _notes(path: Path) -> dict[str, str]:
    with storage_errors("read", path):
        try:
            metadata = pq.read_schema(path).metadata or {}
        except DAMAGE:
            return {}
    return {
        name.removeprefix(METADATA_PREFIX).decode(): value.decode(errors="replace")
        for name, value in metadata.items()
        if name.startswith(METADATA_PREFIX)
    }
