"""The `alpaca-activities` format: what happened on an account (`GET /v2/account/activities`).

Fills go to `fills`, and so do shares that came or went for no money; money that no trade made goes to
`cash_flows`. What each type means is `alpaca_meanings`.

Only fills have a time. All else has a date, and counts from midnight in New York, where that day begins;
what ends something on its day (an option that expires or is exercised, a coin taken as a fee) counts
from the day's last second, after the trades of the day. `extra` has the date as it was given.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from fluxhero.ledger.formats import alpaca_rows as alpaca
from fluxhero.ledger.formats.admission import Admission, admission, text_schema
from fluxhero.ledger.formats.alpaca_activity import Activity, ActivityRefusedError
from fluxhero.ledger.formats.alpaca_meanings import Place
from fluxhero.ledger.formats.contract import Format, Page, ReadOptions, need_mode
from fluxhero.ledger.formats.json_rows import first_object, row_pages
from fluxhero.ledger.formats.json_text import WrongTypeError
from fluxhero.ledger.formats.rules import POSITION
from fluxhero.ledger.rejected import Rejected
from fluxhero.ledger.schema import CASH_FLOWS, FILLS, Table

NAME = "alpaca-activities"
_WRAPPED = ("activities", "account_activities")
_NEEDED = ("id", "activity_type")


def _recognises(_path: Path, head: bytes) -> bool:
    first = first_object(head, wrapped=_WRAPPED)
    if first is None:
        return head.lstrip()[:1] in (b"[", b"{") and b'"activity_type"' in head
    return first.keys() >= set(_NEEDED)


def _pages(path: Path, options: ReadOptions) -> Iterator[Page]:
    mode = need_mode(path, NAME, options)
    own = replace(options, timezone="UTC")
    with (
        admission(path, alpaca.SOURCE, replace(own, table=FILLS)) as fills,
        admission(path, alpaca.SOURCE, replace(own, table=CASH_FLOWS)) as flows,
    ):
        for number, page in enumerate(row_pages(path, wrapped=_WRAPPED)):
            if not number:
                orders = ("client_order_id", "orders", "alpaca-orders")
                alpaca.check_fields(path, page, _NEEDED, "Alpaca account activities", orders)
            sorted_out = _Sorting(mode, options.account, exact=page.exact)
            for row, position in zip(page.rows, page.positions, strict=True):
                sorted_out.take(row, position)
            if sorted_out.fills:
                yield sorted_out.page(FILLS, fills, [])
            refused = [*page.rejected, *sorted_out.refused]
            if sorted_out.flows or refused:
                yield sorted_out.page(CASH_FLOWS, flows, refused)


class _Sorting:
    """The activities of one page, by where they go."""

    def __init__(self, mode: str, account: str | None, *, exact: bool) -> None:
        self._mode, self._account, self._exact = mode, account, exact
        self._plain = True
        self.fills: list[dict[str, str | None]] = []
        self.flows: list[dict[str, str | None]] = []
        self.refused: list[Rejected] = []

    def take(self, row: dict[str, Any], position: str) -> None:
        """Find an activity's place."""
        activity = Activity(row)
        try:
            if activity.is_trade:
                rows, found = self.fills, activity.fill()
            elif (meaning := activity.meaning()).place is Place.CASH:
                rows, found = self.flows, activity.flow(meaning)
            else:
                rows, found = self.fills, activity.movement(meaning)
            found["account"] = self._account or activity.text("account_id")
            extra = activity.rest()
            found["extra"] = alpaca.extra_text(extra, exact=self._exact)
        except ActivityRefusedError as error:
            self.refused.append(Rejected(row, str(error), error.rule, f"row {position}"))
        except ValueError as error:
            rule = error.rule if isinstance(error, WrongTypeError) else "json"
            self.refused.append(Rejected(row, str(error), rule, f"row {position}"))
        else:
            self._plain = self._plain and alpaca.EXACT not in extra
            rows.append(found | {"mode": self._mode, POSITION: position})

    def page(self, table: Table, judge: Admission, refused: list[Rejected]) -> Page:
        """Judge the rows of one table."""
        rows = self.fills if table is FILLS else self.flows
        raw = pa.Table.from_pylist(rows, schema=text_schema(table))
        return judge.page(raw, refused, own_extra=self._plain)


ALPACA_ACTIVITIES = Format(
    NAME,
    "account activities as Alpaca's trading API lists them (JSON)",
    _recognises,
    _pages,
    keeps_raw=True,
)
