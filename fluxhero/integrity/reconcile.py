"""Reconciling the ledger: hot store, archive, orders, trades and cash against each other.

The order of the checks, and what becomes of one that cannot be done. The rules are in `ledger_rules`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from fluxhero.errors import first_line
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.archived_keys import check_gaps, check_keys_once
from fluxhero.integrity.cash import check_cash
from fluxhero.integrity.ledger import BOTH, HINDRANCES, Ledger, open_ledger
from fluxhero.integrity.overlap import check_values, find_overlap
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.purges import check_purge_complete, check_purge_count
from fluxhero.integrity.references import check_rows
from fluxhero.integrity.results import Result, errored
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.scope import Scope
from fluxhero.ledger.schema import EQUITY, ORDERS, TRADES

logger = logging.getLogger(__name__)

RULES: tuple[Rule, ...] = (
    rules.HOT_EQUALS_ARCHIVED,
    rules.HOT_DIFFERS,
    rules.PURGE_COMPLETE,
    rules.PURGE_INTERRUPTED,
    rules.PURGE_COUNT,
    rules.KEY_ONCE,
    rules.GAPS,
    rules.ORDER_HAS_TRADE,
    rules.TRADE_HAS_ORDERS,
    rules.ORDER_AGREES,
    rules.SAME_FILL_TWICE,
    rules.CASH,
)
_WHOLE = "hot store and archive"


def reconcile(scope: Scope, memory: Passed) -> list[Result]:
    """Check every rule of the ledger as a whole.

    Args:
        scope: what to check. In a deep check nothing is skipped that passed before.
        memory: which batches passed before; the caller saves it.

    Returns:
        A result for each rule and object. Where the archive's manifests cannot be trusted, or a file
        that a rule needs is damaged, the rule is errored.

    Raises:
        StoreLockedError: another process holds the hot store.
    """
    try:
        with open_ledger(scope, memory) as ledger:
            return [result for check in _checks(ledger) for result in check]
    except HINDRANCES as error:
        logger.warning("the ledger cannot be reconciled: %s", error)
        return [errored(rule, _WHOLE, first_line(error)) for rule in RULES]
    finally:
        scope.workspace.store.close()


def _checks(ledger: Ledger) -> Iterator[Iterable[Result]]:
    for table in ledger.tables:
        yield _told(
            [
                (rules.HOT_EQUALS_ARCHIVED, f"{table} (hot)"),
                (rules.HOT_DIFFERS, f"{table} (hot)"),
                (rules.PURGE_COMPLETE, f"{table} (archive)"),
                (rules.PURGE_INTERRUPTED, f"{table} (archive)"),
            ],
            partial(_check_overlap, ledger, table),
        )
        about = f"{table} (archive)"
        if table == TRADES.name:
            yield _told([(rules.GAPS, BOTH.format(table))], partial(check_gaps, ledger))
        yield _told([(rules.PURGE_COUNT, about)], partial(check_purge_count, ledger, table))
        yield _told([(rules.KEY_ONCE, about)], partial(check_keys_once, ledger, table))
    yield _told(
        [
            (rules.ORDER_HAS_TRADE, BOTH.format(ORDERS.name)),
            (rules.TRADE_HAS_ORDERS, BOTH.format(TRADES.name)),
            (rules.ORDER_AGREES, BOTH.format(TRADES.name)),
            *((rules.SAME_FILL_TWICE, BOTH.format(table)) for table in ledger.tables),
        ],
        partial(check_rows, ledger),
    )
    yield _told([(rules.CASH, EQUITY.name)], partial(check_cash, ledger))


def _check_overlap(ledger: Ledger, table: str) -> Iterator[Result]:
    find_overlap(ledger, table)
    yield from check_values(ledger, table)
    yield from check_purge_complete(ledger, table)


def _told(about: Sequence[tuple[Rule, str]], check: Callable[[], Iterable[Result]]) -> list[Result]:
    """What a check found; of rules that it did not get to, that they could not be told."""
    results: list[Result] = []
    try:
        results.extend(check())
    except HINDRANCES as error:
        told = {(result.rule.name, result.object) for result in results}
        left = [(rule, what) for rule, what in about if (rule.name, what) not in told]
        logger.warning("%s cannot be told: %s", ", ".join(rule.name for rule, _ in left), error)
        results += [errored(rule, what, first_line(error)) for rule, what in left]
    return results
