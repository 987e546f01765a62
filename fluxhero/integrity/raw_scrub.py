"""The raw exports that rows of the ledger name, against the SHA-256 that each is called by."""

from collections.abc import Iterator
from pathlib import Path

from fluxhero.durable import sha256
from fluxhero.engine import connect
from fluxhero.errors import FluxHeroError, SourceChangedError, StoreLockedError
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.results import Result, errored, failed, object_of, passed
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.integrity.schedule import BYTES, due
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.raw_files import FOLDER, kept_files, label_of
from fluxhero.ledger.schema import CASH_FLOWS, FILLS

SHA256 = Rule(
    "raw.sha256",
    Severity.ERROR,
    "Every kept export has the SHA-256 that is its name.",
    "A disk flipped a bit, or somebody edited the file: it no longer proves what the broker said.",
    "Restore it from a backup, or export it from the broker again; the rows that were read from it are in the "
    "ledger and not affected.",
)
PRESENT = Rule(
    "raw.present",
    Severity.ERROR,
    "Every export that a fill or a flow of cash was read from is kept.",
    "Files were removed from the folder of imports, and what the broker said can no longer be looked up.",
    "Restore the folder from a backup, or export the same period from the broker again and keep that file.",
)
RAW_RULES = (SHA256, PRESENT)
_TABLES = (FILLS, CASH_FLOWS)  # whose rows are never archived, so that all of them are at hand
_NAMED = r"(sha256:[0-9a-f]+):.*"  # what a row calls its file, and the place in it


def scrub_raw(scope: Scope, memory: Passed) -> list[Result]:
    """Check every kept export, and that none is missing.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    files = kept_files(scope.data_dir / FOLDER)
    return [*_bytes(scope, memory, files), *_missing(scope, files)]


def _bytes(scope: Scope, memory: Passed, files: list[Path]) -> Iterator[Result]:
    chosen = due(scope, memory, files)
    for path in chosen:
        about, stamp = object_of(path, scope.data_dir), Stamp.of(path)
        found = sha256(path)
        if found == path.stem:
            memory.record(BYTES, path, stamp, scope.now)
            yield passed(SHA256, about)
        else:
            memory.forget(path)
            yield failed(SHA256, about, f"its SHA-256 is {found}")
    if not chosen:
        yield passed(SHA256, str(FOLDER), 0)


def _missing(scope: Scope, files: list[Path]) -> Iterator[Result]:
    there = {label_of(path.stem) for path in files}
    try:
        named = _named(scope)
    except (StoreLockedError, SourceChangedError):
        raise
    except FluxHeroError as error:
        yield errored(PRESENT, str(FOLDER), str(error))
        return
    if lost := sorted(named - there):
        told = f"{len(lost)} not there, the first of them {lost[0]}"
        yield failed(PRESENT, str(FOLDER), told, count=len(lost), keys=tuple(lost))
    else:
        yield passed(PRESENT, str(FOLDER), len(named))


def _named(scope: Scope) -> set[str]:
    """What rows call the files that they were read from."""
    scope.workspace.store.check_there()  # one that is gone names nothing, which is no proof
    named: set[str] = set()
    with connect() as connection:
        connection.execute("CREATE SCHEMA hot")
        for table in _TABLES:
            target = f"hot.{table.name}"
            scope.workspace.store.load(connection, table.name, target, ["source_id"])
            rows = connection.execute(
                f"SELECT DISTINCT regexp_extract(source_id, '{_NAMED}', 1) FROM {target}"
            ).fetchall()
            named.update(label for (label,) in rows if label)
    return named
