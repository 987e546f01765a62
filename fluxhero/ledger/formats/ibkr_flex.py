"""The `ibkr-flex` format: an Activity Flex Query of Interactive Brokers, as XML.

Times in it are in the zone the account's statements are set to, which the file does not name, so the
user has to. Field lists and codes are those of `ibflex`; its classes are not used for the rows, as they
drop what they do not know and the offsets of times, stop at a currency or a kind of order they have not
heard of, and cost as much for one element as reading and judging it does here.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fluxhero.errors import BadInputError
from fluxhero.ledger.formats.admission import Admission, admission, text_schema
from fluxhero.ledger.formats.contract import Format, Page, ReadOptions
from fluxhero.ledger.formats.ibkr_cash import cash_flow
from fluxhero.ledger.formats.ibkr_events import corporate_action, transfer
from fluxhero.ledger.formats.ibkr_orders import order
from fluxhero.ledger.formats.ibkr_rows import SOURCE, Context, RefusedError, Row, mode_of
from fluxhero.ledger.formats.ibkr_stream import STATEMENT, Element, elements
from fluxhero.ledger.formats.ibkr_survey import Survey, survey
from fluxhero.ledger.formats.ibkr_trades import fill
from fluxhero.ledger.formats.ibkr_values import Clock
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import CANCELLED_AS, CANCELS, CASH_FLOWS, FILLS, ORDERS, Table
from fluxhero.zones import zone_named

logger = logging.getLogger(__name__)

_PAGE_ROWS = 10_000
_BOM = b"\xef\xbb\xbf"
_ROOTS = (b"<FlexQueryResponse", b"<FlexStatementResponse")
# Sections of which nothing is read, though they may move cash or shares that no other section tells of.
_MOVES = frozenset({
    "TradeTransfer", "TransactionTax", "SalesTax", "CFDCharge", "ClientFee", "DebitCardActivity",
    "StockGrantActivity", "SLBFee",
})  # fmt: skip
# What readers and rules write to `extra` themselves: no field of a file may pass for it.
_OURS = frozenset({
    "account", CANCELLED_AS, CANCELS, "corrects", "currency", "date_only", "derived", "exact",
    "order_type", "submitted_at",
})  # fmt: skip
_MOST_NAMES = 20  # in a line of the log

_READERS: dict[str, tuple[Table, Callable[[Element, Context], Row | None]]] = {
    "Trade": (FILLS, fill),
    "CorporateAction": (FILLS, corporate_action),
    "Transfer": (FILLS, transfer),
    "CashTransaction": (CASH_FLOWS, cash_flow),
    "Order": (ORDERS, order),
}


def _recognises(_path: Path, head: bytes) -> bool:
    start = head[:4096].removeprefix(_BOM).lstrip()
    return start.startswith(b"<") and any(root in start for root in _ROOTS)


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    _need_zone(path, options)
    found = survey(path)
    _check_accounts(path, found, options)
    context = Context(
        survey=found,
        clock=Clock(zone_named(options.timezone), day_first=bool(found.day_first)),
        mode=options.mode,
        account=options.account,
        unknown=_unknown_fields(found),
    )
    left_out = 0
    with ExitStack() as stack:
        batches: dict[str, _Batch] = {}
        for element in elements(path):
            if element.tag not in _READERS:
                continue
            table, read = _READERS[element.tag]
            batch = batches.get(table.name)
            if batch is None:
                own = replace(options, table=table)
                batch = _Batch(table, stack.enter_context(admission(path, SOURCE, own)))
                batches[table.name] = batch
            left_out += batch.take(element, read, context)
            if batch.is_full:
                yield batch.page()
        for batch in batches.values():
            if not batch.is_empty:
                yield batch.page()
    _log(options.named(path), found, context, left_out)


class _Batch:
    """The rows of one table that were read and not yet judged."""

    def __init__(self, table: Table, judge: Admission) -> None:
        self._table, self._judge = table, judge
        self._rows: list[Row] = []
        self._rejected: list[Rejected] = []

    @property
    def is_full(self) -> bool:
        return len(self._rows) + len(self._rejected) >= _PAGE_ROWS

    @property
    def is_empty(self) -> bool:
        return not self._rows and not self._rejected

    def take(
        self, element: Element, read: Callable[[Element, Context], Row | None], context: Context
    ) -> bool:
        """Read an element; whether it was left out as a sum of others."""
        try:
            row = read(element, context)
        except RefusedError as error:
            raw = {name: text for name, text in element.attributes.items() if text}
            refused = Rejected(raw, str(error), error.rule, f"row {element.position}")
            self._rejected.append(refused)
            return False
        if row is None:
            return True
        self._rows.append(row)
        return False

    def page(self) -> Page:
        """Judge what was read, and start anew."""
        rows, rejected = self._rows, self._rejected
        self._rows, self._rejected = [], []
        schema = text_schema(self._table)
        columns = {name: [row.get(name) for row in rows] for name in schema.names}
        return self._judge.page(pa.table(columns, schema=schema), rejected)


def _need_zone(path: Path, options: ReadOptions) -> None:
    if options.timezone_given:
        return
    next(elements(path), None)  # what is no Flex statement at all is told first
    raise BadInputError(
        f"{path} does not say in which time zone its times are: IBKR writes them in the zone that the "
        "account's statements are set to, without naming it",
        next_step="give --timezone, as the account's settings name it; for most accounts that is "
        "--timezone America/New_York",
    )


def _check_accounts(path: Path, found: Survey, options: ReadOptions) -> None:
    named = {account for account in found.accounts if account}
    if options.account and named and options.account not in named:
        raise BadInputError(
            f"{path} is of {', '.join(sorted(named))}, not of {options.account}",
            next_step="leave --account out: a Flex file names its accounts; nothing was written",
        )
    strange = sorted(account for account in named if mode_of(account) is None)
    if strange and options.mode is None:
        raise BadInputError(
            f"{path} calls an account '{strange[0]}', which does not tell paper from live as IBKR's "
            "account numbers do",
            next_step="give --mode live or --mode paper; better, set Display Account Alias in Place of "
            "Account ID to No in the Flex query and export it again",
        )


def _unknown_fields(found: Survey) -> dict[str, tuple[str, ...]]:
    """By element name, the attributes of a file that ibflex does not know, less those called as ours."""
    from ibflex import Types

    unknown: dict[str, tuple[str, ...]] = {}
    read = _READERS.keys() - ({"Order"} if found.executions else set())
    for tag in sorted(read):
        known = getattr(Types, tag).__annotations__
        if names := sorted(found.fields.get(tag, set()) - known.keys() - _OURS):
            unknown[tag] = tuple(names)
    return unknown


def _log(file: Path, found: Survey, context: Context, left_out: int) -> None:
    """Say once what of the file is not in the ledger, and what of it is new to us."""
    from ibflex import Types

    others = found.counts.keys() - _READERS.keys() - {STATEMENT}
    strange = sorted(tag for tag in others if not hasattr(Types, tag))[:_MOST_NAMES]
    if left_out or others:
        counted = sum(found.counts[tag] for tag in others)
        logger.info(
            "%s: left out %d rows that sum up others, and %d elements of sections that hold nothing "
            "for the ledger",
            file,
            left_out,
            counted,
        )
    if moves := sorted(others & _MOVES):
        logger.warning(
            "%s: what these sections say is not read, and may not all be among the cash "
            "transactions: %s",
            file,
            ", ".join(moves),
        )
    if strange:
        logger.warning("%s: has elements unknown to ibflex, left out: %s", file, ", ".join(strange))
    for tag, names in context.unknown.items():
        new = ", ".join(names[:_MOST_NAMES])
        logger.warning("%s: %s has fields unknown to ibflex, kept in extra: %s", file, tag, new)


IBKR_FLEX = Format(
    "ibkr-flex",
    "Activity Flex Query of Interactive Brokers, as XML",
    _recognises,
    _pages,
    keeps_raw=True,
)
