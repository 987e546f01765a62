"""The steps of an ingest run, a task each."""

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fluxhero.archive.identity import check_owner
from fluxhero.archive.workspace import Workspace
from fluxhero.durable import storage_errors
from fluxhero.errors import BadInputError, ConfigurationError
from fluxhero.ledger.duckdb_store import DuckDBStore
from fluxhero.ledger.formats import FORMATS, ReadOptions, named, select
from fluxhero.ledger.formats.contract import nearest
from fluxhero.ledger.ingest import IngestResult, ingest_file
from fluxhero.ledger.ingest_paths import expand
from fluxhero.ledger.ingest_report import IngestReport, RefusedFile, ingest_lines
from fluxhero.ledger.raw_files import FOLDER, clear_half_kept
from fluxhero.ledger.schema import LEDGER_TABLES, MODES, TRADES
from fluxhero.ledger.view import ArchivedRows, archived_rows
from fluxhero.progress import rows_read
from tasks.grouping import in_groups
from tasks.parameters import form
from tasks.policy import compute_task, io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

FormatName = Annotated[str, form(enum=list(FORMATS))]
LedgerTable = Annotated[str, form(enum=list(LEDGER_TABLES))]
Mode = Annotated[str, form(enum=list(MODES))]


@dataclass(frozen=True)
class IngestRun:
    """What every step of one run needs to know; `groups` are the files, so that tasks stay few."""

    workspace: Workspace
    store: DuckDBStore
    format: str | None
    options: ReadOptions
    groups: tuple[tuple[Path, ...], ...]
    skipped: tuple[Path, ...]

    @property
    def alone(self) -> bool:
        """Whether there is one file only."""
        return sum(map(len, self.groups)) == 1

    @property
    def staging(self) -> Path:
        """Folder in which files wait to go in."""
        return self.workspace.data_dir / "tmp" / "ingest"

    @property
    def imports(self) -> Path:
        """Folder in which raw exports are kept."""
        return self.workspace.data_dir / FOLDER


@dataclass(frozen=True)
class Ingested:
    """What became of a group of files."""

    results: tuple[IngestResult, ...] = ()
    refused: tuple[RefusedFile, ...] = ()


@io_task
def open_ingest_run(
    paths: Sequence[str],
    format_name: str | None,
    table: str | None,
    mode: str | None,
    timezone: str | None,
    account: str | None,
) -> IngestRun:
    """Read the settings, check the parameters and find the files.

    Raises:
        ConfigurationError: the hot store is a bot's own database, which only the bot writes.
        BadInputError: a parameter makes no sense, or a path leads nowhere.
    """
    settings = settings_of_run()
    workspace = Workspace.of(settings)
    store = ledger_of(workspace)
    if format_name is not None:
        named(format_name)
    found = expand(paths, format_name)
    return IngestRun(
        workspace=workspace,
        store=store,
        format=format_name,
        options=ReadOptions(
            LEDGER_TABLES[_known(table or TRADES.name, LEDGER_TABLES, "ledger table", "--table")],
            None if mode is None else _known(mode, MODES, "mode", "--mode"),
            timezone or settings.source_timezone,
            timezone_given=timezone is not None,
            account=account,
        ),
        groups=in_groups(found.files),
        skipped=found.skipped,
    )


def ledger_of(workspace: Workspace) -> DuckDBStore:
    """The hot store, if it is a ledger of ours.

    Raises:
        ConfigurationError: it is a bot's own database, which only the bot writes.
    """
    store = workspace.store
    if not isinstance(store, DuckDBStore):
        raise ConfigurationError(
            f"the hot store is the bot's own {store.path}: the bot writes it, nothing is ingested",
            next_step="archive it in place with `fluxhero archive`, or set FLUXHERO_STORE_URL to a "
            "duckdb:/// store and ingest the system.db into that",
        )
    return store


def _known(name: str, names: Collection[str], what: str, option: str) -> str:
    if name not in names:
        raise BadInputError(
            f"there is no {what} '{name}'{nearest(name, names)}",
            next_step=f"give {option} one of {', '.join(names)}",
        )
    return name


@io_task
def prepare_store(run: IngestRun) -> None:
    """Create the store or bring it to the newest schema, and clear what a killed run left.

    Raises:
        ForeignArchiveError: the archive of the settings belongs to another store.
    """
    for copy in run.store.ensure():
        logger.info("copied the store to %s before changing its schema", copy)
    check_owner(run.workspace.layout, run.store)
    clear_half_kept(run.imports)
    shutil.rmtree(run.staging, ignore_errors=True)
    with storage_errors("make the folder", run.staging):
        run.staging.mkdir(parents=True, exist_ok=True)


@io_task
def ingest_path(run: IngestRun, group: Sequence[Path]) -> Ingested:
    """Bring files in, each of them whole or not at all; a bad one does not stop the others.

    Raises:
        BadInputError: the only file there is cannot be used.
    """
    archived = archived_rows(run.workspace)
    results: list[IngestResult] = []
    refused: list[RefusedFile] = []
    for path in group:
        try:
            results.append(bring_in_file(run, path, run.format, archived))
        except BadInputError as error:
            if run.alone:
                raise
            logger.warning("%s refused: %s", path, error)
            refused.append(RefusedFile(file=str(path), reason=str(error)))
    return Ingested(tuple(results), tuple(refused))


def bring_in_file(
    run: IngestRun, path: Path, format_name: str | None, archived: ArchivedRows
) -> IngestResult:
    """Bring one file in, and log what it came to."""
    result = ingest_file(
        path,
        run.store,
        select(path, format_name),
        run.options,
        progress=rows_read(path.name),
        archived=archived,
        temp_dir=run.staging,
        imports=run.imports,
    )
    for name, count in result.counts.items():
        logger.info(
            "%s (%s): %s: %d new, %d changed, %d known, %d stale, %d quarantined, %d refused before",
            path,
            result.format,
            name,
            count.inserted,
            count.updated,
            count.unchanged,
            count.stale,
            count.quarantined,
            count.refused_before,
        )
    return result


@compute_task
def summarise_ingest_run(run: IngestRun, ingested: Sequence[Ingested]) -> IngestReport:
    """Put the run's outcome together."""
    return IngestReport(
        store=str(run.store.path),
        lines=ingest_lines([result for part in ingested for result in part.results]),
        refused_files=tuple(refused for part in ingested for refused in part.refused),
        skipped=tuple(str(path) for path in run.skipped),
    )
