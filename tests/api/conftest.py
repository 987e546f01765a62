"""A data folder for each test, empty or as a bad night left it, with the settings that name it."""

from pathlib import Path

import pytest

from tests.api.filled import fill


@pytest.fixture
def data(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the settings of the environment name."""
    folder = clean_environment / "data"
    folder.mkdir()
    monkeypatch.setenv("FLUXHERO_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def night(data: Path) -> Path:
    """A data folder after a bad night; without an archive."""
    fill(data)
    return data
