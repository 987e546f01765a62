"""Manifests: the proof of what an archive holds, chained so that a missing or edited one shows.

A batch exists when its manifest does. Manifests never change; what happens to a batch later is an
event file beside it, which names the manifest's hash.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.archive.layout import Layout, partition_of, sequence_of
from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import ManifestError, SchemaVersionError

FORMAT_VERSION: Final = 1
GENESIS = "0" * 64  # what the first manifest names as its predecessor
_REPAIR = "restore the file from a backup of the archive; until then nothing is archived or purged"


class Record(BaseModel):
    """A document that is written once and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_bytes(self) -> bytes:
        """The exact bytes that are stored and hashed."""
        return _stored(self.model_dump(mode="json"))


def _stored(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


_R = TypeVar("_R", bound=Record)


class DataFile(Record):
    """What is known of a batch's Parquet file.

    `digest` is the sum of all row hashes modulo 2⁶⁴ (see `hash_algorithm`), which no order of
    rows changes.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    first_key: str
    last_key: str
    first_closed_at: AwareDatetime
    last_closed_at: AwareDatetime
    digest: str
    hash_algorithm: str


class Document(Record):
    """A record in a file of its own."""

    @property
    def sha256(self) -> str:
        """Hash of the stored bytes; a manifest's is what the next one and every event name."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


class Sealed(Document):
    """A document whose hash no other one names, so that it carries its own.

    `checksum` is the SHA-256 of the bytes without it; where it is empty, none was written.
    """

    checksum: str = ""

    def to_bytes(self) -> bytes:
        """The exact bytes that are stored; the checksum stands last."""
        document = self.model_dump(mode="json", exclude={"checksum"})
        return _stored(document | ({"checksum": self.checksum} if self.checksum else {}))

    @property
    def intact(self) -> bool:
        """Whether it is as it was sealed."""
        return self == self.sealed()

    def sealed(self) -> Self:
        """The same with its checksum."""
        bare = self.model_copy(update={"checksum": ""})
        return self.model_copy(update={"checksum": bare.sha256})


class Manifest(Document):
    """One archived batch."""

    format_version: Literal[1] = FORMAT_VERSION
    batch_id: str
    sequence: int
    store_id: str
    store_kind: Literal["duckdb", "sqlite"]
    schema_version: int
    table: str
    mode: str
    correction: bool
    cutoff: AwareDatetime
    created_at: AwareDatetime
    software_version: str
    file: DataFile
    previous_sha256: str

    @property
    def month(self) -> str:
        """Month (UTC) of the rows' close times, as 2026-09."""
        partition = partition_of(self.batch_id)
        return f"{partition.year:04d}-{partition.month:02d}"


class EventKind(StrEnum):
    """What can happen to a batch after it was published."""

    PURGED = "purged"
    PARTLY_PURGED = "partly-purged"  # what was due is gone, younger rows may be hot
    RESTORED = "restored"


PURGES = frozenset({EventKind.PURGED, EventKind.PARTLY_PURGED})


class Event(Sealed):
    """Something that happened to a batch; early releases wrote no checksum."""

    kind: EventKind
    batch_id: str
    manifest_sha256: str
    at: AwareDatetime
    rows: int
    kept_hot: tuple[str, ...] = ()  # purge: keys whose hot row differs or is on hold
    keys: tuple[str, ...] = ()  # restore: what came back
    reason: str = ""

    @property
    def intact(self) -> bool:
        """Whether it is as it was written, as far as it can tell by itself."""
        return not self.checksum or super().intact


class Chain:
    """All manifests of an archive in order, proven to be complete and unedited, with their events."""

    def __init__(self, manifests: Sequence[Manifest], events: Iterable[Event]) -> None:
        """Hold manifests that `load_chain` has already proven."""
        self.manifests = tuple(manifests)
        self._by_id = {manifest.batch_id: manifest for manifest in self.manifests}
        self._events: dict[str, list[Event]] = {
            manifest.batch_id: [] for manifest in self.manifests
        }
        for event in events:
            self._events[event.batch_id].append(event)

    def __len__(self) -> int:
        return len(self.manifests)

    @property
    def head(self) -> str:
        """Hash that the next manifest names as its predecessor."""
        return self.manifests[-1].sha256 if self.manifests else GENESIS

    def head_of(self, batches: int) -> str | None:
        """What `head` was when the archive had so many batches; None if it has fewer."""
        if batches > len(self):
            return None
        return self.manifests[batches - 1].sha256 if batches else GENESIS

    @property
    def next_sequence(self) -> int:
        """Number for the next batch; a batch that was given up leaves a gap."""
        return self.manifests[-1].sequence + 1 if self.manifests else 1

    @property
    def last_created_at(self) -> datetime | None:
        """When the newest batch was made."""
        return self.manifests[-1].created_at if self.manifests else None

    def followed_by(self, manifest: Manifest) -> "Chain":
        """The chain with one more batch at its end."""
        events = [event for known in self._events.values() for event in known]
        return Chain((*self.manifests, manifest), events)

    def get(self, batch_id: str) -> Manifest | None:
        """The manifest of a batch, if there is one."""
        return self._by_id.get(batch_id)

    def events(self, batch_id: str, kind: EventKind) -> list[Event]:
        """What happened to a batch, oldest first."""
        return [event for event in self._events[batch_id] if event.kind is kind]

    def purged_rows(self, batch_id: str) -> int:
        """How many rows of a batch were removed from the hot store, over all its purges."""
        return sum(event.rows for event in self._events[batch_id] if event.kind in PURGES)

    def unpurged(self) -> list[Manifest]:
        """Batches whose purge never completed."""
        return [m for m in self.manifests if not self.events(m.batch_id, EventKind.PURGED)]

    def of_table(self, table: str) -> list[Manifest]:
        """Batches of one table."""
        return [manifest for manifest in self.manifests if manifest.table == table]


def load_chain(layout: Layout) -> Chain:
    """Read every manifest and prove the chain.

    Raises:
        ManifestError: one is damaged, edited or missing.
        SchemaVersionError: one was written by a newer release.
    """
    manifests: list[Manifest] = []
    events: list[Event] = []
    for path in listed(layout.manifests):
        if is_event(path):
            events.append(read_event(path))
        else:
            manifests.append(read_manifest(path))
    _prove_chain(manifests, layout)
    known = {manifest.batch_id: manifest.sha256 for manifest in manifests}
    for event in events:
        if known.get(event.batch_id) != event.manifest_sha256:
            raise ManifestError(
                f"the {event.kind} event of batch {event.batch_id} does not name its manifest's hash",
                next_step=_REPAIR,
            )
    return Chain(manifests, sorted(events, key=lambda event: event.at))


def is_event(path: Path) -> bool:
    """Whether a file beside the manifests has an event's name."""
    return "." in path.name.removesuffix(".json")


def listed(folder: Path) -> list[Path]:
    """Finished files in order of their names.

    A listing is no snapshot: one made while a run publishes may have a later file and lack an earlier
    one. So it is made again until two are equal.
    """
    before: list[Path] | None = None
    while True:
        names = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
        if names == before:
            return names
        before = names


def _read(path: Path, kind: type[_R]) -> _R:
    content = read_bytes(path)
    try:
        record = kind.model_validate_json(content)
    except ValidationError as error:
        refuse_later_format(path, content)
        raise ManifestError(
            f"{path} is damaged: {error.errors()[0]['msg']}", next_step=_REPAIR
        ) from error
    if record.to_bytes() != content:
        raise ManifestError(f"{path} has been edited since it was written", next_step=_REPAIR)
    return record


def refuse_later_format(path: Path, content: bytes) -> None:
    """Tell a document of a later format from a damaged one.

    Raises:
        SchemaVersionError: it says that it is of a later format.
    """
    try:
        version = json.loads(content)["format_version"]
    except (ValueError, KeyError, TypeError):
        return
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise SchemaVersionError(
            f"{path} was written by a newer release: it has format version {version}, and this release "
            f"knows up to {FORMAT_VERSION}",
            next_step="upgrade fluxhero-pipeline; nothing was archived or purged",
        )


def read_event(path: Path) -> Event:
    """Read one event; its checksum stops no run, since what an event says endangers no row.

    Raises:
        ManifestError: it cannot be read.
    """
    return _read(path, Event)


def read_manifest(path: Path) -> Manifest:
    """Read one manifest, which the chain has still to prove.

    Raises:
        ManifestError: it is damaged, edited or another batch's.
        SchemaVersionError: it was written by a newer release.
    """
    manifest = _read(path, Manifest)
    if manifest.batch_id != path.stem or sequence_of(manifest.batch_id) != manifest.sequence:
        raise ManifestError(
            f"{path} has another batch's name: {manifest.batch_id}", next_step=_REPAIR
        )
    return manifest


def _prove_chain(manifests: Sequence[Manifest], layout: Layout) -> None:
    expected = GENESIS
    for manifest in manifests:
        if manifest.previous_sha256 != expected:
            raise ManifestError(
                f"{layout.manifest(manifest.batch_id)} does not follow the manifest before it: one has "
                f"been removed, added or exchanged",
                next_step=_REPAIR,
            )
        expected = manifest.sha256


def write_manifest(layout: Layout, manifest: Manifest) -> None:
    """Make the batch exist."""
    write_atomically(layout.manifest(manifest.batch_id), manifest.to_bytes())


def write_event(layout: Layout, chain: Chain, event: Event) -> None:
    """Record what happened to a batch: `.purged.json`, then `.purged-2.json`; others `.restored-1.json` ….

    Raises:
        StorageIOError: it could not be written.
    """
    number = len(chain.events(event.batch_id, event.kind)) + 1
    while (path := _event_path(layout, event, number)).exists():  # an earlier one has been lost
        number += 1
    write_atomically(path, event.sealed().to_bytes())


def _event_path(layout: Layout, event: Event, number: int) -> Path:
    plain = event.kind is EventKind.PURGED and number == 1
    name = f"{event.batch_id}.{event.kind}{'' if plain else f'-{number}'}.json"
    return layout.manifests / name
