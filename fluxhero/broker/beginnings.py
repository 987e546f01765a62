"""From when a fetch begins: early enough that nothing is missed that may be new or changed since the last.

That is before the watermark. Brokers post fees, dividends and corrections days after the day they count
for, and an order changes as long as it is not final. And the ledger is asked too: one that was restored
from a backup has less than its watermark says.
"""

from datetime import datetime, timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fluxhero.archive.workspace import Workspace
from fluxhero.broker.watermark import Watermark
from fluxhero.ledger.schema import FINAL_ORDERS
from fluxhero.ledger.view import LOCATION, open_view

ORDERS_OVERLAP: Final = timedelta(days=3)
ACTIVITIES_OVERLAP: Final = timedelta(days=14)
# Alpaca cancels what is good till cancelled after 90 days: an order older than this changes no more.
LONGEST_ORDER: Final = timedelta(days=120)
_TICK: Final = timedelta(seconds=1)

_KNOWN: Final = f"""
    SELECT max(submitted_at),
           min(submitted_at) FILTER (
               {LOCATION} = 'hot' AND status NOT IN (SELECT unnest(?::VARCHAR[]))
           )
    FROM orders
    WHERE source = 'alpaca' AND (extra->>'account') = ? AND submitted_at >= ?
"""


class Beginnings(BaseModel):
    """From when to fetch; None is the account's whole history."""

    model_config = ConfigDict(frozen=True)

    orders: AwareDatetime | None = None
    activities: AwareDatetime | None = None


def beginnings(workspace: Workspace, mark: Watermark | None) -> Beginnings:
    """From when to fetch what the watermark's account did since.

    Orders: from the oldest one that the ledger does not have as final, at least from three days before the
    mark. Activities: from two weeks before it. Both from the beginning where there is no mark, it is
    another ledger's, or the ledger has nothing of what it marks.
    """
    if mark is None or mark.store_id != workspace.store.identity():
        return Beginnings()
    orders, activities = mark.orders_since, mark.activities_since
    changing: datetime | None = None
    if orders is not None:
        newest, changing = _known(workspace, mark.account, orders - LONGEST_ORDER)
        if newest is None:
            return Beginnings()
        if newest < orders:
            orders = newest
            activities = activities and min(activities, newest)
    return Beginnings(
        orders=_earlier(orders, ORDERS_OVERLAP, changing),
        activities=_earlier(activities, ACTIVITIES_OVERLAP, None),
    )


def _earlier(
    mark: datetime | None, overlap: timedelta, changing: datetime | None
) -> datetime | None:
    if mark is None:
        return None
    # A fetch is of what comes after its beginning, and the order that may change is to be in it.
    return min(mark - overlap, changing - _TICK) if changing else mark - overlap


def _known(
    workspace: Workspace, account: str, no_older: datetime
) -> tuple[datetime | None, datetime | None]:
    """When the newest order that the ledger has of an account was submitted, and the oldest that may change."""
    columns = ["submitted_at", "source", "status", "extra"]
    with open_view(workspace, ["orders"], columns) as view:
        rows = view.execute(_KNOWN, [list(FINAL_ORDERS), account, no_older]).fetchall()
    newest, changing = rows[0]
    return newest, changing
