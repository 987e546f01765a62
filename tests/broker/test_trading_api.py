"""Alpaca's trading API, asked of a real server: pages, equal times, limits, troubles, refusals."""

import json
import logging
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from fluxhero.alpaca_http import Patience
from fluxhero.broker.alpaca import (
    ACTIVITIES_A_PAGE,
    ORDERS_A_PAGE,
    Account,
    TradingApi,
    happened_at,
    mode_of,
    submitted_at,
)
from fluxhero.broker.fetched import write_down
from fluxhero.errors import BadInputError, ConfigurationError, ProviderError
from tests.alpaca_http import KEY, SECRET, Trouble, answer, breaks_off, hangs, says, status
from tests.broker.trading_server import ACTIVITIES, ORDERS, Trading, fill, order, other

QUICK = Patience(attempts=3, first_pause=0.001, longest_pause=0.5)
HASTY = Patience(attempts=5, first_pause=0.001, silence=0.3)
BEGAN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)


def api(settings: Settings) -> TradingApi:
    return TradingApi(settings, QUICK)


def times(count: int, *, apart: float) -> list[str]:
    """Moments one after the other, so many seconds apart, to the nanosecond."""
    moments = [BEGAN + timedelta(seconds=apart * number) for number in range(count)]
    return [f"{at:%Y-%m-%dT%H:%M:%S.%f}{number % 1000:03}Z" for number, at in enumerate(moments)]


def orders(settings: Settings, after: datetime | None = None) -> list[str]:
    """The ids of all orders that come, in order."""
    return [row["id"] for page in api(settings).orders(after) for row in page]


def activities(settings: Settings, after: datetime | None = None) -> list[str]:
    return [row["id"] for page in api(settings).activities(after) for row in page]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_the_account_is_named(broker: Settings, trading: Trading) -> None:
    assert api(broker).account() == Account("PA3TEST0001", "USD", "ACTIVE")
    for nonsense in ("[]", "{}", '{"account_number": "../x"}', "{"):
        trading.troubles = [says(nonsense)] * 3
        with pytest.raises(ProviderError, match="cannot be understood: what it sends"):
            api(broker).account()


def test_the_host_tells_whether_money_is_real() -> None:
    assert mode_of("https://paper-api.alpaca.markets") == "paper"
    assert mode_of("https://api.alpaca.markets") == "live"
    assert mode_of("http://127.0.0.1:8000") is None


# ------------------------------------------------------------------------------- pages of orders


@pytest.mark.parametrize("page", [500, 7], ids=["as asked for", "fewer than asked for"])
@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_203])
def test_every_order_comes_once(broker: Settings, trading: Trading, count: int, page: int) -> None:
    trading.page = page
    count = count if page == 500 else count // 20
    trading.orders = [order(number, at) for number, at in enumerate(times(count, apart=7))]
    assert orders(broker) == ids(trading.orders)
    assert set(trading.paths) == {ORDERS}
    assert trading.asked[0] == {
        "status": "all",
        "direction": "asc",
        "nested": "false",
        "limit": "500",
    }


@pytest.mark.parametrize(
    ("count", "apart"),
    [(1_400, 0.0), (1_000, 0.0), (500, 0.0), (1_203, 0.001), (1_203, 0.01)],
    ids=["1,400 at once", "two pages at once", "a page at once", "a ms apart", "10 ms apart"],
)
def test_orders_of_one_moment_are_not_lost_at_the_border_of_a_page(
    broker: Settings, trading: Trading, count: int, apart: float
) -> None:
    before = [order(9_000 + number, at) for number, at in enumerate(times(3, apart=0.5))]
    at_once = [order(number, at) for number, at in enumerate(times(count, apart=apart))]
    for row in at_once if apart == 0.0 else ():
        row["submitted_at"] = "2024-01-02T14:30:01.5Z"
    after = [order(8_000 + number, f"2024-01-03T15:00:0{number}Z") for number in range(9)]
    trading.orders = before + at_once + after
    came = orders(broker)
    assert sorted(came) == sorted(ids(trading.orders)), "each, and each once"


def test_a_bracket_across_the_border_of_a_page_is_whole(broker: Settings, trading: Trading) -> None:
    at = times(ORDERS_A_PAGE + 300, apart=60)
    for number in (ORDERS_A_PAGE - 1, ORDERS_A_PAGE, ORDERS_A_PAGE + 1):
        at[number] = at[ORDERS_A_PAGE - 2]
    trading.orders = [order(number, one) for number, one in enumerate(at)]
    assert orders(broker) == ids(trading.orders)
    assert [asked.get("after") for asked in trading.asked][:2] == [None, "2024-01-02T22:47:59Z"]
    assert not any("after_order_id" in asked for asked in trading.asked)


def test_only_what_is_newer_than_a_moment_comes(broker: Settings, trading: Trading) -> None:
    trading.orders = [order(number, at) for number, at in enumerate(times(1_100, apart=1))]
    after = BEGAN + timedelta(seconds=600, milliseconds=500)
    assert orders(broker, after) == ids(trading.orders[601:])
    assert trading.asked[0]["after"] == "2024-01-02T14:40:00Z", "whole seconds, never later"
    assert orders(broker, datetime(2024, 2, 1, tzinfo=UTC)) == []


def test_orders_without_a_time_lead_on_by_their_id(broker: Settings, trading: Trading) -> None:
    timeless = [order(number, "2024-01-02T15:00:00Z") for number in range(2)]
    trading.orders = timeless
    page = json.dumps(
        [row | {"submitted_at": at} for row, at in zip(timeless, (None, "noon"), strict=True)]
    )
    trading.troubles = [says(page)]
    assert orders(broker) == ids(timeless)
    assert [asked.get("after_order_id") for asked in trading.asked] == [None, timeless[1]["id"]]


def test_pages_that_come_back_for_ever_are_left(broker: Settings, trading: Trading) -> None:
    full = says(json.dumps([order(number, "2024-01-02T15:00:00Z") for number in range(500)]))
    trading.troubles = [full] * 10
    with pytest.raises(ProviderError, match=r"/v2/orders goes round in circles"):
        orders(broker)
    assert len(trading.asked) == 3
    trading.troubles = [
        says(json.dumps([fill(n, "2024-01-02T15:00:00Z", n) for n in range(100)]))
    ] * 10
    with pytest.raises(ProviderError, match=r"/activities goes round in circles"):
        activities(broker)
    assert len(trading.asked) == 5


def test_a_server_that_does_not_heed_an_id_is_an_error_and_no_loss(
    broker: Settings, trading: Trading
) -> None:
    trading.deaf = True
    early = [order(number, at) for number, at in enumerate(times(700, apart=7))]
    trading.orders = [*early, *[order(900 + n, "2024-01-03T15:00:00Z") for n in range(501)]]
    with pytest.raises(ProviderError, match="round in circles"):
        orders(broker)
    trading.page = 60
    with pytest.raises(ProviderError, match="round in circles"):
        orders(broker)
    trading.deaf = False
    assert sorted(orders(broker)) == sorted(ids(trading.orders))


# --------------------------------------------------------------------------- pages of activities


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_every_activity_comes_once(broker: Settings, trading: Trading, count: int) -> None:
    trading.activities = [
        fill(number, "2024-01-02T15:00:00.123456Z", number) for number in range(count)
    ]
    assert activities(broker) == ids(trading.activities)
    assert set(trading.paths) == {ACTIVITIES}
    assert trading.asked[0] == {"direction": "asc", "page_size": str(ACTIVITIES_A_PAGE)}
    assert len(trading.asked) == count // 100 + (2 if count % 100 else 1)


def test_activities_of_all_types_after_a_moment(broker: Settings, trading: Trading) -> None:
    trading.activities = [
        other(1, "2024-01-01", "CSD", "1000"),
        other(2, "2024-01-02", "FEE", "-0.02"),
        fill(3, "2024-01-02T15:00:00.5Z", 1),
        other(4, "2024-01-03", "DIV", "1.02"),
    ]
    assert activities(broker, BEGAN) == ids(trading.activities[2:])
    assert [asked.get("after") for asked in trading.asked] == ["2024-01-02T14:30:00Z"] * 2


def test_a_page_that_begins_with_the_last_row_again_doubles_nothing(
    broker: Settings, trading: Trading
) -> None:
    """As it would be if a page token were not exclusive."""
    rows = [fill(number, "2024-01-02T15:00:00Z", number) for number in range(3)]
    trading.troubles = [says(json.dumps(page)) for page in (rows[:2], rows[1:], rows[2:])]
    assert activities(broker) == ids(rows)


def test_times_are_read_as_far_as_they_are_some() -> None:
    moment = datetime(2024, 1, 2, 15, 0, 0, 123456, tzinfo=UTC)
    assert submitted_at({"submitted_at": "2024-01-02T10:00:00.123456789-05:00"}) == moment
    assert happened_at({"transaction_time": "2024-01-02T15:00:00.123456Z"}) == moment
    assert happened_at({"date": "2024-01-02"}) == datetime(2024, 1, 2, tzinfo=UTC)
    assert happened_at({"date": "soon"}) is None
    assert submitted_at({"submitted_at": 17}) is None


# -------------------------------------------------------------------------------------- writing


def test_rows_are_written_down_as_they_came(
    broker: Settings, trading: Trading, tmp_path: Path
) -> None:
    row = '{"id":"a","qty":0.10,"limit_price":1e400,"note":"\\ud800 ü","legs":null,"date":"2024-01-02"}'
    trading.troubles = [says(f"[{row}]"), says("[]")]
    path = tmp_path / "activities.jsonl"
    path.write_text("left by an attempt that failed")
    fetched = write_down(api(broker).activities(None), path, happened_at)
    assert path.read_text(encoding="utf-8") == f"{row}\n"
    assert (fetched.rows, fetched.newest) == (1, datetime(2024, 1, 2, tzinfo=UTC))
    empty = write_down(api(broker).activities(None), path, happened_at)
    assert (empty.rows, empty.newest, path.read_text()) == (0, None, "")


def test_a_page_that_is_broken_is_asked_again_and_no_row_is_doubled(
    broker: Settings, trading: Trading, tmp_path: Path
) -> None:
    trading.orders = [order(number, at) for number, at in enumerate(times(1_203, apart=7))]

    def then(trouble: Trouble) -> Trouble:
        """The right answer, and trouble with the next request."""

        def fine(handler: Any) -> None:
            trading.troubles = [trouble]
            answer(handler, 200, json.dumps(trading.orders[:500]).encode())

        return fine

    for trouble in (breaks_off, status(503), says('[{"id": "a"}, {"id')):
        trading.troubles = [then(trouble)]
        path = tmp_path / "orders.jsonl"
        assert write_down(api(broker).orders(None), path, submitted_at).rows == 1_203
        written = [json.loads(line) for line in path.read_text().splitlines()]
        assert written == trading.orders


# ------------------------------------------------------------------------------------- troubles

Fetch = Callable[[Settings], list[str]]


def test_an_answer_that_does_not_come_is_not_waited_for(broker: Settings, trading: Trading) -> None:
    trading.orders = [order(1, "2024-01-02T15:00:00Z")]
    trading.troubles = [hangs(1.0)]
    pages = list(TradingApi(broker, HASTY).orders(None))
    assert pages == [trading.orders]
    assert len(trading.asked) >= 3


@pytest.mark.parametrize(
    "trouble",
    [
        *(status(code) for code in (500, 503, 429, 408)),
        breaks_off,
        says('[{"id": "a"}, {"id'),
        says("<html>busy</html>"),
        says('{"bars": {}}'),
        says('[{"id": ""}]'),
        says('[{"qty": "1"}]'),
        says("[17]"),
        says("[" * 5_000),
        lambda handler: answer(handler, 200, b"\xff\xfe"),
    ],
)
def test_what_passes_by_itself_is_asked_again(
    broker: Settings, trading: Trading, trouble: Trouble
) -> None:
    fetch: Fetch = activities if trouble is breaks_off else orders
    trading.orders = [order(1, "2024-01-02T15:00:00Z")]
    trading.activities = [fill(1, "2024-01-02T15:00:00Z", 1)]
    trading.troubles = [trouble, trouble]
    assert len(fetch(broker)) == 1
    assert len(trading.asked) == 4
    trading.troubles = [trouble] * 3
    with pytest.raises(ProviderError, match=r"http://127\.0\.0\.1:\d+/v2/.* → ") as raised:
        fetch(broker)
    assert len(trading.asked) == 7, "no more attempts than patience has"
    assert SECRET not in str(raised.value)


def test_the_wait_that_is_asked_for_is_kept(
    broker: Settings, trading: Trading, caplog: pytest.LogCaptureFixture
) -> None:
    def limited(wait: float, **date: str) -> Trouble:
        """As Alpaca limits requests: the moment at which the count starts anew, and no Retry-After."""
        reset = datetime.now(UTC) + timedelta(seconds=wait)
        return status(429, "rate limit exceeded", X_RateLimit_Reset=f"{reset.timestamp()}", **date)

    trading.troubles = [status(429, Retry_After="0.3"), status(429, X_RateLimit_Reset="soon")]
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, "fluxhero"):
        assert orders(broker) == []
    assert time.monotonic() - begun >= 0.3
    assert "Retrying" in caplog.text
    assert SECRET not in caplog.text

    trading.asked.clear()
    trading.troubles = [status(429, Retry_After="3600")]
    with pytest.raises(ProviderError, match=r"rate limit|3,600 seconds"):
        orders(broker)
    trading.troubles = [limited(7_200)]
    with pytest.raises(
        ProviderError, match=r"429: rate limit exceeded → run again in 7,\d\d\d seconds"
    ):
        orders(broker)
    date = format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True)
    trading.troubles = [status(429, Retry_After=date)]
    with pytest.raises(ProviderError, match="429"):
        orders(broker)
    assert len(trading.asked) == 3, "a wait that is too long is not waited, nor asked again"


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (401, ConfigurationError, "paper and live accounts have keys and hosts of their own"),
        (403, ConfigurationError, "FLUXHERO_ALPACA_API_KEY, FLUXHERO_ALPACA_API_SECRET"),
        (404, ConfigurationError, "FLUXHERO_ALPACA_API_URL: it is the host alone"),
        (302, ConfigurationError, "FLUXHERO_ALPACA_API_URL"),
        (400, BadInputError, "--since"),
        (422, BadInputError, "--since"),
    ],
)
def test_what_does_not_pass_is_told_at_once_without_a_secret(
    broker: Settings, trading: Trading, code: int, error: type[Exception], advice: str
) -> None:
    for fetch in (orders, activities, lambda settings: api(settings).account()):
        trading.asked.clear()
        trading.troubles = [status(code, f"you are {KEY} with {SECRET}")]
        with pytest.raises(error, match=advice) as raised:
            fetch(broker)
        assert f"answers {code}: you are *** with ***" in str(raised.value)
        assert len(trading.asked) == 1
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_keys_of_somebody_else_and_none(
    broker: Settings, trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    trading.troubles = []
    wrong = broker.model_copy(update={"alpaca_api_key": broker.alpaca_api_secret})
    with pytest.raises(
        ConfigurationError, match="answers 401: request is not authorized"
    ) as raised:
        api(wrong).account()
    assert SECRET not in str(raised.value)
    for name in ("alpaca_api_key", "alpaca_api_secret"):
        with pytest.raises(ConfigurationError, match=f"FLUXHERO_{name.upper()} is not set"):
            api(broker.model_copy(update={name: None}))


def test_nobody_listens(broker: Settings) -> None:
    away = broker.model_copy(update={"alpaca_api_url": "http://127.0.0.1:9"})
    with pytest.raises(ProviderError, match="cannot be reached: ConnectError") as raised:
        api(away).account()
    assert "FLUXHERO_ALPACA_API_URL" in str(raised.value)
