"""`.env.example` documents every setting and stays true."""

from pathlib import Path

import pytest

from config.env_example import SECTIONS, render
from config.loading import load_settings
from config.settings import Settings, variable

REPOSITORY = Path(__file__).parents[2]


def test_the_committed_file_is_the_generated_one() -> None:
    committed = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    assert committed == render(), "run `python -m config.env_example` and commit .env.example"


def test_every_setting_is_described() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not undescribed, f"give these a description in config/settings.py: {undescribed}"
    for name in Settings.model_fields:
        assert f"#{variable(name)}=" in render()


def test_sections_start_at_fields_that_exist() -> None:
    assert set(SECTIONS) <= set(Settings.model_fields)


@pytest.mark.usefixtures("clean_environment")
def test_uncommenting_everything_changes_nothing(tmp_path: Path) -> None:
    everything = [
        line[1:] if line.startswith("#FLUXHERO_") else line for line in render().splitlines()
    ]
    (tmp_path / ".env").write_text("\n".join(everything))
    assert load_settings() == load_settings(env_file=None)
