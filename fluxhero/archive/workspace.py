"""Everything one run works on: the hot store, the archive, and the folders beside them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from config.settings import Settings
from fluxhero.archive.files import current_hash
from fluxhero.archive.identity import check_head, read_head
from fluxhero.archive.layout import Layout
from fluxhero.archive.manifest import Chain, Manifest, load_chain
from fluxhero.durable import sha256, storage_errors
from fluxhero.errors import DamagedFileError, DamagedStoreError, StorageIOError
from fluxhero.ledger.opening import open_store
from fluxhero.ledger.store import ArchivedFile, HotStore


@dataclass(frozen=True)
class Workspace:
    """A store and its archive, and the cache of bars."""

    store: HotStore
    layout: Layout
    data_dir: Path
    cache_dir: Path
    batch_rows: int
    adopting: bool = False  # an archive at another place than before may be another one

    @classmethod
    def of(cls, settings: Settings, *, adopting: bool = False) -> "Workspace":
        """The workspace that the settings describe; touches nothing."""
        return cls(
            store=open_store(settings),
            layout=Layout(settings.archive_dir),
            data_dir=settings.data_dir,
            cache_dir=settings.cache_dir,
            batch_rows=settings.batch_rows,
            adopting=adopting,
        )

    @property
    def quarantined_files(self) -> Path:
        """Where files go that nobody can vouch for."""
        return self.data_dir / "quarantine" / "files"

    @property
    def backups(self) -> Path:
        """Where copies of a store go."""
        return self.data_dir / "backups"

    def chain(self) -> Chain:
        """The archive's manifests, proven complete and unedited.

        Raises:
            ManifestError: they are not.
            MissingArchiveError: batches that this data folder knows of are gone.
        """
        head = read_head(self.data_dir)
        chain = load_chain(self.layout)
        check_head(self.layout, self.data_dir, head, chain, elsewhere=self.adopting)
        return chain

    def archived_file(self, manifest: Manifest, cutoff: datetime | None = None) -> ArchivedFile:
        """A batch's file, as a store needs it for comparing; rows newer than `cutoff` are not due."""
        file = manifest.file
        return ArchivedFile(
            batch_id=manifest.batch_id,
            path=self.layout.root / file.path,
            table=manifest.table,
            mode=manifest.mode,
            rows=file.rows,
            first_key=file.first_key,
            last_key=file.last_key,
            first_closed_at=file.first_closed_at,
            last_closed_at=file.last_closed_at,
            cutoff=min(manifest.cutoff, cutoff) if cutoff else manifest.cutoff,
            digest=int(file.digest),
            hash_is_current=current_hash(file.hash_algorithm),
        )

    @contextmanager
    def scanning(self, manifests: Sequence[Manifest]) -> Iterator[None]:
        """Around a query over these batches' files: where it fails, a damaged file is named as the cause.

        Raises:
            DamagedFileError: it failed, and a file is not the one that was published.
        """
        try:
            yield
        except (duckdb.Error, StorageIOError, DamagedFileError, DamagedStoreError):
            for manifest in manifests:
                self.prove_file(manifest)
            raise

    def prove_file(self, manifest: Manifest) -> Path:
        """Make sure that a batch's file is, byte for byte, the one its manifest describes.

        Raises:
            DamagedFileError: it is gone or not the same.
        """
        path = self.layout.root / manifest.file.path
        advice = "restore it from a backup of the archive; until then this batch is neither purged nor restored"
        with storage_errors("look at", path):
            there = path.exists()
        if not there:
            raise DamagedFileError(f"{path} of batch {manifest.batch_id} is gone", next_step=advice)
        if path.stat().st_size != manifest.file.bytes or sha256(path) != manifest.file.sha256:
            raise DamagedFileError(
                f"{path} is not the file that was published as batch {manifest.batch_id}",
                next_step=advice,
            )
        return path
