"""Faults planted in a whole, sound installation, and the rule that has to find each; nothing else may.

Every other rule has a test of its own beside it. Here the product's flow runs, from files to report.
"""

import shutil
from pathlib import Path

import pytest

from fluxhero.integrity.check_report import CheckReport
from tests.archive.conftest import make_house
from tests.house import House
from tests.integrity import sound
from tests.samples import create_duckdb_store, create_fluxhero_store


@pytest.fixture(scope="module", params=["duckdb", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def place(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the installation is, and beside it a copy as it was; a FluxHero store is known by its place."""
    folder = tmp_path_factory.mktemp(kind)
    with pytest.MonkeyPatch.context() as patched:
        house = _house(kind, folder / "now", patched)
        (create_duckdb_store if kind == "duckdb" else create_fluxhero_store)(house.store)
        sound.sound_house(house)
    shutil.copytree(folder / "now", folder / "sound")
    return folder


@pytest.fixture
def installed(
    kind: str, place: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    shutil.rmtree(place / "now")
    shutil.copytree(place / "sound", place / "now")
    return _house(kind, place / "now", monkeypatch)


def _house(kind: str, folder: Path, patched: pytest.MonkeyPatch) -> House:
    house = make_house(kind, folder, patched)
    patched.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(folder / "mirror"))
    return house


def faults(report: CheckReport) -> dict[str, set[str]]:
    """Rule → objects of what counts."""
    found: dict[str, set[str]] = {}
    for line in report.findings:
        if line.counts:
            found.setdefault(line.rule, set()).add(line.object)
    return found


def test_a_sound_installation_has_no_finding(installed: House) -> None:
    for deep in (False, True):
        report = installed.check(deep=deep)
        assert faults(report) == {}
        assert report.ok
        assert report.rules > 60
    assert not (installed.data / "quarantine").exists()
