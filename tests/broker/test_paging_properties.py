"""Whatever was submitted when, and however a server cuts its pages: every order comes, and comes once."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.settings import Settings
from fluxhero.broker import alpaca
from fluxhero.broker.alpaca import TradingApi
from tests.broker.trading_server import Trading, document, fill, order

T = TypeVar("T")

PAGE = 4
BEGAN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
SETTINGS = Settings(alpaca_api_key=SecretStr("key"), alpaca_api_secret=SecretStr("secret"))


class Direct:
    """A connection that needs no network."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading

    def __enter__(self) -> "Direct":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def ask(
        self, path: str, query: dict[str, str], _about: str, understand: Callable[[bytes], T]
    ) -> T:
        self._trading.asked.append(query)
        assert len(self._trading.asked) < 200, "it does not end"
        return understand(json.dumps(document(self._trading, path, query)).encode())


@contextmanager
def asking(trading: Trading) -> Iterator[TradingApi]:
    """The API of a broker whose pages are short."""
    with (
        patch.object(TradingApi, "_connection", lambda _self: Direct(trading)),
        patch.object(alpaca, "ORDERS_A_PAGE", PAGE),
        patch.object(alpaca, "DEFAULT_A_PAGE", 1),
        patch.object(alpaca, "ACTIVITIES_A_PAGE", PAGE),
    ):
        yield TradingApi(SETTINGS)


# Few moments, so that many orders share one; some of them a fraction of a second apart.
moments = st.builds(
    lambda seconds, micros: BEGAN + timedelta(seconds=seconds, microseconds=micros),
    st.integers(0, 6),
    st.sampled_from([0, 1, 400_000, 999_999]),
)
beginnings = st.none() | moments


def written(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def came(pages: Iterator[list[Any]]) -> list[str]:
    return [row["id"] for page in pages for row in page]


@given(st.lists(moments, max_size=30), beginnings, st.integers(1, 9))
def test_every_order_comes_once(
    submitted: list[datetime], after: datetime | None, page: int
) -> None:
    trading = Trading(
        page=page, orders=[order(number, written(at)) for number, at in enumerate(submitted)]
    )
    with asking(trading) as api:
        ids = came(api.orders(after))
    assert len(ids) == len(set(ids))
    begin = after.replace(microsecond=0) if after else BEGAN - timedelta(days=1)
    wanted = [number for number, at in enumerate(submitted) if at > begin]
    assert set(ids) == {trading.orders[number]["id"] for number in wanted}


@given(st.lists(moments, max_size=30), beginnings, st.integers(1, 9))
def test_every_activity_comes_once(
    happened: list[datetime], after: datetime | None, page: int
) -> None:
    activities = [fill(number, written(at), number) for number, at in enumerate(happened)]
    trading = Trading(page=page, activities=activities)
    with asking(trading) as api:
        ids = came(api.activities(after))
    assert len(ids) == len(set(ids))
    begin = after.replace(microsecond=0) if after else BEGAN - timedelta(days=1)
    assert set(ids) == {
        row["id"] for row, at in zip(activities, happened, strict=True) if at > begin
    }
