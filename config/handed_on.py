"""What the user has set, as variables for processes that are to work by the same settings."""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from config.kinds import as_text
from config.settings import Settings
from config.variables import PREFIX, variable


def as_variables(settings: Settings) -> dict[str, str]:
    """The settings that somebody set, secrets and absolute paths included, by their variables.

    Args:
        settings: what is in force. Of the defaults only the data folder is among the result: where it is
            depends on the folder that one works in, and every other path that nobody set on it.
    """
    fields = sorted(settings.model_fields_set | {"data_dir"})
    values = {field: getattr(settings, field) for field in fields}
    return {variable(field): _text(value) for field, value in values.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple) and any(isinstance(one, SecretStr) for one in value):
        return " ".join(map(_text, value))
    return as_text(value)


def inherited() -> dict[str, str]:
    """The variables of this process, without the settings."""
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(PREFIX)}


def every_variable() -> dict[str, str]:
    """The variables of this process, settings and all."""
    return dict(os.environ)


def unless_set(wanted: Mapping[str, str]) -> dict[str, str]:
    """Variables as they are wanted, but for those that the user has set otherwise."""
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def of_env_file(path: Path) -> dict[str, str]:
    """Prefect's variables of the user's `.env`: the children run in a folder that has another one."""
    if not path.is_file():
        return {}
    return {k: v for k, v in dotenv_values(path).items() if k.startswith("PREFECT_") and v}
