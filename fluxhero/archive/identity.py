"""Which store an archive belongs to, and which archive a store had: neither is ever mixed up.

The archive names its store in `archive.json`; where that is gone, the newest manifest does. The data
folder remembers the archive's newest batch in `archive-head.json`, so that an unmounted disk, an
emptied folder or a mistyped setting is an error and not a fresh start with an empty history.
"""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.archive.layout import Layout
from fluxhero.archive.manifest import (
    FORMAT_VERSION,
    Chain,
    load_chain,
    refuse_later_format,
)
from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import ForeignArchiveError, ManifestError, MissingArchiveError
from fluxhero.ledger.store import HotStore
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

HEAD_FILE = "archive-head.json"
_M = TypeVar("_M", bound=BaseModel)


class ArchiveIdentity(BaseModel):
    """Content of `archive.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
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
    written = read_identity(layout)
    identity = written or identity_by_manifests(layout, at)
    if identity is None:
        identity = ArchiveIdentity(
            store_id=mine, store_kind=store.kind, store_path=str(store.path), created_at=at
        )
    elif identity.store_id != mine:
        if not adopt or identity.store_kind != store.kind:
            raise _foreign(layout, identity, store, mine)
        identity = identity.model_copy(
            update={
                "store_id": mine,
                "store_path": str(store.path),
                "formerly": (*identity.formerly, identity.store_id),
                "first_backup": None,
            }
        )
    elif written is None:
        logger.warning("%s was gone: made again, as the manifests name this store", layout.identity)
        identity = identity.model_copy(update={"store_path": str(store.path)})
    if identity != written:
        write_identity(layout, identity)
    return identity


def identity_by_manifests(layout: Layout, at: datetime) -> ArchiveIdentity | None:
    """Whose archive this is when `archive.json` is gone: the store of the newest manifest."""
    manifests = load_chain(layout).manifests
    if not manifests:
        return None
    last = manifests[-1]
    stores = dict.fromkeys(manifest.store_id for manifest in manifests)
    return ArchiveIdentity(
        store_id=last.store_id,
        store_kind=last.store_kind,
        store_path=f"that made batch {last.batch_id}",
        created_at=at,
        formerly=tuple(store_id for store_id in stores if store_id != last.store_id),
    )


def check_owner(layout: Layout, store: HotStore) -> None:
    """Make sure, without writing anything, that an archive is not another store's.

    A store that is gone is nobody's rival: its archive can still be read.

    Raises:
        ForeignArchiveError: it belongs to another store.
    """
    if not store.path.exists():
        return
    identity = read_identity(layout) or identity_by_manifests(layout, datetime.now(UTC))
    if identity is None:
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
        next_step="another bot: give it a FLUXHERO_DATA_DIR of its own; the same bot, moved or made "
        "anew: look with `fluxhero archive --adopt --dry-run`, then adopt; never adopt another bot's "
        "archive",
    )


def read_head(data_dir: Path) -> Head | None:
    """Read which batch this data folder knows as the archive's newest.

    A reader does so before it reads the manifests, for a run may be publishing meanwhile.
    """
    path = data_dir / HEAD_FILE
    return _parse(path, Head) if path.exists() else None


def check_head(
    layout: Layout, data_dir: Path, head: Head | None, chain: Chain, *, elsewhere: bool = False
) -> None:
    """Make sure that the archive is the one this data folder knows, with all its batches.

    Wherever it lies now: one that was moved as a whole is the same archive.

    Args:
        layout: the archive of the settings.
        data_dir: the data folder.
        head: what the data folder remembers.
        chain: the archive's manifests.
        elsewhere: whether an archive at another place may be another one.

    Raises:
        MissingArchiveError: batches that were there are not.
    """
    if head is None or chain.head_of(head.batches) == head.manifest_sha256:
        return
    there = f"{len(chain)}{', other ones' if len(chain) >= head.batches else ''}"
    if head.archive == str(layout.root):
        raise MissingArchiveError(
            f"the archive {layout.root} held {counted(head.batches, 'batch')} and now holds {there}",
            next_step="mount its disk or restore it from a backup; if you removed it on purpose, "
            f"remove {data_dir / HEAD_FILE} too",
        )
    if not elsewhere:
        raise MissingArchiveError(
            f"the archive of the data folder {data_dir} was {head.archive}, with {counted(head.batches, 'batch')};"
            f" {layout.root} is another one: it holds {there}",
            next_step="give another store its own FLUXHERO_DATA_DIR; for the same store set "
            f"FLUXHERO_ARCHIVE_DIR={head.archive}, or move all of that archive to {layout.root}; to go "
            "on with the other archive on purpose, look with `fluxhero archive --adopt --dry-run`, "
            "then adopt",
        )


def record_head(layout: Layout, data_dir: Path, chain: Chain) -> None:
    """Remember the newest batch."""
    head = Head(archive=str(layout.root), batches=len(chain), manifest_sha256=chain.head)
    write_atomically(data_dir / HEAD_FILE, head.model_dump_json().encode() + b"\n")


def follow_head(layout: Layout, data_dir: Path, chain: Chain) -> None:
    """Remember where the archive is from now on, if it was known at another place."""
    head = read_head(data_dir)
    if head is None or head.archive == str(layout.root):
        return
    logger.warning(
        "the archive of %s was %s with %d batches; from now on it is %s with %d",
        data_dir,
        head.archive,
        head.batches,
        layout.root,
        len(chain),
    )
    record_head(layout, data_dir, chain)


def _parse(path: Path, kind: type[_M]) -> _M:
    content = read_bytes(path)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        refuse_later_format(path, content)
        raise ManifestError(
            f"{path} is damaged", next_step="restore it from a backup of the folder it is in"
        ) from error
