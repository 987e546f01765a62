"""The scrub: every file that the ledger stands on, held against what is known of it.

Fast checks look at every file's place, size and footer and read all documents; the bytes of data files
are read by a schedule (see `schedule`), by deep checks always. One damaged file hides no other fault.
"""

import logging
from collections.abc import Callable

from fluxhero.errors import StorageIOError
from fluxhero.integrity.archive_rules import (
    ARCHIVE_RULES,
    DOCUMENT_RULES,
    FILE_RULES,
    MIRROR_RULES,
    TREE_RULES,
)
from fluxhero.integrity.chain_scrub import scrub_chain, survey_of
from fluxhero.integrity.file_scrub import scrub_files
from fluxhero.integrity.mirror_scrub import scrub_mirror
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.raw_scrub import RAW_RULES, scrub_raw
from fluxhero.integrity.recorded_scrub import RECORDED_RULES, scrub_recorded
from fluxhero.integrity.results import Result, errored
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.store_scrub import scrub_store
from fluxhero.integrity.tree_scrub import scrub_tree

logger = logging.getLogger(__name__)
RULES = (*ARCHIVE_RULES, *RECORDED_RULES, *RAW_RULES)


def scrub(scope: Scope, memory: Passed) -> list[Result]:
    """Check every file; the caller holds the archive's lock, and saves the memory afterwards.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    store = scrub_store(scope, memory)  # first: where it has to wait, nothing has been read in vain
    found, head_problem = survey_of(scope)
    parts: tuple[tuple[tuple[Rule, ...], Callable[[], list[Result]]], ...] = (
        (DOCUMENT_RULES, lambda: scrub_chain(scope, found, head_problem)),
        (FILE_RULES, lambda: scrub_files(scope, found, memory)),
        (TREE_RULES, lambda: scrub_tree(scope, found)),
        (MIRROR_RULES, lambda: scrub_mirror(scope, found, memory)),
        (RECORDED_RULES, lambda: scrub_recorded(scope, memory)),
        (RAW_RULES, lambda: scrub_raw(scope, memory)),
    )
    return [*store, *(result for rules, part in parts for result in _told(rules, part))]


def _told(rules: tuple[Rule, ...], part: Callable[[], list[Result]]) -> list[Result]:
    """A part's results; of a folder that may not be looked into nobody can tell what is in it."""
    try:
        return part()
    except (OSError, StorageIOError) as error:
        logger.warning("%s cannot be told: %s", ", ".join(rule.name for rule in rules), error)
        return [errored(rule, "its files", str(error)) for rule in rules]
