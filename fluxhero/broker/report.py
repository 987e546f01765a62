"""What a fetch from the broker brought, as data and as text. Rendering only; publishing is elsewhere."""

from datetime import datetime

from fluxhero.broker.beginnings import Beginnings
from fluxhero.broker.watermark import Watermark
from fluxhero.ledger.ingest_report import IngestReport
from fluxhero.wording import counted


class BrokerReport(IngestReport):
    """Outcome of `ingest_broker`: what was fetched of which account, and what was new in it.

    Attributes:
        broker: address of its API.
        account: as the broker calls it.
        status: of the account, in the broker's words.
        mode: paper or live.
        fetched_from: from when.
        orders: how many came.
        activities: how many came.
        watermark: how far the account's history is in the ledger now.
        gap: whether the watermark stays where it was, since the fetch began after it.
    """

    broker: str
    account: str
    status: str
    mode: str
    fetched_from: Beginnings
    orders: int
    activities: int
    watermark: Watermark
    gap: bool = False

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        came = f"{counted(self.orders, 'order')} and {counted(self.activities, 'activity', 'activities')}"
        return f"Alpaca {self.mode} account {self.account}: {came} fetched. {super().verdict}"

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        begun, mark = self.fetched_from, self.watermark
        orders, activities = _from(begun.orders), _from(begun.activities)
        lines = [
            f"Fetched from {self.broker}: orders since {orders}, activities since {activities}"
        ]
        orders, activities = _until(mark.orders_since), _until(mark.activities_since)
        lines.append(f"Watermark: orders until {orders}, activities until {activities}")
        if self.gap:
            lines.append(
                "The watermark stays: what lies between it and --since was not fetched; the next run"
                " without --since brings it"
            )
        if self.status != "ACTIVE":
            lines.append(f"The broker calls the account {self.status}")
        return [*lines, *super().details()]


def _from(at: datetime | None) -> str:
    return "the account's beginning" if at is None else _minute(at)


def _until(at: datetime | None) -> str:
    return "none yet" if at is None else _minute(at)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
