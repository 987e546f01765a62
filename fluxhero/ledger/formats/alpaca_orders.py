"""The `alpaca-orders` format: orders as Alpaca's trading API lists them (`GET /v2/orders`).

An array, pages of arrays a line, or an order a line. Each leg of a nested order is an order of its own,
with its parent in `extra`. An order for several instruments (`mleg`) has no symbol and no side, and is
knowingly no row: its legs are orders, and where they are nested in it, what is said of the whole is in the
`extra` of each.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fluxhero.ledger.formats import alpaca_rows as alpaca
from fluxhero.ledger.formats.admission import admission, text_schema
from fluxhero.ledger.formats.contract import Format, Page, ReadOptions, need_mode
from fluxhero.ledger.formats.json_rows import RowPage, first_object, row_pages
from fluxhero.ledger.formats.rules import POSITION
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import ORDERS

logger = logging.getLogger(__name__)

NAME = "alpaca-orders"
_WRAPPED = ("orders",)
_NEEDED = ("id", "status", "submitted_at")
_CUT_MARKS = (b'"client_order_id"', b'"created_at"')
_MARKS = frozenset({"client_order_id", "filled_qty", "submitted_at"})

# Alpaca's status → the ledger's. Every one that Alpaca documents is here, and none is guessed.
STATUSES = {
    "new": "new",
    "partially_filled": "partially_filled",
    "filled": "filled",
    "done_for_day": "done_for_day",
    "canceled": "cancelled",
    "expired": "expired",
    "replaced": "replaced",
    "pending_cancel": "pending_cancel",
    "pending_replace": "pending_replace",
    "pending_review": "pending_review",
    "accepted": "accepted",
    "pending_new": "pending_new",
    "accepted_for_bidding": "accepted_for_bidding",
    "stopped": "stopped",
    "rejected": "rejected",
    "suspended": "suspended",
    "calculated": "calculated",
    "held": "held",
}
# The ledger's column → Alpaca's field, where it is taken as it is.
_FIELDS = {
    "symbol": "symbol",
    "side": "side",
    "order_type": "type",
    "quantity": "qty",
    "filled_quantity": "filled_qty",
    "limit_price": "limit_price",
    "stop_price": "stop_price",
    "average_fill_price": "filled_avg_price",
    "submitted_at": "submitted_at",
    "filled_at": "filled_at",
    "cancelled_at": "canceled_at",
}
_IN_COLUMNS = frozenset({"id", "status", "order_type", "legs", *_FIELDS.values()})
_SPREAD = "mleg"
PARENT = "parent_id"  # of a leg's `extra`


def _recognises(_path: Path, head: bytes) -> bool:
    if head.strip() == b"[]":
        return True
    first = first_object(head, wrapped=_WRAPPED)
    if first is None:  # cut short, and reading says so
        return head.lstrip()[:1] in (b"[", b"{") and all(mark in head for mark in _CUT_MARKS)
    return first.keys() >= _MARKS


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    mode = need_mode(path, NAME, options)
    own = replace(options, table=ORDERS, timezone="UTC")
    left_out = 0
    with admission(path, alpaca.SOURCE, own) as judge:
        for number, page in enumerate(row_pages(path, wrapped=_WRAPPED)):
            if not number:
                activities = ("activity_type", "account activities", "alpaca-activities")
                alpaca.check_fields(path, page, _NEEDED, "Alpaca orders", activities)
            columns = alpaca.columns_of(page.rows)
            if any(columns.get("legs", ())) or _SPREAD in columns.get("order_class", ()):
                left_out += _lift_legs(page)
                columns = alpaca.columns_of(page.rows)
            raw, refused = _text(page, columns, mode, options.account)
            own_extra = alpaca.EXACT not in columns
            yield judge.page(raw, [*page.rejected, *refused], own_extra=own_extra)
    if left_out:
        logger.info(
            "%s: %d orders for several instruments, of which each leg is an order",
            options.named(path),
            left_out,
        )


def _lift_legs(page: RowPage) -> int:
    """Make each leg in a page a row of its own; what cannot be one is refused.

    Returns:
        How many orders for several instruments are no row.
    """
    rows: list[dict[str, Any]] = []
    positions: list[str] = []
    spreads = 0
    for row, position in zip(page.rows, page.positions, strict=True):
        legs = row.get("legs") or []
        if not isinstance(legs, list) or not all(isinstance(leg, dict) for leg in legs):
            reason = "legs is not an array of orders"
            page.rejected.append(Rejected(row, reason, "type", f"row {position}"))
            continue
        family = [_leg(leg, row) for leg in legs]
        if row.get("symbol") or row.get("order_class") != _SPREAD:
            family.insert(0, row)
        else:
            spreads += 1
        rows += family
        positions += [position] * len(family)
    page.rows, page.positions = rows, positions
    return spreads


def _leg(leg: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
    """A leg with what only its parent tells."""
    own = {name: value for name, value in leg.items() if value not in (None, "")}
    own[PARENT] = alpaca.ledger_key(str(parent.get("id") or ""))
    if not parent.get("symbol"):
        own["parent"] = {
            name: value
            for name, value in parent.items()
            if name != "legs" and value not in (None, "")
        }
        for name in ("type", "submitted_at"):
            own.setdefault(name, parent.get(name))
    return own


def _text(
    page: RowPage, columns: dict[str, Sequence[Any]], mode: str, account: str | None
) -> tuple[pa.Table, list[Rejected]]:
    """The page as text in the ledger's columns, without the rows that cannot be that, and those."""
    count = len(page.rows)
    refusals = alpaca.Refusals(page)

    def column(name: str) -> pa.Array:
        return alpaca.text_column(name, columns.get(name), count, refusals)

    arrays = {name: column(field) for name, field in _FIELDS.items()}
    arrays["order_id"] = pc.binary_join_element_wise(alpaca.SOURCE, column("id"), ":")
    arrays["order_type"] = pc.coalesce(arrays["order_type"], column("order_type"))
    arrays["quantity"] = _quantity(arrays, column("notional"))
    arrays["status"] = _status(column("status"), refusals)
    arrays["extra"] = alpaca.extra_column(
        _extra(columns, count, account), count, exact=page.exact, refusals=refusals
    )
    arrays["mode"] = pa.repeat(mode, count)
    arrays["broker"] = pa.repeat(alpaca.SOURCE, count)
    arrays[POSITION] = pa.array(page.positions, pa.string())
    schema = text_schema(ORDERS)
    empty = pa.nulls(count, pa.string())
    table = pa.table([arrays.get(name, empty) for name in schema.names], schema=schema)
    return refusals.take_out(table)


def _quantity(arrays: dict[str, pa.Array], notional: pa.Array) -> pa.Array:
    """What was ordered; of an order by its amount of money, what it has bought so far."""
    bought = pc.coalesce(arrays["filled_quantity"], "0")
    return pc.coalesce(arrays["quantity"], pc.if_else(pc.is_valid(notional), bought, None))


def _status(told: pa.Array, refusals: alpaca.Refusals) -> pa.Array:
    known = pc.index_in(told, value_set=pa.array(STATUSES))
    unknown = pc.and_(pc.is_valid(told), pc.is_null(known))
    for at in pc.indices_nonzero(unknown).to_pylist():
        word = told[at].as_py()[:60]
        refusals.add(at, "allowed", f"status '{word}' is none that Alpaca documents")
    return pa.array(STATUSES.values(), pa.string()).take(known)


def _extra(
    columns: dict[str, Sequence[Any]], count: int, account: str | None
) -> dict[str, Sequence[Any]]:
    """All that orders say and no column holds."""
    members = {name: values for name, values in columns.items() if name not in _IN_COLUMNS}
    older, newer = columns.get("order_type"), columns.get("type")
    if older is not None and newer is not None and older != newer:
        told = zip(older, newer, strict=True)
        members["order_type"] = [old if old != new else None for old, new in told]
    members["currency"] = alpaca.currencies(columns, count)
    if account is not None:
        members["account"] = [account] * count
    elif "account_id" in columns:
        members["account"] = columns["account_id"]
    return members


ALPACA_ORDERS = Format(
    NAME, "orders as Alpaca's trading API lists them (JSON)", _recognises, _pages, keeps_raw=True
)
