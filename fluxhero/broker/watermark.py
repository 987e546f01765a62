"""How far an account has been fetched, and from when the next fetch has to begin.

One small file an account, `imports/watermarks/alpaca-{account}.json` in the data folder. It says what
is in the ledger for certain: it is moved on only once what was fetched is in the store. A run that is
killed before that fetches the same again, which adds nothing.

A fetch begins before the mark, since what it has missed may lie there: brokers post fees, dividends and
corrections days after the day they count for, and an order changes as long as it is not final.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.archive.workspace import Workspace
from fluxhero.broker.fetched import Fetched
from fluxhero.durable import half_written, read_bytes, remove, write_atomically
from fluxhero.errors import IntegrityError
from fluxhero.ledger.schema import FINAL_ORDERS
from fluxhero.ledger.view import open_view

FOLDER: Final = Path("imports") / "watermarks"
ORDERS_OVERLAP: Final = timedelta(days=3)
ACTIVITIES_OVERLAP: Final = timedelta(days=14)
# Alpaca cancels what is good till cancelled after 90 days: an order older than this changes no more.
LONGEST_ORDER: Final = timedelta(days=120)

_OLDEST_OPEN: Final = """
    SELECT min(submitted_at) FROM orders
    WHERE _location = 'hot' AND source = 'alpaca' AND (extra->>'account') = ? AND submitted_at >= ?
      AND status NOT IN (SELECT unnest(?::VARCHAR[]))
"""


class Watermark(BaseModel):
    """How far one account's history is in the ledger.

    Attributes:
        mode: of the account: paper or live.
        orders_since: when the newest order was submitted; None while there is none.
        activities_since: when the newest activity happened, likewise.
        moved_at: when the mark was moved on last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    account: str
    mode: str
    orders_since: AwareDatetime | None = None
    activities_since: AwareDatetime | None = None
    moved_at: AwareDatetime


class Beginnings(BaseModel):
    """From when to fetch; None is the account's whole history."""

    model_config = ConfigDict(frozen=True)

    orders: AwareDatetime | None = None
    activities: AwareDatetime | None = None


def path_of(data_dir: Path, account: str) -> Path:
    """Where an account's watermark is."""
    return data_dir / FOLDER / f"alpaca-{account}.json"


def read_watermark(data_dir: Path, account: str) -> Watermark | None:
    """How far an account has been fetched; None where it never was.

    Raises:
        IntegrityError: the file cannot be made sense of, or is another account's.
        StorageIOError: the operating system refuses.
    """
    path = path_of(data_dir, account)
    if not path.exists():
        return None
    advice = (
        "fetch again from a time before the trouble with `fluxhero ingest-broker --since TIME`, which"
        " writes the file anew; what the ledger has already is not doubled"
    )
    try:
        mark = Watermark.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise IntegrityError(f"the watermark {path} is damaged", next_step=advice) from error
    if mark.account != account:
        raise IntegrityError(
            f"the watermark {path} is that of account {mark.account}", next_step=advice
        )
    return mark


def beginnings(workspace: Workspace, account: str, mark: Watermark | None) -> Beginnings:
    """From when to fetch, so that nothing is missed that may be new or changed.

    Orders: from the oldest one of this account that the ledger does not have as final, at least from a few
    days before the mark. Activities: from two weeks before it.
    """
    if mark is None:
        return Beginnings()
    orders, activities = mark.orders_since, mark.activities_since
    if orders is not None:
        open_since = _oldest_open(workspace, account, orders - LONGEST_ORDER)
        # The fetch is of what comes after its beginning, and that order is to be in it.
        changing = [open_since - timedelta(seconds=1)] if open_since else []
        orders = min([orders - ORDERS_OVERLAP, *changing])
    return Beginnings(
        orders=orders, activities=None if activities is None else activities - ACTIVITIES_OVERLAP
    )


def moved_on(
    mark: Watermark | None,
    account: str,
    mode: str,
    *,
    since: datetime | None,
    orders: Fetched,
    activities: Fetched,
    at: datetime,
) -> Watermark:
    """The mark after a fetch that is in the store.

    Where a fetch began after the mark, because the user said so, what lies between was not fetched: the
    mark stays, so that the next one brings it.

    Args:
        mark: as it was.
        account: whose.
        mode: of the account.
        since: from when the user wanted it fetched.
        orders: what was fetched.
        activities: what was fetched.
        at: when the fetch began; nothing counts as newer than that.
    """
    before = mark or Watermark(account=account, mode=mode, moved_at=at)

    def further(known: datetime | None, newest: datetime | None) -> datetime | None:
        gap = known is not None and since is not None and since > known
        if newest is None or gap:
            return known
        return max(filter(None, [known, min(newest, at)]))

    return Watermark(
        account=account,
        mode=mode,
        orders_since=further(before.orders_since, orders.newest),
        activities_since=further(before.activities_since, activities.newest),
        moved_at=at,
    )


def write_watermark(data_dir: Path, mark: Watermark) -> None:
    """Replace an account's watermark durably; removes what a killed run left half-written."""
    path = path_of(data_dir, mark.account)
    for left in half_written(path.parent, r"alpaca-.+\.json"):
        remove(left)
    write_atomically(path, mark.model_dump_json(indent=1).encode() + b"\n")


def _oldest_open(workspace: Workspace, account: str, no_older: datetime) -> datetime | None:
    columns = ["submitted_at", "source", "status", "extra"]
    with open_view(workspace, ["orders"], columns) as view:
        rows = view.execute(_OLDEST_OPEN, [account, no_older, list(FINAL_ORDERS)]).fetchall()
    return rows[0][0] if rows else None
