"""The hot store's own file, read from its beginning to its end.

A reader of a DuckDB file keeps every other process out, so an unchanged file is read as seldom as the
archive's are; deep checks read it always. Nothing is ever written.
"""

from fluxhero.errors import ConfigurationError, DamagedStoreError
from fluxhero.integrity.archive_rules import STORE
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.results import Result, errored, failed, object_of, passed
from fluxhero.integrity.schedule import BYTES, due
from fluxhero.integrity.scope import Scope


def scrub_store(scope: Scope, memory: Passed) -> list[Result]:
    """Read the store's file, unless it is as it was when it was last read.

    Raises:
        StoreLockedError: another process holds it; worth another attempt.
    """
    store = scope.workspace.store
    about = object_of(store.path, scope.data_dir)
    try:
        store.check_there()
    except ConfigurationError as error:
        return [errored(STORE, about, error.what)]
    except DamagedStoreError as error:
        return [failed(STORE, about, error.what, file=store.path)]
    if not due(scope, memory, [store.path]):
        return [passed(STORE, about)]
    stamp = Stamp.of(store.path)
    try:
        problem = store.read_all()
    except DamagedStoreError as error:
        problem = error.what
    except ConfigurationError as error:
        return [errored(STORE, about, error.what)]
    if problem:
        memory.forget(store.path)
        return [failed(STORE, about, problem, file=store.path)]
    memory.record(BYTES, store.path, stamp, scope.now)
    return [passed(STORE, about)]
