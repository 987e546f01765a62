"""What a disk, a clock or a person does to the checks' own files and to what they stand on; and rarer faults."""

import os
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests import samples
from tests.house import House
from tests.integrity import sound
from tests.integrity.test_faults import _house, data_file, faults, flip
from tests.samples import create_duckdb_store


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a sound ledger is that was checked once, and beside it a copy as it was then."""
    folder = tmp_path_factory.mktemp("worse")
    with pytest.MonkeyPatch.context() as patched:
        house = _house("duckdb", folder / "now", patched)
        create_duckdb_store(house.store)
        assert sound.sound_house(house).check().ok
    shutil.copytree(folder / "now", folder / "sound")
    return folder


@pytest.fixture
def installed(
    place: Path, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    shutil.rmtree(place / "now")
    shutil.copytree(place / "sound", place / "now")
    return _house("duckdb", place / "now", monkeypatch)


def later(minutes: int) -> datetime:
    """When a check runs: findings are in the order of their runs."""
    return samples.AS_OF + timedelta(minutes=minutes)


def flip_unseen(path: Path) -> None:
    """As a disk does: neither size nor time tell."""
    before = path.stat()
    flip(path, 0.3)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_memory_of_time_to_come_hides_no_flipped_bit(installed: House) -> None:
    memory = installed.data / "integrity" / "passed.json"
    memory.write_text(re.sub(r'"at": ?"\d{4}', '"at":"2099', memory.read_text()))
    flip_unseen(data_file(installed))
    assert "files.sha256" in faults(installed.check(now=later(1)))


def test_a_flipped_bit_in_the_list_of_known_documents_speaks_against_none(installed: House) -> None:
    known = installed.data / "integrity" / "documents.json"
    whole = known.read_bytes()
    for place in (0.3, 0.5, 0.8):
        known.write_bytes(whole)
        flip(known, place)
        assert faults(installed.check(now=later(1))) == {}
    assert known.read_bytes() == whole
