"""A server that speaks the endpoints of Alpaca's trading API that are fetched from, as they are documented."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests import alpaca_http
from tests.alpaca_http import Query, Served

ACCOUNT, ORDERS, ACTIVITIES = "/v2/account", "/v2/orders", "/v2/account/activities"

Row = dict[str, Any]


@dataclass
class Trading(Served):
    """What the server has.

    Attributes:
        number: of the account.
        orders: in any order; they are given by the time of submission, and those of one time as they are here.
        activities: in the order in which they were posted.
        page: most rows in an answer, whatever is asked for.
        deaf: whether it does not heed `after_order_id`.
    """

    number: str = "PA3TEST0001"
    orders: list[Row] = field(default_factory=list)
    activities: list[Row] = field(default_factory=list)
    page: int = 500
    deaf: bool = False


def order_id(number: int) -> str:
    """The id of the order with this number."""
    return str(UUID(int=0x61E69015_8549_4BFD_0000_000000000000 + number))


def order(number: int, at: str, **changes: Any) -> Row:
    """An order as Alpaca writes it: filled, unless the changes say otherwise."""
    return {
        "id": order_id(number),
        "client_order_id": f"bot-{number}",
        "created_at": at,
        "updated_at": at,
        "submitted_at": at,
        "filled_at": at,
        "expired_at": None,
        "expires_at": "2024-01-02T21:00:00Z",
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
        "symbol": "AAPL",
        "asset_class": "us_equity",
        "notional": None,
        "qty": "10",
        "filled_qty": "10",
        "filled_avg_price": "187.153",
        "order_class": "",
        "order_type": "limit",
        "type": "limit",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": "187.25",
        "stop_price": None,
        "status": "filled",
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": "buy_to_open",
    } | changes


def working(number: int, at: str, **changes: Any) -> Row:
    """An order that nothing has become of yet."""
    nothing = {"filled_at": None, "filled_qty": "0", "filled_avg_price": None}
    return order(number, at, **nothing, **{"status": "new", **changes})


def fill(number: int, at: str, of_order: int, **changes: Any) -> Row:
    """A fill as the activities have it."""
    return {
        "id": f"{_stamp(at)}::{UUID(int=number)}",
        "activity_type": "FILL",
        "transaction_time": at,
        "type": "fill",
        "price": "187.153",
        "qty": "10",
        "side": "buy",
        "symbol": "AAPL",
        "leaves_qty": "0",
        "order_id": order_id(of_order),
        "cum_qty": "10",
        "order_status": "filled",
    } | changes


def other(number: int, day: str, kind: str, amount: str, **changes: Any) -> Row:
    """An activity that is no trade: a dividend (DIV), a fee (FEE), a deposit (CSD)."""
    return {
        "id": f"{day.replace('-', '')}000000000::{UUID(int=number)}",
        "activity_type": kind,
        "date": day,
        "net_amount": amount,
        "description": f"{kind} of {day}",
        "status": "executed",
    } | changes


def _stamp(at: str) -> str:
    return f"{datetime.fromisoformat(at):%Y%m%d%H%M%S%f}"[:17]


@contextmanager
def serving() -> Iterator[Trading]:
    """The server, as long as the block lasts."""
    trading = Trading()

    def reply(path: str, query: Query, known: bool) -> tuple[int, Any]:
        if not known:
            return 401, {"code": 40110000, "message": "request is not authorized"}
        try:
            return 200, document(trading, path, query)
        except KeyError:
            return 404, {"message": "endpoint not found"}
        except ValueError as error:
            return 422, {"code": 42210000, "message": str(error)}

    with alpaca_http.serving(trading, reply):
        yield trading


def document(trading: Trading, path: str, query: Query) -> Any:
    """What is answered to a path and a query.

    Raises:
        KeyError: there is no such path.
        ValueError: a parameter is none.
    """
    return _ANSWERS[path](trading, query)


def _account(trading: Trading, _query: Query) -> Row:
    return {
        "id": "1d9eed04-be39-4e01-9b84-a48ac5bbafcf",
        "account_number": trading.number,
        "status": "ACTIVE",
        "currency": "USD",
        "cash": "122086.5",
        "equity": "123346.11",
        "created_at": "2023-01-01T18:20:20.272275Z",
    }


def _orders(trading: Trading, query: Query) -> list[Row]:
    refuse_unless(
        query.keys() <= {"status", "limit", "direction", "nested", "after", "after_order_id"}
    )
    refuse_unless((query["status"], query["direction"], query["nested"]) == ("all", "asc", "false"))
    refuse_unless(1 <= int(query["limit"]) <= 500)
    refuse_unless(not {"after", "after_order_id"} <= query.keys())
    every = sorted(trading.orders, key=lambda row: datetime.fromisoformat(row["submitted_at"]))
    if "after" in query:
        begin = _time(query["after"])
        every = [row for row in every if datetime.fromisoformat(row["submitted_at"]) > begin]
    if "after_order_id" in query and not trading.deaf:
        places = [row["id"] for row in every]
        every = every[places.index(query["after_order_id"]) + 1 :]
    return every[: min(int(query["limit"]), trading.page)]


def _activities(trading: Trading, query: Query) -> list[Row]:
    refuse_unless(query.keys() <= {"direction", "page_size", "page_token", "after"})
    refuse_unless(1 <= int(query["page_size"]) <= 100)
    refuse_unless(query["direction"] == "asc")
    every = sorted(trading.activities, key=lambda row: str(row["id"]))
    if "after" in query:
        begin = _time(query["after"])
        every = [row for row in every if _happened(row) > begin]
    if "page_token" in query:
        places = [row["id"] for row in every]
        every = every[places.index(query["page_token"]) + 1 :]
    return every[: min(int(query["page_size"]), trading.page)]


_ANSWERS = {ACCOUNT: _account, ORDERS: _orders, ACTIVITIES: _activities}


def refuse_unless(holds: bool) -> None:
    """Answer 422, as to a parameter that cannot be."""
    if not holds:
        raise ValueError("invalid parameter")


def _time(text: str) -> datetime:
    """A parameter in the two forms that are documented."""
    form = "%Y-%m-%dT%H:%M:%SZ" if "T" in text else "%Y-%m-%d"
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def _happened(row: Row) -> datetime:
    at = datetime.fromisoformat(row.get("transaction_time") or row["date"])
    return at if at.tzinfo else at.replace(tzinfo=UTC)
