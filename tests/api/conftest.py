"""A data folder for each test, empty or as a bad night left it, with the settings that name it."""

from pathlib import Path

import pytest

from tests.api.filled import fill


@pytest.fixture
def night(data: Path) -> Path:
    """A data folder after a bad night; without an archive."""
    fill(data)
    return data
