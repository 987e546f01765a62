"""A table's archive files as a check of values sees them: which are due, which cannot be relied on."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fluxhero.archive.manifest import Manifest
from fluxhero.errors import FluxHeroError
from fluxhero.integrity.expectations import column_faults
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.rows import archive_schema
from fluxhero.parquet import DAMAGE

logger = logging.getLogger(__name__)


class ArchiveFiles:
    """The files of one table, and what is remembered of them."""

    def __init__(self, scope: Scope, table: str, memory: Passed, version: str) -> None:
        """Look at nothing yet.

        Args:
            scope: the archive, and whether what passed before is read again.
            table: the table.
            memory: what passed before.
            version: of the check.
        """
        self._scope, self._table, self._memory, self._version = scope, table, memory, version
        self._check = f"values:{table}"

    def path(self, manifest: Manifest) -> Path:
        """Where a batch's file is."""
        return self._scope.workspace.layout.root / manifest.file.path

    def without(self, manifests: Iterable[Manifest], files: Collection[Path]) -> list[Manifest]:
        """The batches whose file is none of these."""
        return [manifest for manifest in manifests if self.path(manifest) not in files]

    def due(self, manifests: Sequence[Manifest]) -> list[Manifest]:
        """The batches whose file changed since it last passed, or all."""
        return [m for m in manifests if self._scope.deep or not self._has_passed(m)]

    def _has_passed(self, manifest: Manifest) -> bool:
        return self._memory.at(self._check, self.path(manifest), self._version) is not None

    def stamps(self, manifests: Sequence[Manifest]) -> dict[str, Stamp]:
        """What tells later whether a file was touched; to be taken before it is read.

        Raises:
            StorageIOError: a file is gone.
        """
        return {manifest.batch_id: Stamp.of(self.path(manifest)) for manifest in manifests}

    def remember(self, manifests: Sequence[Manifest], stamps: Mapping[str, Stamp]) -> None:
        """Record that every row of these files was checked and keeps every rule."""
        for manifest in manifests:
            self._memory.record(
                self._check,
                self.path(manifest),
                stamps[manifest.batch_id],
                self._scope.now,
                self._version,
            )

    def not_as_published(self, manifests: Sequence[Manifest]) -> dict[Path, str]:
        """Read whole files to find those that are not the published ones, and what is wrong with each."""
        faults = {}
        for manifest in manifests:
            try:
                self._scope.workspace.prove_file(manifest)
            except FluxHeroError as error:
                faults[self.path(manifest)] = error.what
        return faults

    def drifted(self, manifests: Sequence[Manifest]) -> dict[Path, str]:
        """Files that lack a column of the archive's or have another type, and what is wrong with each.

        DuckDB takes the columns of many files from the first, and casts what it finds in the others. A
        file whose footer cannot be read is not one of them: reading its rows will tell.
        """
        due = archive_schema(self._scope.workspace.store.own_schema(self._table))
        faults = {}
        for manifest in manifests:
            path = self.path(manifest)
            try:
                found = pq.read_schema(path)
            except DAMAGE as error:
                logger.info("%s: its columns cannot be read: %s", path, error)
                continue
            if wrong := column_faults(_types(due), _types(found)):
                faults[path] = f"{manifest.file.path}: {', '.join(wrong)}"
        return faults


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}
