"""What else lies in the archive's folders: leftovers of killed runs, and what does not belong there."""

from collections.abc import Iterator

from fluxhero.archive.manifest import listed
from fluxhero.archive.recover import unfinished_writes
from fluxhero.archive.survey import Survey
from fluxhero.durable import sha256
from fluxhero.integrity.archive_rules import MISPLACED, STAGING, STRAY
from fluxhero.integrity.results import Result, failed, object_of, passed
from fluxhero.integrity.scope import Scope


def scrub_tree(scope: Scope, found: Survey) -> list[Result]:
    """List leftovers and strays; a file of the archive's own under a strange name is told apart."""
    return [*_staging(scope), *_strays(scope, found)]


def _staging(scope: Scope) -> Iterator[Result]:
    layout = scope.workspace.layout
    left = list(unfinished_writes(scope.workspace))
    if layout.staging.is_dir():
        left += sorted(path for path in layout.staging.iterdir() if path.is_file())
    for path in left:
        about = object_of(path, scope.data_dir)
        yield failed(STAGING, about, f"{path} was left by a run that was killed", file=path)
    if not left:
        yield passed(STAGING, object_of(layout.staging, scope.data_dir))


def _strays(scope: Scope, found: Survey) -> Iterator[Result]:
    layout = found.layout
    own = {
        layout.identity,
        layout.holds,
        layout.lock,
        layout.lock_holder,
        *listed(layout.manifests),
        *layout.data_files(),
        *unfinished_writes(scope.workspace),
    }
    missing = {
        manifest.file.sha256: layout.root / manifest.file.path
        for manifest in found.sound.values()
        if not (layout.root / manifest.file.path).is_file()
    }
    sizes = {m.file.bytes for m in found.sound.values() if m.file.sha256 in missing}
    strays = 0
    for path in sorted(layout.root.rglob("*")):
        folder = path.is_dir() and not path.is_symlink()
        if folder or path in own or path.is_relative_to(layout.staging):
            continue
        strays += 1
        candidate = path.is_file() and path.stat().st_size in sizes
        owner = missing.get(sha256(path)) if candidate else None
        about = object_of(path, scope.data_dir)
        if owner:
            what = f"{path} is the file of another batch: its place is {owner}"
            yield failed(MISPLACED, about, what, keys=(str(owner),), file=path)
        else:
            what = f"{path} is no file of the archive"
            yield failed(STRAY, about, what, file=path)
    if not strays:
        yield passed(STRAY, object_of(layout.root, scope.data_dir), len(own))
