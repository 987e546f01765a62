"""Reading an archive's manifests leniently: what is damaged is told apart, and the rest is still read.

`load_chain` stops at the first fault, as whoever is about to move rows must. The storage check has to
name every fault, and which document it is in; a repair has to know what can still be proven. A manifest
is proven when a proven document names its hash: the manifest after it, one of its events, or
`archive-head.json` in the data folder, which the chain's end hangs on.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fluxhero.archive.identity import HEAD_FILE, Head
from fluxhero.archive.layout import Layout, sequence_of
from fluxhero.archive.manifest import (
    GENESIS,
    Event,
    Manifest,
    is_event,
    listed,
    read_event,
    read_manifest,
)
from fluxhero.errors import ManifestError, SchemaVersionError, StorageIOError

_HEAD = Path(HEAD_FILE)  # stands for it among the documents that name others


@dataclass(frozen=True, slots=True)
class Lost:
    """A manifest that others name and that is not there.

    Attributes:
        sha256: its hash.
        batch_id: its batch, where an event or a data file tells.
        named_by: the document that names it.
    """

    sha256: str
    batch_id: str | None
    named_by: Path


@dataclass(frozen=True)
class Survey:
    """Every document of an archive.

    Attributes:
        layout: the archive.
        head: what the data folder knows as its end.
        paths: all documents.
        manifests: those that can be read, in order.
        events: those that can be read.
        damaged: document → what is wrong with it by itself.
        untold: document → why nobody can tell.
        edited: manifest that reads well → why it is not the one that was published.
        added: manifest that the chain passes over.
        lost: manifests that are gone.
    """

    layout: Layout
    head: Head | None
    paths: tuple[Path, ...] = ()
    manifests: Mapping[Path, Manifest] = field(default_factory=dict)
    events: Mapping[Path, Event] = field(default_factory=dict)
    damaged: Mapping[Path, str] = field(default_factory=dict)
    untold: Mapping[Path, str] = field(default_factory=dict)
    edited: Mapping[Path, str] = field(default_factory=dict)
    added: Mapping[Path, str] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()

    @property
    def sound(self) -> dict[Path, Manifest]:
        """Manifests that nothing speaks against."""
        wrong = {*self.edited, *self.added}
        return {path: manifest for path, manifest in self.manifests.items() if path not in wrong}

    @property
    def unknown_batches(self) -> set[str]:
        """Batches that exist, though their manifests do not tell about them."""
        unread = {path.stem for path in (*self.damaged, *self.untold, *self.edited)}
        return {name for name in unread if "." not in name} | {
            lost.batch_id for lost in self.lost if lost.batch_id
        }


def survey(layout: Layout, head: Head | None) -> Survey:
    """Read whatever can be read; the caller keeps writers out, or reads the head before."""
    manifests: dict[Path, Manifest] = {}
    events: dict[Path, Event] = {}
    damaged: dict[Path, str] = {}
    untold: dict[Path, str] = {}
    paths = listed(layout.manifests)
    for path in paths:
        try:
            if is_event(path):
                event = read_event(path)
                if event.intact:
                    events[path] = event
                else:
                    damaged[path] = f"{path} has been edited since it was written"
            else:
                manifests[path] = read_manifest(path)
        except ManifestError as error:
            damaged[path] = error.what
        except (SchemaVersionError, StorageIOError) as error:
            untold[path] = error.what
        except ValueError as error:  # a name that no batch has
            damaged[path] = f"{path} is no document of an archive: {error}"
    read = Survey(layout, head, tuple(paths), manifests, events, damaged, untold)
    return _proven(read)


def _proven(read: Survey) -> Survey:
    """Walk the chain from its end, telling edited, added and lost manifests apart."""
    hashes = {path: manifest.sha256 for path, manifest in read.manifests.items()}
    vouched = _anchors(read, hashes)
    edited: dict[Path, str] = {}
    added: dict[Path, str] = {}
    follower: Path | None = None  # the proven manifest after the one at hand
    in_order = [path for path in read.paths if not is_event(path)]
    unnamed = read.head is None or _head_is_ahead(read, len(in_order), hashes)
    for path in reversed(in_order):
        manifest = read.manifests.get(path)
        if manifest is None:
            unnamed, follower = True, None
        elif hashes[path] in vouched or (
            (unnamed or _gap(manifest, read.manifests[follower] if follower else None))
            and not _contradicted(read, manifest)
        ):
            vouched.setdefault(manifest.previous_sha256, path)
            unnamed, follower = False, path
        elif _passed_over(read, path, follower):
            added[path] = f"the chain of manifests passes over {path}"
        else:
            edited[path] = _why_edited(path, follower)
            unnamed, follower = True, None
    lost = _lost(read, vouched, set(hashes.values()), edited)
    return replace(read, edited=edited, added=added, lost=lost)


def _anchors(read: Survey, hashes: Mapping[Path, str]) -> dict[str, Path]:
    """Hash → a document outside the chain that names it; manifests behind the head go without saying."""
    vouched = {event.manifest_sha256: path for path, event in read.events.items()}
    if read.head:
        end = read.head.manifest_sha256
        vouched[end] = _HEAD
        for path, manifest in read.manifests.items():  # published, and the run killed right then
            if manifest.previous_sha256 == end:
                end = hashes[path]
                vouched[end] = path
    return vouched


def _head_is_ahead(read: Survey, count: int, hashes: Mapping[Path, str]) -> bool:
    """Whether the data folder knows of more batches than there are manifests."""
    head = read.head
    return bool(head and head.batches > count and head.manifest_sha256 not in hashes.values())


def _gap(manifest: Manifest, follower: Manifest | None) -> bool:
    """Whether a manifest has been removed between these two: then nobody names the earlier one."""
    return follower is not None and follower.sequence > manifest.sequence + 1


def _contradicted(read: Survey, manifest: Manifest) -> bool:
    """Whether an event of the batch names another hash."""
    named = {e.manifest_sha256 for e in read.events.values() if e.batch_id == manifest.batch_id}
    return bool(named - {manifest.sha256})


def _passed_over(read: Survey, path: Path, follower: Path | None) -> bool:
    """Whether the one after it names another one before it."""
    wanted = None
    if follower:
        wanted = read.manifests[follower].previous_sha256
    elif read.head:
        wanted = read.head.manifest_sha256
    return wanted == GENESIS or any(
        manifest.sha256 == wanted for other, manifest in read.manifests.items() if other < path
    )


def _why_edited(path: Path, follower: Path | None) -> str:
    witness = follower.name if follower else f"an event of the batch, or {HEAD_FILE},"
    return f"{path} has been edited since it was written: {witness} names another hash"


def _lost(
    read: Survey, vouched: Mapping[str, Path], there: set[str], edited: Mapping[Path, str]
) -> tuple[Lost, ...]:
    """Manifests that a proven document names, and for which no unreadable or edited one can stand."""
    unread = [p for p in (*read.damaged, *read.untold, *edited) if not is_event(p)]
    of_event = {event.manifest_sha256: event.batch_id for event in read.events.values()}
    found: dict[str, list[Path]] = defaultdict(list)
    for digest, path in vouched.items():
        if digest == GENESIS or digest in there:
            continue
        batch = of_event.get(digest)
        if batch and read.layout.manifest(batch) in read.paths:
            continue  # its manifest is there, damaged or edited: reported as such
        if batch is None and _stands_for(read, path, unread):
            continue
        found[digest].append(path)
    return tuple(
        Lost(digest, of_event.get(digest) or _batch_by_file(read, paths[0]), paths[0])
        for digest, paths in found.items()
    )


def _stands_for(read: Survey, witness: Path, unread: Sequence[Path]) -> bool:
    """Whether the manifest just before the witness is one that cannot be read."""
    before = [
        path for path in read.paths if not is_event(path) and (witness == _HEAD or path < witness)
    ]
    return bool(before) and before[-1] in unread


def _batch_by_file(read: Survey, witness: Path) -> str | None:
    """The batch of the one data file without a manifest that lies where the lost one belongs."""
    known = {path.stem for path in read.paths if not is_event(path)}
    last = None if witness == _HEAD else sequence_of(witness.stem)
    first = max(
        (sequence_of(path.stem) for path in read.manifests if last is None or path < witness),
        default=0,
    )
    candidates = []
    for file in read.layout.data_files():
        try:
            sequence = sequence_of(file.stem)
        except ValueError:
            continue
        if file.stem not in known and first < sequence and (last is None or sequence < last):
            candidates.append(file.stem)
    return candidates[0] if len(candidates) == 1 else None
