"""The repair: what the check found broken is mended wherever the mended bytes can be proven.

Documents come first, since they prove the data files; then the data files; then what a killed run left,
which needs a sound archive; then the mirror. Each damaged original is kept, each step is logged before it is
done and verified after it, and doing all of it again changes nothing.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import timedelta

from fluxhero.archive.manifest import GENESIS, Chain
from fluxhero.archive.mirror import keep_mirror
from fluxhero.archive.purge import copy_store_once, purge
from fluxhero.archive.recover import recover, unpublished_files
from fluxhero.durable import remove
from fluxhero.errors import FluxHeroError, TransientError
from fluxhero.integrity.archive_rules import (
    ARCHIVE_RULES,
    COMPLETE,
    EVENTS,
    HEAD,
    MIRROR_COMPLETE,
    MIRROR_SHA256,
    MISPLACED,
    STAGING,
    STORE,
    STRAY,
    UNNAMED,
)
from fluxhero.integrity.chain_scrub import survey_of
from fluxhero.integrity.document_repair import DOCUMENT_STEPS, is_purge
from fluxhero.integrity.documents import forget_documents
from fluxhero.integrity.file_repair import put_back, strange_names
from fluxhero.integrity.ledger_rules import PURGE_INTERRUPTED
from fluxhero.integrity.proven import Mirror
from fluxhero.integrity.recorded_scrub import RECORDED_RULES, UNFINISHED
from fluxhero.integrity.repair_log import Mender, Repair
from fluxhero.integrity.results import Outcome, Result
from fluxhero.integrity.scope import Scope
from fluxhero.wording import counted

logger = logging.getLogger(__name__)
_MINE = {rule.name for rule in (*ARCHIVE_RULES, *RECORDED_RULES)}
_UNWANTED = frozenset({STAGING, UNNAMED, MISPLACED})  # what is wrong is that the file is there
Step = Callable[[Mender, Mirror], Iterable[Repair]]


def repair(scope: Scope, results: Sequence[Result]) -> list[Repair]:
    """Mend what the check's results say is broken; the caller holds the archive's lock.

    Returns:
        What was mended, and for every other broken rule of the scrub what is to be done instead.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    broken = [result for result in results if result.outcome is Outcome.FAILED]
    if not broken:
        return []
    mender, mirror = Mender(scope, broken), Mirror(scope)
    steps: tuple[Step, ...] = (
        *DOCUMENT_STEPS,
        put_back,
        strange_names,
        _finish,
        _mirror,
        _leftovers,
    )
    done: list[Repair] = []
    for step in steps:
        try:
            for repaired in step(mender, mirror):
                done.append(repaired)  # noqa: PERF402 - what was done counts though the next thing fails
        except TransientError:
            raise
        except FluxHeroError as error:
            logger.error("the repair could not go on: %s", error)  # noqa: TRY400
            done.append(Repair("repair", str(scope.data_dir), str(error), ok=False))
    return [*done, *_left(scope, mender, {repaired.object for repaired in done})]


def undo_repair(scope: Scope, number: int) -> Repair:
    """Take one repair back: the file has the bytes again that it had before.

    Raises:
        BadInputError: there is no such repair, or the file has changed since.
    """
    return Mender(scope, ()).undo(number)


def _finish(mender: Mender, _mirror: Mirror) -> Iterator[Repair]:
    """Complete what a killed archive run left, as the next one would."""
    scope = mender.scope
    gone = [r.file for r in mender.broken if r.file and is_purge(r.file) and not r.file.exists()]
    unpurged = [r for r in mender.broken if r.rule is PURGE_INTERRUPTED]
    left = [r for r in mender.broken if r.rule in {UNNAMED, STAGING} and r.file and r.file.exists()]
    if not (gone or unpurged or left) or not _chain_is_sound(scope):
        return
    chain = scope.workspace.chain()
    for path in unpublished_files(scope.workspace.layout, chain):
        yield mender.take_away(
            UNNAMED.name,
            path,
            action="moved to the quarantine: no manifest names it",
            source="the chain of manifests",
        )
    recover(scope.workspace, chain, now=scope.now, purge_before=None)
    batches = {path.name.split(".", 1)[0] for path in gone}
    purged = _purge(scope, chain, batches | {key for r in unpurged for key in r.keys})
    for result in left:
        if result.rule is STAGING:
            action = "swept: it was never published, and its rows are still hot"
            yield Repair(STAGING.name, result.object, action, "the archive's protocol")
    forget_documents(scope.home, {path.name for path in gone})
    rows = counted(purged, "row")
    action = f"purge completed, {rows} in all; `fluxhero restore --batch` brings rows back"
    source = "the batches' files, compared row for row"
    for result in unpurged:
        yield Repair(result.rule.name, result.object, action, source)
    for path in gone:
        yield Repair(EVENTS.name, mender.about(path), action, source)


def _purge(scope: Scope, chain: Chain, batches: Collection[str]) -> int:
    """Complete the purge of these batches; one that was only copied is left to the archive run."""
    manifests = [m for m in chain.unpurged() if m.batch_id in batches]
    if not manifests:
        return 0
    copy_store_once(scope.workspace)
    cutoff = scope.now - timedelta(days=scope.retention_days)
    return purge(scope.workspace, chain, manifests, now=scope.now, cutoff=cutoff).purged


def _chain_is_sound(scope: Scope) -> bool:
    found, problem = survey_of(scope)
    ends = not found.head or found.head.manifest_sha256 in {
        GENESIS,
        *(manifest.sha256 for manifest in found.manifests.values()),
    }
    wrong = problem or found.damaged or found.untold or found.edited or found.added or found.lost
    return ends and not wrong


def _mirror(mender: Mender, mirror: Mirror) -> Iterator[Repair]:
    """Copy to the mirror again what is missing or damaged there."""
    scope = mender.scope
    wrong = [r for r in mender.broken if r.rule in {MIRROR_COMPLETE, MIRROR_SHA256} and r.file]
    if not wrong or scope.mirror_dir is None or mirror.folder is None:
        return
    damaged = [r.file for r in wrong if r.rule is MIRROR_SHA256 and r.file]
    kept = {path: mender.keep(path) for path in damaged}
    again = frozenset(path.relative_to(scope.mirror_dir).as_posix() for path in damaged)
    keep_mirror(scope.workspace, scope.mirror_dir, scope.workspace.chain(), again=again)
    held = Mirror(scope)
    for result in wrong:
        if result.file and held.named(result.file.relative_to(scope.mirror_dir).as_posix()):
            action, source = "copied to the mirror again", "the archive's files"
            yield Repair(
                result.rule.name, result.object, action, source, kept=kept.get(result.file)
            )


def _leftovers(mender: Mender, _mirror: Mirror) -> Iterator[Repair]:
    """Remove half-written files beside the pipeline's own."""
    for result in mender.broken:
        if result.rule is UNFINISHED and result.file:
            remove(result.file)
            action = "removed: the file it was to replace is whole"
            yield Repair(UNFINISHED.name, result.object, action, "its name")


def _left(scope: Scope, mender: Mender, told: set[str]) -> Iterator[Repair]:
    """What could not be mended, each object once, with what is to be done."""
    seen: set[str] = set()
    if _chain_is_sound(scope):  # a manifest that was put back mends what the others said of it
        seen = {result.object for result in mender.broken if result.rule in {COMPLETE, HEAD}}
    seen |= {r.object for r in mender.broken if r.rule in _UNWANTED and not _is_there(r)}
    for result in mender.broken:
        if result.rule.name not in _MINE or result.object in told | seen:
            continue
        seen.add(result.object)
        yield Repair(result.rule.name, result.object, _advice(scope, result), ok=False)


def _is_there(result: Result) -> bool:
    return bool(result.file and result.file.exists())


def _advice(scope: Scope, result: Result) -> str:
    if (
        result.rule in {STORE, STRAY, MIRROR_COMPLETE, MIRROR_SHA256}
        or result.rule in RECORDED_RULES
    ):
        return result.rule.remedy
    if scope.mirror_dir is None:
        return (
            "nothing proves what belongs there: restore it from a backup of the archive; set "
            "FLUXHERO_ARCHIVE_MIRROR_DIR, so that next time there is a mirror"
        )
    return "neither the archive nor its mirror has it whole: restore it from a backup"
