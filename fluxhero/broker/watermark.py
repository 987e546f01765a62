"""How far an account's history is in the ledger, on disk.

One small file an account, `imports/watermarks/alpaca-{account}.json` in the data folder. It is moved on
only once what was fetched is in the store. A run that is killed before that fetches the same again, which
adds nothing. From when a fetch begins is `beginnings`' business.
"""

from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from fluxhero.broker.fetched import Fetched
from fluxhero.durable import half_written, read_bytes, remove, write_atomically
from fluxhero.errors import IntegrityError
from fluxhero.ledger.raw_files import FOLDER as IMPORTS

FOLDER: Final = IMPORTS / "watermarks"


class Watermark(BaseModel):
    """How far one account's history is in one ledger.

    Attributes:
        mode: of the account: paper or live.
        store_id: the ledger's.
        orders_since: when the newest order was submitted; None while there is none.
        activities_since: when the newest activity happened, likewise.
        moved_at: when the mark was moved on last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    account: str
    mode: str
    store_id: str
    orders_since: AwareDatetime | None = None
    activities_since: AwareDatetime | None = None
    moved_at: AwareDatetime

    def moved_on(
        self, orders: Fetched, activities: Fetched, *, since: datetime | None, at: datetime
    ) -> "Watermark":
        """The mark after a fetch that is in the store.

        Args:
            orders: what was fetched.
            activities: what was fetched.
            since: from when the user wanted it fetched; None where that was left to the mark.
            at: when the fetch began; nothing counts as newer than that.
        """

        def further(known: datetime | None, newest: datetime | None) -> datetime | None:
            if newest is None or leaves_gap(known, since):
                return known
            return max(filter(None, [known, min(newest, at)]))

        changes = {
            "orders_since": further(self.orders_since, orders.newest),
            "activities_since": further(self.activities_since, activities.newest),
            "moved_at": at,
        }
        return self.model_copy(update=changes)


def leaves_gap(known: datetime | None, since: datetime | None) -> bool:
    """Whether a fetch that begins there leaves a time out that no fetch has brought: its mark stays."""
    return known is not None and since is not None and since > known


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
        "fetch again from before the trouble with `fluxhero ingest-broker --since TIME`, which writes"
        " the file anew; what the ledger has already is not doubled"
    )
    try:
        mark = Watermark.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise IntegrityError(f"the watermark {path} is damaged", next_step=advice) from error
    if mark.account != account:
        raise IntegrityError(
            f"the watermark {path} is that of the account {mark.account}", next_step=advice
        )
    return mark


def write_watermark(data_dir: Path, mark: Watermark) -> None:
    """Replace an account's watermark durably, and remove what a killed run left half-written."""
    path = path_of(data_dir, mark.account)
    for left in half_written(path.parent, r"alpaca-.+\.json"):
        remove(left)
    write_atomically(path, mark.model_dump_json(indent=1).encode() + b"\n")
