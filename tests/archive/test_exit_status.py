"""The command's word on faults: exit status, the message on standard error, nothing moved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import samples
from tests.archive.conftest import make_house
from tests.archive.test_lock import held_elsewhere
from tests.archive.test_resources import locked
from tests.house import House

pytestmark = [pytest.mark.server, pytest.mark.timeout(240)]
AS_OF = samples.AS_OF.isoformat()


def fluxhero(api: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from fluxhero.cli import main; main()", *arguments],
        env={**os.environ, "PREFECT_API_URL": api, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def due(house: House) -> House:
    """Three trades that are due."""
    house.add(1, 2, 3)
    return house


def test_a_run_that_archives_ends_with_0_and_one_that_refuses_with_1(
    prefect_harness: str, sqlite_house: House
) -> None:
    house = sqlite_house
    house.add(1)
    house.add(2, exit_time="yesterday")
    done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF, "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["purged"] == 1
    again = fluxhero(prefect_harness, "archive", "--as-of", AS_OF, "--json")
    assert again.returncode == 0, again.stderr


def test_a_second_run_ends_with_3_and_names_the_first(
    prefect_harness: str, duckdb_house: House
) -> None:
    due = duckdb_house
    due.add(1, 2, 3)
    with held_elsewhere(due.archive_dir) as holder:
        done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF)
    assert done.returncode == 3
    assert f"process {holder}" in done.stderr
    assert "wait for it to end" in done.stderr
    assert due.hot == {1, 2, 3}


def test_another_stores_archive_ends_with_2(
    prefect_harness: str, sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = sqlite_house
    due.archive()
    other = make_house(due.kind, due.data.parent, monkeypatch)
    other.store = due.store.with_name("other" + due.store.suffix)
    samples.create_fluxhero_store(other.store)
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{due.kind}:///{other.store}")
    done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF)
    assert done.returncode == 2, done.stderr
    assert str(due.store) in done.stderr
    assert "--adopt" in done.stderr


def test_a_damaged_archive_ends_with_3(prefect_harness: str, duckdb_house: House) -> None:
    due = duckdb_house
    due.add(1, 2, 3)
    due.archive()
    (manifest,) = due.chain.manifests
    path = due.archive_dir / manifest.file.path
    path.write_bytes(path.read_bytes()[:-1])
    done = fluxhero(prefect_harness, "restore", "--batch", manifest.batch_id)
    assert done.returncode == 3
    assert str(path) in done.stderr
    assert due.numbers_hot == set()


@pytest.mark.slow
def test_a_lock_that_outlasts_all_retries_ends_with_3(
    prefect_harness: str, due: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "0.2")
    with locked(due.kind, due.store, 200):
        done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF)
    assert done.returncode == 3
    assert str(due.store) in done.stderr
    assert "another process" in done.stderr
    monkeypatch.setenv("FLUXHERO_LOCK_TIMEOUT_SECONDS", "10")
    due.archive()
    assert due.hot == set()


@pytest.mark.slow
def test_a_store_locked_for_thirty_seconds_is_waited_for(
    prefect_harness: str, due: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the product's own settings."""
    monkeypatch.delenv("FLUXHERO_LOCK_TIMEOUT_SECONDS")
    with locked(due.kind, due.store, 30):
        done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF)
    assert done.returncode == 0, done.stderr
    assert due.hot == set()


def test_a_store_of_the_other_kind_ends_with_2(
    prefect_harness: str, sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"duckdb:///{sqlite_house.store}")
    done = fluxhero(prefect_harness, "archive", "--as-of", AS_OF)
    assert done.returncode == 2, done.stderr
    assert f"FLUXHERO_STORE_URL=sqlite:///{sqlite_house.store}" in done.stderr
