"""What the user has set, as variables for a process that is to work by the same settings."""

from pydantic import SecretStr

from config.kinds import as_text
from config.settings import Settings
from config.variables import variable


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
