"""A small house of either kind for each test."""

from pathlib import Path

import pytest

from tests import samples
from tests.house import House

KINDS = ("duckdb", "sqlite")


def make_house(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    name = "ledger.duckdb" if kind == "duckdb" else "system.db"
    house = House(kind, folder / "data", folder / "bot" / name)
    monkeypatch.setenv("FLUXHERO_DATA_DIR", str(house.data))
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{kind}:///{house.store}")
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "10")
    monkeypatch.setenv("FLUXHERO_BATCH_ROWS", "200")
    return house


@pytest.fixture(params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Either kind of hot store."""
    return str(request.param)


@pytest.fixture
def house(store_kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty store of either kind and the settings that name it."""
    made = make_house(store_kind, clean_environment, monkeypatch)
    create = (
        samples.create_duckdb_store if store_kind == "duckdb" else samples.create_fluxhero_store
    )
    create(made.store)
    return made


@pytest.fixture
def sqlite_house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty FluxHero store."""
    made = make_house("sqlite", clean_environment, monkeypatch)
    samples.create_fluxhero_store(made.store)
    return made


@pytest.fixture
def duckdb_house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty ledger."""
    made = make_house("duckdb", clean_environment, monkeypatch)
    samples.create_duckdb_store(made.store)
    return made


@pytest.fixture
def sample_house(
    store_kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[House, samples.Sample]:
    """A store with every kind of value in it."""
    made = make_house(store_kind, clean_environment, monkeypatch)
    return made, samples.write_sample(store_kind, made.store)
