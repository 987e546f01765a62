"""Alpaca's endpoints, asked of a real server: pages, limits, troubles, refusals."""

import json
import logging
import pickle
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from config.settings import Settings
from fluxhero.alpaca_http import Patience
from fluxhero.errors import BadInputError, ConfigurationError, ProviderError
from fluxhero.market.alpaca import Alpaca
from fluxhero.market.cache import BARS
from fluxhero.market.timeframe import DAILY, Timeframe
from tests.market import alpaca_server
from tests.market.alpaca_server import CRYPTO, KEY, SECRET, STOCKS, bar, breaks_off, says, status

FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
QUICK = Patience(attempts=3, first_pause=0.001, longest_pause=0.5)
JANUARY = [bar(f"2024-01-{day:02}T05:00:00Z", 100 + day) for day in range(2, 27)]


def fetch(settings: Settings, symbol: str = "AAPL", **given: Any) -> pa.Table:
    adjustment = given.pop("adjustment", "split")
    return Alpaca(settings, patience=QUICK, **given).bars(symbol, DAILY, FIRST, LAST, adjustment)


def test_pages_are_put_together(market: Settings, alpaca: alpaca_server.Alpaca) -> None:
    alpaca.bars["AAPL"], alpaca.page = JANUARY, 10
    bars = fetch(market, feed="iex")
    assert bars.schema == BARS
    assert bars.num_rows == 25
    assert bars.slice(0, 1).to_pylist() == [
        {
            "timestamp": datetime.fromisoformat("2024-01-02 05:00"),
            "open": 101.5,
            "high": 103.0,
            "low": 101.0,
            "close": 102.0,
            "volume": 1000.0,
        }
    ]
    assert [asked.get("page_token") for asked in alpaca.asked] == [None, "10", "20"]
    assert set(alpaca.paths) == {STOCKS}
    assert alpaca.asked[0] == {
        "symbols": "AAPL",
        "timeframe": "1Day",
        "start": "2024-01-01T00:00:00Z",
        "end": "2024-02-01T00:00:00Z",
        "limit": "10000",
        "sort": "asc",
        "adjustment": "split",
        "feed": "iex",
    }


def test_a_pair_needs_no_key_and_has_an_endpoint_of_its_own(alpaca: alpaca_server.Alpaca) -> None:
    alpaca.bars["BTC/USD"] = [bar("2024-01-02T06:00:00.123456789Z", 40_000, 0.001)]
    settings = Settings(alpaca_data_url=alpaca.url)
    assert fetch(settings, "BTC/USD")["volume"].to_pylist() == [0.001]
    assert alpaca.paths == [CRYPTO]
    assert "adjustment" not in alpaca.asked[0]
    with pytest.raises(ConfigurationError, match="FLUXHERO_ALPACA_API_KEY is not set"):
        fetch(settings)
    with pytest.raises(ConfigurationError, match="FLUXHERO_ALPACA_API_SECRET is not set"):
        fetch(Settings(alpaca_data_url=alpaca.url, alpaca_api_key=SecretStr("key")))
    assert len(alpaca.asked) == 1


def test_nothing_there_is_no_error(market: Settings, alpaca: alpaca_server.Alpaca) -> None:
    assert fetch(market).num_rows == 0
    alpaca.troubles = [says('{"bars": null, "next_page_token": null}')]
    assert fetch(market).num_rows == 0


@pytest.mark.parametrize(
    "trouble",
    [
        status(500),
        status(503),
        status(429),
        status(408),
        breaks_off,
        says('{"bars": {"AAPL": [{"t"'),
        says("<html>busy</html>"),
        says("[]"),
        says('{"bars": [1, 2]}'),
    ],
    ids=["500", "503", "429", "408", "breaks off", "truncated", "html", "list", "no object"],
)
def test_what_passes_by_itself_is_asked_again(
    market: Settings, alpaca: alpaca_server.Alpaca, trouble: alpaca_server.Trouble
) -> None:
    alpaca.bars["AAPL"], alpaca.page = JANUARY, 20
    alpaca.troubles = [trouble, trouble]
    assert fetch(market).num_rows == 25
    assert len(alpaca.asked) == 4
    alpaca.troubles = [trouble] * 3
    with pytest.raises(ProviderError, match=r"127\.0\.0\.1"):
        fetch(market)
    assert len(alpaca.asked) == 7, "no more attempts than patience has"


def test_in_the_middle_of_the_pages_only_that_page_is_asked_again(
    market: Settings, alpaca: alpaca_server.Alpaca
) -> None:
    alpaca.bars["AAPL"], alpaca.page = JANUARY, 10

    def second(handler: Any) -> None:
        alpaca.troubles = [breaks_off]
        page = alpaca_server.found(alpaca, alpaca.asked[-1])
        alpaca_server.answer(handler, 200, json.dumps(page).encode())

    alpaca.troubles = [second]
    assert fetch(market).num_rows == 25
    assert [asked.get("page_token") for asked in alpaca.asked] == [None, "10", "10", "20"]


def test_the_wait_that_is_asked_for_is_kept(
    market: Settings, alpaca: alpaca_server.Alpaca, caplog: pytest.LogCaptureFixture
) -> None:
    alpaca.bars["AAPL"] = JANUARY
    alpaca.troubles = [status(429, Retry_After="0.3")]
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, "fluxhero"):
        assert fetch(market).num_rows == 25
    assert time.monotonic() - begun >= 0.3
    assert "Retrying" in caplog.text
    assert SECRET not in caplog.text

    alpaca.troubles = [status(429, Retry_After="3600")]
    with pytest.raises(ProviderError, match="3,600 seconds"):
        fetch(market)
    date = format_datetime(datetime(2099, 1, 1, tzinfo=UTC), usegmt=True)
    alpaca.troubles = [status(429, Retry_After=date)]
    with pytest.raises(ProviderError, match="429"):
        fetch(market)
    assert len(alpaca.asked) == 4, "a wait that is too long is not waited, nor asked again"
    alpaca.troubles = [status(429, Retry_After="soon")]
    assert fetch(market).num_rows == 25


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (401, ConfigurationError, "FLUXHERO_ALPACA_API_KEY"),
        (403, ConfigurationError, "--feed iex"),
        (404, ConfigurationError, "FLUXHERO_ALPACA_DATA_URL"),
        (302, ConfigurationError, "FLUXHERO_ALPACA_DATA_URL"),
        (400, BadInputError, "symbol"),
        (422, BadInputError, "adjustment"),
    ],
)
def test_what_does_not_pass_is_told_at_once_without_a_secret(
    market: Settings,
    alpaca: alpaca_server.Alpaca,
    code: int,
    error: type[Exception],
    advice: str,
) -> None:
    alpaca.troubles = [status(code, f"you are {KEY} with {SECRET}, no " + "x" * 1000)]
    with pytest.raises(error, match=advice) as raised:
        fetch(market)
    assert f"answers {code} for AAPL: you are *** with ***, no x" in str(raised.value)
    assert len(str(raised.value)) < 700
    assert len(alpaca.asked) == 1
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    alpaca.troubles = [lambda handler: alpaca_server.answer(handler, code, b"\xff nothing")]
    with pytest.raises(error, match=f"answers {code} for AAPL →"):
        fetch(market)


def test_nobody_listens(market: Settings) -> None:
    settings = market.model_copy(update={"alpaca_data_url": "http://127.0.0.1:9"})
    with pytest.raises(ProviderError, match="cannot be reached: ConnectError"):
        fetch(settings)


@pytest.mark.parametrize("token", ['"again"', "7"])
def test_a_page_that_comes_back_for_ever_is_left(
    market: Settings, alpaca: alpaca_server.Alpaca, token: str
) -> None:
    alpaca.troubles = [says(f'{{"bars": {{}}, "next_page_token": {token}}}')] * 10
    with pytest.raises(ProviderError, match="round in circles"):
        fetch(market)
    assert len(alpaca.asked) <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        '{"o": 1, "h": 1, "l": 1, "c": 1, "v": 1}',
        '{"t": "noon", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}',
        '{"t": "2024-01-02T05:00:00Z", "o": null, "h": 1, "l": 1, "c": 1, "v": 1}',
        '"bar"',
    ],
)
def test_a_bar_that_is_none(market: Settings, alpaca: alpaca_server.Alpaca, wrong: str) -> None:
    alpaca.troubles = [says(f'{{"bars": {{"AAPL": [{wrong}]}}}}')]
    with pytest.raises(ProviderError, match="a bar of AAPL that is none"):
        fetch(market)


def test_timeframes_are_read_in_both_manners() -> None:
    forms = {
        "1Day": "1d", "1day": "1d", "1D": "1d", "1d": "1d", "5Min": "5m", "5m": "5m", "5min": "5m",
        "59T": "59m", "1Hour": "1h", "1h": "1h", "4H": "4h",
    }  # fmt: skip
    for text, name in forms.items():
        read = Timeframe.read(text)
        assert str(read) == name
        assert Timeframe.read(read.alpaca) == read
    for text in (
        "",
        "1M",
        "1Month",
        "0Min",
        "60Min",
        "24Hour",
        "2Day",
        "1Week",
        "Day",
        "1 Day",
        "١d",
    ):
        with pytest.raises(BadInputError, match="no timeframe"):
            Timeframe.read(text)
