"""Mending the archive's data files from wherever their very bytes are: a mirror, or another name."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from fluxhero.archive.manifest import Manifest
from fluxhero.integrity.archive_rules import MISPLACED, PRESENT
from fluxhero.integrity.chain_scrub import survey_of
from fluxhero.integrity.file_quarantine import readable
from fluxhero.integrity.proven import Mirror
from fluxhero.integrity.repair_log import Mender, Repair


def _named(mender: Mender) -> Mapping[Path, Manifest]:
    found, _ = survey_of(mender.scope)
    return {found.layout.root / manifest.file.path: manifest for manifest in found.sound.values()}


def put_back(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    """Give every data file that the check found wrong, or that is gone, the bytes its manifest names."""
    broken = {result.file for result in mender.broken if result.rule.name.startswith("files.")}
    strange = [result for result in mender.broken if result.rule is MISPLACED]
    broken |= {Path(owner) for result in strange for owner in result.keys}
    elsewhere = [result.file for result in strange if result.file]
    for path, manifest in _named(mender).items():
        if path not in broken and path.is_file():
            continue
        digest = manifest.file.sha256
        if readable(path) == digest:
            continue
        source = _source(mender, mirror, manifest, elsewhere)
        if source:
            rule = next(iter(mender.rules_of(path)), PRESENT.name)
            yield mender.put(rule, path, source, digest, source=str(source))


def _source(
    mender: Mender, mirror: Mirror, manifest: Manifest, elsewhere: list[Path]
) -> Path | None:
    """A file with the very bytes: under another name, in the quarantine, or in the mirror.

    In a mirror whose own list is damaged, too: the manifest proves the bytes.
    """
    digest, size = manifest.file.sha256, manifest.file.bytes
    folder = mender.scope.workspace.quarantined_files
    kept = sorted(folder.glob("*")) if folder.is_dir() else []
    copies = [mender.scope.mirror_dir / manifest.file.path] if mender.scope.mirror_dir else []
    for path in (*elsewhere, *kept, *copies):
        if path.is_file() and path.stat().st_size == size and readable(path) == digest:
            return path
    return mirror.hashed(digest)


def strange_names(mender: Mender, _mirror: Mirror) -> Iterator[Repair]:
    """Take files away that lie under a name of nobody's, once their bytes are where they belong."""
    named = _named(mender)
    for result in mender.broken:
        path = result.file
        if result.rule is not MISPLACED or path is None or path in named or not path.is_file():
            continue
        digest = readable(path)
        owners = [place for place, m in named.items() if m.file.sha256 == digest]
        if owners and readable(owners[0]) == digest:
            yield mender.take_away(
                MISPLACED.name,
                path,
                action=f"renamed to {owners[0]}, where its SHA-256 belongs",
                source=f"the manifest of batch {owners[0].stem}",
            )
