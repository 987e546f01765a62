"""The scrub: every file that the ledger stands on, held against what is known of it.

Fast checks look at every file's place, size and footer and read all documents; the bytes of data files
are read by a schedule (see `schedule`), by deep checks always. One damaged file hides no other fault.
"""

from fluxhero.integrity.archive_rules import ARCHIVE_RULES
from fluxhero.integrity.chain_scrub import scrub_chain, survey_of
from fluxhero.integrity.file_scrub import scrub_files
from fluxhero.integrity.mirror_scrub import scrub_mirror
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.recorded_scrub import RECORDED_RULES, scrub_recorded
from fluxhero.integrity.results import Result
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.store_scrub import scrub_store
from fluxhero.integrity.tree_scrub import scrub_tree

RULES = (*ARCHIVE_RULES, *RECORDED_RULES)


def scrub(scope: Scope, memory: Passed) -> list[Result]:
    """Check every file; the caller holds the archive's lock, and saves the memory afterwards.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    store = scrub_store(scope, memory)  # first: where it has to wait, nothing has been read in vain
    found, head_problem = survey_of(scope)
    return [
        *store,
        *scrub_chain(scope, found, head_problem),
        *scrub_files(scope, found, memory),
        *scrub_tree(scope, found),
        *scrub_mirror(scope, found, memory),
        *scrub_recorded(scope, memory),
    ]
