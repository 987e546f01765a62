"""The pipeline's own Parquet files beside the archive, against the records that lie beside them.

In the cache, a file without a record is another program's: only whether it can be read is checked.
Snapshots are taken and compacted while a check runs: what goes in order, or is being written, is no fault.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxhero.durable import half_written
from fluxhero.errors import DamagedFileError, StorageIOError
from fluxhero.integrity.findings import FOLDER
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reading import Footer, Wanted, Whole, read_all, read_footer
from fluxhero.integrity.results import Outcome, Result, errored, failed, object_of, passed
from fluxhero.integrity.row_quarantine import quarantine_folder
from fluxhero.integrity.rules import Rule, Severity
from fluxhero.integrity.schedule import BYTES, due
from fluxhero.integrity.scope import Scope
from fluxhero.recorded import RECORD_SUFFIX, FileRecord, read_record, record_path

_AGAIN = (
    "Restore it from a backup; bars are fetched again once the file and its record are moved away."
)
RECORD = Rule(
    "recorded.record",
    Severity.ERROR,
    "The record beside every file of the pipeline's own can be read, and is there.",
    "The record is damaged, or somebody put a file there that the pipeline did not write.",
    "Restore the record from a backup, or move the file away if it is yours.",
)
PRESENT = Rule(
    "recorded.present",
    Severity.ERROR,
    "Every file that has a record is there.",
    "Bars, findings or results of the pipeline were removed.",
    "Restore the file from a backup; if you removed it on purpose, remove its record too.",
)
SHA256 = Rule(
    "recorded.sha256",
    Severity.ERROR,
    "The bytes of every recorded file have the SHA-256 that its record says.",
    "A disk flipped a bit, or the file was edited or replaced, perhaps by an older version of itself.",
    _AGAIN,
)
STRUCTURE = Rule(
    "recorded.structure",
    Severity.ERROR,
    "Every file of bars, findings, profiles, snapshots, evaluations and reconciliations can be read as Parquet.",
    "The file is damaged. Whatever is calculated from it fails or is wrong.",
    _AGAIN,
)
COLUMNS = Rule(
    "recorded.columns",
    Severity.ERROR,
    "Every recorded file has the rows, columns and types that its record says.",
    "Another program rewrote the file, and a type changed on the way, or rows are missing.",
    _AGAIN,
)
UNFINISHED = Rule(
    "recorded.unfinished",
    Severity.WARNING,
    "No half-written file lies beside the pipeline's own.",
    "A run was killed while it wrote. Nothing is lost: the file it was to replace is whole.",
    "Run `fluxhero check --repair`, which removes it, or remove it by hand.",
)
RECORDED_RULES = (RECORD, PRESENT, SHA256, STRUCTURE, COLUMNS, UNFINISHED)
_OWN = (FOLDER, "profiles", "snapshots", "evaluations", "metrics", "reconcile")
_SETTLING_SECONDS = 0.3  # after which a file that somebody is writing has its name, or has grown


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    record: FileRecord | None
    footer: Footer


def recorded_folders(scope: Scope) -> list[Path]:
    """Folders of files that only the pipeline writes; the cache is not among them."""
    return [*(scope.data_dir / name for name in _OWN), quarantine_folder(scope.data_dir)]


def scrub_recorded(scope: Scope, memory: Passed) -> list[Result]:
    """Check every such file, with a record or without."""
    results: list[Result] = []
    files: list[_File] = []
    for folder in (*recorded_folders(scope), scope.cache_dir):
        if not folder.is_dir():
            continue
        next(folder.iterdir(), None)  # a search for files says nothing of a folder it may not read
        paths = {path for path in folder.rglob("*.parquet") if not path.name.startswith(".")}
        records = folder.rglob(f"*.parquet{RECORD_SUFFIX}")
        paths |= {path.with_name(path.name.removesuffix(RECORD_SUFFIX)) for path in records}
        for path in sorted(paths):
            judged, file = _look(scope, path, owned=folder != scope.cache_dir)
            results += judged
            files += [file] if file else []
        results += _unfinished(scope, folder)
    files = [file for file in files if not _removed(file.path)]
    suspicious = {file.path for file in files if _suspicious(file)}
    chosen = due(scope, memory, [file.path for file in files], suspicious)
    wholes = dict(zip(chosen, read_all([Wanted(path) for path in chosen]), strict=True))
    for file in files:
        whole = wholes.get(file.path)
        if _removed(file.path):
            continue
        judged = list(_judge(scope, file, whole))
        if any(result.outcome is not Outcome.PASSED for result in judged):
            memory.forget(file.path)
        elif whole:
            memory.record(BYTES, file.path, whole.stamp, scope.now)
        results += judged
    seen = {result.rule for result in results}
    home = object_of(scope.data_dir, scope.data_dir)
    return [*results, *(passed(rule, home, 0) for rule in RECORDED_RULES if rule not in seen)]


def _look(scope: Scope, path: Path, *, owned: bool) -> tuple[list[Result], _File | None]:
    if _removed(path):
        return [], None
    about = object_of(path, scope.data_dir)
    results = []
    record: FileRecord | None = None
    try:
        record = read_record(path)
    except DamagedFileError as error:
        results.append(failed(RECORD, about, error.what, file=record_path(path)))
    else:
        if record is None and owned:
            what = f"{path} has no record: the pipeline did not write it"
            results.append(failed(RECORD, about, what, file=path))
        elif record:
            results.append(passed(RECORD, about))
    if not path.is_file():
        if record and not _removed(path):
            results.append(failed(PRESENT, about, f"{path} is gone", file=path))
        return results, None
    if record:
        results.append(passed(PRESENT, about))
    try:
        footer = read_footer(path)
    except StorageIOError as error:
        if _removed(path):
            return [], None
        return [*results, errored(STRUCTURE, about, error.what)], None
    if not owned and not footer.problem and not footer.recorded:
        record = None  # a bot wrote the file since, as it may in a cache that both use
    return results, _File(path, record, footer)


def _removed(path: Path) -> bool:
    """Whether a file is not there, and its record says that it need not be, or has gone with it."""
    if path.exists():
        return False
    try:
        record = read_record(path)
    except DamagedFileError:
        return False
    return record is None or record.writing


def _suspicious(file: _File) -> bool:
    if file.footer.problem:
        return True
    record = file.record
    if record is None:
        return False
    sizes = {version.bytes for version in (record.contents, record.previous) if version}
    return file.path.stat().st_size not in sizes or bool(_column_problem(file, record))


def _judge(scope: Scope, file: _File, whole: Whole | None) -> Iterator[Result]:
    about = object_of(file.path, scope.data_dir)
    if whole and whole.error:
        yield errored(SHA256, about, whole.error)
        return
    problem = file.footer.problem or (whole.problem if whole else "")
    if problem:
        what = f"{file.path} cannot be read: {problem}"
        yield failed(STRUCTURE, about, what, file=file.path)
    else:
        yield passed(STRUCTURE, about)
    if file.record is None:
        return
    if whole and file.record.knows(whole.sha256):
        yield passed(SHA256, about)
    elif whole:
        older = "" if problem else "; it is whole: an older version, or another program wrote it"
        what = f"the bytes of {file.path} have another SHA-256 than its record says{older}"
        yield failed(SHA256, about, what, file=file.path)
    if not file.footer.problem:
        what = _column_problem(file, file.record)
        yield failed(COLUMNS, about, what, file=file.path) if what else passed(COLUMNS, about)


def _column_problem(file: _File, record: FileRecord) -> str:
    schema = file.footer.schema
    if schema is None:
        return ""
    columns = {field.name: str(field.type) for field in schema}
    versions = [version for version in (record.contents, record.previous) if version]
    if any((v.columns, v.rows) == (columns, file.footer.rows) for v in versions):
        return ""
    expected = record.contents
    wrong = [
        f"{name} is {columns.get(name, 'missing')} instead of {kind}"
        for name, kind in expected.columns.items()
        if columns.get(name) != kind
    ]
    wrong += [f"{name} is not recorded" for name in columns if name not in expected.columns]
    if file.footer.rows != expected.rows:
        wrong.append(f"it holds {file.footer.rows:,} rows instead of {expected.rows:,}")
    return f"{file.path}: {', '.join(wrong) or 'the columns have another order'}"


def unfinished_in(folder: Path) -> list[Path]:
    """Half-written files and records of killed writers anywhere in a folder."""
    found = {path: _size(path) for path in _half_written(folder)}
    if found:
        time.sleep(_SETTLING_SECONDS)
    return [path for path, size in found.items() if size is not None and size == _size(path)]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _half_written(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob(".*.parquet.partial") if path.is_file()]
    for place in {folder, *(path for path in folder.rglob("*") if path.is_dir())}:
        found += half_written(place, r".+\.parquet\.json")
    return sorted(found)


def _unfinished(scope: Scope, folder: Path) -> list[Result]:
    return [
        failed(
            UNFINISHED,
            object_of(path, scope.data_dir),
            f"{path} was left by a run that was killed",
            file=path,
        )
        for path in unfinished_in(folder)
    ]
