"""The archive's data files against their manifests.

Of every file its place, size and footer are looked at. The bytes are read of those that are due, and of
those that look suspicious.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fluxhero.archive.layout import partition_of
from fluxhero.archive.manifest import Manifest
from fluxhero.archive.survey import Survey
from fluxhero.errors import StorageIOError
from fluxhero.integrity.archive_rules import (
    KEY_RANGE,
    MISPLACED,
    OUTDATED,
    PRESENT,
    ROWS,
    SCHEMA,
    SHA256,
    SIZE,
    STRUCTURE,
    UNNAMED,
)
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.reading import Footer, KeyRange, Wanted, Whole, read_all, read_footer
from fluxhero.integrity.results import Result, errored, failed, object_of, passed
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.schedule import BYTES, due
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.migrations import SCHEMA_VERSION
from fluxhero.ledger.rows import archive_schema
from fluxhero.parquet import schema_difference
from fluxhero.wording import counted


@dataclass(frozen=True, slots=True)
class _File:
    """A data file as the fast look finds it; without a manifest where none that is sound names it."""

    path: Path
    manifest: Manifest | None
    footer: Footer
    size: int
    schema: pa.Schema | None
    key_range_sql: tuple[str, str]

    @property
    def suspicious(self) -> bool:
        if self.manifest is None:
            return True
        file, footer = self.manifest.file, self.footer
        return bool(
            footer.problem
            or self.size != file.bytes
            or footer.rows != file.rows
            or footer.batch != self.manifest.batch_id
            or (self.schema is not None and footer.schema != self.schema)
        )


def scrub_files(scope: Scope, found: Survey, memory: Passed) -> list[Result]:
    """Check every data file that a sound manifest names, and those that none does."""
    root = found.layout.root
    named = {root / manifest.file.path: manifest for manifest in found.sound.values()}
    there = {path: named.get(path) for path in sorted({*named, *found.layout.data_files()})}
    results: list[Result] = []
    files: list[_File] = []
    for path, manifest in there.items():
        about = object_of(path, scope.data_dir)
        if manifest and not path.is_file():
            results.append(failed(PRESENT, about, f"{path} is gone", file=path))
            continue
        if path.exists() and not path.is_file():
            results.append(errored(STRUCTURE, about, f"{path} is no file"))
            continue
        try:
            files.append(_look(scope, path, manifest))
        except StorageIOError as error:
            memory.forget(path)
            results.append(errored(STRUCTURE, about, error.what))
            continue
        if manifest:
            results.append(passed(PRESENT, about))
    suspicious = {file.path for file in files if file.suspicious}
    chosen = set(due(scope, memory, [file.path for file in files], suspicious))
    read = [file for file in files if file.path in chosen]
    wholes = dict(
        zip(
            (file.path for file in read),
            read_all([Wanted(file.path, file.schema, file.key_range_sql) for file in read]),
            strict=True,
        )
    )
    owners = {manifest.file.sha256: path for path, manifest in named.items()}
    held = {path for path, whole in wholes.items() if owners.get(whole.sha256) == path}
    missing = {path for path in named if not path.is_file() or path in wholes} - held
    for file in files:
        whole = wholes.get(file.path)
        judged = list(_judge(scope, file, whole))
        if whole and file.manifest is None:
            judged += _unclaimed(scope, found, file, whole, owners, missing)
        elif whole and (owner := owners.get(whole.sha256)) and owner != file.path:
            judged = [_misplaced(scope, file.path, owner)]
        _remember(scope, memory, file, whole, judged)
        results += judged
    broken = {result.rule for result in results}
    about = object_of(root, scope.data_dir)
    results += [
        passed(rule, about, len(there)) for rule in (UNNAMED, MISPLACED) if rule not in broken
    ]
    return results


def _look(scope: Scope, path: Path, manifest: Manifest | None) -> _File:
    store = scope.workspace.store
    try:
        table = manifest.table if manifest else partition_of(path.stem).table
    except ValueError:  # the name of no batch
        table = ""
    own, key_range = None, ("", "")
    current = manifest is None or manifest.schema_version == SCHEMA_VERSION
    if table in store.archived_tables and current:
        own = archive_schema(store.own_schema(table))
        key_range = store.key_range_sql(table)
    return _File(path, manifest, read_footer(path), path.stat().st_size, own, key_range)


def _judge(scope: Scope, file: _File, whole: Whole | None) -> Iterator[Result]:
    """What the file comes to by itself, against its manifest where it has one."""
    about = object_of(file.path, scope.data_dir)
    if whole and whole.error:
        yield errored(SHA256, about, whole.error)
        return
    if file.manifest:
        expected = file.manifest.file
        what = f"{file.path} has {file.size:,} bytes instead of {expected.bytes:,}"
        yield _told(SIZE, about, "" if file.size == expected.bytes else what, file.path)
        if whole:
            what = f"the bytes of {file.path} have another SHA-256 than its manifest says"
            same = whole.sha256 == expected.sha256
            yield _told(SHA256, about, "" if same else what, file.path)
    problem = file.footer.problem or (whole.problem if whole else "")
    what = f"{file.path} cannot be read: {problem}"
    yield _told(STRUCTURE, about, what if problem else "", file.path)
    if file.footer.problem or file.footer.schema is None:
        return
    if file.schema is not None:
        wrong = schema_difference(file.footer.schema, file.schema)
        yield _told(SCHEMA, about, f"{file.path}: {wrong}" if wrong else "", file.path)
    if file.manifest:
        yield from _against_manifest(about, file, file.manifest, whole)


def _against_manifest(
    about: str, file: _File, manifest: Manifest, whole: Whole | None
) -> Iterator[Result]:
    rows, expected = file.footer.rows, manifest.file.rows
    what = f"{file.path} holds {counted(rows, 'row')} instead of {expected:,}"
    yield _told(ROWS, about, "" if rows == expected else what, file.path)
    if whole is None or whole.problem:
        return
    if whole.key_range is None:
        return
    yield _told(KEY_RANGE, about, _range_problem(manifest, whole.key_range), file.path)
    if file.footer.batch == manifest.batch_id:
        same = (rows, whole.key_range.digest) == (expected, manifest.file.digest)
        what = (
            f"{file.path} is whole and names its batch, but is not the version that was published"
        )
        yield _told(OUTDATED, about, "" if same else what, file.path)


def _told(rule: Rule, about: str, problem: str, path: Path) -> Result:
    return failed(rule, about, problem, file=path) if problem else passed(rule, about)


def _range_problem(manifest: Manifest, found: KeyRange) -> str:
    file = manifest.file
    wrong = [
        f"the {words} is {value} instead of {expected}"
        for words, value, expected in (
            ("first key", found.first_key, file.first_key),
            ("last key", found.last_key, file.last_key),
            ("first close time", found.first_closed_at, file.first_closed_at),
            ("last close time", found.last_closed_at, file.last_closed_at),
            ("digest of the rows", found.digest, file.digest),
        )
        if value != expected
    ]
    return f"of {file.path}, {'; '.join(wrong)}" if wrong else ""


def _unclaimed(
    scope: Scope,
    found: Survey,
    file: _File,
    whole: Whole,
    owners: Mapping[str, Path],
    missing: set[Path],
) -> Sequence[Result]:
    """What a file that no sound manifest names may be."""
    owner = owners.get(whole.sha256)
    if owner and owner in missing:
        return [_misplaced(scope, file.path, owner)]
    if file.path.stem in found.unknown_batches and file.path == found.layout.data_file(
        file.path.stem
    ):
        return []  # its manifest is what is at fault
    about = object_of(file.path, scope.data_dir)
    what = f"no manifest names {file.path}"
    if owner:
        what += f", a copy of {owner.name}"
    return [failed(UNNAMED, about, what, file=file.path)]


def _misplaced(scope: Scope, path: Path, owner: Path) -> Result:
    return failed(
        MISPLACED,
        object_of(path, scope.data_dir),
        f"{path} is the file of another batch: its place is {owner}",
        keys=(str(owner),),
        file=path,
    )


def _remember(
    scope: Scope, memory: Passed, file: _File, whole: Whole | None, judged: Sequence[Result]
) -> None:
    bad = any(result.outcome != "passed" for result in judged)
    if bad:
        memory.forget(file.path)
    elif whole and file.manifest:
        memory.record(BYTES, file.path, whole.stamp, scope.now)
