"""Houses of either kind, in which statements from outside run in this process: a check keeps nothing open."""

import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from tests import samples
from tests.archive.conftest import KINDS, make_house
from tests.house import House


class OpenHouse(House):
    """A house whose store is written to without a process of its own, which would take most of the time."""

    def execute(self, sql: str) -> None:
        connect = duckdb.connect if self.kind == "duckdb" else sqlite3.connect
        with closing(connect(str(self.store))) as connection:
            connection.execute(sql)
            connection.commit()


def _open(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = make_house(kind, folder, monkeypatch)
    return OpenHouse(made.kind, made.data, made.store)


@pytest.fixture(params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Either kind of hot store."""
    return str(request.param)


@pytest.fixture
def house(store_kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty store of either kind."""
    made = _open(store_kind, clean_environment, monkeypatch)
    _create(made)
    return made


@pytest.fixture
def sqlite_house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty FluxHero store."""
    made = _open("sqlite", clean_environment, monkeypatch)
    _create(made)
    return made


@pytest.fixture
def duckdb_house(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An empty ledger."""
    made = _open("duckdb", clean_environment, monkeypatch)
    _create(made)
    return made


@pytest.fixture
def sample_house(
    store_kind: str, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[House, samples.Sample]:
    """A store with every kind of value in it."""
    made = _open(store_kind, clean_environment, monkeypatch)
    return made, samples.write_sample(store_kind, made.store)


def _create(house: House) -> None:
    if house.kind == "duckdb":
        samples.create_duckdb_store(house.store)
    else:
        samples.create_fluxhero_store(house.store)
