"""Alpaca's trading API: which account the keys are of, its orders and its activities, page by page.

How it is asked, and what its troubles mean, is `alpaca_http`'s; this module knows the endpoints and how
to walk their pages without losing a row. Rows stay as they come: every number as its text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from config.settings import Settings, variable
from fluxhero.alpaca_http import Connection, Patience, Service, needed_keys
from fluxhero.errors import ProviderError
from fluxhero.ledger.formats import exact_json

Row = Mapping[str, Any]

URL: Final = variable("alpaca_api_url")
# Hosts that tell by themselves whether the money is real.
_MODES: Final = {"paper-api.alpaca.markets": "paper", "api.alpaca.markets": "live"}

ORDERS_A_PAGE: Final = 500  # the most Alpaca gives
DEFAULT_A_PAGE: Final = 50  # what it gives where none is asked for
ACTIVITIES_A_PAGE: Final = 100  # likewise
_MOST_PAGES: Final = 100_000
_ORDERS, _ACTIVITIES = "/v2/orders", "/v2/account/activities"
_NUMBER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")  # of an account; it becomes a file's name


@dataclass(frozen=True, slots=True)
class Account:
    """The account that the keys are of, as the broker names it."""

    number: str
    currency: str
    status: str


class TradingApi:
    """What a broker knows of one account; refusals and outages raise as `Connection.ask` does."""

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        """Take address and keys from the settings; nothing is asked yet.

        Raises:
            ConfigurationError: a key is missing.
        """
        self._service = Service(
            settings.alpaca_api_url,
            URL,
            if_refused="paper and live accounts have keys and hosts of their own",
            if_wrong="check the time in --since; without it, the watermark says from when to fetch",
        )
        self._keys = needed_keys(
            settings,
            "Alpaca's orders and activities need",
            otherwise="bring exported files in with `fluxhero ingest PATH`",
        )
        self._patience = patience or Patience()

    def account(self) -> Account:
        """Which account the keys are of."""
        with self._connection() as connection:
            return connection.ask("/v2/account", {}, "", _account)

    def orders(self, after: datetime | None) -> Iterator[list[Row]]:
        """Every order submitted after a moment, each once, legs on their own; None for all there are.

        An order that is submitted meanwhile may come or not.
        """
        walk = _Walk(after)
        with self._connection() as connection:
            for _ in range(_MOST_PAGES):
                page = connection.ask(_ORDERS, walk.query, "", _rows)
                if new := walk.new_of(page):
                    yield new
                elif walk.by_id and page:
                    break
                elif walk.by_id or not walk.is_full(page):
                    return
                else:
                    walk.by_id = True
            raise _circles(connection, _ORDERS)

    def activities(self, after: datetime | None) -> Iterator[list[Row]]:
        """Every activity of every type after a moment, each once; None for all there are."""
        query = {"direction": "asc", "page_size": str(ACTIVITIES_A_PAGE)} | _after(after)
        before, tokens = set[str](), dict[str, str]()
        with self._connection() as connection:
            for _ in range(_MOST_PAGES):
                page = connection.ask(_ACTIVITIES, query | tokens, "", _rows)
                ids = [row["id"] for row in page]
                if new := [row for row in page if row["id"] not in before]:
                    yield new
                elif ids in ([], [*tokens.values()]):  # nothing, or the last one again
                    return
                else:
                    break
                before, tokens = set(ids), {"page_token": ids[-1]}
            raise _circles(connection, _ACTIVITIES)

    def _connection(self) -> Connection:
        return Connection(self._service, self._keys, self._patience)


class _Walk:
    """Through the orders, which Alpaca sorts by the time of submission, without a token for the next page.

    The next page is asked for from a second or two before the newest order on, since several may have been
    submitted at once (a bracket's are), and what is known of it is left out. Where so short a time has more
    orders than a page, the last one's id leads on from it: `after_order_id`, which goes without a time.
    """

    def __init__(self, after: datetime | None) -> None:
        self._border = after and after.replace(microsecond=0)
        self._known: dict[str, datetime | None] = {}  # what may come again, with its time
        self._last = ""
        self._longest = DEFAULT_A_PAGE
        self.by_id = False

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the next page."""
        place = {"after_order_id": self._last} if self.by_id else _after(self._border)
        fixed = {"status": "all", "direction": "asc", "nested": "false"}
        return fixed | {"limit": str(ORDERS_A_PAGE)} | place

    def new_of(self, page: list[Row]) -> list[Row]:
        """The orders of a page that none before it had; where there are some, the walk moves on."""
        new = [row for row in page if row["id"] not in self._known]
        self._longest = max(self._longest, len(page))
        if new:
            times = {row["id"]: submitted_at(row) for row in page}
            border = self._before(max(filter(None, times.values()), default=None))
            near = {
                one: at for one, at in self._known.items() if at and (not border or at > border)
            }
            self._known = {**near, **times}
            self._last, self.by_id = page[-1]["id"], border is None
            self._border = border or self._border
        return new

    def is_full(self, page: list[Row]) -> bool:
        """Whether there may be more than a page holds, also where it holds less than was asked for."""
        return len(page) >= self._longest

    def _before(self, newest: datetime | None) -> datetime | None:
        if newest is None:
            return None
        before = newest.replace(microsecond=0) - timedelta(seconds=1)
        return max(before, self._border) if self._border else before  # never back


def mode_of(url: str) -> str | None:
    """The mode of the accounts at this address, where the host tells it."""
    return _MODES.get(urlsplit(url).hostname or "")


def submitted_at(order: Row) -> datetime | None:
    """When an order was submitted, as far as it says so."""
    return _time(order.get("submitted_at"))


def happened_at(activity: Row) -> datetime | None:
    """When an activity happened, as far as it says so: a fill to the moment, others to the day."""
    return _time(activity.get("transaction_time") or activity.get("date"))


def _time(text: object) -> datetime | None:
    """A time, or None for what is none: whether a row can be used is judged where it is read."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at and (at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC))


def _after(at: datetime | None) -> dict[str, str]:
    """The parameter; Alpaca takes whole seconds only, so that it may begin a little earlier."""
    return {} if at is None else {"after": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _account(content: bytes) -> Account:
    value = _parsed(content)
    if not isinstance(value, dict):
        raise ValueError("what it sends is no account")  # noqa: TRY004 - a wrong value, not a wrong call
    number, currency = value.get("account_number"), value.get("currency")
    if not isinstance(number, str) or not _NUMBER.fullmatch(number):
        raise ValueError("what it sends has no account number")
    return Account(number, str(currency or "USD"), str(value.get("status") or "unknown"))


def _rows(content: bytes) -> list[Row]:
    value = _parsed(content)
    if not isinstance(value, list):
        raise ValueError("what it sends is no list")  # noqa: TRY004 - a wrong value, not a wrong call
    for row in value:
        if not isinstance(row, dict) or not (isinstance(row.get("id"), str) and row["id"]):
            raise ValueError("what it sends has a row without an id")
    return value


def _parsed(content: bytes) -> Any:
    try:
        return exact_json.parse(content.decode())
    except ValueError as error:
        raise ValueError("what it sends is no JSON") from error


def _circles(connection: Connection, path: str) -> ProviderError:
    return ProviderError(
        f"{connection.place(path)} goes round in circles: it gives the same page again",
        next_step="run again later; nothing was brought in",
    )
