"""Which store an archive belongs to, and which archive a store had: neither is ever mixed up.

The archive names its store in `archive.json`. The data folder remembers the archive's newest batch
in `archive-head.json`, so that an unmounted disk or an emptied folder is an error and not a fresh
start with an empty history.
"""

from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.archive.layout import Layout
from fluxhero.archive.manifest import Chain
from fluxhero.durable import storage_errors, write_atomically
from fluxhero.errors import ForeignArchiveError, ManifestError, MissingArchiveError
from fluxhero.ledger.store import HotStore

HEAD_FILE = "archive-head.json"
_M = TypeVar("_M", bound=BaseModel)


class ArchiveIdentity(BaseModel):
    """Content of `archive.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    store_id: str
    store_kind: str
    store_path: str
    created_at: AwareDatetime
    formerly: tuple[str, ...] = ()  # ids of stores this archive belonged to before it was adopted
    first_backup: str | None = None  # copy of the store made before its first purge


class Head(BaseModel):
    """Content of `archive-head.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: str
    batches: int
    manifest_sha256: str


def read_identity(layout: Layout) -> ArchiveIdentity | None:
    """Read whose archive this is; None when it is new."""
    if not layout.identity.exists():
        return None
    return _parse(layout.identity, ArchiveIdentity)


def owner(layout: Layout) -> ArchiveIdentity:
    """Read whose archive this is, once it has been claimed.

    Raises:
        MissingArchiveError: nobody has claimed it, or its `archive.json` is gone.
    """
    identity = read_identity(layout)
    if identity is None:
        raise MissingArchiveError(
            f"{layout.identity} is gone while a run works on the archive",
            next_step="see what removed it, and run again; nothing was purged",
        )
    return identity


def write_identity(layout: Layout, identity: ArchiveIdentity) -> None:
    """Replace `archive.json`."""
    write_atomically(layout.identity, identity.model_dump_json(indent=1).encode() + b"\n")


def claim(layout: Layout, store: HotStore, at: datetime, *, adopt: bool = False) -> ArchiveIdentity:
    """Tie a new archive to the store, or make sure that an old one belongs to it.

    Args:
        layout: the archive.
        store: the hot store of the settings.
        at: now.
        adopt: hand an archive of another store of the same kind over to this one.

    Raises:
        ForeignArchiveError: it belongs to another store.
    """
    mine = store.identity()
    identity = read_identity(layout)
    if identity is None:
        identity = ArchiveIdentity(
            store_id=mine, store_kind=store.kind, store_path=str(store.path), created_at=at
        )
        write_identity(layout, identity)
        return identity
    if identity.store_id == mine:
        return identity
    if not adopt or identity.store_kind != store.kind:
        raise _foreign(layout, identity, store, mine)
    adopted = identity.model_copy(
        update={
            "store_id": mine,
            "store_path": str(store.path),
            "formerly": (*identity.formerly, identity.store_id),
            "first_backup": None,
        }
    )
    write_identity(layout, adopted)
    return adopted


def check_owner(layout: Layout, store: HotStore) -> None:
    """Make sure, without writing anything, that an archive is not another store's.

    A store that is gone is nobody's rival: its archive can still be read.

    Raises:
        ForeignArchiveError: it belongs to another store.
    """
    identity = read_identity(layout)
    if identity is None or not store.path.exists():
        return
    mine = store.identity()
    if identity.store_id != mine:
        raise _foreign(layout, identity, store, mine)


def _foreign(
    layout: Layout, identity: ArchiveIdentity, store: HotStore, mine: str
) -> ForeignArchiveError:
    return ForeignArchiveError(
        f"the archive {layout.root} belongs to {identity.store_kind} store {identity.store_path}"
        f" ({identity.store_id}), not to {store.path} ({mine})",
        next_step="set FLUXHERO_ARCHIVE_DIR to this store's own archive, or, if the store was moved "
        "or made anew, run `fluxhero archive --adopt`",
    )


def read_head(data_dir: Path) -> Head | None:
    """Read which batch this data folder knows as the archive's newest.

    A reader does so before it reads the manifests, for a run may be publishing meanwhile.
    """
    path = data_dir / HEAD_FILE
    return _parse(path, Head) if path.exists() else None


def check_head(layout: Layout, data_dir: Path, head: Head | None, chain: Chain) -> None:
    """Make sure that the archive is the one this data folder knows, with all its batches.

    Raises:
        MissingArchiveError: batches that were there are not.
    """
    if head is None or head.archive != str(layout.root):
        return
    known = chain.manifests[head.batches - 1].sha256 if len(chain) >= head.batches else None
    if known != head.manifest_sha256:
        raise MissingArchiveError(
            f"the archive {layout.root} held {head.batches} batches and now holds {len(chain)}"
            f"{'' if known is None else ', other ones'}",
            next_step="mount its disk or restore it from a backup; if you removed it on purpose, "
            f"remove {data_dir / HEAD_FILE} too",
        )


def record_head(layout: Layout, data_dir: Path, chain: Chain) -> None:
    """Remember the newest batch."""
    if len(chain):
        head = Head(archive=str(layout.root), batches=len(chain), manifest_sha256=chain.head)
        write_atomically(data_dir / HEAD_FILE, head.model_dump_json().encode() + b"\n")


def _parse(path: Path, kind: type[_M]) -> _M:
    with storage_errors("read", path):
        content = path.read_bytes()
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ManifestError(
            f"{path} is damaged", next_step="restore it from a backup of the folder it is in"
        ) from error
