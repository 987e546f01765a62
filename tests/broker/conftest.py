"""A broker on this machine, and the settings that lead to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.loading import load_settings
from config.settings import Settings
from tests.alpaca_http import KEY, SECRET
from tests.broker.trading_server import Trading, serving


@pytest.fixture
def trading() -> Iterator[Trading]:
    """A broker whose account has done nothing yet."""
    with serving() as server:
        yield server


@pytest.fixture
def broker(trading: Trading, data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings, in the environment too, of a house whose store is not made yet."""
    for name, value in {
        "ALPACA_API_URL": trading.url,
        "ALPACA_API_KEY": KEY,
        "ALPACA_API_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(f"FLUXHERO_{name}", value)
    return load_settings(env_file=None)
