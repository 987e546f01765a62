"""A provider on this machine, and the settings that lead to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.loading import load_settings
from config.settings import Settings
from tests.market.alpaca_server import KEY, SECRET, Alpaca, serving


@pytest.fixture
def alpaca() -> Iterator[Alpaca]:
    """An Alpaca without any bars yet."""
    with serving() as server:
        yield server


@pytest.fixture
def market(alpaca: Alpaca, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings, in the environment too, of a house without a store."""
    for name, value in {
        "DATA_DIR": str(clean_environment / "data"),
        "ALPACA_DATA_URL": alpaca.url,
        "ALPACA_API_KEY": KEY,
        "ALPACA_API_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(f"FLUXHERO_{name}", value)
    return load_settings(env_file=None)
