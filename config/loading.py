"""Reading the settings from the environment and `.env`, with every mistake named at once."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.settings import Settings
from config.variables import NIGHT_SHIFT, SettingsError, names_in, unknown, variable


def load_settings(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the settings from the environment and a `.env` file.

    A process of a night shift reads no file: it was handed what the user has set, and a file in the
    folder that it runs in may be another one.

    Args:
        env_file: file of `NAME=value` lines; missing is fine, None reads none.
        overrides: fields that win over both.

    Raises:
        SettingsError: naming every variable that is unknown or wrong.
    """
    path = None if env_file is None or os.environ.get(NIGHT_SHIFT) else Path(env_file)
    names = [*os.environ, *(() if path is None else names_in(path))]
    names += [variable(field) for field in overrides]
    problems = [*unknown(names, Settings.model_fields)]
    settings = None
    try:
        settings = Settings(_env_file=path, **overrides)
    except ValidationError as error:
        problems += [
            _describe(e) for e in error.errors() if e["type"] != "default_factory_not_called"
        ]
    if problems or settings is None:
        where = f"the environment or {path}" if path else "the environment"
        raise SettingsError(
            "The settings cannot be used:\n  " + "\n  ".join(problems) + "\n",
            next_step=f"correct {'it' if len(problems) == 1 else 'them'} in {where};"
            " .env.example explains every setting",
        )
    return settings


def _describe(error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    given = error["input"]
    info = Settings.model_fields[field]
    secret = info.annotation is not None and "SecretStr" in str(info.annotation)
    shown = "" if secret else f"={given}"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{variable(field)}{shown}: {message} ({info.description})"
